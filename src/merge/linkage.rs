//! Bottom-up merging of highlights, all the way to one cluster a direction.

use super::Merge;
use super::space::{Leaf, Space, distance};
use crate::highlight::Direction;
use crate::job::Linkage;
use crate::profile::Profile;
use crate::stats::Stats;

/// Every merge there can be: over- and under-performers end in one cluster each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree {
    /// Of each leaf.
    pub directions: Vec<Direction>,
    /// In the order in which they are done; the two directions' merges are interleaved.
    pub merges: Vec<Merge>,
}

/// The tree of the highlights, which are its leaves in their order.
///
/// - [`Linkage::SmallestFirst`]: the smallest cluster that has a partner of its direction joins the nearest of them, by
///   the distance of their pooled profiles and means; ties go to the lowest number. Distances may fall from merge to merge.
/// - [`Linkage::Ward`]: Ward's minimum variance (1963) with every highlight of weight 1, by the nearest-neighbour chain
///   (Murtagh, 1983) and the Lance-Williams update: per direction the tree of SciPy's `linkage(points, "ward")`. The
///   two directions' merges are ordered by distance. Takes 4 n² bytes for n highlights.
pub fn merge(linkage: Linkage, leaves: &[Leaf], space: &Space) -> Tree {
    let directions = leaves.iter().map(|l| l.direction).collect();
    let merges = match linkage {
        Linkage::SmallestFirst => smallest_first(leaves, space),
        Linkage::Ward => {
            let mut joins = Vec::new();
            for direction in [Direction::Over, Direction::Under] {
                let members: Vec<usize> = (0..leaves.len()).filter(|&i| leaves[i].direction == direction).collect();
                let points: Vec<Vec<f64>> =
                    members.iter().map(|&i| space.point(&leaves[i].stats, &leaves[i].profile)).collect();
                joins.extend(ward(&points).into_iter().map(|(a, b, height)| (members[a], members[b], height)));
            }
            let uv: Vec<i64> = leaves.iter().map(|l| l.stats.uv).collect();
            numbered(joins, &uv)
        }
    };
    Tree { directions, merges }
}

struct Cluster {
    number: usize,
    direction: Direction,
    stats: Stats,
    profile: Profile,
    point: Vec<f64>,
}

fn smallest_first(leaves: &[Leaf], space: &Space) -> Vec<Merge> {
    let mut clusters: Vec<Cluster> = leaves
        .iter()
        .enumerate()
        .map(|(number, leaf)| Cluster {
            number,
            direction: leaf.direction,
            stats: leaf.stats,
            profile: leaf.profile.clone(),
            point: space.point(&leaf.stats, &leaf.profile),
        })
        .collect();
    let mut merges = Vec::new();
    loop {
        let of = |direction| clusters.iter().filter(|c| c.direction == direction).count();
        let partnered = |direction| of(direction) > 1;
        let (over, under) = (partnered(Direction::Over), partnered(Direction::Under));
        let smallest = (0..clusters.len())
            .filter(|&i| if clusters[i].direction == Direction::Over { over } else { under })
            .min_by_key(|&i| (clusters[i].stats.uv, clusters[i].number));
        let Some(smallest) = smallest else { return merges };
        let cluster = clusters.swap_remove(smallest);
        let (nearest, height) = clusters
            .iter()
            .enumerate()
            .filter(|(_, c)| c.direction == cluster.direction)
            .map(|(i, c)| (i, distance(&cluster.point, &c.point)))
            .min_by(|(i, x), (j, y)| x.total_cmp(y).then(clusters[*i].number.cmp(&clusters[*j].number)))
            .expect("only clusters with a partner are chosen");
        let step = merges.len();
        let partner = &mut clusters[nearest];
        partner.stats = partner.stats + cluster.stats;
        partner.profile.add(&cluster.profile);
        partner.point = space.point(&partner.stats, &partner.profile);
        merges.push(Merge {
            step,
            left: cluster.number.min(partner.number),
            right: cluster.number.max(partner.number),
            distance: height,
            uv: partner.stats.uv,
        });
        partner.number = leaves.len() + step;
    }
}

