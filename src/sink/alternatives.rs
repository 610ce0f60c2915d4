//! The groups beside other methods, as `groups.json` has them, with no part told that has too few customers.

use serde::{Deserialize, Serialize};

use super::RunResult;
use crate::alternatives::{Clause, Division, Explained, Method, Part, Told};
use crate::encode::Codebook;
use crate::score::Measures;
use crate::segment::Item;

/// One way of dividing customers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlternativeEntry {
    pub method: Method,
    #[serde(flatten)]
    pub worth: Explained,
    /// The same method with one part more; none of the groups themselves.
    pub one_more: Option<Explained>,
    /// Customers in a part.
    pub uv: i64,
    pub uv_share: f64,
    /// Customers of the smallest part and of the largest; none where a part is not told.
    pub smallest: Option<i64>,
    pub largest: Option<i64>,
    /// Conditions that say who is in which part; none where no conditions do.
    pub conditions: Option<usize>,
    /// The parts that do worst and best: on the validation part, or on the whole base where nobody was held out.
    pub lowest: Option<EndEntry>,
    pub highest: Option<EndEntry>,
    /// By absolute impact; of groups none, as they are told by themselves.
    pub parts: Vec<PartEntry>,
}

/// How a part does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndEntry {
    pub metric_mean: f64,
    pub lift: Option<f64>,
    pub effect: f64,
}

/// One part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartEntry {
    /// Its customers are those who meet all of these; none where no conditions say it.
    pub rule: Option<Vec<ClauseEntry>>,
    /// The items most over-represented in it, where there is no rule.
    pub marks: Vec<String>,
    #[serde(flatten)]
    pub measures: Measures,
    pub validation: Option<Measures>,
}

/// What is asked of a feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClauseEntry {
    pub feature: String,
    /// Whether a customer has one of the items, or none of them.
    pub within: bool,
    pub items: Vec<String>,
}

/// A part of a method as it may be told.
pub(super) struct Shown<'a> {
    pub part: &'a Part,
    pub validation: Option<&'a Measures>,
}

/// The parts of a method that may be told. As its parts are all customers together, what is left out may not be so few either: of
/// whole parts, and of their customers held out and not.
pub(super) fn shown<'a>(division: &'a Division, result: &RunResult) -> Vec<Shown<'a>> {
    let small = |n: i64| result.few(n);
    let uv: Vec<i64> = division.parts.iter().map(|part| part.measures.uv).collect();
    let left_out = withheld(&uv, &small, |left_out| small(left_out.iter().map(|&i| uv[i]).sum()));
    let held = |i: usize| division.parts[i].validation.map_or(0, |v| v.uv);
    let smaller: Vec<i64> = (0..uv.len()).map(|i| held(i).min(uv[i] - held(i))).collect();
    let hidden = |i: usize| left_out.contains(&i) || small(held(i)) || small(uv[i] - held(i));
    let first: Vec<bool> = (0..uv.len()).map(hidden).collect();
    let of = |of: &[usize]| of.iter().fold((0, 0), |(a, b), &i| (a + held(i), b + uv[i] - held(i)));
    let unheld = withheld_of(&first, &smaller, |some| {
        let (held, rest) = of(some);
        small(held) || small(rest)
    });
    let told = result.base_validation().is_some();
    let parts = division.parts.iter().enumerate().filter(|(i, _)| !left_out.contains(i));
    parts
        .map(|(i, part)| Shown { part, validation: part.validation.as_ref().filter(|_| told && !unheld.contains(&i)) })
        .collect()
}

/// Places that are left out: those of too few, and more, the smallest first, while all of them are too few.
fn withheld(uv: &[i64], few: &dyn Fn(i64) -> bool, too_few: impl Fn(&[usize]) -> bool) -> Vec<usize> {
    withheld_of(&uv.iter().map(|&n| few(n)).collect::<Vec<_>>(), uv, too_few)
}

fn withheld_of(first: &[bool], size: &[i64], too_few: impl Fn(&[usize]) -> bool) -> Vec<usize> {
    let (mut out, mut others): (Vec<usize>, Vec<usize>) = (0..size.len()).partition(|&i| first[i]);
    others.sort_by_key(|&i| (std::cmp::Reverse(size[i]), std::cmp::Reverse(i)));
    while too_few(&out) {
        let Some(next) = others.pop() else { break };
        out.push(next);
    }
    out
}

impl AlternativeEntry {
    /// All that are compared.
    pub(super) fn all(result: &RunResult) -> Vec<AlternativeEntry> {
        result.alternatives.iter().map(|division| AlternativeEntry::of(division, result)).collect()
    }

