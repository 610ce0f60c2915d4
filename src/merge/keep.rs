//! What a run keeps of how the groups of the run before it were made.

use std::collections::BTreeSet;

use super::space::{Apart, Leaf};
use super::worth::Worth;
use super::{Asked, Clusters, Merge};
use crate::highlight::Direction;
use crate::segment::{FeatureId, Segment};

/// What the groups of an earlier run were made of, in the items of this one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Before {
    /// Segments with their direction and the id of their group, in the order in which a customer was asked for them.
    pub asked: Vec<(Segment, Direction, u32)>,
}

/// Groups of highlights are made afresh when those would explain this many times as much of the metric's variance as the kept ones.
pub const CLEARLY: f64 = 1.1;

/// The same of groups of cells: equally good divisions of everybody differ by a quarter from day to day (docs/method.md).
pub const CLEARLY_OF_CELLS: f64 = 1.5;

impl Before {
    /// The features that the segments say, ascending.
    pub fn features(&self) -> Vec<FeatureId> {
        let all = self.asked.iter().flat_map(|(segment, ..)| segment.items().map(|item| item.feature));
        all.collect::<BTreeSet<FeatureId>>().into_iter().collect()
    }
}

/// A segment that was not asked for before goes ahead of one that was when it is this many times as strong, or adds so many times as
/// much.
///
/// Strengths differ from day to day by their noise; each time two segments of different groups change places, all customers they share
/// change groups.
const AHEAD: f64 = 1.25;

/// In which order a customer is asked for segments of which some were asked for before: these in their order, and each other one, given
/// strongest first, ahead of the first of them that is clearly weaker. `kept` and `others` are numbers with strengths.
pub fn keep_order(kept: &[(usize, f64)], others: &[(usize, f64)]) -> Vec<usize> {
    let mut order = Vec::with_capacity(kept.len() + others.len());
    let mut others = others.iter().peekable();
    // A weaker one than the last cannot come before it.
    let mut behind = kept.iter().peekable();
    while let Some(&(number, strength)) = behind.peek() {
        match others.peek() {
            Some((other, stronger)) if *stronger > AHEAD * strength => {
                order.push(*other);
                others.next();
            }
            _ => {
                order.push(*number);
                behind.next();
            }
        }
    }
    order.extend(others.map(|(other, _)| other));
    order
}

/// Of some segments, numbers with the impact that each has over the customers that it takes, those with the largest, in their order: that
/// of one that was asked for before, as `was` says, counts 1.25 times, and 1.25 times `most` are kept. With no room beyond what a first
/// run has, each new one would take the place of one that was there.
pub fn keep_most(segments: &[(usize, f64)], was: impl Fn(usize) -> bool, most: usize) -> Vec<usize> {
    let room = (AHEAD * most as f64).ceil() as usize;
    let mut order: Vec<(f64, usize)> = (segments.iter().enumerate())
        .map(|(place, &(number, impact))| (if was(number) { AHEAD * impact.abs() } else { impact.abs() }, place))
        .collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut places: Vec<usize> = order.into_iter().take(room).map(|(_, place)| place).collect();
    places.sort_unstable();
    places.into_iter().map(|place| segments[place].0).collect()
}

/// The groups that were, with what is new among the leaves: in place of `fresh` ones, unless these are clearly better.
///
/// `home` has, of each leaf, the id of the group that it was of. Leaves of one home stay together, and of two homes apart; `joined` tells
/// where the others go.
///
/// Made afresh are groups when fewer or more would be left than are asked for, when the smallest would have fewer than `least`
/// customers and the smallest of the fresh ones not, and when the fresh ones explain clearly more of the metric's variance.
pub fn keep(
    leaves: &[Leaf],
    home: &[Option<u32>],
    joined: impl FnOnce() -> Joined,
    fresh: Clusters,
    Asked { groups: [fewest, most], least, leaves_are, clearly }: Asked,
    judge: impl Fn(&[Vec<usize>]) -> Worth,
) -> Clusters {
    if home.iter().all(Option::is_none) {
        return fresh;
    }
    let (members, merges) = joined();
    let directions = [Direction::Over, Direction::Under].iter().filter(|d| leaves.iter().any(|l| l.direction == **d));
    let low = fewest.max(directions.count()).min(leaves.len());
    let (then, now) = (judge(&members), judge(&fresh.members));
    let afresh = if members.len() < low {
        Some(format!("only {} of the previous run's groups are left", members.len()))
    } else if members.len() > most.max(low) {
        Some(format!("{} groups of the previous run are more than asked for", members.len()))
    } else if then.smallest < least && now.smallest >= least {
        Some(format!("the smallest of the previous run's groups has fewer than {least} customers"))
    } else {
        let explained = then.explained.zip(now.explained).filter(|(then, now)| *now > clearly * then);
        explained.map(|(then, now)| {
            format!(
                "groups made afresh explain {:.1} % of the metric's variance, those kept {:.1} %",
                100.0 * now,
                100.0 * then
            )
        })
    };
    if let Some(why) = afresh {
        return Clusters { reason: format!("{}; made afresh, as {why}", fresh.reason), ..fresh };
    }
    let (kept, groups) = (home.iter().flatten().count(), members.len());
    let explained = then.explained.zip(now.explained).map_or(String::new(), |(then, now)| {
        format!(
            "; they explain {:.1} % of the metric's variance, {} made afresh would explain {:.1} %",
            100.0 * then,
            fresh.members.len(),
            100.0 * now
        )
    });
    let reason = format!(
        "{groups} groups as in the previous run, of {kept} {leaves_are} that were in them and {} that were not{explained}",
        leaves.len() - kept
    );
    let choices = fresh.choices.into_iter().map(|choice| super::Choice { chosen: false, ..choice }).collect();
    Clusters { members, merges, choices, reason, kept: Some(then) }
}

