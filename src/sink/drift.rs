//! How a table that was put into a run's groups differs from the run's own: groups, rows that could not be used, values that are new.

use std::collections::BTreeMap;
use std::path::PathBuf;

use comfy_table::Cell;
use serde::Serialize;

use super::number::{count, decimal, percent};
use super::terminal::{right, table, visible};
use super::text::{Text, fill};
use crate::job::Language;

/// What assigning a table came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drift {
    pub run_id: String,
    pub out: PathBuf,
    /// Of the file.
    pub bytes: u64,
    pub sha256: String,
    /// Customers in the file.
    pub written: u64,
    pub rows_read: u64,
    /// Rows that could not be used, by reason.
    pub bad: u64,
    pub rejects: BTreeMap<String, u64>,
    /// Rows that could: each a customer.
    pub customers: u64,
    pub assigned: u64,
    pub groups: Vec<GroupDrift>,
    /// Customers in no group; their `id` is 0.
    pub none: GroupDrift,
    /// Of a run that divided everybody into cells: how many of those in no group have a combination of values that nobody had in the
    /// run, though of each feature somebody had the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unseen_combinations: Option<u64>,
    /// Population stability index over the groups and none.
    pub psi: Option<f64>,
    /// What it would be about if only chance set the table and the run's base apart.
    pub psi_by_chance: Option<f64>,
    /// A feature each that the assignment asks for.
    pub values: Vec<ValueDrift>,
}

/// A group in the table and in the base of the run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupDrift {
    pub id: u32,
    pub name: String,
    pub customers: u64,
    /// Of the customers of the table; none of an empty one.
    pub share: Option<f64>,
    /// Of the run's base.
    pub base_share: f64,
    #[serde(skip)]
    pub base_customers: u64,
}

/// Customers whose value of a feature is no item of the run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ValueDrift {
    pub feature: String,
    pub column: String,
    /// Missing, where nobody's was in the run.
    pub missing: u64,
    /// A value that is not among the items: too few customers had it in the run, or none. Of tags, at least one is not.
    pub other: u64,
    /// A value that nobody had in the run, where all that somebody had are items.
    pub unseen: u64,
    /// The most frequent of these.
    pub examples: Vec<Example>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Example {
    pub value: String,
    pub customers: u64,
}

/// The population stability index of counts over some kinds of customers, `sum((a - b) ln(a / b))` of their shares a and b, and what it
/// is about where only chance sets the two apart, `(k - 1) (1 / n + 1 / m)` of k kinds and n and m customers (Yurdakul, 2018). None
/// without customers.
///
/// One customer who is spread as all of both are is added to each, so that a kind without customers on one side has a share; kinds without
/// any are none. Unit: nats.
pub fn stability(table: &[u64], base: &[u64]) -> Option<(f64, f64)> {
    let [n, m] = [table, base].map(|counts| counts.iter().sum::<u64>() as f64);
    let term = |(&own, &of_base): (&u64, &u64)| {
        let both = (own + of_base) as f64 / (n + m);
        let [a, b] = [(own, n), (of_base, m)].map(|(count, total)| (count as f64 + both) / (total + 1.0));
        if both > 0.0 { (a - b) * (a / b).ln() } else { 0.0 }
    };
    let psi = table.iter().zip(base).map(term).sum();
    (n > 0.0 && m > 0.0).then(|| (psi, (table.len() as f64 - 1.0) * (1.0 / n + 1.0 / m)))
}

