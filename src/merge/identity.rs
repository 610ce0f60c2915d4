//! Which group is which of an earlier run, and what became of the others.

use serde::{Deserialize, Serialize};

use super::name::distinct;
use super::{Group, Grouping, assignment};
use crate::audience::Assigned;
use crate::highlight::Direction;
use crate::segment::Segment;

/// A group of an earlier run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Former {
    pub id: u32,
    pub name: String,
    pub direction: Direction,
    pub uv: i64,
    /// Texts of the segments that its name says, in the items of its run; none in a run of an earlier build.
    #[serde(default, skip_serializing)]
    pub named: Vec<String>,
}

/// What a group is to those of the earlier run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The same as one of them.
    Kept,
    /// None of them, and most of its customers were in no one of them.
    New,
    /// None of them, and at least half of its customers were in one of them.
    Split,
    /// At least half of the customers of each of several of them are in it, whether or not it is the same as one of these.
    Joined,
}

/// The groups of two runs, by position: those of the earlier run, and those of the later.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    pub former: Vec<Former>,
    /// Customers that each former group shares with each group.
    pub shared: Vec<Vec<i64>>,
    /// Of each group, the former one that it is.
    pub same: Vec<Option<usize>>,
    pub status: Vec<Status>,
}

/// Two groups can only be the same if they share at least this many half of their mean size, that is if twice what they share over
/// the sum of both (Dice, 1945) is at least one half.
fn alike(shared: i64, a: i64, b: i64) -> bool {
    shared > 0 && 4 * i128::from(shared) >= i128::from(a) + i128::from(b)
}

/// Whether a part is at least half of a whole.
fn most(part: i64, whole: i64) -> bool {
    part > 0 && 2 * i128::from(part) >= i128::from(whole)
}

impl Identity {
    /// Matches groups, known by direction, if that is to be the same, and customers: of all ways in which groups of one direction that are [`alike`] can be the same,
    /// the one that leaves most customers in the group that they were in.
    ///
    /// `homes` has the id of the former group whose segments a group is made of, if there is one. Where neither shares a customer with any
    /// group, they are the same: of a table of other customers, nobody is in both.
    pub fn new(
        former: Vec<Former>,
        groups: &[(impl Into<Option<Direction>> + Copy, i64)],
        homes: &[Option<u32>],
        shared: Vec<Vec<i64>>,
    ) -> Identity {
        assert!(shared.len() == former.len() && shared.iter().all(|row| row.len() == groups.len()), "a count a pair");
        let fits = |old: &Former, group: usize| groups[group].0.into().is_none_or(|own| own == old.direction);
        let weight = |(old, row): (&Former, &Vec<i64>)| -> Vec<i64> {
            let can = |(group, &shared): (usize, &i64)| {
                if fits(old, group) && alike(shared, old.uv, groups[group].1) { shared } else { 0 }
            };
            row.iter().enumerate().map(can).collect()
        };
        let weights: Vec<Vec<i64>> = former.iter().zip(&shared).map(weight).collect();
        let mut same = vec![None; groups.len()];
        for (old, group) in assignment(&weights).into_iter().enumerate() {
            group.into_iter().for_each(|group| same[group] = Some(old));
        }
        for (group, home) in homes.iter().enumerate() {
            let old = former.iter().position(|old| Some(old.id) == *home && fits(old, group));
            let strange =
                |old: &usize| shared[*old].iter().all(|&uv| uv == 0) && shared.iter().all(|row| row[group] == 0);
            let free = |old: &usize| same[group].is_none() && !same.contains(&Some(*old));
            if let Some(old) = old.filter(|old| free(old) && strange(old)) {
                same[group] = Some(old);
            }
        }
        let status = |group: usize| {
            let joined = (0..former.len()).filter(|&old| most(shared[old][group], former[old].uv)).count() >= 2;
            let split = (0..former.len()).any(|old| most(shared[old][group], groups[group].1));
            match (joined, same[group].is_some(), split) {
                (true, ..) => Status::Joined,
                (_, true, _) => Status::Kept,
                (.., true) => Status::Split,
                (.., false) => Status::New,
            }
        };
        let status = (0..groups.len()).map(status).collect();
        Identity { former, shared, same, status }
    }

    /// Positions of the former groups that no group is.
    pub fn vanished(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.former.len()).filter(|old| !self.same.contains(&Some(*old)))
    }

    /// The former groups of which a group has customers, most first.
    pub fn was(&self, group: usize) -> Vec<usize> {
        let mut olds: Vec<usize> = (0..self.former.len()).filter(|&old| self.shared[old][group] > 0).collect();
        olds.sort_by_key(|&old| (std::cmp::Reverse(self.shared[old][group]), old));
        olds
    }

    /// The groups that have customers of a former one, most first.
    pub fn went(&self, old: usize) -> Vec<usize> {
        let mut groups: Vec<usize> = (0..self.same.len()).filter(|&group| self.shared[old][group] > 0).collect();
        groups.sort_by_key(|&group| (std::cmp::Reverse(self.shared[old][group]), group));
        groups
    }

    /// Whether at least half of a former group's customers are in a group.
    pub fn mostly_in(&self, old: usize, group: usize) -> bool {
        most(self.shared[old][group], self.former[old].uv)
    }
}