/// Groups, in the order of their first leaves, and how their leaves came together, where that is told.
pub type Joined = (Vec<Vec<usize>>, Vec<Merge>);

/// A leaf without a home joins the group of its direction that is nearest, by the mean distance to its leaves, if it is no farther from
/// it than some leaf of a group is from the others of its own; else it makes a group of its own, as long as there are fewer than `most`.
pub fn join_near(leaves: &[Leaf], home: &[Option<u32>], apart: &Apart, most: usize) -> Joined {
    let all: Vec<usize> = (0..leaves.len()).collect();
    let distances = apart.distances(leaves, &all, false);
    let mean = |leaf: usize, group: &[usize]| {
        let others = group.iter().filter(|other| **other != leaf);
        others.clone().map(|&other| distances.at(leaf, other)).sum::<f64>() / others.count() as f64
    };
    let mut homes: Vec<u32> = home.iter().flatten().copied().collect();
    homes.sort_unstable();
    homes.dedup();
    let of = |id: &u32| -> Vec<usize> { all.iter().copied().filter(|&leaf| home[leaf] == Some(*id)).collect() };
    let mut groups: Vec<Vec<usize>> = homes.iter().map(of).collect();
    let own = groups.iter().filter(|group| group.len() > 1);
    let reach = own.flat_map(|group| group.iter().map(|&leaf| mean(leaf, group))).fold(0.0, f64::max);
    for leaf in all.iter().copied().filter(|&leaf| home[leaf].is_none()) {
        let same = |&at: &usize| leaves[groups[at][0]].direction == leaves[leaf].direction;
        let near = (0..groups.len()).filter(same).map(|at| (mean(leaf, &groups[at]), at));
        match near.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))) {
            Some((distance, at)) if distance <= reach || groups.len() >= most => groups[at].push(leaf),
            _ => groups.push(vec![leaf]),
        }
    }
    let mut merges = Vec::new();
    for group in &groups {
        let (mut cluster, mut uv) = (group[0], leaves[group[0]].uv);
        for (i, &leaf) in group.iter().enumerate().skip(1) {
            let (step, more) = (merges.len(), leaves[leaf].uv);
            uv += more;
            let (left, right) = (cluster.min(leaf), cluster.max(leaf));
            merges.push(Merge { step, left, right, distance: mean(leaf, &group[..i]), uv });
            cluster = leaves.len() + step;
        }
    }
    groups.iter_mut().for_each(|group| group.sort_unstable());
    groups.sort_unstable();
    (groups, merges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::Choice;
    use crate::merge::space::{Space, Weights};
    use crate::profile::Profile;
    use crate::stats::{MetricKind, Scale, Stats};

    #[test]
    fn those_asked_before_keep_their_order_and_only_a_clearly_stronger_one_goes_ahead() {
        let kept = [(0, 1.0), (1, 1.1), (2, 0.5)];
        assert_eq!(keep_order(&kept, &[]), [0, 1, 2], "1 is a little stronger than 0 now");
        assert_eq!(keep_order(&kept, &[(7, 1.2), (8, 0.6)]), [0, 1, 7, 2, 8]);
        assert_eq!(keep_order(&kept, &[(7, 1.26)]), [7, 0, 1, 2]);
        assert_eq!(keep_order(&[], &[(7, 2.0), (8, 1.0)]), [7, 8]);
    }

    #[test]
    fn of_too_many_those_with_the_least_impact_of_their_own_go() {
        let segments = [(7, 10.0), (8, -9.0), (9, 12.0), (3, -11.0)];
        assert_eq!(keep_most(&segments, |_| false, 3), [7, 8, 9, 3], "1.25 times 3 is nearly 4");
        assert_eq!(keep_most(&segments, |_| false, 1), [9, 3]);
        assert_eq!(keep_most(&segments, |number| number == 8, 1), [8, 9], "1.25 times 9 is more than 11");
    }

    /// Leaves on a line: their places are their shares of an item, in hundredths.
    fn leaves(places: &[i64]) -> Vec<Leaf> {
        let of = |&place: &i64| Leaf {
            segment: Segment::BASE,
            uv: 100,
            weight: 1.0,
            direction: if place < 0 { Direction::Under } else { Direction::Over },
            stats: Stats { uv: 100, sum: 20, sq: 20, ..Stats::default() },
            profile: Profile { counts: vec![vec![place.abs(), 100 - place.abs()]] },
        };
        places.iter().map(of).collect()
    }

    fn kept(places: &[i64], home: &[Option<u32>], range: [usize; 2], explained: [f64; 2]) -> Clusters {
        let leaves = leaves(places);
        let base = Stats { uv: 1000, sum: 100, sq: 100, ..Stats::default() };
        let space = Space::new(MetricKind::Rate, Scale::default(), base, &[1.0]);
        let apart =
            Apart { space: &space, weights: Weights { profile: 1.0, overlap: 0.0, items: 0.0 }, shared: &|_, _| 0 };
        let all = vec![(0..places.len()).collect::<Vec<_>>()];
        let choice = Choice { groups: 1, next_distance: None, jump: None, worth: Worth::default(), chosen: true };
        let fresh =
            Clusters { members: all.clone(), choices: vec![choice], reason: "afresh".into(), ..Clusters::default() };
        let judge = |groups: &[Vec<usize>]| Worth {
            explained: Some(explained[usize::from(groups == all)]),
            silhouette: None,
            smallest: groups.iter().map(|group| 100 * group.len() as i64).min().unwrap_or(0),
        };
        let asked = Asked { groups: range, least: 0, leaves_are: "segments", clearly: CLEARLY };
        keep(&leaves, home, || join_near(&leaves, home, &apart, range[1]), fresh, asked, judge)
    }

    #[test]
    fn leaves_of_one_group_stay_together_and_new_ones_join_the_nearest() {
        // 10 and 30 were one group, 50 another, though 30 is as near to the one as to the other; 12 is new.
        let clusters = kept(&[10, 50, 30, 12], &[Some(4), Some(9), Some(4), None], [2, 3], [0.2, 0.2]);
        assert_eq!(clusters.members, [vec![0, 2, 3], vec![1]], "{}", clusters.reason);
        assert!(clusters.kept.is_some() && clusters.choices.iter().all(|choice| !choice.chosen));
        let joins: Vec<[usize; 2]> = clusters.merges.iter().map(|m| [m.left, m.right]).collect();
        assert_eq!((joins, clusters.merges[1].uv), (vec![[0, 2], [3, 4]], 300));
    }

    #[test]
    fn what_is_far_from_all_makes_a_group_of_its_own_if_there_is_room() {
        let home = [Some(1), Some(1), Some(2), None];
        assert_eq!(kept(&[10, 14, 50, 95], &home, [2, 3], [0.2, 0.2]).members, [vec![0, 1], vec![2], vec![3]]);
        assert_eq!(kept(&[10, 14, 50, 95], &home, [2, 2], [0.2, 0.2]).members, [vec![0, 1], vec![2, 3]]);
        let under = kept(&[10, 14, 50, -50], &home, [2, 3], [0.2, 0.2]);
        assert_eq!(under.members, [vec![0, 1], vec![2], vec![3]], "of the other direction");
    }

    #[test]
    fn groups_are_made_afresh_when_that_is_clearly_better_or_too_few_are_left() {
        let home = [Some(1), Some(1), Some(2)];
        let of = |range, explained| kept(&[10, 14, 50], &home, range, explained);
        assert!(of([1, 3], [0.2, 0.219]).kept.is_some());
        let better = of([1, 3], [0.2, 0.221]);
        assert_eq!((better.members.len(), better.kept), (1, None));
        assert!(
            better.reason.contains("explain 22.1 %") && better.reason.contains("those kept 20.0 %"),
            "{}",
            better.reason
        );
        assert!(of([3, 3], [0.2, 0.2]).reason.contains("only 2 of"));
        assert!(of([1, 1], [0.2, 0.2]).reason.contains("2 groups of the previous run are more"));
        let none = kept(&[10, 14, 50], &[None; 3], [1, 3], [0.2, 0.2]);
        assert_eq!(none.reason, "afresh", "nothing of the previous run is left");
    }
}
