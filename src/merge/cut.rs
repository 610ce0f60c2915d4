//! Where the merging stops.

use super::linkage::Tree;
use super::{Choice, Merge, Worth};
use crate::highlight::Direction;

/// The highlights of each group, and how they came together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Clusters {
    /// Leaves (positions of highlights) in ascending order; clusters by their first leaf.
    pub members: Vec<Vec<usize>>,
    /// The merges that were done.
    pub merges: Vec<Merge>,
    /// Every number of groups that could be chosen, ascending.
    pub choices: Vec<Choice>,
    pub reason: String,
    /// What the groups are worth where they are those of an earlier run, and none of the choices.
    pub kept: Option<Worth>,
}

/// What the merges that led to a choice have cost at the least on average, as a share of what all of the tree's do together: so
/// that merges of twins, at distance 0, do not make the first other jump infinite.
const LEAST_COST: f64 = 1e-12;

/// What is asked of groups.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The fewest and the most of them.
    pub groups: [usize; 2],
    /// Customers of each.
    pub least: i64,
    /// What people call what they are made of.
    pub leaves_are: &'a str,
    /// Groups of the run before give way to others that explain this many times as much of the metric's variance.
    pub clearly: f64,
}

/// The clusters left when the merging stops at the best of the numbers of groups asked for.
///
/// Best is where the next merge costs most against the merges done: the largest jump, and of equal ones the fewest groups. A
/// merge costs its squared distance, which under Ward's linkage is twice what it adds to the sum of squares within groups; a
/// jump is how many times the average merge so far the next would cost. The last merge alone would not do to compare with, as
/// under `smallest_first` distances also fall.
/// The tree is cut by the number of merges, not by a distance, of which there may be several alike.
///
/// Numbers of groups of which the smallest has fewer than `least` customers are passed over, unless all are. `judge` says what the
/// groups of each number are worth, which decides nothing else.
///
/// Each direction keeps a group of its own, however few were asked for; with fewer highlights than groups asked for,
/// nothing is merged.
pub fn cut(
    tree: &Tree,
    Asked { groups: [fewest, most], least, leaves_are, .. }: Asked,
    judge: impl Fn(&[Vec<usize>]) -> Worth,
) -> Clusters {
    let leaves = tree.directions.len();
    if leaves == 0 {
        return Clusters {
            reason: format!("there are no {leaves_are}, so there are no groups"),
            ..Clusters::default()
        };
    }
    let directions = [Direction::Over, Direction::Under].iter().filter(|d| tree.directions.contains(d)).count();
    let low = fewest.max(directions).min(leaves);
    let high = most.max(low).min(leaves);

    // Entry i: the squared distances of the first i merges together.
    let mut cost = vec![0.0f64];
    for merge in &tree.merges {
        cost.push(cost[merge.step] + merge.distance * merge.distance);
    }
    let least_cost = LEAST_COST * cost[tree.merges.len()];
    let mut choices: Vec<Choice> = (low..=high)
        .map(|groups| {
            let done = leaves - groups;
            let next = tree.merges.get(done);
            let jump = next.filter(|_| done > 0).map(|_| {
                let average = (cost[done] / done as f64).max(least_cost);
                if average > 0.0 { (cost[done + 1] - cost[done]) / average } else { 1.0 }
            });
            let worth = judge(&members(leaves, &tree.merges[..done]));
            Choice { groups, next_distance: next.map(|m| m.distance), jump, worth, chosen: false }
        })
        .collect();
    let large = |choice: &Choice| choice.worth.smallest >= least;
    let any_large = choices.iter().any(large);
    let best = (0..choices.len())
        .filter(|&i| choices[i].jump.is_some() && (large(&choices[i]) || !any_large))
        .min_by(|&i, &j| choices[j].jump.unwrap_or(0.0).total_cmp(&choices[i].jump.unwrap_or(0.0)).then(i.cmp(&j)))
        .or_else(|| choices.iter().rposition(large))
        .unwrap_or(choices.len() - 1);
    choices[best].chosen = true;
    let passed = choices.iter().filter(|choice| !large(choice)).count();
    let mut reason = reason(leaves, leaves_are, [fewest, most], &choices[best], choices.len());
    if passed == choices.len() {
        reason.push_str(&format!("; of none of these has the smallest the {least} customers of merge.min_group_share"));
    } else if passed > 0 {
        reason.push_str(&format!(
            "; {passed} others have a group of fewer than {least} customers (merge.min_group_share)"
        ));
    }
    let merges = tree.merges[..leaves - choices[best].groups].to_vec();
    Clusters { members: members(leaves, &merges), merges, choices, reason, kept: None }
}

