//! Leaves and small clusters that join the cluster whose centroid is nearest: where there are too many leaves for all their distances.

use super::space::{Leaf, Space};
use super::{Clusters, Merge};
use crate::simd;

/// The clusters of leaves with a home, and of every other leaf the nearest of these, clusters by their first leaf.
///
/// `home` has, of each leaf, the id of the group that it was of; at least one has.
pub fn join_nearest(leaves: &[Leaf], home: &[Option<u32>], space: &Space) -> Vec<Vec<usize>> {
    let mut ids: Vec<u32> = home.iter().flatten().copied().collect();
    ids.sort_unstable();
    ids.dedup();
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); ids.len()];
    for (leaf, id) in home.iter().enumerate().filter_map(|(leaf, id)| Some((leaf, (*id)?))) {
        members[ids.partition_point(|known| *known < id)].push(leaf);
    }
    // All are measured against what was there: none of them moves a centroid on the way of another.
    let centroids: Vec<Vec<f64>> = members.iter().map(|members| centroid(leaves, members, space)).collect();
    for leaf in (0..leaves.len()).filter(|&leaf| home[leaf].is_none()) {
        let (at, _) = nearest(&point(&leaves[leaf], space), &centroids);
        members[at].push(leaf);
    }
    members.iter_mut().for_each(|members| members.sort_unstable());
    members.sort_unstable();
    members
}

/// Clusters of fewer than `least` customers, the smallest first, join the nearest, as long as there are several.
pub fn absorb(clusters: Clusters, leaves: &[Leaf], space: &Space, least: i64) -> Clusters {
    let Clusters { mut members, mut merges, mut reason, .. } = clusters;
    let uv = |members: &[usize]| members.iter().map(|&leaf| leaves[leaf].uv).sum::<i64>();
    let before = members.len();
    while members.len() > 1
        && let Some((small, at)) =
            (0..).zip(&members).map(|(at, own)| (uv(own), at)).min().filter(|(uv, _)| *uv < least)
    {
        let own = members.remove(at);
        let centroids: Vec<Vec<f64>> = members.iter().map(|members| centroid(leaves, members, space)).collect();
        let (into, distance) = nearest(&centroid(leaves, &own, space), &centroids);
        // Groups that were kept have no merges.
        if !merges.is_empty() {
            let [a, b] = [own[0], members[into][0]].map(|leaf| cluster_of(leaf, leaves.len(), &merges));
            let (step, uv) = (merges.len(), small + uv(&members[into]));
            merges.push(Merge { step, left: a.min(b), right: a.max(b), distance, uv });
        }
        members[into].extend(own);
        members[into].sort_unstable();
        members.sort_unstable();
    }
    if members.len() < before {
        let joined = before - members.len();
        reason.push_str(&format!("; {joined} of fewer than {least} customers joined the nearest (privacy floor)"));
    }
    Clusters { members, merges, reason, ..clusters }
}

fn point(leaf: &Leaf, space: &Space) -> Vec<f64> {
    space.point(&leaf.stats, &leaf.profile)
}

fn centroid(leaves: &[Leaf], members: &[usize], space: &Space) -> Vec<f64> {
    let (mut sum, mut weight) = (Vec::new(), 0.0);
    for leaf in members.iter().map(|&leaf| &leaves[leaf]) {
        let point = point(leaf, space);
        sum.resize(point.len(), 0.0);
        sum.iter_mut().zip(&point).for_each(|(sum, value): (&mut f64, _)| *sum += leaf.weight * value);
        weight += leaf.weight;
    }
    sum.iter_mut().for_each(|sum| *sum /= weight);
    sum
}

/// Which of some centroids is nearest to a point, the first of equal ones, and how far.
fn nearest(point: &[f64], centroids: &[Vec<f64>]) -> (usize, f64) {
    let squares = centroids.iter().enumerate().map(|(at, centroid)| (at, simd::square(point, centroid)));
    let (at, square) = squares.min_by(|a, b| a.1.total_cmp(&b.1)).expect("there is a cluster to join");
    (at, square.sqrt())
}

/// The number of the cluster that a leaf has come into.
fn cluster_of(leaf: usize, leaves: usize, merges: &[Merge]) -> usize {
    let into = |own, merge: &Merge| if merge.left == own || merge.right == own { leaves + merge.step } else { own };
    merges.iter().fold(leaf, into)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::highlight::Direction;
    use crate::profile::Profile;
    use crate::segment::Segment;
    use crate::stats::{MetricKind, Scale, Stats};

    /// Cells on a line: shares of an item in hundredths, with customers.
    fn cells(places: &[(i64, i64)]) -> (Vec<Leaf>, Space) {
        let leaf = |&(place, uv): &(i64, i64)| Leaf {
            segment: Segment::BASE,
            uv,
            weight: uv as f64,
            direction: Direction::Over,
            stats: Stats { uv, sum: uv as i128 / 5, sq: uv as i128 / 5, ..Stats::default() },
            profile: Profile { counts: vec![vec![place, 100 - place]] },
        };
        let base = Stats { uv: 1000, sum: 200, sq: 200, ..Stats::default() };
        (places.iter().map(leaf).collect(), Space::new(MetricKind::Rate, Scale::default(), base, &[1.0]))
    }

    #[test]
    fn new_cells_join_the_nearest_group_of_those_that_were() {
        let (cells, space) = cells(&[(10, 500), (90, 100), (20, 10), (60, 400), (30, 100)]);
        let home = [Some(7), Some(3), None, None, Some(7)];
        // 60 is nearer to the centroid of 90 than to that of 10 and 30, which lies near 10.
        assert_eq!(join_nearest(&cells, &home, &space), [vec![0, 2, 4], vec![1, 3]]);
    }

    #[test]
    fn clusters_of_too_few_customers_join_the_nearest() {
        let (cells, space) = cells(&[(10, 500), (90, 300), (80, 5), (20, 5), (21, 5)]);
        let merge = Merge { step: 0, left: 3, right: 4, distance: 0.1, uv: 10 };
        let members = vec![vec![0], vec![1], vec![2], vec![3, 4]];
        let clusters = Clusters { members, merges: vec![merge], reason: "4 groups".into(), ..Clusters::default() };
        let found = absorb(clusters.clone(), &cells, &space, 11);
        assert_eq!(found.members, [vec![0, 3, 4], vec![1, 2]]);
        let joins: Vec<_> = found.merges.iter().map(|m| (m.step, m.left, m.right, m.uv)).collect();
        assert_eq!(joins, [(0, 3, 4, 10), (1, 1, 2, 305), (2, 0, 5, 510)]);
        assert_eq!(found.reason, "4 groups; 2 of fewer than 11 customers joined the nearest (privacy floor)");
        assert_eq!(absorb(clusters.clone(), &cells, &space, 5), clusters);
        assert_eq!(absorb(clusters, &cells, &space, 5000).members, [vec![0, 1, 2, 3, 4]]);
    }
}
