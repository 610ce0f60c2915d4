//! What other methods make of the same customers: a decision tree and k-means, judged by the figures that groups are judged by.
//!
//! Both split everybody into as many parts as there are groups. Nothing else is made of them: they are there to compare with.

mod kmeans;
mod rows;
mod tree;

use serde::{Deserialize, Serialize};

use crate::score::{Measures, between_share, measures};
use crate::segment::{FeatureId, Item};
use crate::stats::{MetricKind, Parts, Scale, Stats, VALIDATION};

pub use kmeans::{Centre, Drawn, Lloyd, Nearest, Seeding, Weights, draw, marks, spread_over};
pub use rows::{Counts, count, move_rows, sums};
pub use tree::{Clause, Growth, Split, Tree};

/// More groups than this are not compared: each more is another pass over the rows.
pub const MOST_PARTS: usize = 60;

/// How customers were divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Highlights merged, as the run's groups are.
    Groups,
    Kmeans,
    Tree,
}

/// The base as the methods are judged against it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    pub kind: MetricKind,
    pub scale: Scale,
    /// Of the primary metric.
    pub base: Parts<Stats>,
}

/// Share of the metric's variance over all customers that lies between the parts and the customers of none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    #[serde(rename = "count")]
    pub parts: usize,
    pub explained: Option<f64>,
    /// The same of the customers held out, alone; none where nobody was.
    pub validation_explained: Option<f64>,
}

/// One way of dividing customers, with what it is worth.
#[derive(Clone, Debug, PartialEq)]
pub struct Division {
    pub method: Method,
    pub worth: Explained,
    /// The same method with one part more: groups leave customers of none, who are a part too where variance is explained.
    pub one_more: Option<Explained>,
    /// Customers in a part.
    pub customers: i64,
    /// Conditions that say who is in which part; none where no conditions do.
    pub conditions: Option<usize>,
    /// By absolute impact. Those of groups are told elsewhere.
    pub parts: Vec<Part>,
}

/// One part of a division.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    pub measures: Measures,
    /// On the validation part; none where nobody was held out.
    pub validation: Option<Measures>,
    pub told: Told,
}

/// How a part is told to a reader.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// Its customers are those who meet all of these.
    Rule(Vec<Clause>),
    /// The items that are most over-represented in it.
    Marks(Vec<Item>),
}

impl Judged {
    /// What parts explain, which share no customer, with those of none as one part more.
    pub fn explained(&self, parts: &[Parts<Stats>]) -> Explained {
        let share = |of: &dyn Fn(&Parts<Stats>) -> Stats| {
            let mut sets: Vec<Stats> = parts.iter().map(of).collect();
            let base = of(&self.base);
            sets.push(base - sets.iter().copied().sum());
            between_share(self.kind, &sets, &base)
        };
        Explained {
            parts: parts.len(),
            explained: share(&|part| part.iter().copied().sum()),
            validation_explained: share(&|part| part[VALIDATION]),
        }
    }

    /// A division into parts with these sums; `told` has how each is told, of groups nothing.
    pub fn division(&self, method: Method, sums: &[Parts<Stats>], told: Vec<Told>) -> Division {
        let whole = |part: &Parts<Stats>| part.iter().copied().sum::<Stats>();
        let base = whole(&self.base);
        let of = |stats: &Stats, base: &Stats| measures(self.kind, self.scale, stats, base);
        let held_out = self.base[VALIDATION].uv > 0;
        let conditions = told.iter().map(|told| match told {
            Told::Rule(conditions) => Some(conditions.len()),
            Told::Marks(_) => None,
        });
        let conditions = conditions.sum::<Option<usize>>();
        let mut parts: Vec<(usize, Part)> = (told.into_iter().zip(sums).enumerate())
            .map(|(number, (told, part))| {
                let validation = held_out.then(|| of(&part[VALIDATION], &self.base[VALIDATION]));
                (number, Part { measures: of(&whole(part), &base), validation, told })
            })
            .collect();
        let impact = |part: &Part| part.measures.impact.abs();
        parts.sort_by(|(i, a), (j, b)| impact(b).total_cmp(&impact(a)).then(i.cmp(j)));
        Division {
            method,
            worth: self.explained(sums),
            one_more: None,
            customers: sums.iter().map(|part| whole(part).uv).sum(),
            conditions,
            parts: parts.into_iter().map(|(_, part)| part).collect(),
        }
    }
}

/// Whether customers have a set of items each, by feature.
pub type Tagged = Vec<bool>;

/// The items of a feature, by number.
fn items(feature: usize, codes: impl Iterator<Item = usize>) -> Vec<Item> {
    codes.map(|code| Item { feature: feature as FeatureId, code: code as u16 }).collect()
}