fn reason(leaves: usize, leaves_are: &str, [fewest, most]: [usize; 2], chosen: &Choice, choices: usize) -> String {
    let groups = chosen.groups;
    if leaves < fewest {
        format!("{leaves} {leaves_are} are fewer than the {fewest} groups asked for, so none were merged")
    } else if groups > most {
        format!("over- and under-performers never share a group, so there are {groups} groups rather than {most}")
    } else if let (true, Some(next), Some(jump)) = (choices > 1, chosen.next_distance, chosen.jump) {
        format!(
            "of {fewest} to {most} groups, {groups} is where the next merge costs most: it would bridge a distance of \
             {next:.4}, and cost {jump:.2} times the average merge so far"
        )
    } else if groups == leaves {
        format!("each of the {leaves} {leaves_are} is a group of its own")
    } else {
        format!("{groups} groups are the only choice within {fewest} to {most}")
    }
}

/// The clusters that these merges of a tree leave.
fn members(leaves: usize, merges: &[Merge]) -> Vec<Vec<usize>> {
    let mut clusters: Vec<Vec<usize>> = (0..leaves).map(|leaf| vec![leaf]).collect();
    for merge in merges {
        let mut joined = std::mem::take(&mut clusters[merge.left]);
        joined.append(&mut clusters[merge.right]);
        clusters.push(joined);
    }
    clusters.retain(|c| !c.is_empty());
    clusters.iter_mut().for_each(|c| c.sort_unstable());
    clusters.sort_unstable();
    clusters
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LEAVES: &str = "highlights";

    fn plain(tree: &Tree, groups: [usize; 2]) -> Clusters {
        cut(tree, Asked { groups, least: 0, leaves_are: LEAVES, clearly: 1.0 }, |_| Worth::default())
    }

    #[test]
    fn numbers_of_groups_with_one_too_small_are_passed_over() {
        // The largest jump is at 2 groups; leaf 4 alone is too small, and so are two leaves.
        let tree = comb(&[1.0, 2.0, 2.0, 9.0]);
        let smallest = |groups: &[Vec<usize>]| Worth {
            smallest: groups.iter().map(|group| 10 * group.len() as i64).min().unwrap_or(0),
            ..Worth::default()
        };
        assert_eq!(
            cut(&tree, Asked { groups: [1, 3], least: 0, leaves_are: LEAVES, clearly: 1.0 }, smallest).members.len(),
            2
        );
        let clusters = cut(&tree, Asked { groups: [1, 3], least: 11, leaves_are: LEAVES, clearly: 1.0 }, smallest);
        assert_eq!(clusters.members.len(), 1, "{}", clusters.reason);
        assert!(clusters.reason.ends_with("2 others have a group of fewer than 11 customers (merge.min_group_share)"));
        let none = cut(&tree, Asked { groups: [2, 3], least: 11, leaves_are: LEAVES, clearly: 1.0 }, smallest);
        assert_eq!(none.members.len(), 2);
        assert!(none.reason.contains("of none of these has the smallest the 11 customers"), "{}", none.reason);
    }

    /// A tree that joins leaf 1 to leaf 0, then leaf 2 to that, and so on, at these distances.
    fn comb(distances: &[f64]) -> Tree {
        let leaves = distances.len() + 1;
        let merges = distances.iter().enumerate().map(|(step, &distance)| {
            let (left, right) = if step == 0 { (0, 1) } else { (step + 1, leaves + step - 1) };
            Merge { step, left, right, distance, uv: 10 * (step as i64 + 2) }
        });
        Tree { directions: vec![Direction::Over; leaves], merges: merges.collect() }
    }

    #[test]
    fn merging_stops_before_the_largest_jump() {
        // 8 leaves. To 5 groups: 3 merges done, costing 1 + 4 + 9 = 14; the next costs 81, 81 / (14 / 3) times the average. To 6:
        // 5, then 9; to 4: 95, then 100; to 3: 195, then 144.
        let clusters = plain(&comb(&[1.0, 2.0, 3.0, 9.0, 10.0, 12.0, 100.0]), [3, 6]);
        let jumps: Vec<(usize, Option<f64>, bool)> =
            clusters.choices.iter().map(|c| (c.groups, c.jump, c.chosen)).collect();
        assert_eq!(
            jumps,
            [
                (3, Some(144.0 / 39.0), false),
                (4, Some(100.0 / 23.75), false),
                (5, Some(81.0 / (14.0 / 3.0)), true),
                (6, Some(9.0 / 2.5), false)
            ]
        );
        assert_eq!(clusters.members, [vec![0, 1, 2, 3], vec![4], vec![5], vec![6], vec![7]]);
        assert_eq!(clusters.merges.len(), 3);
        assert_eq!(clusters.choices[2].next_distance, Some(9.0));
        assert_eq!(
            clusters.reason,
            "of 3 to 6 groups, 5 is where the next merge costs most: it would bridge a distance of 9.0000, and cost 17.36 \
             times the average merge so far"
        );
    }

    #[test]
    fn a_dear_merge_after_a_cheap_one_is_no_great_jump_if_as_dear_a_one_was_done() {
        // 6 leaves. To 3 groups: the last merge at 1 and the next at 8, but on average 23 were paid: 64 / 23. To 2: 100 / 33.25.
        let clusters = plain(&comb(&[2.0, 8.0, 1.0, 8.0, 10.0]), [2, 4]);
        let jumps: Vec<Option<f64>> = clusters.choices.iter().map(|c| c.jump).collect();
        assert_eq!(jumps, [Some(100.0 / 33.25), Some(64.0 / 23.0), Some(1.0 / 34.0)]);
        assert_eq!(clusters.members.len(), 2);
    }

    #[test]
    fn equal_distances_still_leave_the_number_of_groups_that_was_chosen() {
        let clusters = plain(&comb(&[1.0, 1.0, 1.0, 1.0]), [2, 3]);
        assert_eq!(clusters.members.len(), 2, "equal jumps: the fewest");
        let twins = plain(&comb(&[0.0, 0.0, 0.0, 0.0]), [2, 3]);
        assert_eq!((twins.members.len(), twins.choices[0].jump), (2, Some(1.0)));
        let near = plain(&comb(&[0.0, 0.0, 5.0, 6.0]), [2, 3]);
        assert_eq!((near.members.len(), near.choices[1].jump.is_some_and(f64::is_finite)), (3, true));
    }

    #[test]
    fn fewer_highlights_than_groups_stay_as_they_are_and_say_so() {
        let clusters = plain(&comb(&[1.0, 2.0]), [6, 10]);
        assert_eq!(clusters.members, [[0], [1], [2]]);
        assert_eq!(clusters.reason, "3 highlights are fewer than the 6 groups asked for, so none were merged");
        assert!(clusters.merges.is_empty());
        let none = plain(&Tree::default(), [6, 10]);
        assert!(none.members.is_empty() && none.choices.is_empty() && !none.reason.is_empty());
    }

    #[test]
    fn each_direction_keeps_a_group_however_few_were_asked_for() {
        let mut tree = comb(&[1.0, 2.0]);
        tree.merges.pop();
        tree.directions[2] = Direction::Under;
        let clusters = plain(&tree, [1, 1]);
        assert_eq!(clusters.members, [vec![0, 1], vec![2]]);
        assert_eq!(clusters.choices[0].next_distance, None);
        assert_eq!(
            clusters.reason,
            "over- and under-performers never share a group, so there are 2 groups rather than 1"
        );
    }

    #[test]
    fn as_many_highlights_as_groups_are_groups_of_their_own() {
        let clusters = plain(&comb(&[1.0, 2.0]), [3, 3]);
        assert_eq!(clusters.members.len(), 3);
        assert_eq!(clusters.reason, "each of the 3 highlights is a group of its own");
    }

    proptest! {
        #[test]
        fn every_leaf_is_in_exactly_one_of_the_groups_chosen(
            distances in prop::collection::vec(0.0..10f64, 0..30), low in 1usize..8, more in 0usize..8,
        ) {
            let clusters = plain(&comb(&distances), [low, low + more]);
            let leaves = distances.len() + 1;
            let mut all: Vec<usize> = clusters.members.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..leaves).collect::<Vec<_>>());
            let chosen: Vec<usize> = clusters.choices.iter().filter(|c| c.chosen).map(|c| c.groups).collect();
            prop_assert_eq!(chosen, vec![clusters.members.len()]);
            prop_assert!(clusters.members.len() >= low.min(leaves) && clusters.members.len() <= low + more);
        }
    }
}
