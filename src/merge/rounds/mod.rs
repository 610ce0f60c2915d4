//! Trees of many things, in rounds of searches that are independent of each other: any worker may do any of them.

mod reducible;
mod smallest;

use std::ops::Range;

use super::linkage::{Forest, Tree};
use super::space::{Leaf, Space};
use super::tiles::Nearest;
use crate::highlight::Direction;
use crate::job::Linkage;
use reducible::Reducible;
use smallest::SmallestFirst;

/// A tree that grows: as long as there are searches wanted, somebody does them all, in any order and anywhere, and enters what they found.
/// The state is the same whoever did which.
///
/// For each linkage it is the tree of [`merge`](super::merge()), but for ties among distances that differ in their rounding; distances
/// are those of profiles. It holds the points, not the distances between them: 8 bytes a coordinate two to three times over, and some
/// neighbours of each point.
#[derive(Debug)]
pub struct Rounds {
    directions: Vec<Direction>,
    /// Customers by leaf.
    uv: Vec<i64>,
    /// By direction, one after the other.
    growing: Vec<Growing>,
    current: usize,
}

#[derive(Debug)]
enum Growing {
    Reducible(Vec<usize>, Box<Reducible>),
    SmallestFirst(Box<SmallestFirst>),
}

impl Growing {
    fn wanted(&self) -> usize {
        match self {
            Growing::Reducible(_, own) => own.wanted(),
            Growing::SmallestFirst(own) => own.wanted(),
        }
    }
}

impl Rounds {
    pub fn new(linkage: Linkage, leaves: &[Leaf], space: &Space) -> Rounds {
        let directions: Vec<Direction> = leaves.iter().map(|leaf| leaf.direction).collect();
        let of = |direction: Direction| {
            let members: Vec<usize> = (0..leaves.len()).filter(|&leaf| directions[leaf] == direction).collect();
            let own: Vec<&Leaf> = members.iter().map(|&leaf| &leaves[leaf]).collect();
            match linkage {
                _ if members.is_empty() => None,
                Linkage::SmallestFirst => {
                    Some(Growing::SmallestFirst(Box::new(SmallestFirst::new(leaves, &members, space))))
                }
                _ => {
                    let points = own.iter().map(|leaf| space.point(&leaf.stats, &leaf.profile)).collect();
                    let weights: Vec<f64> = own.iter().map(|leaf| leaf.weight).collect();
                    Some(Growing::Reducible(members, Box::new(Reducible::new(linkage, points, &weights))))
                }
            }
        };
        let growing = [Direction::Over, Direction::Under].into_iter().filter_map(of).collect();
        let uv = leaves.iter().map(|leaf| leaf.uv).collect();
        Rounds { directions, uv, growing, current: 0 }.at_work()
    }

    /// Of points in a Euclidean space, each of one customer and weight 1; [`Linkage::SmallestFirst`] pools profiles, which points have not.
    pub fn of_points(linkage: Linkage, points: Vec<Vec<f64>>) -> Rounds {
        assert!(linkage != Linkage::SmallestFirst, "points have no profiles");
        let n = points.len();
        let growing = (n > 0)
            .then(|| Growing::Reducible((0..n).collect(), Box::new(Reducible::new(linkage, points, &vec![1.0; n]))));
        let directions = vec![Direction::Over; n];
        Rounds { directions, uv: vec![1; n], growing: growing.into_iter().collect(), current: 0 }.at_work()
    }

    /// Moves on to a direction in which there is something to do.
    fn at_work(mut self) -> Rounds {
        self.move_on();
        self
    }

    fn move_on(&mut self) {
        while self.growing.get(self.current).is_some_and(|growing| growing.wanted() == 0) {
            self.current += 1;
        }
    }

    /// How many searches are wanted now; none at the end.
    pub fn wanted(&self) -> usize {
        self.growing.get(self.current).map_or(0, Growing::wanted)
    }

    /// Some of them, by number.
    pub fn search(&self, some: Range<usize>) -> Vec<Nearest> {
        match self.growing.get(self.current) {
            Some(Growing::Reducible(_, own)) => own.search(some),
            Some(Growing::SmallestFirst(own)) => own.search(some),
            None => Vec::new(),
        }
    }

