//! Bottom-up merging of highlights, all the way to one cluster a direction.

use super::Merge;
use super::distances::{Distances, chain};
use super::space::{Apart, Leaf, distance};
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
///   the distance of their pooled profiles and means, and the mean distance of their leaves in everything else; ties go to the
///   lowest number. Distances may fall from merge to merge.
/// - [`Linkage::Ward`] (1963), [`Linkage::Average`] and [`Linkage::Complete`], each leaf with its weight: per direction the
///   tree of SciPy's `linkage`. The two directions' merges are ordered by distance. They take 8 n² bytes for n highlights.
pub fn merge(linkage: Linkage, leaves: &[Leaf], apart: &Apart) -> Tree {
    let directions = leaves.iter().map(|l| l.direction).collect();
    let merges = match linkage {
        Linkage::SmallestFirst => smallest_first(leaves, apart),
        Linkage::Ward | Linkage::Average | Linkage::Complete => {
            let mut joins = Vec::new();
            for direction in [Direction::Over, Direction::Under] {
                let members: Vec<usize> = (0..leaves.len()).filter(|&i| leaves[i].direction == direction).collect();
                let squared = linkage == Linkage::Ward;
                let distances = apart.distances(leaves, &members, squared);
                let weights: Vec<f64> = members.iter().map(|&leaf| leaves[leaf].weight).collect();
                joins.extend(
                    chain(linkage, distances, &weights).into_iter().map(|(a, b, h)| (members[a], members[b], h)),
                );
            }
            let uv: Vec<i64> = leaves.iter().map(|l| l.uv).collect();
            numbered(joins, &uv)
        }
    };
    Tree { directions, merges }
}

/// The same of points in a Euclidean space, each of one customer: what the linkages that are exact do for either direction.
pub fn merge_points(linkage: Linkage, points: &[Vec<f64>]) -> Vec<Merge> {
    let squared = Distances::squared(points);
    let distances = if linkage == Linkage::Ward { squared } else { squared.map(f64::sqrt) };
    numbered(chain(linkage, distances, &vec![1.0; points.len()]), &vec![1; points.len()])
}

struct Cluster {
    number: usize,
    direction: Direction,
    uv: i64,
    stats: Stats,
    profile: Profile,
    point: Vec<f64>,
    /// Leaves.
    size: f64,
    /// To each leaf's place, but for profiles: the mean over the leaves of both clusters, where the place still stands for one.
    others: Vec<f64>,
}

fn smallest_first(leaves: &[Leaf], apart: &Apart) -> Vec<Merge> {
    // By the place of a leaf; a merged cluster has that of its larger part.
    let mut clusters: Vec<Option<Cluster>> = leaves
        .iter()
        .enumerate()
        .map(|(number, leaf)| {
            Some(Cluster {
                number,
                direction: leaf.direction,
                uv: leaf.uv,
                stats: leaf.stats,
                profile: leaf.profile.clone(),
                point: apart.space.point(&leaf.stats, &leaf.profile),
                size: 1.0,
                others: apart.others(leaves, number),
            })
        })
        .collect();
    let mut merges = Vec::new();
    loop {
        let there = || clusters.iter().enumerate().filter_map(|(place, cluster)| Some((place, cluster.as_ref()?)));
        let partnered = |direction| there().filter(|(_, c)| c.direction == direction).nth(1).is_some();
        let (over, under) = (partnered(Direction::Over), partnered(Direction::Under));
        let smallest = there()
            .filter(|(_, c)| if c.direction == Direction::Over { over } else { under })
            .min_by_key(|(_, c)| (c.uv, c.number));
        let Some((smallest, cluster)) = smallest else { return merges };
        let between = |place: usize, other: &Cluster| {
            let of_profile = if apart.weights.profile > 0.0 { distance(&cluster.point, &other.point) } else { 0.0 };
            apart.weights.profile * of_profile + cluster.others.get(place).copied().unwrap_or(0.0)
        };
        let (nearest, height) = there()
            .filter(|(place, c)| *place != smallest && c.direction == cluster.direction)
            .map(|(place, c)| (place, between(place, c)))
            .min_by(|(i, x), (j, y)| {
                let number = |place: &usize| clusters[*place].as_ref().map(|c| c.number);
                x.total_cmp(y).then_with(|| number(i).cmp(&number(j)))
            })
            .expect("only clusters with a partner are chosen");
        let cluster = clusters[smallest].take().expect("it is there");
        let step = merges.len();
        let partner = clusters[nearest].as_mut().expect("it is there");
        partner.uv += cluster.uv;
        partner.stats = partner.stats + cluster.stats;
        partner.profile.add(&cluster.profile);
        partner.point = apart.space.point(&partner.stats, &partner.profile);
        let (own, more) = (partner.size, cluster.size);
        let mean = |a: f64, b: f64| (own * a + more * b) / (own + more);
        partner.others.iter_mut().zip(&cluster.others).for_each(|(a, b)| *a = mean(*a, *b));
        partner.size += more;
        merges.push(Merge {
            step,
            left: cluster.number.min(partner.number),
            right: cluster.number.max(partner.number),
            distance: height,
            uv: partner.uv,
        });
        partner.number = leaves.len() + step;
        let others = partner.others.clone();
        for (cluster, other) in clusters.iter_mut().zip(others) {
            if let Some(cluster) = cluster {
                cluster.others[nearest] = other;
            }
        }
    }
}