impl Drift {
    /// For people, on a terminal. `width` in columns; none: as the terminal is, or as wide as the text.
    pub fn told(&self, language: Language, width: Option<u16>) -> String {
        let t = Text::of(language);
        let whole = |n: u64| count(n);
        let mut groups = table(&["#", t.group, t.uv, t.uv_share, t.drift_base_share], width);
        for group in self.groups.iter().chain([&self.none]) {
            let (id, name) = match group.id {
                0 => (String::new(), t.drift_none.to_owned()),
                id => (id.to_string(), visible(&group.name)),
            };
            groups.add_row(vec![
                right(id),
                Cell::new(name),
                right(whole(group.customers)),
                right(group.share.map_or("–".into(), percent)),
                right(percent(group.base_share)),
            ]);
        }
        let reasons: Vec<String> = self.rejects.iter().map(|(reason, rows)| format!("{reason}: {rows}")).collect();
        let rows = [
            ("read", whole(self.rows_read)),
            ("assigned", whole(self.assigned)),
            ("none", whole(self.none.customers)),
            ("bad", whole(self.bad)),
        ];
        let rows: Vec<(&str, &str)> = rows.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut text = format!("{groups}\n{}", fill(t.drift_rows, &rows));
        if !reasons.is_empty() {
            text.push_str(&format!(" ({})", reasons.join(t.list_comma)));
        }
        if let Some(customers) = self.unseen_combinations.filter(|customers| *customers > 0) {
            text.push_str(&format!("\n{}", fill(t.drift_combinations, &[("customers", &whole(customers))])));
        }
        if let (Some(psi), Some(chance)) = (self.psi, self.psi_by_chance) {
            let [psi, chance] = [psi, chance].map(decimal);
            text.push_str(&format!("\n{}", fill(t.drift_psi, &[("psi", &psi), ("chance", &chance)])));
        }
        let strange: Vec<&ValueDrift> = self.values.iter().filter(|v| v.missing + v.other + v.unseen > 0).collect();
        if !strange.is_empty() {
            let header = [t.feature, t.drift_missing, t.drift_other, t.drift_unseen, t.drift_examples];
            let mut values = table(&header, width);
            for value in strange {
                let examples: Vec<String> =
                    value.examples.iter().map(|e| format!("{} ({})", visible(&e.value), whole(e.customers))).collect();
                values.add_row(vec![
                    Cell::new(visible(&value.feature)),
                    right(whole(value.missing)),
                    right(whole(value.other)),
                    right(whole(value.unseen)),
                    Cell::new(examples.join(t.list_comma)),
                ]);
            }
            text.push_str(&format!("\n\n{}\n{values}", t.drift_values));
        }
        let out = visible(&self.out.display().to_string());
        let written = fill(t.drift_written, &[("customers", &whole(self.written)), ("out", &out)]);
        format!("{text}\n{written}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_that_of_the_shares() {
        // Shares 0.2, 0.8 and 0.5, 0.5 of many: (0.2 - 0.5) ln(0.2 / 0.5) + (0.8 - 0.5) ln(0.8 / 0.5) = 0.3 ln 4 = 0.415888.
        let (psi, chance) = stability(&[2_000_000, 8_000_000], &[5_000_000, 5_000_000]).expect("customers");
        assert!((psi - 0.415_888).abs() < 1e-5, "{psi}");
        assert!((chance - 2e-7).abs() < 1e-12, "{chance}");
        assert_eq!(stability(&[5, 5, 0], &[50, 50, 0]).map(|(psi, _)| psi), Some(0.0));
        // 10.5 of 11 and 0.5 of 11 against the reverse: 2 (10 / 11) ln 21.
        let (psi, _) = stability(&[10, 0], &[0, 10]).expect("customers");
        assert!((psi - 20.0 / 11.0 * 21f64.ln()).abs() < 1e-12, "a group without customers has an index all the same");
        assert_eq!((stability(&[0, 0], &[1, 1]), stability(&[1, 1], &[0, 0])), (None, None));
    }

    fn drift() -> Drift {
        let group = |id: u32, name: &str, customers: u64| GroupDrift {
            id,
            name: name.into(),
            customers,
            share: Some(customers as f64 / 1000.0),
            base_share: 0.02,
            base_customers: 20,
        };
        Drift {
            run_id: "20240229T123456Z-00000000".into(),
            out: "assigned.parquet".into(),
            bytes: 1,
            sha256: "0".into(),
            written: 42,
            rows_read: 1003,
            bad: 3,
            rejects: [("ragged line".to_owned(), 3)].into(),
            customers: 1000,
            assigned: 42,
            groups: vec![group(1, "城市=\u{1b}[2J上海", 42)],
            none: group(0, "", 958),
            unseen_combinations: Some(17),
            psi: Some(0.25),
            psi_by_chance: Some(0.001),
            values: vec![
                ValueDrift {
                    feature: "城市".into(),
                    column: "城市".into(),
                    missing: 11,
                    other: 0,
                    unseen: 12,
                    examples: vec![Example { value: "火星\u{7}".into(), customers: 12 }],
                },
                ValueDrift {
                    feature: "known".into(),
                    column: "known".into(),
                    missing: 0,
                    other: 0,
                    unseen: 0,
                    examples: Vec::new(),
                },
            ],
        }
    }

    #[test]
    fn people_are_told_in_their_language_and_no_value_steers_the_terminal() {
        let told = drift().told(Language::En, Some(120));
        for part in [
            "1,003 rows",
            "42",
            "958",
            "ragged line: 3",
            "0.25",
            "火星",
            "4.20%",
            "2.00%",
            "assigned.parquet",
            "17 of those",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(!told.contains("known"), "{told}");
        let zh = drift().told(Language::Zh, Some(120));
        assert!(zh.contains("未归入") && !zh.contains("rows"), "{zh}");
        assert!(!told.contains(['\u{1b}', '\u{7}']) && !zh.contains(['\u{1b}', '\u{7}']));
    }
}