    /// Enters what all of them found, in order.
    pub fn advance(&mut self, found: Vec<Nearest>) {
        assert_eq!(found.len(), self.wanted(), "all searches of the round");
        match self.growing.get_mut(self.current) {
            Some(Growing::Reducible(_, own)) => own.advance(found),
            Some(Growing::SmallestFirst(own)) => own.advance(found),
            None => {}
        }
        self.move_on();
    }

    /// What has grown when nothing is wanted any more.
    pub fn into_tree(self) -> Tree {
        assert_eq!(self.wanted(), 0, "the tree is still growing");
        let mut forest = Forest::new(&self.uv);
        let mut joins: Vec<(usize, usize, f64)> = Vec::new();
        let mut smallest = Vec::new();
        for growing in self.growing {
            match growing {
                Growing::Reducible(members, own) => {
                    joins.extend(own.into_joins().into_iter().map(|(a, b, height)| (members[a], members[b], height)));
                }
                Growing::SmallestFirst(own) => smallest.push(own.into_joins().into_iter().peekable()),
            }
        }
        joins.sort_by(|x, y| x.2.total_cmp(&y.2));
        joins.into_iter().for_each(|(a, b, height)| forest.join(a, b, height));
        // The directions take turns as in one queue of both: the smallest first.
        loop {
            let smaller = |(i, joins): (usize, &mut std::iter::Peekable<_>)| {
                let join: &smallest::Join = joins.peek()?;
                Some((join.uv, forest.number(join.leaves[0]), i))
            };
            let Some((_, _, i)) = smallest.iter_mut().enumerate().filter_map(smaller).min() else { break };
            if let Some(join) = smallest[i].next() {
                forest.join(join.leaves[0], join.leaves[1], join.height);
            }
        }
        Tree { directions: self.directions, merges: forest.merges }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::space::{Apart, Weights};
    use crate::merge::{Merge, merge, merge_points};
    use crate::profile::Profile;
    use crate::segment::Segment;
    use crate::stats::{MetricKind, Scale, Stats};
    use proptest::prelude::*;

    const EXACT: [Linkage; 3] = [Linkage::Ward, Linkage::Average, Linkage::Complete];

    /// Grows a tree, the searches of each round in pieces of `piece`; says in how many rounds.
    fn grown(mut rounds: Rounds, piece: usize) -> (Tree, usize) {
        let mut count = 0;
        while rounds.wanted() > 0 {
            let wanted = rounds.wanted();
            let starts = (0..wanted).step_by(piece);
            let found = starts.flat_map(|from| rounds.search(from..(from + piece).min(wanted))).collect();
            rounds.advance(found);
            count += 1;
        }
        (rounds.into_tree(), count)
    }

    fn same(found: &[Merge], expected: &[Merge]) -> Result<(), TestCaseError> {
        prop_assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            prop_assert_eq!((found.left, found.right, found.uv), (expected.left, expected.right, expected.uv));
            prop_assert!((found.distance - expected.distance).abs() <= 1e-9 * expected.distance);
        }
        Ok(())
    }

