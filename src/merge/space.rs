//! Highlights as points: their profiles and their place on the metric's axis, in one Euclidean space.

use serde::{Deserialize, Serialize};

use super::distances::Distances;
use crate::highlight::{Direction, jaccard};
use crate::job::DistanceSpec;
use crate::profile::Profile;
use crate::score::position;
use crate::segment::Segment;
use crate::stats::{MetricKind, Scale, Stats};

/// What merging needs to know of a highlight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leaf {
    pub segment: Segment,
    /// Leaves of different directions never merge. All cells have one.
    pub direction: Direction,
    /// Its customers.
    pub uv: i64,
    /// Where it stands on the metric's axis: over its customers, of cells those of the discovery part.
    pub stats: Stats,
    /// Over its customers.
    pub profile: Profile,
    /// What it counts under Ward's and average linkage.
    pub weight: f64,
}

/// The share of the metric in a squared distance; the profiles have the rest. A lift four times another counts as much
/// of it as having no item in common counts of theirs.
const METRIC_WEIGHT: f64 = 0.25;

/// In which similarity is measured.
///
/// The squared distance of two sets of customers is
/// `3/4 * sum over features of w(f) * H(f)² + 1/4 * (difference of positions)²`, where `H(f)² = 1/2 * sum over items of
/// (sqrt(p) - sqrt(q))²` is the squared Hellinger distance of the features' item shares, in 0 to 1 (of a feature of tags the
/// shares of all mentions, as a customer has several or none; without any mention no share), and a position is that
/// of [`position`]. Being a sum of squared differences it is Euclidean, as Ward's linkage presupposes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Space {
    kind: MetricKind,
    scale: Scale,
    base: Stats,
    weights: Vec<f64>,
    /// Average customers that are added to a set before it is asked where it stands on the metric's axis.
    added: f64,
}

impl Space {
    /// Features are weighted by their influence on the metric, in proportion; alike if none has any. `influences` has
    /// one value a feature, finite and not negative.
    pub fn new(kind: MetricKind, scale: Scale, base: Stats, influences: &[f64]) -> Self {
        assert!(influences.iter().all(|&i| i.is_finite() && i >= 0.0), "influences are finite and not negative");
        let total: f64 = influences.iter().sum();
        let weights =
            influences.iter().map(|&i| if total > 0.0 { i / total } else { 1.0 / influences.len() as f64 }).collect();
        Space { kind, scale, base, weights, added: 0.0 }
    }

    /// Where the mean of few customers is not taken for what it says: see [`average_customers`](crate::score::average_customers).
    pub fn with_average_customers(self, added: f64) -> Space {
        Space { added, ..self }
    }

    /// The point of a set of customers: `sqrt(3/4 * w / 2 * share)` for each item, and half the position, which is 0 where nobody tells it.
    pub(super) fn point(&self, stats: &Stats, profile: &Profile) -> Vec<f64> {
        assert_eq!(profile.counts.len(), self.weights.len(), "one influence a feature");
        let mut point = Vec::with_capacity(profile.counts.iter().map(Vec::len).sum::<usize>() + 1);
        for (counts, weight) in profile.counts.iter().zip(&self.weights) {
            let total: i64 = counts.iter().sum();
            let unit = (1.0 - METRIC_WEIGHT) * weight / 2.0;
            point
                .extend(counts.iter().map(|&c| if total == 0 { 0.0 } else { (unit * c as f64 / total as f64).sqrt() }));
        }
        let position = if stats.uv == 0 { 0.0 } else { position(self.kind, self.scale, stats, &self.base, self.added) };
        point.push(METRIC_WEIGHT.sqrt() * position);
        point
    }
}

/// How far apart two highlights are: a weighted mean of up to three distances.
///
/// - `profile`: how their customers spread over the items and where they stand on the metric's axis, see [`Space`].
/// - `overlap`: `1 - |A ∩ B| / |A ∪ B|` over their customers (Jaccard, 1901).
/// - `items`: the same over the items that their segments say.
pub struct Apart<'a> {
    pub space: &'a Space,
    /// Adding up to 1.
    pub weights: Weights,
    /// The customers that two leaves share, by their places; asked only where overlap counts.
    pub shared: &'a (dyn Fn(usize, usize) -> i64 + Sync),
}

/// What each distance counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    pub profile: f64,
    pub overlap: f64,
    pub items: f64,
}

