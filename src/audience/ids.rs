//! Customers by their own ids, for what is written.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Customer ids as the input has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum CustomerIds {
    /// The job has no id column: row numbers, from 0, over the files in order.
    Row(Vec<u64>),
    /// The same of all rows of a worker.
    Runs(RowRuns),
    Int(Vec<i64>),
    Text(Vec<String>),
}

impl Default for CustomerIds {
    fn default() -> Self {
        CustomerIds::Row(Vec::new())
    }
}

impl CustomerIds {
    pub fn len(&self) -> usize {
        match self {
            CustomerIds::Row(ids) => ids.len(),
            CustomerIds::Runs(runs) => runs.len(),
            CustomerIds::Int(ids) => ids.len(),
            CustomerIds::Text(ids) => ids.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The ids in these places, one by one.
    pub fn at(&self, places: &[usize]) -> CustomerIds {
        match self {
            CustomerIds::Row(ids) => CustomerIds::Row(places.iter().map(|&i| ids[i]).collect()),
            CustomerIds::Runs(runs) => CustomerIds::Row(runs.of(places)),
            CustomerIds::Int(ids) => CustomerIds::Int(places.iter().map(|&i| ids[i]).collect()),
            CustomerIds::Text(ids) => CustomerIds::Text(places.iter().map(|&i| ids[i].clone()).collect()),
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        match self {
            CustomerIds::Row(ids) => 8 * ids.len() as u64,
            CustomerIds::Runs(runs) => 16 * runs.runs.len() as u64,
            CustomerIds::Int(ids) => 8 * ids.len() as u64,
            CustomerIds::Text(ids) => ids.iter().map(|id| (size_of::<String>() + id.capacity()) as u64).sum(),
        }
    }
}

/// Row numbers as runs of consecutive ones: at 8 bytes each they would take more than half of what a coded row takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RowRuns {
    /// The place of each run's first number, and that number.
    runs: Vec<(usize, u64)>,
    len: usize,
}

impl RowRuns {
    /// Appends consecutive numbers.
    pub fn push(&mut self, first: u64, len: usize) {
        let follows = |&(place, number): &(usize, u64)| number + (self.len - place) as u64 == first;
        if !self.runs.last().is_some_and(follows) {
            self.runs.push((self.len, first));
        }
        self.len += len;
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn at(&self, place: usize) -> u64 {
        let (first, number) = self.runs[self.runs.partition_point(|run| run.0 <= place) - 1];
        number + (place - first) as u64
    }

    /// The numbers in these places. Fastest where the places mostly increase.
    fn of(&self, places: &[usize]) -> Vec<u64> {
        let mut run = 0..0;
        let mut first = 0;
        let number = |&place: &usize| {
            if !run.contains(&place) {
                let next = self.runs.partition_point(|run| run.0 <= place);
                let end = self.runs.get(next).map_or(self.len, |run| run.0);
                (run, first) = (self.runs[next - 1].0..end, self.runs[next - 1].1);
            }
            first + (place - run.start) as u64
        };
        places.iter().map(number).collect()
    }

    /// The runs in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let ends = self.runs.iter().skip(1).map(|run| run.0).chain([self.len]);
        self.runs.iter().zip(ends).map(|(&(first, number), end)| number..number + (end - first) as u64)
    }
}

/// The customers that were put into a group: four columns of one length, in the order of the table as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Assigned {
    pub ids: CustomerIds,
    /// `Group::id`.
    pub group: Vec<u32>,
    /// Which of the group's segments put the customer there: position in the list of highlights.
    pub leaf: Vec<u32>,
    /// Whether the customer is in the validation part.
    pub holdout: Vec<bool>,
}

impl Assigned {
    /// The customers of several workers together: where the ids of each are sorted, those of all are.
    pub fn together(parts: Vec<Assigned>) -> Assigned {
        let mut ids = Vec::with_capacity(parts.len());
        let (mut groups, mut leaves, mut holdouts) = (Vec::new(), Vec::new(), Vec::new());
        for part in parts {
            ids.push(part.ids);
            groups.push(part.group);
            leaves.push(part.leaf);
            holdouts.push(part.holdout);
        }
        let (ids, stretches) = CustomerIds::together(ids);
        Assigned {
            ids,
            group: laid(groups, &stretches),
            leaf: laid(leaves, &stretches),
            holdout: laid(holdouts, &stretches),
        }
    }
}

/// How many elements of which list come next.
type Stretch = (usize, usize);

impl CustomerIds {
    fn together(parts: Vec<CustomerIds>) -> (CustomerIds, Vec<Stretch>) {
        fn all<T: Ord>(parts: Vec<Vec<T>>) -> (Vec<T>, Vec<Stretch>) {
            let stretches = stretches(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
            (laid(parts, &stretches), stretches)
        }
        macro_rules! of {
            ($kind:ident) => {{
                let own = |ids| match ids {
                    CustomerIds::$kind(ids) => ids,
                    _ => unreachable!("all workers read the same column"),
                };
                let (ids, stretches) = all(parts.into_iter().map(own).collect());
                (CustomerIds::$kind(ids), stretches)
            }};
        }
        match parts.first() {
            None | Some(CustomerIds::Row(_)) => of!(Row),
            Some(CustomerIds::Int(_)) => of!(Int),
            Some(CustomerIds::Text(_)) => of!(Text),
            Some(CustomerIds::Runs(_)) => unreachable!("the rows of some customers are listed one by one"),
        }
    }
}

/// In which order to lay lists one after the other so that all is sorted, if each of them is; else one whole list after
/// the other.
fn stretches<T: Ord>(lists: &[&[T]]) -> Vec<Stretch> {
    if !lists.iter().all(|list| list.is_sorted()) {
        return lists.iter().map(|list| list.len()).enumerate().collect();
    }
    let head = |list: usize, at: usize| lists[list].get(at).map(|next| Reverse((next, list, at)));
    let mut heads: BinaryHeap<_> = (0..lists.len()).filter_map(|list| head(list, 0)).collect();
    let mut stretches = Vec::new();
    while let Some(Reverse((_, list, from))) = heads.pop() {
        let mut to = from + 1;
        match heads.peek() {
            None => to = lists[list].len(),
            // Of tables that are read in large parts, many come before the next of another list.
            Some(Reverse((other, ..))) => {
                let mut step = 1;
                while lists[list].get(to + step).is_some_and(|next| next <= other) {
                    to += step;
                    step *= 2;
                }
                to += lists[list][to..(to + step).min(lists[list].len())].partition_point(|next| next <= other);
            }
        }
        stretches.push((list, to - from));
        heads.extend(head(list, to));
    }
    stretches
}

/// The elements of some lists, stretch by stretch; of empty lists none.
fn laid<T>(lists: Vec<Vec<T>>, stretches: &[Stretch]) -> Vec<T> {
    let mut all = Vec::with_capacity(lists.iter().map(Vec::len).sum());
    let mut lists: Vec<std::vec::IntoIter<T>> = lists.into_iter().map(Vec::into_iter).collect();
    stretches.iter().for_each(|&(list, len)| all.extend(lists[list].by_ref().take(len)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn customers_of_several_workers_are_sorted_together_if_each_list_is() {
        let part = |ids: &[i64]| Assigned {
            ids: CustomerIds::Int(ids.to_vec()),
            group: Vec::new(),
            leaf: ids.iter().map(|&id| id as u32 * 10).collect(),
            holdout: ids.iter().map(|id| id % 2 == 0).collect(),
        };
        let of = |lists: &[&[i64]]| {
            let all = Assigned::together(lists.iter().map(|ids| part(ids)).collect());
            let CustomerIds::Int(ids) = all.ids else { unreachable!() };
            assert_eq!(all.leaf, ids.iter().map(|&id| id as u32 * 10).collect::<Vec<_>>());
            assert_eq!(all.holdout, ids.iter().map(|id| id % 2 == 0).collect::<Vec<_>>());
            ids
        };
        assert_eq!(of(&[&[1, 2, 3, 7, 8, 20], &[], &[4, 5, 6, 9], &[0, 21]]), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 20, 21]);
        assert_eq!(of(&[&[3, 1], &[2]]), [3, 1, 2], "not sorted, so they stay as they were");
        let long: Vec<i64> = (0..1000).collect();
        let (even, odd): (Vec<i64>, Vec<i64>) = long.iter().partition(|id| **id % 2 == 0 || (300..600).contains(*id));
        assert_eq!(of(&[&odd, &even]), long);
    }
}
