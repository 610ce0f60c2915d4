//! Distances of all pairs, and the tree that they make by a rule for clusters.

use rayon::prelude::*;

use crate::job::Linkage;
use crate::simd::{self, LANES};

/// Distances of all pairs of some things, a row each.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Distances {
    n: usize,
    /// Symmetric; infinite between a thing and itself, which is nobody's neighbour.
    rows: Vec<f64>,
}

impl Distances {
    /// The squared Euclidean distances of points, on all cores. Differences are squared one after the other, so that points alike are
    /// exactly 0 apart.
    pub fn squared(points: &[Vec<f64>]) -> Distances {
        let n = points.len();
        let dimensions = points.first().map_or(0, Vec::len);
        // Points side by side, so that one is compared with several at a time.
        let tile = |points: &[Vec<f64>]| {
            let mut tile = vec![0.0; dimensions * LANES];
            for (lane, point) in points.iter().enumerate() {
                point.iter().enumerate().for_each(|(d, &value)| tile[d * LANES + lane] = value);
            }
            tile
        };
        let tiles: Vec<Vec<f64>> = points.par_chunks(LANES).map(tile).collect();
        let mut rows = vec![0.0; n * n];
        rows.par_chunks_mut((n * LANES).max(1)).enumerate().for_each(|(block, rows)| {
            // The tiles before are those of other blocks, mirrored below.
            for (t, tile) in tiles.iter().enumerate().skip(block) {
                for (i, row) in rows.chunks_mut(n).enumerate() {
                    let mut squares = [0.0; LANES];
                    simd::squares(&points[block * LANES + i], tile, &mut squares);
                    let here = LANES.min(n - t * LANES);
                    row[t * LANES..][..here].copy_from_slice(&squares[..here]);
                }
            }
        });
        let mut distances = Distances { n, rows };
        distances.mirror();
        distances
    }

    /// The distances that `of` gives two things.
    pub fn by(n: usize, of: impl Fn(usize, usize) -> f64 + Sync) -> Distances {
        let mut rows = vec![0.0; n * n];
        rows.par_chunks_mut(n.max(1)).enumerate().for_each(|(i, row)| {
            row.iter_mut().enumerate().skip(i + 1).for_each(|(j, distance)| *distance = of(i, j));
        });
        let mut distances = Distances { n, rows };
        distances.mirror();
        distances
    }

    /// Copies what is above the diagonal below it, block by block so that both stay near in memory.
    fn mirror(&mut self) {
        let n = self.n;
        for from in (0..n).step_by(LANES) {
            for to in (from..n).step_by(LANES) {
                for i in from..(from + LANES).min(n) {
                    for j in to.max(i + 1)..(to + LANES).min(n) {
                        self.rows[j * n + i] = self.rows[i * n + j];
                    }
                }
            }
        }
        (0..n).for_each(|i| self.rows[i * n + i] = f64::INFINITY);
    }

    pub fn at(&self, i: usize, j: usize) -> f64 {
        self.rows[i * self.n + j]
    }

    /// Changes every distance.
    pub fn map(mut self, of: impl Fn(f64) -> f64 + Sync) -> Distances {
        self.rows.par_iter_mut().for_each(|distance| *distance = of(*distance));
        self
    }

    fn row(&self, i: usize) -> &[f64] {
        &self.rows[i * self.n..][..self.n]
    }

    /// Rows `a < b`, the later one to be written.
    fn rows(&mut self, a: usize, b: usize) -> (&[f64], &mut [f64]) {
        let (before, from) = self.rows.split_at_mut(b * self.n);
        (&before[a * self.n..][..self.n], &mut from[..self.n])
    }

    /// Copies row `b` to its column, but for things that are gone.
    fn put(&mut self, b: usize, gone: &[f64]) {
        let row = self.row(b).to_vec();
        let rows = self.rows.chunks_exact_mut(self.n.max(1)).zip(row).zip(gone);
        rows.filter(|(_, gone)| **gone == 0.0).for_each(|((row, distance), _)| row[b] = distance);
    }