    fn of(division: &Division, result: &RunResult) -> AlternativeEntry {
        let shown = shown(division, result);
        let own = division.method == Method::Groups;
        let groups = &result.grouping.groups;
        let uv: Vec<i64> = match own {
            true => groups.iter().map(|group| group.stats.uv).collect(),
            false => shown.iter().map(|shown| shown.part.measures.uv).collect(),
        };
        let all = own || shown.len() == division.parts.len();
        let held_out = result.base_validation.is_some();
        let mut judged: Vec<Measures> = match (own, held_out) {
            (true, true) => groups.iter().filter_map(|group| result.group_validation(group)).collect(),
            (true, false) => groups.iter().map(|group| group.measures).collect(),
            (false, true) => shown.iter().filter_map(|shown| shown.validation.copied()).collect(),
            (false, false) => shown.iter().map(|shown| shown.part.measures).collect(),
        };
        judged.retain(|measures| measures.uv > 0);
        judged.sort_by(|a, b| a.effect.total_cmp(&b.effect));
        let end = |m: &Measures| EndEntry { metric_mean: m.metric_mean, lift: m.lift, effect: m.effect };
        AlternativeEntry {
            method: division.method,
            worth: division.worth,
            one_more: division.one_more,
            uv: division.customers,
            uv_share: division.customers as f64 / result.base.uv.max(1) as f64,
            smallest: uv.iter().copied().min().filter(|_| all),
            largest: uv.iter().copied().max().filter(|_| all),
            conditions: division.conditions,
            lowest: judged.first().map(end),
            highest: judged.last().map(end),
            parts: shown.iter().map(|shown| PartEntry::of(shown, result.codebook)).collect(),
        }
    }
}

impl PartEntry {
    fn of(shown: &Shown, codebook: &Codebook) -> PartEntry {
        let condition = |condition: &Clause| ClauseEntry {
            feature: codebook.feature(condition.feature).name.clone(),
            within: condition.within,
            items: labels(&condition.items, codebook),
        };
        let (rule, marks) = match &shown.part.told {
            Told::Rule(conditions) => (Some(conditions.iter().map(condition).collect()), Vec::new()),
            Told::Marks(items) => (None, items.iter().map(|&item| codebook.item_text(item)).collect()),
        };
        PartEntry { rule, marks, measures: shown.part.measures, validation: shown.validation.copied() }
    }
}

/// Items without their feature.
fn labels(items: &[Item], codebook: &Codebook) -> Vec<String> {
    items.iter().map(|&item| codebook.item_label(item)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::sample::Sample;

    /// Which parts are told, of these sizes, and of which also what is held out; each is held out as said.
    fn told(parts: &[(i64, i64)]) -> (Vec<i64>, Vec<i64>) {
        let sample = Sample::new();
        let with = |uv: i64| Measures { uv, ..sample.base };
        let part = |&(uv, held): &(i64, i64)| Part {
            measures: with(uv),
            validation: Some(with(held)),
            told: Told::Marks(Vec::new()),
        };
        let division = Division {
            method: Method::Kmeans,
            worth: Explained::default(),
            one_more: None,
            customers: parts.iter().map(|part| part.0).sum(),
            conditions: None,
            parts: parts.iter().map(part).collect(),
        };
        let result = sample.result();
        let shown = shown(&division, &result);
        let held = shown.iter().filter(|shown| shown.validation.is_some()).map(|shown| shown.part.measures.uv);
        (shown.iter().map(|shown| shown.part.measures.uv).collect(), held.collect())
    }

    #[test]
    fn few_customers_are_told_neither_by_a_part_nor_by_what_is_left_of_all() {
        assert_eq!(told(&[(500, 150), (300, 90), (200, 60)]), (vec![500, 300, 200], vec![500, 300, 200]));
        // 7 would follow from the others; with 200 more nobody can tell.
        assert_eq!(told(&[(500, 150), (293, 88), (200, 60), (7, 2)]), (vec![500, 293], vec![500, 293]));
        // 6 and 7 are 13 together.
        assert_eq!(told(&[(500, 150), (487, 100), (7, 5), (6, 5)]).0, [500, 487]);
        // 4 of 20 are held out, so neither they nor the 60 that would give them away.
        assert_eq!(told(&[(500, 150), (300, 90), (180, 60), (20, 4)]), (vec![500, 300, 180, 20], vec![500, 300]));
        assert_eq!(told(&[(500, 150), (500, 0)]).1, [500, 500], "nobody may be told");
    }
}