impl Weights {
    /// In proportion to what a job asks for.
    pub fn of(spec: &DistanceSpec) -> Weights {
        let [profile, overlap, items] = spec.weights();
        let all = profile + overlap + items;
        Weights { profile: profile / all, overlap: overlap / all, items: items / all }
    }
}

impl Apart<'_> {
    /// Between leaves at these places; squared where that is asked for.
    pub(super) fn distances(&self, leaves: &[Leaf], members: &[usize], squared: bool) -> Distances {
        let points =
            || members.iter().map(|&i| self.space.point(&leaves[i].stats, &leaves[i].profile)).collect::<Vec<_>>();
        let Weights { profile, .. } = self.weights;
        let profiles = (profile > 0.0).then(|| Distances::squared(&points()));
        if profile == 1.0 {
            let profiles = profiles.expect("made where it counts");
            return if squared { profiles } else { profiles.map(f64::sqrt) };
        }
        let of = |i: usize, j: usize| {
            let of_profile = profiles.as_ref().map_or(0.0, |all| profile * all.at(i, j).sqrt());
            of_profile + self.other(leaves, members[i], members[j])
        };
        let all = Distances::by(members.len(), of);
        if squared { all.map(|distance| distance * distance) } else { all }
    }

    /// What does not come from profiles, between one leaf and each; nothing where only profiles count.
    pub(super) fn others(&self, leaves: &[Leaf], leaf: usize) -> Vec<f64> {
        if self.weights.profile == 1.0 {
            return Vec::new();
        }
        (0..leaves.len()).map(|other| self.other(leaves, leaf, other)).collect()
    }

    fn other(&self, leaves: &[Leaf], i: usize, j: usize) -> f64 {
        let Weights { overlap, items, .. } = self.weights;
        let (a, b) = (&leaves[i], &leaves[j]);
        let mut sum = 0.0;
        if overlap > 0.0 {
            sum += overlap * (1.0 - jaccard((self.shared)(i, j), a.uv, b.uv));
        }
        if items > 0.0 {
            let shared = a.segment.items().filter(|item| b.segment.items().any(|other| other == *item)).count();
            sum += items * (1.0 - jaccard(shared as i64, a.segment.level() as i64, b.segment.level() as i64));
        }
        sum
    }
}

pub(super) fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(uv: i64, sum: i128) -> Stats {
        Stats { uv, sum, sq: sum, ..Stats::default() }
    }

    fn between(influences: &[f64], a: (Stats, [[i64; 2]; 2]), b: (Stats, [[i64; 2]; 2])) -> f64 {
        let space = Space::new(MetricKind::Rate, Scale::default(), rate(1000, 100), influences);
        let point = |(stats, counts): (Stats, [[i64; 2]; 2])| {
            space.point(&stats, &Profile { counts: counts.map(|c| c.to_vec()).to_vec() })
        };
        distance(&point(a), &point(b))
    }

    #[test]
    fn distance_is_weighted_hellinger_and_metric() {
        // Feature 0: (1, 0) against (0, 1): H² = 1. Feature 1: (1/2, 1/2) against (1/2, 1/2): 0. Same lift.
        let (a, b) = ([[50, 0], [25, 25]], [[0, 80], [40, 40]]);
        let same = (rate(50, 20), rate(80, 32));
        // Weights 1/4 and 3/4: sqrt(3/4 * 1/4).
        assert!((between(&[0.2, 0.6], (same.0, a), (same.1, b)) - 0.1875f64.sqrt()).abs() < 1e-15);
        // No influence known: 1/2 each.
        assert!((between(&[0.0, 0.0], (same.0, a), (same.1, b)) - 0.375f64.sqrt()).abs() < 1e-15);
        // Feature 1 (9/25, 16/25) against (1, 0): H² = ((1 - 3/5)² + (4/5)²) / 2 = 0.4. Lift 4 against 1: 1/4 more.
        let (c, d) = ([[50, 0], [18, 32]], [[80, 0], [80, 0]]);
        let found = between(&[0.0, 2.0], (rate(50, 20), c), (rate(80, 8), d));
        assert!((found - (0.75 * 0.4 + 0.25f64).sqrt()).abs() < 1e-15);
        // Nobody has any tag of feature 1: H² = 1/2 from those who have, 0 from each other.
        let (e, f) = ([[50, 0], [0, 0]], [[80, 0], [90, 20]]);
        assert!((between(&[0.0, 2.0], (same.0, e), (same.1, f)) - (0.75f64 * 0.5).sqrt()).abs() < 1e-15);
        assert_eq!(between(&[0.0, 2.0], (same.0, e), (same.1, e)), 0.0);
    }
}