    fn leaves() -> impl Strategy<Value = Vec<Leaf>> {
        let one = (any::<bool>(), prop::collection::vec(1i64..9000, 12), 1i64..400, 0.0..=1f64, 1u8..5).prop_map(
            |(over, counts, uv, share, weight)| Leaf {
                segment: Segment::BASE,
                direction: if over { Direction::Over } else { Direction::Under },
                uv,
                stats: Stats { uv, sum: (share * uv as f64) as i128, ..Stats::default() },
                profile: Profile { counts: vec![counts] },
                weight: f64::from(weight),
            },
        );
        prop::collection::vec(one, 0..300)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn rounds_end_in_the_tree_of_one_merge_after_the_other(leaves in leaves(), piece in 1usize..100) {
            let base = Stats { uv: 100_000, sum: 20_000, ..Stats::default() };
            let space = Space::new(MetricKind::Rate, Scale::default(), base, &[1.0]);
            let weights = Weights { profile: 1.0, overlap: 0.0, items: 0.0 };
            let apart = Apart { space: &space, weights, shared: &|_, _| 0 };
            for linkage in [Linkage::SmallestFirst, Linkage::Ward, Linkage::Average, Linkage::Complete] {
                let expected = merge(linkage, &leaves, &apart);
                let (found, _) = grown(Rounds::new(linkage, &leaves, &space), piece);
                prop_assert_eq!(&found.directions, &expected.directions);
                if linkage == Linkage::SmallestFirst {
                    prop_assert_eq!(found, expected);
                } else {
                    same(&found.merges, &expected.merges)?;
                }
            }
        }

        #[test]
        fn points_alike_and_far_apart_are_merged_as_a_matrix_does(
            points in prop::collection::vec((0u8..6, prop::collection::vec(0.0..1f64, 3), any::<bool>()), 1..250),
        ) {
            // Around six places, and some exactly in them; no two places are as far apart as two others, as the tree would not be one.
            const PLACES: [[f64; 3]; 6] =
                [[0.0; 3], [5.1, 0.3, 0.2], [0.4, 6.3, 0.7], [1.1, 0.9, 7.7], [9.3, 8.1, 0.6], [4.2, 10.9, 11.7]];
            let points: Vec<Vec<f64>> = points
                .into_iter()
                .map(|(place, point, exact)| {
                    let near = |(d, x): (usize, &f64)| PLACES[usize::from(place)][d] + if exact { 0.0 } else { *x };
                    point.iter().enumerate().map(near).collect()
                })
                .collect();
            for linkage in EXACT {
                let expected = merge_points(linkage, &points);
                let (found, _) = grown(Rounds::of_points(linkage, points.clone()), 64);
                let twins = expected.iter().take_while(|merge| merge.distance == 0.0).count();
                prop_assert_eq!(found.merges.iter().take_while(|merge| merge.distance == 0.0).count(), twins);
                for (found, expected) in found.merges.iter().zip(&expected) {
                    prop_assert!((found.distance - expected.distance).abs() <= 1e-9 * expected.distance);
                }
                prop_assert_eq!(found.merges.last().map(|m| m.uv), expected.last().map(|m| m.uv));
            }
        }
    }

    #[test]
    fn many_merge_in_one_round_and_twins_of_the_smallest_go_by_number() {
        let points: Vec<Vec<f64>> = (0..1024).map(|i: u32| vec![f64::from(i) + 1e-3 * f64::from(i * i % 97)]).collect();
        let (tree, rounds) = grown(Rounds::of_points(Linkage::Ward, points), 1000);
        assert_eq!(tree.merges.len(), 1023);
        assert!(rounds < 60, "{rounds} rounds");
        // More twins than a search gives: those of the lowest numbers join first, as one after the other.
        let twin = |uv: i64| Leaf {
            segment: Segment::BASE,
            direction: Direction::Over,
            uv,
            stats: Stats { uv, sum: uv as i128 / 2, ..Stats::default() },
            profile: Profile { counts: vec![vec![uv, 0]] },
            weight: 1.0,
        };
        let leaves = vec![twin(10); 70];
        let base = Stats { uv: 1000, sum: 100, ..Stats::default() };
        let space = Space::new(MetricKind::Rate, Scale::default(), base, &[1.0]);
        let weights = Weights { profile: 1.0, overlap: 0.0, items: 0.0 };
        let apart = Apart { space: &space, weights, shared: &|_, _| 0 };
        let (tree, _) = grown(Rounds::new(Linkage::SmallestFirst, &leaves, &space), 10);
        assert_eq!(tree, merge(Linkage::SmallestFirst, &leaves, &apart));
        assert_eq!((tree.merges[0].left, tree.merges[0].right), (0, 1));
    }

    #[test]
    fn few_leaves_leave_nothing_to_search() {
        let space = Space::new(MetricKind::Rate, Scale::default(), Stats::default(), &[1.0]);
        assert_eq!(Rounds::new(Linkage::Ward, &[], &space).wanted(), 0);
        assert_eq!(Rounds::of_points(Linkage::Average, vec![vec![1.0]]).into_tree().merges, []);
        let twins = Rounds::of_points(Linkage::Average, vec![vec![1.0]; 3]);
        assert_eq!((twins.wanted(), twins.into_tree().merges.len()), (0, 2));
    }
}
