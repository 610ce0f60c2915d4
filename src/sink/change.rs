//! `change.parquet` and `change.json`: which segments explain the change between two periods.

use std::path::Path;

use arrow::array::{Int32Array, Int64Array};
use serde::{Deserialize, Serialize};

use super::columns::{Column, write_parquet};
use super::documents::{read_json, write_json};
use super::staging::Staging;
use super::tables::{Texts, floats};
use super::{RunResult, SinkError, VerifyError};
use crate::change::Changes;
use crate::job::CompareSpec;
use crate::score::Change;
use crate::stats::{AFTER, BEFORE, Parts};

/// `change.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangeFile {
    /// As the job says it.
    pub compare: CompareSpec,
    /// All customers; their contribution is the whole change. Pairs are of the earlier period, then the later.
    pub base: Change,
    /// Segments compared.
    pub tested: u64,
    /// The segments that explain most, one after the other; no customer is in two of them.
    pub steps: Vec<StepEntry>,
    /// Customers of none of them.
    pub rest: Change,
    /// The change divided by one feature at a time, those first whose items explain most.
    pub features: Vec<FeatureEntry>,
}

/// A segment of `change.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepEntry {
    pub segment: String,
    pub sql: String,
    /// Of those of its customers that are in no segment before it.
    #[serde(flatten)]
    pub own: Change,
    /// Against the customers of no segment before it: what it was picked by.
    pub of_rest: Change,
    /// Of all its customers, with its q-values.
    pub whole: Change,
    pub mean_q: Option<f64>,
    pub share_q: f64,
}

/// A feature of `change.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureEntry {
    pub feature: String,
    /// Over all of its parts.
    pub mix: f64,
    pub rate: f64,
    pub items: Vec<ItemEntry>,
    /// Customers of no item that is told.
    pub others: Option<Change>,
}

/// An item of a feature of `change.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ItemEntry {
    pub item: String,
    #[serde(flatten)]
    pub change: Change,
}

/// Reads a run's `change.json`.
pub fn read_change(run: &Path) -> Result<ChangeFile, VerifyError> {
    read_json(run.join("change.json"))
}

pub(super) fn write_change(staging: &Staging, result: &RunResult) -> Result<(), SinkError> {
    let (Some(changes), Some(compare)) = (result.changes, &result.job.compare) else { return Ok(()) };
    let texts = Texts::of(result.codebook);
    let columns = columns(&texts, changes);
    let rows: Vec<usize> = (0..changes.segments.len()).filter(|&place| changes.told(place)).collect();
    staging.write("change.parquet", |out| write_parquet(out, &rows, &columns, |p| p))?;

    let step = |step: &crate::change::Step| StepEntry {
        segment: texts.segment(changes.segments[step.place]),
        sql: result.codebook.sql(changes.segments[step.place]),
        own: step.own,
        of_rest: step.of_rest,
        whole: changes.changes[step.place],
        mean_q: changes.mean_q[step.place],
        share_q: changes.share_q[step.place],
    };
    let feature = |feature: &crate::change::FeatureChange| FeatureEntry {
        feature: result.codebook.feature(feature.feature).name.clone(),
        mix: feature.parts().map(|part| part.mix).sum(),
        rate: feature.parts().map(|part| part.rate).sum(),
        items: (feature.items.iter())
            .map(|(item, change)| ItemEntry { item: result.codebook.item_label(*item), change: *change })
            .collect(),
        others: feature.others,
    };
    let document = ChangeFile {
        compare: compare.clone(),
        base: changes.whole,
        tested: changes.segments.len() as u64,
        steps: changes.steps.iter().map(step).collect(),
        rest: changes.rest,
        features: changes.features.iter().filter(|feature| !feature.items.is_empty()).map(feature).collect(),
    };
    write_json(staging, "change.json", &document)
}