/// Gives groups that are one of the earlier run its id, and its name where this still stands: there `standing` has the segments that it says;
/// others the numbers from `next` on, in their order, and what each is called by itself. Gives the next number.
///
/// A number is given once: that of a group that is gone is not used again.
pub fn settle(
    same: &[Option<usize>],
    former: &[Former],
    standing: Vec<Option<Vec<Segment>>>,
    next: u32,
    grouping: &mut Grouping,
    assigned: &mut Assigned,
) -> u32 {
    let mut next = next.max(former.iter().map(|old| old.id.saturating_add(1)).max().unwrap_or(1));
    let mut ids = vec![0u32; grouping.groups.iter().map(|group| group.id as usize + 1).max().unwrap_or(0)];
    // Those that are kept have their names first, so that a new one is numbered and not they.
    let stands = |group: &usize| standing[*group].is_some();
    let (kept, others): (Vec<usize>, Vec<usize>) = (0..same.len()).partition(stands);
    let order: Vec<usize> = kept.into_iter().chain(others).collect();
    let wanted = |&group: &usize| {
        // What says the same as before says it as today's customers have it.
        let own = &grouping.groups[group].named;
        let alike = !own.is_empty() && standing[group].as_ref() == Some(own);
        let old = same[group].filter(|_| stands(&group) && !alike).map(|old| &former[old].name);
        old.unwrap_or(&grouping.groups[group].name).clone()
    };
    let names = distinct(order.iter().map(wanted).collect());
    order.iter().zip(names).for_each(|(&group, name)| grouping.groups[group].name = name);
    for (group, named) in grouping.groups.iter_mut().zip(standing) {
        group.named = named.unwrap_or_else(|| std::mem::take(&mut group.named));
    }
    for (group, same) in grouping.groups.iter_mut().zip(same) {
        let id = same.map_or(next, |old| former[old].id);
        next = next.max(id.saturating_add(1));
        ids[group.id as usize] = id;
        group.id = id;
    }
    let renumber = |id: &mut u32| *id = ids[*id as usize];
    assigned.group.iter_mut().for_each(renumber);
    grouping.asked.iter_mut().for_each(|(_, id)| renumber(id));
    next
}