/// Ward's tree over points of weight 1, as pairs of one leaf of either side and the distance, in no particular order.
fn ward(points: &[Vec<f64>]) -> Vec<(usize, usize, f64)> {
    let n = points.len();
    // Distances above the diagonal, row by row.
    let at = |i: usize, j: usize| {
        let (i, j) = if i < j { (i, j) } else { (j, i) };
        n * i - i * (i + 1) / 2 + (j - i - 1)
    };
    let mut distances = Vec::with_capacity(n * n.saturating_sub(1) / 2);
    for (i, a) in points.iter().enumerate() {
        distances.extend(points[i + 1..].iter().map(|b| distance(a, b)));
    }
    // A merged cluster takes the place of its later member; the other's size becomes 0.
    let mut sizes = vec![1usize; n];
    let mut chain: Vec<usize> = Vec::new();
    let mut joins = Vec::with_capacity(n.saturating_sub(1));
    for _ in 1..n {
        let (a, b, height) = loop {
            let Some(&tip) = chain.last() else {
                chain.push(sizes.iter().position(|&s| s > 0).expect("one cluster is left at the least"));
                continue;
            };
            // The previous link wins ties, or the chain could run in circles.
            let previous = chain.len().checked_sub(2).map(|i| chain[i]);
            let mut nearest = previous.map(|p| (distances[at(tip, p)], p));
            for i in (0..n).filter(|&i| sizes[i] > 0 && i != tip) {
                let d = distances[at(tip, i)];
                if nearest.is_none_or(|(least, _)| d < least) {
                    nearest = Some((d, i));
                }
            }
            let (height, nearest) = nearest.expect("a merge is left, so there are two clusters");
            if previous == Some(nearest) {
                chain.truncate(chain.len() - 2);
                break (tip.min(nearest), tip.max(nearest), height);
            }
            chain.push(nearest);
        };
        let (na, nb) = (sizes[a] as f64, sizes[b] as f64);
        sizes[b] += sizes[a];
        sizes[a] = 0;
        for i in (0..n).filter(|&i| sizes[i] > 0 && i != b) {
            let (to_a, to_b, ni) = (distances[at(i, a)], distances[at(i, b)], sizes[i] as f64);
            let t = 1.0 / (na + nb + ni);
            let square = (ni + na) * t * to_a * to_a + (ni + nb) * t * to_b * to_b - ni * t * height * height;
            // At least height², as a and b are nearest to each other: never negative.
            distances[at(i, b)] = square.sqrt();
        }
        joins.push((a, b, height));
    }
    joins
}

/// Merges in order of distance, those found first going first at ties, with their clusters numbered as in [`Merge`].
fn numbered(mut joins: Vec<(usize, usize, f64)>, uv: &[i64]) -> Vec<Merge> {
    joins.sort_by(|x, y| x.2.total_cmp(&y.2));
    // By number: the cluster it is part of, itself if none, and its customers.
    let mut parents: Vec<usize> = (0..uv.len()).collect();
    let mut uv = uv.to_vec();
    let mut merges = Vec::with_capacity(joins.len());
    for (step, (a, b, distance)) in joins.into_iter().enumerate() {
        let (a, b) = (root(&mut parents, a), root(&mut parents, b));
        let number = parents.len();
        parents.push(number);
        (parents[a], parents[b]) = (number, number);
        uv.push(uv[a] + uv[b]);
        merges.push(Merge { step, left: a.min(b), right: a.max(b), distance, uv: uv[number] });
    }
    merges
}

