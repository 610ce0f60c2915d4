//! Highlights to 6 to 10 groups that share no customer: merged bottom-up, then customers assigned.

mod assign;
mod cell_rule;
mod cells;
mod cut;
mod distances;
mod identity;
mod keep;
mod kinds;
mod linkage;
mod matching;
mod name;
mod nearest;
mod rounds;
mod rule;
#[cfg(test)]
mod sample;
mod space;
mod tiles;
mod traits;
mod worth;

use serde::{Deserialize, Serialize};

use crate::highlight::Direction;
use crate::profile::ProfileItem;
use crate::score::{Measures, Test};
use crate::segment::Segment;
use crate::stats::Stats;

pub use assign::priority;
pub use cell_rule::cell_rules;
pub use cells::Grid;
pub use cut::{Asked, Clusters, cut};
pub use identity::{Former, Identity, Status, settle};
pub use keep::{Before, CLEARLY, CLEARLY_OF_CELLS, join_near, keep, keep_most, keep_order};
pub use kinds::{Kind, Kinds, NEARLY_ALL, joined, kinds};
pub use linkage::{Tree, merge, merge_points};
pub use matching::assignment;
pub use name::{Marks, apart, marking, names, stands};
pub use nearest::{absorb, join_nearest};
pub use rounds::Rounds;
pub use rule::{PRECISE, ShortRule, in_order, short_rule};
pub use space::{Apart, Leaf, Space, Weights};
pub use tiles::{Nearest, ROWS};
pub use traits::{Trait, ends, few_digits, short, traits};
pub use worth::{Judge, Worth};

/// One joining of two clusters, `left < right`. Leaves are numbered 0 to n - 1 in the order of the highlights, the result of step `i` (from 0) is `n + i`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Merge {
    pub step: usize,
    pub left: usize,
    pub right: usize,
    pub distance: f64,
    /// Customers of the two together, counted once a highlight (an upper bound of distinct customers).
    pub uv: i64,
}

/// How good it would be to stop at `groups` groups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    pub groups: usize,
    /// Distance of the merge that leads to one group fewer; none for one group a direction.
    pub next_distance: Option<f64>,
    /// The squared distance of the next merge over the mean of those that led here: the larger, the better a place to stop.
    pub jump: Option<f64>,
    #[serde(flatten)]
    pub worth: Worth,
    pub chosen: bool,
}

/// Customers to run one programme for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// From 1, by absolute [`influence`](Group::influence), until [`settle`] makes it that of an earlier run's group.
    pub id: u32,
    pub direction: Direction,
    /// Its defining items, for people.
    pub name: String,
    /// What the name says: any of these segments; of a name by traits, for every feature any of these items.
    pub named: Vec<Segment>,
    /// The highlights it was merged of, the strongest first.
    pub segments: Vec<Segment>,
    /// Of each of these, the customers that it took.
    pub taken: Vec<i64>,
    /// Over the customers assigned to it.
    pub stats: Stats,
    pub measures: Measures,
    /// The same on the validation part; none when nothing was held out or nobody of it is there.
    pub validation: Option<Measures>,
    /// Its customers against all others, and those held out against the others held out: intervals, as the group was chosen by the
    /// metric; none where nothing can be compared.
    pub test: Option<Test>,
    pub validation_test: Option<Test>,
    /// A few of its segments, or for cells a few conditions, that say most of it.
    pub short: ShortRule,
    /// One per secondary metric, in the job's order.
    pub secondary: Vec<Measures>,
    /// Every item of every feature, strongest over-representation first.
    pub profile: Vec<ProfileItem>,
}

impl Group {
    /// How much it moves the metric's total, in the metric's unit; where `held_out`, going by the customers kept aside: those whom it was made
    /// by say more than there is.
    pub fn influence(&self, held_out: bool) -> f64 {
        let held = self.validation.as_ref().filter(|held| held_out && held.uv > 0);
        held.map_or(self.measures.impact, |held| held.impact * self.stats.uv as f64 / held.uv as f64)
    }
}

/// The groups, how they came about, and why there are so many.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Grouping {
    pub groups: Vec<Group>,
    /// In which order a customer is asked, and the group of the first segment that covers them.
    pub asked: Vec<(Segment, u32)>,
    /// The highlights that were merged, ranked: what the leaves of the merges stand for.
    pub leaves: Vec<Segment>,
    pub merges: Vec<Merge>,
    pub choices: Vec<Choice>,
    /// One sentence: where the merging stopped and why, in particular when there are fewer groups than asked for.
    pub reason: String,
    /// What the groups are worth where they were kept from an earlier run rather than chosen.
    pub kept: Option<Worth>,
    /// Of each group that was kept, the id that it had; by position.
    pub homes: Vec<Option<u32>>,
    /// What each group would be called if it had no name yet.
    pub called: Vec<String>,
    /// The next number for a group, that none had before.
    pub next_id: u32,
}
