//! How good a number of groups is, beside what the next merge would cost.

use serde::{Deserialize, Serialize};

use super::distances::Distances;
use super::space::{Apart, Leaf};
use crate::highlight::Direction;
use crate::score::between_share;
use crate::stats::{MetricKind, Stats};

/// What some groups are worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Worth {
    /// Share of the metric's variance over all customers that lies between the groups and the customers of none.
    pub explained: Option<f64>,
    /// Mean over the highlights of how much nearer each is to its own group than to the next one of its direction, from -1 to 1; none
    /// where no direction has several groups.
    pub silhouette: Option<f64>,
    /// Customers of the smallest group.
    pub smallest: i64,
}

/// Judges groupings of some leaves.
pub struct Judge<'a> {
    kind: MetricKind,
    base: Stats,
    /// What each leaf takes of the customers, over the primary metric: nobody is taken twice.
    taken: &'a [Stats],
    /// Leaves of each direction, and how far apart they are.
    apart: Vec<(Vec<usize>, Distances)>,
}

/// Of more leaves of one direction than this, evenly many in a row are passed over where all their distances are looked at.
const LOOKED_AT: usize = 5000;

impl<'a> Judge<'a> {
    pub fn new(kind: MetricKind, base: Stats, taken: &'a [Stats], leaves: &[Leaf], apart: &Apart) -> Judge<'a> {
        assert_eq!(taken.len(), leaves.len(), "one sum a leaf");
        let of = |direction: Direction| {
            let all: Vec<usize> = (0..leaves.len()).filter(|&i| leaves[i].direction == direction).collect();
            let members: Vec<usize> = all.iter().step_by(all.len().div_ceil(LOOKED_AT).max(1)).copied().collect();
            let distances = apart.distances(leaves, &members, false);
            (members, distances)
        };
        Judge { kind, base, taken, apart: [Direction::Over, Direction::Under].map(of).into() }
    }

    /// Of groups as lists of leaves.
    pub fn worth(&self, groups: &[Vec<usize>]) -> Worth {
        let of = |group: &Vec<usize>| group.iter().map(|&leaf| self.taken[leaf]).sum::<Stats>();
        let mut sums: Vec<Stats> = groups.iter().map(of).collect();
        let smallest = sums.iter().map(|sum| sum.uv).min().unwrap_or(0);
        let all: Stats = sums.iter().copied().sum();
        sums.push(self.base - all);
        Worth { explained: between_share(self.kind, &sums, &self.base), silhouette: self.silhouette(groups), smallest }
    }

    /// The mean silhouette (Rousseeuw, 1987): of each leaf `(b - a) / max(a, b)`, with a its mean distance to the others of its group
    /// and b the least mean distance to another group of its direction; 0 for a leaf that is alone. Of very many leaves, over some.
    fn silhouette(&self, groups: &[Vec<usize>]) -> Option<f64> {
        let (mut sum, mut count) = (0.0, 0usize);
        for (members, distances) in &self.apart {
            let place = |leaf: &usize| members.binary_search(leaf).ok();
            let own = groups.iter().map(|group| group.iter().filter_map(place).collect::<Vec<usize>>());
            let own: Vec<Vec<usize>> = own.filter(|group| !group.is_empty()).collect();
            if own.len() < 2 {
                continue;
            }
            let mean = |leaf: usize, group: &[usize]| {
                let others = group.iter().filter(|other| **other != leaf);
                others.clone().map(|&other| distances.at(leaf, other)).sum::<f64>() / others.count() as f64
            };
            for (number, group) in own.iter().enumerate() {
                for &leaf in group {
                    count += 1;
                    if group.len() == 1 {
                        continue;
                    }
                    let within = mean(leaf, group);
                    let others = own.iter().enumerate().filter(|(other, _)| *other != number);
                    let nearest = others.map(|(_, other)| mean(leaf, other)).fold(f64::INFINITY, f64::min);
                    let larger = within.max(nearest);
                    sum += if larger > 0.0 { (nearest - within) / larger } else { 0.0 };
                }
            }
        }
        (count > 0).then(|| sum / count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::space::{Space, Weights};
    use crate::profile::Profile;
    use crate::segment::Segment;
    use crate::stats::Scale;

    fn rate(uv: i64, sum: i128) -> Stats {
        Stats { uv, sum, sq: sum, ..Stats::default() }
    }

    #[test]
    fn groups_are_judged_by_variance_distance_and_size() {
        // Of 1,000 customers 100 say yes: 20 of the 40 in two groups, 80 of the 960 in none.
        let leaves: Vec<Leaf> = [(20, 12), (10, 6), (10, 2)]
            .map(|(uv, sum)| Leaf {
                segment: Segment::BASE,
                direction: Direction::Over,
                uv,
                stats: rate(uv, sum),
                profile: Profile { counts: vec![vec![uv]] },
                weight: 1.0,
            })
            .to_vec();
        let taken: Vec<Stats> = leaves.iter().map(|leaf| leaf.stats).collect();
        let space = Space::new(MetricKind::Rate, Scale::default(), rate(1000, 100), &[1.0]);
        let weights = Weights { profile: 0.0, overlap: 1.0, items: 0.0 };
        // Jaccard distances by hand: 0 and 1 share 10 of 20, the others nobody.
        let shared = |i: usize, j: usize| if i + j == 1 { 10 } else { 0 };
        let apart = Apart { space: &space, weights, shared: &shared };
        let judge = Judge::new(MetricKind::Rate, rate(1000, 100), &taken, &leaves, &apart);
        let quality = judge.worth(&[vec![0, 1], vec![2]]);
        assert_eq!(quality.smallest, 10);
        // 30 at 60 %, 10 at 20 %, 960 at 80/960; the base's variance 90 over all.
        let between = 30.0 * 0.25 + 10.0 * 0.01 + 960.0 * (80.0f64 / 960.0 - 0.1).powi(2);
        assert!((quality.explained.expect("a rate varies") - between / 90.0).abs() < 1e-12);
        // 0 and 1 are half apart and 1 from the other; that one is alone.
        assert!((quality.silhouette.expect("two groups") - (0.5 + 0.5 + 0.0) / 3.0).abs() < 1e-12);
        assert_eq!(judge.worth(&[vec![0, 1, 2]]).silhouette, None);
    }
}
