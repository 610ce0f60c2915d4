//! Counting rows into a covering block and summing dimensions out of it, in the order of least work.

use super::keys::{Axis, keys};
use super::tally::{Addends, CHUNK, Rows, Tally};
use super::{CoverBlock, Shape};
use crate::block::{Block, Plane};
use crate::encode::Shard;
use crate::segment::FeatureSet;

/// Counts the rows of some shards into a covering block and gives the block of each feature set that lies in it.
///
/// The dimensions are laid out by their number of codes, the largest slowest: that one is summed out first, which leaves the
/// smallest array behind and adds long stretches of cells to each other.
pub fn count_block(
    shards: &[&Shard],
    block: &CoverBlock,
    shape: &Shape,
    tally: &mut Tally,
) -> Vec<(FeatureSet, Block)> {
    let mut features = block.features.clone();
    features.sort_by_key(|&f| (std::cmp::Reverse(shape.card(f)), f));
    let cards: Vec<usize> = features.iter().map(|&f| shape.card(f)).collect();
    tally.reset_short(cards.iter().product());
    let mut buffer = [0u16; CHUNK];
    for shard in shards {
        let axes = Axis::grid(shard, &features, &cards);
        let addends = Addends::of(shard);
        for run in shard.runs() {
            for start in run.rows.clone().step_by(CHUNK) {
                let chunk = &mut buffer[..CHUNK.min(run.rows.end - start)];
                keys(&axes, start, chunk);
                tally.add(&addends, run, Rows::From(start), chunk);
            }
        }
    }
    let mut lattice = Lattice { known: vec![((1 << features.len()) - 1, tally.planes())], cards };
    let position = |f| features.iter().position(|&own| own == f).expect("a set lies inside its block");
    block
        .sets
        .iter()
        .map(|&set| {
            let places: Vec<usize> = set.features().map(position).collect();
            let planes = lattice.at(places.iter().fold(0, |mask, place| mask | 1 << place));
            let cells = in_feature_order(&places, &lattice.cards);
            let planes = &lattice.known[planes].1;
            (set, Block::dense(planes.iter().map(|plane| plane.gathered(&cells)).collect()))
        })
        .collect()
}

/// For each cell of a feature set, the last feature fastest, its place in the array over the same dimensions in block order.
fn in_feature_order(places: &[usize], cards: &[usize]) -> Vec<u32> {
    let mut sorted = places.to_vec();
    sorted.sort_unstable();
    let stride = |place: usize| -> usize { sorted.iter().filter(|&&p| p > place).map(|&p| cards[p]).product() };
    let mut cells = vec![0u32];
    for &place in places {
        let stride = stride(place) as u32;
        cells = cells.iter().flat_map(|&cell| (0..cards[place] as u32).map(move |code| cell + code * stride)).collect();
    }
    cells
}

/// The counters of a block with some of its dimensions summed out, each array computed once.
struct Lattice {
    cards: Vec<usize>,
    /// By the mask of the dimensions that are left, bit i for the block's dimension i.
    known: Vec<(u32, Vec<Plane>)>,
}

impl Lattice {
    /// Where the array over these dimensions stands.
    fn at(&mut self, mask: u32) -> usize {
        if let Some(index) = self.known.iter().position(|(known, _)| *known == mask) {
            return index;
        }
        // From the array with the dimension of fewest codes added: so the large ones go first.
        let added = (0..self.cards.len())
            .filter(|i| mask >> i & 1 == 0)
            .min_by_key(|&i| (self.cards[i], std::cmp::Reverse(i)))
            .expect("the full mask is known from the start");
        let from = self.at(mask | 1 << added);
        let inner = (added + 1..self.cards.len()).filter(|i| mask >> i & 1 == 1).map(|i| self.cards[i]).product();
        let summed = self.known[from].1.iter().map(|plane| summed_out(plane, self.cards[added], inner)).collect();
        self.known.push((mask, summed));
        self.known.len() - 1
    }
}

/// A plane without a dimension of `card` codes that has `inner` cells below each.
fn summed_out(plane: &Plane, card: usize, inner: usize) -> Plane {
    fn summed<T: Copy>(cells: &[T], card: usize, inner: usize, plus: impl Fn(T, T) -> T) -> Vec<T> {
        let mut out = Vec::with_capacity(cells.len() / card);
        for slab in cells.chunks_exact(inner * card) {
            let start = out.len();
            out.extend_from_slice(&slab[..inner]);
            for slice in slab[inner..].chunks_exact(inner) {
                out[start..].iter_mut().zip(slice).for_each(|(a, b)| *a = plus(*a, *b));
            }
        }
        out
    }
    match plane {
        Plane::U32(cells) => Plane::U32(summed(cells, card, inner, u32::wrapping_add)),
        Plane::I64(cells) => Plane::I64(summed(cells, card, inner, i64::wrapping_add)),
        Plane::I128(cells) => Plane::I128(summed(cells, card, inner, i128::wrapping_add)),
    }
}