fn root(parents: &mut [usize], mut number: usize) -> usize {
    while parents[number] != number {
        parents[number] = parents[parents[number]];
        number = parents[number];
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{MetricKind, Scale};
    use proptest::prelude::*;

    fn rate(uv: i64, sum: i128) -> Stats {
        Stats { uv, sum, sq: sum, ..Stats::default() }
    }

    fn leaf(direction: Direction, stats: Stats, counts: &[i64]) -> Leaf {
        Leaf { direction, stats, profile: Profile { counts: vec![counts.to_vec()] } }
    }

    fn space() -> Space {
        Space::new(MetricKind::Rate, Scale::default(), rate(10_000, 1000), &[1.0])
    }

    fn joined(tree: &Tree) -> Vec<(usize, usize)> {
        tree.merges.iter().map(|m| (m.left, m.right)).collect()
    }

    #[test]
    fn the_smallest_joins_its_most_similar_neighbour_again_and_again() {
        use Direction::{Over, Under};
        // All over-performers at 40 %, so only the profile tells them apart. 2 is the smallest and nearest to 0, with
        // which it becomes 6 (160 customers). 4, the only under-performer, has no partner and waits for ever, smaller
        // though it is. Then 1 (90) is next, nearest to 3, and makes 7 (290). Last, 6 (160) joins the nearer of 5 and 7.
        let leaves = [
            leaf(Over, rate(100, 40), &[90, 10, 0]),
            leaf(Over, rate(90, 36), &[0, 0, 90]),
            leaf(Over, rate(60, 24), &[60, 0, 0]),
            leaf(Over, rate(200, 80), &[0, 20, 180]),
            leaf(Under, rate(20, 0), &[20, 0, 0]),
            leaf(Over, rate(170, 68), &[60, 110, 0]),
        ];
        let tree = merge(Linkage::SmallestFirst, &leaves, &space());
        assert_eq!(joined(&tree), [(0, 2), (1, 3), (5, 6), (7, 8)]);
        assert_eq!(tree.merges.iter().map(|m| m.uv).collect::<Vec<_>>(), [160, 290, 330, 620]);
        // (1, 0, 0) against (0.9, 0.1, 0): H² = 1 - sqrt(0.9), and the metric adds nothing.
        assert!((tree.merges[0].distance - (0.75 * (1.0 - 0.9f64.sqrt())).sqrt()).abs() < 1e-12);
        // Profiles add: 6 is (150, 10, 0) of 160, 5 is (60, 110, 0) of 170: H² = 1 - sum of sqrt(p q).
        let h = 1.0 - (150.0f64 * 60.0 / (160.0 * 170.0)).sqrt() - (10.0f64 * 110.0 / (160.0 * 170.0)).sqrt();
        assert!((tree.merges[2].distance - (0.75 * h).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn clusters_of_one_size_and_one_place_merge_in_the_order_of_their_numbers() {
        let leaves = vec![leaf(Direction::Over, rate(50, 20), &[50, 0]); 4];
        assert_eq!(joined(&merge(Linkage::SmallestFirst, &leaves, &space())), [(0, 1), (2, 3), (4, 5)]);
        let ward = merge(Linkage::Ward, &leaves, &space());
        assert!(ward.merges.iter().all(|m| m.distance == 0.0) && ward.merges.len() == 3);
    }

    #[test]
    fn few_leaves_leave_nothing_to_merge() {
        for linkage in [Linkage::SmallestFirst, Linkage::Ward] {
            assert!(merge(linkage, &[], &space()).merges.is_empty());
            let pair = [leaf(Direction::Over, rate(50, 20), &[50, 0]), leaf(Direction::Under, rate(50, 0), &[50, 0])];
            assert!(merge(linkage, &pair, &space()).merges.is_empty());
        }
    }

    /// Points in the unit cube by the generator of the C standard's example: x = (1103515245 x + 12345) mod 2^31.
    fn scattered(n: usize, dimensions: usize) -> Vec<Vec<f64>> {
        let mut x = 1u64;
        let mut next = || {
            x = (1_103_515_245 * x + 12_345) % (1 << 31);
            x as f64 / f64::from(1u32 << 31)
        };
        (0..n).map(|_| (0..dimensions).map(|_| next()).collect()).collect()
    }

    #[test]
    fn wards_tree_is_that_of_scipy() {
        // numpy 2.4, scipy 1.17: linkage(points, "ward")[:, :3], points the 30 of `scattered(30, 4)`.
        let expected: [(usize, usize, f64); 29] = [
            (22, 24, 0.152437195334423),
            (1, 5, 0.17209435152475178),
            (7, 29, 0.20201778206452226),
            (20, 26, 0.21730642506506795),
            (4, 8, 0.22443800482078866),
            (10, 21, 0.23604582603650506),
            (9, 25, 0.2538888316368521),
            (3, 17, 0.25552843163931516),
            (6, 11, 0.2592012182797769),
            (0, 2, 0.2728988438194163),
            (27, 30, 0.2871249723017718),
            (13, 28, 0.30697486359528814),
            (16, 33, 0.37047833651903006),
            (15, 38, 0.38630702453231464),
            (19, 41, 0.424772855661185),
            (23, 40, 0.45396243944739945),
            (39, 42, 0.501737063902642),
            (32, 34, 0.5026814798823949),
            (18, 46, 0.5568062665386719),
            (35, 37, 0.5659406749629446),
            (14, 43, 0.5901043581890797),
            (12, 49, 0.7737044863874336),
            (44, 50, 0.8058244458014641),
            (45, 47, 0.8986487072498519),
            (31, 48, 0.9241848556923901),
            (36, 54, 1.2458915891149427),
            (51, 53, 1.6953674579671454),
            (52, 55, 2.052577732167961),
            (56, 57, 2.145578709494944),
        ];
        let merges = numbered(ward(&scattered(30, 4)), &[1; 30]);
        for (merge, (left, right, distance)) in merges.iter().zip(expected) {
            assert_eq!((merge.left, merge.right), (left, right), "step {}", merge.step);
            assert!((merge.distance - distance).abs() < 1e-9 * distance, "step {}", merge.step);
        }
        assert_eq!((merges.len(), merges[28].uv), (29, 30));
    }

    fn leaves() -> impl Strategy<Value = Vec<Leaf>> {
        let one = (any::<bool>(), prop::collection::vec(0i64..50, 3), 1i64..100, 0.0..=1f64).prop_map(
            |(over, counts, uv, share)| {
                let direction = if over { Direction::Over } else { Direction::Under };
                leaf(direction, rate(uv, (share * uv as f64) as i128), &counts)
            },
        );
        prop::collection::vec(one, 0..25)
    }

    proptest! {
        #[test]
        fn every_tree_joins_each_cluster_once_and_never_over_with_under(leaves in leaves()) {
            for linkage in [Linkage::SmallestFirst, Linkage::Ward] {
                let tree = merge(linkage, &leaves, &space());
                let mut clusters: Vec<Option<(Direction, i64)>> =
                    leaves.iter().map(|l| Some((l.direction, l.stats.uv))).collect();
                for (step, m) in tree.merges.iter().enumerate() {
                    prop_assert!(m.left < m.right && m.step == step && m.distance >= 0.0 && m.distance.is_finite());
                    let left = clusters[m.left].take().expect("joined once");
                    let right = clusters[m.right].take().expect("joined once");
                    prop_assert_eq!(left.0, right.0);
                    prop_assert_eq!(left.1 + right.1, m.uv);
                    clusters.push(Some((left.0, m.uv)));
                }
                let mut left: Vec<Direction> = clusters.into_iter().flatten().map(|c| c.0).collect();
                left.sort();
                let count = left.len();
                left.dedup();
                prop_assert_eq!(left.len(), count, "one cluster a direction is left");
                if linkage == Linkage::Ward {
                    prop_assert!(tree.merges.is_sorted_by(|a, b| a.distance <= b.distance));
                }
            }
        }
    }
}
