//! The `[merge]` section: how highlights become groups.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::JobError;

/// How highlights become groups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MergeSpec {
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
}

impl Default for MergeSpec {
    fn default() -> Self {
        MergeSpec {
            groups: [6, 10],
            linkage: Linkage::SmallestFirst,
            distance: DistanceSpec::Named(Distance::Profile),
            compare: true,
            min_group_share: 0.0,
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
        range("merge.distance", shown.clone(), fine, "expected weights of 0 or more, not all 0")?;
        range(
            "merge.distance",
            shown,
            self.linkage != Linkage::Ward || weights[1..] == [0.0, 0.0],
            "linkage = \"ward\" needs \"profile\" alone: sums of squares have no meaning for the others",
        )
    }
}