/// The former groups as they are known to a later run.
impl From<&Group> for Former {
    fn from(group: &Group) -> Former {
        let (name, direction, uv) = (group.name.clone(), group.direction, group.stats.uv);
        Former { id: group.id, name, direction, uv, named: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::sample;
    use Direction::{Over, Under};

    fn former(id: u32, direction: Direction, uv: i64) -> Former {
        Former { id, name: format!("group {id}"), direction, uv, named: Vec::new() }
    }

    fn overs(uvs: &[i64]) -> (Vec<Former>, Vec<(Direction, i64)>) {
        ((1..).zip(uvs).map(|(id, &uv)| former(id, Over, uv)).collect(), uvs.iter().map(|&uv| (Over, uv)).collect())
    }

    #[test]
    fn groups_are_matched_so_that_most_customers_stay() {
        let (old, new) = overs(&[1000, 600]);
        // 500 + 0 against 450 + 450.
        let identity = Identity::new(old, &new, &[], vec![vec![500, 450], vec![450, 0]]);
        assert_eq!(identity.same, [Some(1), Some(0)]);
        assert_eq!(identity.vanished().count(), 0);
    }

    #[test]
    fn groups_of_two_directions_are_never_the_same() {
        let old = vec![former(1, Over, 100)];
        let identity = Identity::new(old, &[(Under, 100)], &[], vec![vec![100]]);
        assert_eq!((identity.same[0], identity.status[0]), (None, Status::Split));
        assert_eq!(identity.vanished().collect::<Vec<_>>(), [0]);
        // Of cells the direction is only where the mean came to lie.
        let cells = Identity::new(vec![former(1, Over, 100)], &[(None, 100)], &[], vec![vec![100]]);
        assert_eq!((cells.same[0], cells.status[0]), (Some(0), Status::Kept));
    }

    #[test]
    fn what_shares_less_than_half_of_the_mean_size_is_another_group() {
        let of = |shared| Identity::new(vec![former(1, Over, 100)], &[(Over, 60)], &[], vec![vec![shared]]);
        // Half of the mean of 100 and 60 is 40.
        assert_eq!((of(40).same[0], of(40).status[0]), (Some(0), Status::Kept));
        assert_eq!((of(39).same[0], of(39).status[0]), (None, Status::Split));
        assert_eq!((of(29).same[0], of(29).status[0]), (None, Status::New), "under half of the 60");
        assert_eq!(of(0).status[0], Status::New);
    }

    #[test]
    fn parts_of_a_group_and_groups_that_came_together_are_told() {
        // The first is divided 60 to 40, the second and third are in one now, the fourth is gone; the last group is new.
        let (old, _) = overs(&[1000, 500, 400, 300]);
        let new = [(Over, 600), (Over, 400), (Over, 900), (Over, 200)];
        let shared = vec![vec![600, 400, 0, 0], vec![0, 0, 500, 0], vec![0, 0, 400, 0], vec![0, 0, 0, 20]];
        let identity = Identity::new(old, &new, &[], shared);
        assert_eq!(identity.status, [Status::Kept, Status::Split, Status::Joined, Status::New]);
        assert_eq!(identity.same, [Some(0), None, Some(1), None]);
        assert_eq!(identity.vanished().collect::<Vec<_>>(), [2, 3]);
        assert_eq!((identity.was(2), identity.went(0)), (vec![1, 2], vec![0, 1]));
        assert!(identity.mostly_in(2, 2) && !identity.mostly_in(3, 3));
    }

    #[test]
    fn a_group_divided_evenly_is_kept_by_nobody_when_no_part_is_large_enough() {
        let (old, _) = overs(&[1000]);
        let identity =
            Identity::new(old, &[(Over, 250), (Over, 250), (Over, 250), (Over, 250)], &[], vec![vec![250; 4]]);
        // 4 · 250 = 1000 is less than 1250.
        assert_eq!(identity.status, [Status::Split; 4]);
        assert_eq!(identity.vanished().count(), 1);
    }

    #[test]
    fn a_group_made_of_the_same_segments_is_the_same_whoever_is_in_it() {
        let (old, new) = overs(&[1000, 500]);
        let identity = Identity::new(old.clone(), &new, &[Some(2), Some(1)], vec![vec![0, 0], vec![0, 0]]);
        assert_eq!((identity.same, identity.status), (vec![Some(1), Some(0)], vec![Status::Kept; 2]));
        // 100 who are left of 500 are no longer that group, whatever it is made of.
        let few = Identity::new(old.clone(), &new, &[Some(2), None], vec![vec![0, 0], vec![100, 0]]);
        assert_eq!(few.same, [None, None]);
        // Customers say more than segments do.
        let identity = Identity::new(old, &new, &[Some(2), None], vec![vec![1000, 0], vec![0, 0]]);
        assert_eq!(identity.same, [Some(0), None]);
    }

    fn grouping(names: &[&str]) -> Grouping {
        let of = |(id, name): (u32, &&str)| Group { name: (*name).to_owned(), ..sample::group(id) };
        let segment = crate::segment::Segment::BASE;
        Grouping {
            groups: (1..).zip(names).map(of).collect(),
            asked: vec![(segment, 2), (segment, 1)],
            ..Grouping::default()
        }
    }

    #[test]
    fn ids_and_names_are_kept_and_no_number_is_given_twice() {
        let mut grouping = grouping(&["c", "b", "group 9"]);
        let mut assigned = Assigned { group: vec![3, 1, 2, 1], ..Assigned::default() };
        let former = [Former { name: "c".into(), ..former(4, Over, 10) }, former(2, Over, 10)];
        // Group 9 of some run before is gone: the next number is 10.
        let standing = vec![None, Some(Vec::new()), Some(Vec::new())];
        let next = settle(&[None, Some(0), Some(1)], &former, standing, 10, &mut grouping, &mut assigned);
        let named: Vec<(u32, &str)> = grouping.groups.iter().map(|g| (g.id, g.name.as_str())).collect();
        assert_eq!(named, [(10, "c (2)"), (4, "c"), (2, "group 2")]);
        assert_eq!(next, 11);
        assert_eq!(assigned.group, [2, 10, 4, 10]);
        assert_eq!(grouping.asked.iter().map(|asked| asked.1).collect::<Vec<_>>(), [4, 10]);
    }

    #[test]
    fn a_name_that_stands_no_more_is_given_up_and_the_id_is_kept() {
        let mut grouping = grouping(&["today", "b"]);
        let named = vec![crate::segment::Segment::BASE];
        grouping.groups[0].named = named.clone();
        let mut assigned = Assigned { group: vec![1, 2], ..Assigned::default() };
        let former = [former(4, Over, 10), former(2, Over, 10)];
        settle(&[Some(0), Some(1)], &former, vec![None, Some(Vec::new())], 5, &mut grouping, &mut assigned);
        let now: Vec<(u32, &str)> = grouping.groups.iter().map(|g| (g.id, g.name.as_str())).collect();
        assert_eq!(now, [(4, "today"), (2, "group 2")]);
        assert_eq!(grouping.groups[0].named, named);
    }

    #[test]
    fn a_first_run_counts_from_one() {
        let mut grouping = grouping(&["a", "a"]);
        let mut assigned = Assigned { group: vec![1, 2], ..Assigned::default() };
        assert_eq!(settle(&[None, None], &[], vec![None, None], 0, &mut grouping, &mut assigned), 3);
        assert_eq!(grouping.groups.iter().map(|g| g.name.as_str()).collect::<Vec<_>>(), ["a", "a (2)"]);
    }
}
