//! The `[merge]` section: how highlights become groups.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::JobError;
use crate::segment::MAX_LEVEL;

/// As many points have a matrix of 3.2 GB.
const MOST_MATRIX: usize = 20_000;
const MOST_CELLS: usize = 1_000_000;

/// How highlights become groups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MergeSpec {
    /// What is merged into groups.
    pub of: MergeOf,
    /// With `of = "cells"`: the features whose combinations of items are the cells, 1 to 8, by their names; not the id, a metric, tags, or a
    /// column that is left out. Absent: those that say most about the metric,
    /// as many as have no more combinations than `max_cells` and a tenth of the customers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
    /// With `of = "cells"`: more cells than this that have customers end the run; 1 to 1000000.
    pub max_cells: usize,
    /// Fewest and most groups.
    pub groups: [usize; 2],
    /// Which two groups are joined next.
    pub linkage: Linkage,
    /// How far apart two highlights are: `"profile"` (how their customers spread over the items, and the metric), `"overlap"` (customers
    /// they share), `"items"` (items their segments share), or weights of these, as in `{ profile = 0.7, items = 0.3 }`.
    pub distance: DistanceSpec,
    /// Whether to tell what k-means and a decision tree of as many parts would give, beside the groups, where these are 2 to 60.
    pub compare: bool,
    /// Numbers of groups of which one has a smaller share of the customers than this are passed over, if there are others. 0 to 1.
    pub min_group_share: f64,
    /// Up to so many are merged by one worker, which holds 8 bytes for each two of them; more are merged in rounds by all workers. With
    /// distances other than `"profile"` it has no effect but a note: these need the matrix, of 0.2 GB for 5000 highlights, the most
    /// that `highlight.top` allows. Range 1 to 20000.
    pub max_matrix: usize,
    /// What is kept of the previous run in the same `output.dir`.
    pub keep: Continuity,
}

/// What groups are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MergeOf {
    /// The highlights that held: some customers are in a group, the others in none.
    Highlights,
    /// The combinations of items of a few features that customers have: every customer is in exactly one group.
    Cells,
}

/// What a run keeps of the run before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Continuity {
    /// Ids and names of the groups that share customers with it; and where it is the same job on another table, what its groups were made
    /// of, as far as that still stands, so that customers change groups for a reason.
    Groups,
    /// Ids and names only: groups are made afresh.
    Ids,
    /// Nothing: groups are numbered from 1, and nothing is said of who went where.
    Nothing,
}

impl Default for MergeSpec {
    fn default() -> Self {
        MergeSpec {
            of: MergeOf::Highlights,
            by: Vec::new(),
            max_cells: 100_000,
            groups: [6, 10],
            linkage: Linkage::SmallestFirst,
            distance: DistanceSpec::Named(Distance::Profile),
            compare: true,
            min_group_share: 0.0,
            max_matrix: 5000,
            keep: Continuity::Groups,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Linkage {
    /// The smallest group joins its most similar neighbour, again and again.
    SmallestFirst,
    /// The pair whose joining adds least to the sum of squares (Ward, 1963); only with distances of profiles.
    Ward,
    /// The pair of groups whose highlights are nearest to each other on average (UPGMA; Sokal and Michener, 1958).
    Average,
    /// The pair of groups of which no two highlights are far from each other.
    Complete,
}

/// One distance, or weights of several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum DistanceSpec {
    Named(Distance),
    Weights(Mix),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Distance {
    Profile,
    Overlap,
    Items,
}

/// What each distance counts; in proportion.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Mix {
    pub profile: f64,
    pub overlap: f64,
    pub items: f64,
}

impl DistanceSpec {
    /// Of profile, overlap and items, in proportion.
    pub fn weights(&self) -> [f64; 3] {
        match self {
            DistanceSpec::Named(Distance::Profile) => [1.0, 0.0, 0.0],
            DistanceSpec::Named(Distance::Overlap) => [0.0, 1.0, 0.0],
            DistanceSpec::Named(Distance::Items) => [0.0, 0.0, 1.0],
            DistanceSpec::Weights(Mix { profile, overlap, items }) => [*profile, *overlap, *items],
        }
    }

    /// Whether customers that are shared count.
    pub fn overlaps(&self) -> bool {
        self.weights()[1] > 0.0
    }
}

impl MergeSpec {
    /// Checks what types cannot say; `range` is given the setting, its value, whether it is allowed, and what is.
    pub(super) fn check(
        &self,
        range: impl Fn(&str, String, bool, &str) -> Result<(), JobError>,
    ) -> Result<(), JobError> {
        let [fewest, most] = self.groups;
        let groups = 1 <= fewest && fewest <= most && most <= 1000;
        range("merge.groups", format!("{:?}", self.groups), groups, "expected [fewest, most], 1 to 1000")?;
        let share = self.min_group_share;
        range(
            "merge.min_group_share",
            share.to_string(),
            (0.0..=1.0).contains(&share),
            "expected a share from 0 to 1",
        )?;
        let weights = self.distance.weights();
        let (named, shown) = (["profile", "overlap", "items"], |w: f64| format!("{w:?}"));
        let shown: Vec<String> =
            named.iter().zip(weights).map(|(name, weight)| format!("{name} = {}", shown(weight))).collect();
        let shown = format!("{{ {} }}", shown.join(", "));
        let fine = weights.iter().all(|w| (0.0..=1e6).contains(w)) && weights.iter().sum::<f64>() > 0.0;
        range("merge.distance", shown.clone(), fine, "expected weights from 0 to 1e6, not all 0")?;
        range(
            "merge.distance",
            shown.clone(),
            self.linkage != Linkage::Ward || weights[1..] == [0.0, 0.0],
            "linkage = \"ward\" needs \"profile\" alone: sums of squares have no meaning for the others",
        )?;
        range(
            "merge.max_matrix",
            self.max_matrix.to_string(),
            (1..=MOST_MATRIX).contains(&self.max_matrix),
            "expected a number from 1 to 20000, which take 3.2 GB",
        )?;
        range(
            "merge.max_cells",
            self.max_cells.to_string(),
            (1..=MOST_CELLS).contains(&self.max_cells),
            "expected a number from 1 to 1000000",
        )?;
        let cells = self.of == MergeOf::Cells;
        let by = format!("{:?}", self.by);
        range("merge.by", by.clone(), cells || self.by.is_empty(), "only with merge.of = \"cells\"")?;
        let distinct = self.by.iter().collect::<BTreeSet<_>>().len() == self.by.len();
        range("merge.by", by, distinct && self.by.len() <= MAX_LEVEL, "expected up to 8 features, each once")?;
        range(
            "merge.distance",
            shown,
            !cells || weights[1..] == [0.0, 0.0],
            "merge.of = \"cells\" needs \"profile\" alone: cells share no customers, and all have items of the same features",
        )
    }
}
