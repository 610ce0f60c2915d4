//! How the groups divide by the columns that the job names, counted over all rows.

use timely::worker::Worker;

use super::collective::{broadcast, gather};
use super::target::Listed;
use crate::audience::{Tile, list};
use crate::encode::Shard;
use crate::mix::{Crossed, Dimension};

/// The customers of worker 0's groups, and of none, by value of each column aside. Elsewhere, and where there are no columns or no groups: nothing.
///
/// What crosses between workers is one count and two sums a value and group, to worker 0.
pub fn crossed(
    worker: &mut Worker,
    shard: &Shard,
    dimensions: &[Dimension],
    listed: Option<Listed>,
) -> Option<Crossed> {
    if dimensions.is_empty() {
        return None;
    }
    let (segments, lists) = broadcast(worker, listed);
    if lists.is_empty() {
        return None;
    }
    let mut group_of = vec![0; segments.len()];
    (0..).zip(&lists).for_each(|(group, list)| list.iter().for_each(|&i| group_of[i as usize] = group));
    let mut crossed = Crossed::none(dimensions, lists.len());
    let (mut sets, mut rows) = (Vec::new(), Vec::new());
    Tile::each(shard, &segments, |tile| {
        sets.clear();
        sets.resize(tile.len, lists.len() as u32);
        tile.first_come(0..segments.len(), |i, bits, _| {
            list(bits.iter().copied(), &mut rows);
            rows.iter().for_each(|&row| sets[row as usize] = group_of[i]);
        });
        crossed.add_rows(dimensions, shard, tile.start, &sets);
    });
    together(worker, crossed)
}

/// The same of groups that are lists of cells, by position, given the cell that each row is in.
pub fn crossed_cells(
    worker: &mut Worker,
    shard: &Shard,
    dimensions: &[Dimension],
    of_rows: &[u32],
    groups: Option<Vec<Vec<usize>>>,
) -> Option<Crossed> {
    if dimensions.is_empty() {
        return None;
    }
    let groups = broadcast(worker, groups);
    let mut group_of = vec![0; groups.iter().map(Vec::len).sum()];
    (0..).zip(&groups).for_each(|(group, cells)| cells.iter().for_each(|&cell| group_of[cell] = group));
    let mut crossed = Crossed::none(dimensions, groups.len());
    // Without cells everybody is in no group.
    let set = |&cell: &u32| group_of.get(cell as usize).copied().unwrap_or(groups.len() as u32);
    let sets: Vec<u32> = of_rows.iter().map(set).collect();
    crossed.add_rows(dimensions, shard, 0, &sets);
    together(worker, crossed)
}

/// All workers' at worker 0.
fn together(worker: &mut Worker, own: Crossed) -> Option<Crossed> {
    gather(worker, own).into_iter().reduce(|mut sum, more| {
        sum.add(&more);
        sum
    })
}
