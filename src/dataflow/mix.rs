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
    gather(worker, crossed).into_iter().reduce(|mut sum, more| {
        sum.add(&more);
        sum
    })
}