/// Merges in order of distance, those found first going first at ties.
fn numbered(mut joins: Vec<(usize, usize, f64)>, uv: &[i64]) -> Vec<Merge> {
    joins.sort_by(|x, y| x.2.total_cmp(&y.2));
    let mut forest = Forest::new(uv);
    joins.into_iter().for_each(|(a, b, distance)| forest.join(a, b, distance));
    forest.merges
}

/// Clusters as they merge, numbered as in [`Merge`].
pub(super) struct Forest {
    /// By number: the cluster it is part of, itself if none.
    parents: Vec<usize>,
    /// By number.
    uv: Vec<i64>,
    pub merges: Vec<Merge>,
}

impl Forest {
    /// Leaves of so many customers.
    pub fn new(uv: &[i64]) -> Forest {
        Forest { parents: (0..uv.len()).collect(), uv: uv.to_vec(), merges: Vec::new() }
    }

    /// The number of the cluster that a leaf is in.
    pub fn number(&mut self, leaf: usize) -> usize {
        let mut number = leaf;
        while self.parents[number] != number {
            self.parents[number] = self.parents[self.parents[number]];
            number = self.parents[number];
        }
        number
    }

    /// Joins the clusters that two leaves are in.
    pub fn join(&mut self, a: usize, b: usize, distance: f64) {
        let (a, b) = (self.number(a), self.number(b));
        let (step, number) = (self.merges.len(), self.parents.len());
        self.parents.push(number);
        (self.parents[a], self.parents[b]) = (number, number);
        self.uv.push(self.uv[a] + self.uv[b]);
        self.merges.push(Merge { step, left: a.min(b), right: a.max(b), distance, uv: self.uv[number] });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::space::{Space, Weights};
    use crate::segment::{Item, Segment};
    use crate::stats::{MetricKind, Scale};
    use proptest::prelude::*;

    fn rate(uv: i64, sum: i128) -> Stats {
        Stats { uv, sum, sq: sum, ..Stats::default() }
    }

    fn leaf(direction: Direction, stats: Stats, counts: &[i64]) -> Leaf {
        let profile = Profile { counts: vec![counts.to_vec()] };
        Leaf { segment: Segment::BASE, direction, uv: stats.uv, stats, profile, weight: 1.0 }
    }

    const ALL: [Linkage; 4] = [Linkage::SmallestFirst, Linkage::Ward, Linkage::Average, Linkage::Complete];
    const PROFILE: Weights = Weights { profile: 1.0, overlap: 0.0, items: 0.0 };

    fn tree(linkage: Linkage, leaves: &[Leaf]) -> Tree {
        merge(linkage, leaves, &Apart { space: &space(), weights: PROFILE, shared: &|_, _| 0 })
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
        let tree = tree(Linkage::SmallestFirst, &leaves);
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
        assert_eq!(joined(&tree(Linkage::SmallestFirst, &leaves)), [(0, 1), (2, 3), (4, 5)]);
        let ward = tree(Linkage::Ward, &leaves);
        assert!(ward.merges.iter().all(|m| m.distance == 0.0) && ward.merges.len() == 3);
    }

    #[test]
    fn few_leaves_leave_nothing_to_merge() {
        for linkage in ALL {
            assert!(tree(linkage, &[]).merges.is_empty());
            let pair = [leaf(Direction::Over, rate(50, 20), &[50, 0]), leaf(Direction::Under, rate(50, 0), &[50, 0])];
            assert!(tree(linkage, &pair).merges.is_empty());
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
        let merges = merge_points(Linkage::Ward, &scattered(30, 4));
        for (merge, (left, right, distance)) in merges.iter().zip(expected) {
            assert_eq!((merge.left, merge.right), (left, right), "step {}", merge.step);
            assert!((merge.distance - distance).abs() < 1e-9 * distance, "step {}", merge.step);
        }
        assert_eq!((merges.len(), merges[28].uv), (29, 30));
    }

    #[test]
    fn average_and_complete_linkage_end_as_scipys_do() {
        // The same; the last merges of "average" and of "complete", and the sum of all heights.
        let average = [
            (14, 43, 0.516374697569),
            (47, 51, 0.538901289598702),
            (31, 49, 0.570849443343988),
            (12, 48, 0.64417938340363),
            (36, 53, 0.754813785440966),
            (50, 54, 0.793344123409552),
            (55, 56, 0.842293546458713),
            (52, 57, 0.880621761197721),
        ];
        let complete = [
            (41, 49, 0.634286459200039),
            (12, 31, 0.748977336337544),
            (45, 47, 0.770285855257477),
            (48, 52, 0.814201715499351),
            (36, 50, 0.907910930281917),
            (51, 55, 1.10904382873291),
            (53, 54, 1.18536930845026),
            (56, 57, 1.55440536982295),
        ];
        for (linkage, expected, sum) in
            [(Linkage::Average, average, 12.01743354261102), (Linkage::Complete, complete, 14.860401809476299)]
        {
            let merges = merge_points(linkage, &scattered(30, 4));
            for (merge, (left, right, distance)) in merges[21..].iter().zip(expected) {
                assert_eq!((merge.left, merge.right), (left, right), "{linkage:?} step {}", merge.step);
                assert!((merge.distance - distance).abs() < 1e-9 * distance, "{linkage:?} step {}", merge.step);
            }
            assert!((merges.iter().map(|merge| merge.distance).sum::<f64>() - sum).abs() < 1e-9, "{linkage:?}");
        }
    }

    #[test]
    fn what_two_highlights_are_apart_is_mixed_as_asked_for() {
        let segment = |items: &[u16]| {
            Segment::of_items(&items.iter().map(|&feature| Item { feature, code: 0 }).collect::<Vec<_>>())
        };
        let with = |uv: i64, items: &[u16]| Leaf {
            segment: segment(items),
            ..leaf(Direction::Over, rate(uv, uv as i128 * 4 / 10), &[uv, 0])
        };
        // 0 and 1 share 30 of 120 customers and one of three items; 2 shares all of its 50 with 0, and no item.
        let leaves = [with(100, &[0, 1]), with(50, &[1, 2]), with(50, &[3])];
        let shared = |i: usize, j: usize| [[100, 30, 50], [30, 50, 10], [50, 10, 50]][i][j];
        let space = space();
        let first = |weights| {
            let apart = Apart { space: &space, weights, shared: &shared };
            ALL[2..].iter().chain([&ALL[0]]).map(|&l| merge(l, &leaves, &apart).merges[0].clone()).collect::<Vec<_>>()
        };
        // 1 - 50/100; 1 - 1/3; and half of each: 1/2 (1 - 1/4) + 1/2 * 2/3 against 1/2 * 1/2 + 1/2.
        for (weights, pair, distance) in [
            (Weights { profile: 0.0, overlap: 1.0, items: 0.0 }, (0, 2), 0.5),
            (Weights { profile: 0.0, overlap: 0.0, items: 1.0 }, (0, 1), 2.0 / 3.0),
            (Weights { profile: 0.0, overlap: 0.5, items: 0.5 }, (0, 1), 0.5 * 0.75 + 1.0 / 3.0),
        ] {
            for merge in first(weights) {
                // The smallest is 1 under smallest_first, and joins its nearest.
                if (merge.left, merge.right) == pair {
                    assert!((merge.distance - distance).abs() < 1e-12, "{merge:?}");
                } else {
                    assert_eq!((merge.left, merge.right, weights.overlap), (0, 1, 1.0), "{merge:?}");
                }
            }
        }
        // Profiles, of which all three have the same, count nothing of what they are apart.
        let mixed =
            Apart { space: &space, weights: Weights { profile: 0.5, overlap: 0.5, items: 0.0 }, shared: &shared };
        let merges = merge(Linkage::Average, &leaves, &mixed).merges;
        assert!((merges[0].distance - 0.25).abs() < 1e-12);
        // To 0 and 2 together: the mean of 3/4 and 1 - 10/90.
        assert!((merges[1].distance - 0.5 * (0.75 + 8.0 / 9.0) / 2.0).abs() < 1e-12);
        let smallest = merge(Linkage::SmallestFirst, &leaves, &mixed).merges;
        assert_eq!((smallest[0].left, smallest[0].right), (0, 1));
        assert!((smallest[1].distance - 0.5 * (0.5 + 8.0 / 9.0) / 2.0).abs() < 1e-12);
    }

    /// Joins the two nearest clusters, again and again, by what the linkage says of their leaves.
    fn by_definition(linkage: Linkage, points: &[Vec<f64>]) -> Vec<(Vec<usize>, f64)> {
        let mut clusters: Vec<Vec<usize>> = (0..points.len()).map(|i| vec![i]).collect();
        let apart = |a: &[usize], b: &[usize]| {
            let pairs: Vec<f64> =
                a.iter().flat_map(|&i| b.iter().map(move |&j| distance(&points[i], &points[j]))).collect();
            match linkage {
                Linkage::Complete => pairs.iter().copied().fold(0.0, f64::max),
                Linkage::Ward => {
                    let centre = |of: &[usize]| -> Vec<f64> {
                        (0..points[0].len())
                            .map(|d| of.iter().map(|&i| points[i][d]).sum::<f64>() / of.len() as f64)
                            .collect()
                    };
                    let (na, nb) = (a.len() as f64, b.len() as f64);
                    (2.0 * na * nb / (na + nb)).sqrt() * distance(&centre(a), &centre(b))
                }
                _ => pairs.iter().sum::<f64>() / pairs.len() as f64,
            }
        };
        let mut joined = Vec::new();
        while clusters.len() > 1 {
            let pairs = (0..clusters.len()).flat_map(|i| (0..i).map(move |j| (j, i)));
            let (a, b) = pairs
                .min_by(|x, y| apart(&clusters[x.0], &clusters[x.1]).total_cmp(&apart(&clusters[y.0], &clusters[y.1])))
                .expect("two clusters");
            let height = apart(&clusters[a], &clusters[b]);
            let mut both = [clusters[a].clone(), clusters.remove(b)].concat();
            both.sort_unstable();
            clusters[a] = both.clone();
            joined.push((both, height));
        }
        joined
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
        fn every_merge_is_of_the_two_nearest_by_the_leaves_themselves(
            points in prop::collection::vec(prop::collection::vec(0.0..1f64, 3), 2..40),
        ) {
            for linkage in [Linkage::Ward, Linkage::Average, Linkage::Complete] {
                let merges = merge_points(linkage, &points);
                let mut members: Vec<Vec<usize>> = (0..points.len()).map(|i| vec![i]).collect();
                for (merge, (both, height)) in merges.iter().zip(by_definition(linkage, &points)) {
                    let mut own = [members[merge.left].clone(), members[merge.right].clone()].concat();
                    own.sort_unstable();
                    prop_assert_eq!(&own, &both, "{:?}", linkage);
                    prop_assert!((merge.distance - height).abs() <= 1e-9 * height, "{:?}", linkage);
                    members.push(own);
                }
            }
        }

        #[test]
        fn every_tree_joins_each_cluster_once_and_never_over_with_under(leaves in leaves()) {
            for linkage in ALL {
                let tree = tree(linkage, &leaves);
                let mut clusters: Vec<Option<(Direction, i64)>> =
                    leaves.iter().map(|l| Some((l.direction, l.uv))).collect();
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
                if linkage != Linkage::SmallestFirst {
                    prop_assert!(tree.merges.is_sorted_by(|a, b| a.distance <= b.distance));
                }
            }
        }
    }
}