/// Of the segments in these places.
fn columns<'a>(texts: &'a Texts, changes: &'a Changes) -> Vec<Column<'a, usize>> {
    let all = &changes.changes;
    let level = |&place: &usize| changes.segments[place].level() as i32;
    let mut columns = vec![
        Column::new("segment", |at: &[usize]| texts.segments(at.iter().map(|&place| changes.segments[place]))),
        Column::new("level", move |at: &[usize]| Int32Array::from_iter_values(at.iter().map(level))),
    ];
    let float = |name: &str, of: fn(&Change) -> Option<f64>| floats(name, move |&place: &usize| of(&all[place]));
    let pair = |name: &'static str, of: fn(&Change) -> Parts<Option<f64>>| {
        let column = move |period: usize, word: &str| {
            floats(&format!("{word}.{name}"), move |&place: &usize| of(&all[place])[period])
        };
        [column(BEFORE, "before"), column(AFTER, "after")]
    };
    for (period, word) in [(BEFORE, "before"), (AFTER, "after")] {
        let uv = move |&place: &usize| all[place].uv[period];
        columns.push(Column::new(&format!("{word}.uv"), move |at: &[usize]| {
            Int64Array::from_iter_values(at.iter().map(uv))
        }));
    }
    columns.extend(pair("uv_share", |c| c.uv_share.map(Some)));
    columns.extend(pair("metric_mean", |c| c.metric_mean));
    columns.extend([
        float("contribution", |c| Some(c.contribution)),
        float("mix", |c| Some(c.mix)),
        float("rate", |c| Some(c.rate)),
        float("excess", |c| Some(c.excess)),
        float("mean_log_p", |c| c.mean_log_p),
        floats("mean_q", |&place: &usize| changes.mean_q[place]),
        float("share_log_p", |c| Some(c.share_log_p)),
        floats("share_q", |&place: &usize| Some(changes.share_q[place])),
    ]);
    let step = |&place: &usize| changes.steps.iter().position(|step| step.place == place).map(|at| at as i32 + 1);
    columns.push(Column::new("step", move |at: &[usize]| at.iter().map(step).collect::<Int32Array>()));
    columns
}

impl ChangeFile {
    /// The first sum that does not add up, in words: each feature's parts, and the steps with the rest, are all customers, and their
    /// contributions the whole change.
    pub fn contradiction(&self) -> Option<String> {
        let check = |what: &str, parts: &[&Change]| {
            for (period, word) in [(BEFORE, "before"), (AFTER, "after")] {
                let (uv, all) = (parts.iter().map(|part| part.uv[period]).sum::<i64>(), self.base.uv[period]);
                if uv != all {
                    return Some(format!("{what} have {uv} customers in the period {word}, of {all}"));
                }
            }
            let (sum, whole) = (parts.iter().map(|part| part.contribution).sum::<f64>(), self.base.contribution);
            let magnitudes = parts.iter().map(|part| part.mix.abs() + part.rate.abs()).sum::<f64>() + whole.abs();
            ((sum - whole).abs() > 1e-9 * magnitudes).then(|| format!("{what} add up to {sum}, of {whole}"))
        };
        let steps: Vec<&Change> = self.steps.iter().map(|step| &step.own).chain([&self.rest]).collect();
        let of_feature = |feature: &FeatureEntry| {
            let parts: Vec<&Change> = feature.items.iter().map(|item| &item.change).chain(&feature.others).collect();
            check(&format!("the items of {:?}", feature.feature), &parts)
        };
        check("the steps and the rest", &steps).or_else(|| self.features.iter().find_map(of_feature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::change;
    use crate::stats::{MetricKind, Scale, Stats};

    #[test]
    fn parts_that_do_not_add_up_are_named() {
        let rate = |uv: i64, sum: i128| Stats { uv, sum, sq: sum, ..Stats::default() };
        let base = [rate(1000, 60), rate(1500, 78)];
        let of = |own: [Stats; 2]| change(MetricKind::Rate, Scale::default(), &own, &base);
        let (shop, others) = (of([rate(200, 20), rate(300, 18)]), of([rate(800, 40), rate(1200, 60)]));
        let item = |name: &str, change| ItemEntry { item: name.into(), change };
        let step = StepEntry {
            segment: "channel=shop".into(),
            sql: String::new(),
            own: shop,
            of_rest: shop,
            whole: shop,
            mean_q: None,
            share_q: 1.0,
        };
        let feature = |items| FeatureEntry { feature: "channel".into(), mix: 0.0, rate: 0.0, items, others: None };
        let good = ChangeFile {
            compare: serde_json::from_str(r#"{"column": "m", "before": "a", "after": "b"}"#).expect("a section"),
            base: of(base),
            tested: 2,
            steps: vec![step],
            rest: others,
            features: vec![feature(vec![item("shop", shop), item("mail", others)])],
        };
        assert_eq!(good.contradiction(), None);
        let twice = ChangeFile { rest: good.base, ..good.clone() };
        let told = twice.contradiction().expect("the shop's customers are there twice");
        assert_eq!(told, "the steps and the rest have 1200 customers in the period before, of 1000");
        let missing = ChangeFile { features: vec![feature(vec![item("shop", shop)])], ..good.clone() };
        assert!(missing.contradiction().is_some_and(|told| told.contains("the items of \"channel\"")));
        let mut other = good;
        other.rest.contribution += 1e-6;
        assert!(other.contradiction().is_some_and(|told| told.contains("the steps and the rest add up to")));
    }
}