    /// Those of these things alone, in increasing order.
    fn retain(&mut self, kept: &[usize]) {
        let n = kept.len();
        for (row, &i) in kept.iter().enumerate() {
            for (column, &j) in kept.iter().enumerate() {
                self.rows[row * n + column] = self.rows[i * self.n + j];
            }
        }
        self.rows.truncate(n * n);
        self.n = n;
    }
}

/// Clusters that are gone make rows longer than need be; beyond this share of a row that is left they are taken out.
const LEFT: f64 = 0.7;

/// The tree of things with these distances, as pairs of one leaf of either side and the height, in no particular order: what SciPy's
/// `linkage` gives, by the nearest-neighbour chain (Murtagh, 1983; Müllner, 2011) and the updates of Lance and Williams (1967).
///
/// - [`Linkage::Ward`]: `distances` are squared; heights are not. Things of other weights than 1 are as if there were so many of them.
/// - [`Linkage::Average`]: the mean distance of all pairs of leaves, by weight (UPGMA; Sokal and Michener, 1958).
/// - [`Linkage::Complete`]: the largest.
///
/// [`Linkage::SmallestFirst`] is no such tree.
pub(super) fn chain(linkage: Linkage, mut distances: Distances, weights: &[f64]) -> Vec<(usize, usize, f64)> {
    let leaves = distances.n;
    if linkage == Linkage::Ward && weights.iter().any(|&weight| weight != 1.0) {
        distances.rows.par_chunks_mut(leaves).zip(weights).for_each(|(row, &own)| {
            row.iter_mut().zip(weights).for_each(|(square, other)| *square *= 2.0 * own * other / (own + other));
        });
    }
    // A merged cluster takes the place of its later member. Of each: a leaf of it, its weight, and infinity where it is gone.
    let mut leaf: Vec<usize> = (0..leaves).collect();
    let mut sizes = weights.to_vec();
    let mut gone = vec![0.0f64; leaves];
    let mut chain: Vec<usize> = Vec::new();
    let mut joins = Vec::with_capacity(leaves.saturating_sub(1));
    for left in (2..=leaves).rev() {
        if (left as f64) < LEFT * distances.n as f64 {
            let kept: Vec<usize> = (0..distances.n).filter(|&i| gone[i] == 0.0).collect();
            let place = |i: usize| kept.binary_search(&i).expect("the chain is of clusters that are there");
            chain.iter_mut().for_each(|i| *i = place(*i));
            leaf = kept.iter().map(|&i| leaf[i]).collect();
            sizes = kept.iter().map(|&i| sizes[i]).collect();
            gone = vec![0.0; kept.len()];
            distances.retain(&kept);
        }
        let (a, b, height) = loop {
            let Some(&tip) = chain.last() else {
                chain.push(gone.iter().position(|&gone| gone == 0.0).expect("two clusters are left at the least"));
                continue;
            };
            let row = distances.row(tip);
            let (height, nearest) = simd::nearest(row, &gone);
            // The previous link wins ties, or the chain could run in circles.
            let previous = chain.len().checked_sub(2).map(|i| chain[i]);
            match previous {
                Some(previous) if row[previous] <= height => {
                    chain.truncate(chain.len() - 2);
                    break (tip.min(previous), tip.max(previous), height);
                }
                Some(_) | None => chain.push(nearest),
            }
        };
        joins.push((leaf[a], leaf[b], if linkage == Linkage::Ward { height.sqrt() } else { height }));
        let own = [sizes[a], sizes[b]];
        let (from, into) = distances.rows(a, b);
        match linkage {
            Linkage::Ward => simd::ward(from, into, &sizes, own, height),
            Linkage::Complete => simd::largest(from, into),
            Linkage::Average | Linkage::SmallestFirst => simd::mean(from, into, own),
        }
        distances.put(b, &gone);
        sizes[b] += sizes[a];
        (sizes[a], gone[a]) = (0.0, f64::INFINITY);
    }
    joins
}
