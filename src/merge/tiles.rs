//! Points in tiles of neighbours: most of them need not be looked at to find the nearest of one.

use serde::{Deserialize, Serialize};

use crate::simd::{self, LANES};

/// The nearest of a point among others, by place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Nearest {
    /// How far, and who; the nearest first, of equal ones that of the lower place.
    pub near: Vec<(f64, u32)>,
    /// None of all the others is nearer than this; infinite if there are no others.
    pub bound: f64,
}

/// Points by place, a tile of [`LANES`] after the other, with the box that each tile lies in.
///
/// How far two of them are apart is their squared Euclidean distance, or Ward's: times `2 a b / (a + b)` for weights a and b.
#[derive(Clone, Debug)]
pub(super) struct Tiles {
    dimensions: usize,
    ward: bool,
    /// Tile by tile the first coordinate of all its points, then the second and so on; infinite where there is no point.
    values: Vec<f64>,
    /// The same in single precision: most points are told to be too far away by these alone.
    coarse: Vec<f32>,
    /// The largest squared distance of a point from the origin.
    largest: f64,
    /// By place.
    weights: Vec<f64>,
    /// By tile the lowest of each coordinate, then the highest.
    boxes: Vec<f64>,
    /// By tile.
    lightest: Vec<f64>,
}

/// Points that are searched for together: a tile is read once for all of them.
pub const ROWS: usize = 2 * LANES;

/// Half a unit in the last place of a number in single precision, relative to it.
const COARSE: f64 = f32::EPSILON as f64 / 2.0;
/// Squares of numbers up to this root can be added in single precision.
const COARSE_MOST: f64 = 1e30;

/// A sum of squares may be rounded upwards: what is this much nearer than a bound is still looked at.
const SLACK: f64 = 1.0 - 1e-12;

impl Tiles {
    pub fn new(points: &[&[f64]], weights: &[f64], ward: bool) -> Tiles {
        let dimensions = points.first().map_or(0, |point| point.len());
        let tiles = points.len().div_ceil(LANES);
        let mut boxes = Vec::with_capacity(2 * dimensions * tiles);
        for _ in 0..tiles {
            boxes.extend(std::iter::repeat_n(f64::INFINITY, dimensions));
            boxes.extend(std::iter::repeat_n(f64::NEG_INFINITY, dimensions));
        }
        let mut all = Tiles {
            dimensions,
            ward,
            values: vec![f64::INFINITY; dimensions * tiles * LANES],
            coarse: vec![f32::INFINITY; dimensions * tiles * LANES],
            largest: 0.0,
            weights: vec![1.0; tiles * LANES],
            boxes,
            lightest: vec![f64::INFINITY; tiles],
        };
        for (place, (point, &weight)) in points.iter().zip(weights).enumerate() {
            all.put(place, point, weight);
        }
        all
    }

    /// Puts a point in a place, in which there may have been another.
    pub fn put(&mut self, place: usize, point: &[f64], weight: f64) {
        let (tile, lane, dimensions) = (place / LANES, place % LANES, self.dimensions);
        let (low, high) = self.boxes[2 * dimensions * tile..][..2 * dimensions].split_at_mut(dimensions);
        for (d, &value) in point.iter().enumerate() {
            self.values[(tile * dimensions + d) * LANES + lane] = value;
            self.coarse[(tile * dimensions + d) * LANES + lane] = value as f32;
            (low[d], high[d]) = (low[d].min(value), high[d].max(value));
        }
        self.largest = self.largest.max(point.iter().map(|value| value * value).sum());
        self.weights[place] = weight;
        self.lightest[tile] = self.lightest[tile].min(weight);
    }

    pub fn remove(&mut self, place: usize) {
        let (tile, lane) = (place / LANES, place % LANES);
        for d in 0..self.dimensions {
            let at = (tile * self.dimensions + d) * LANES + lane;
            (self.values[at], self.coarse[at]) = (f64::INFINITY, f32::INFINITY);
        }
    }

    pub fn point(&self, place: usize) -> Vec<f64> {
        let (tile, lane) = (place / LANES, place % LANES);
        (0..self.dimensions).map(|d| self.values[(tile * self.dimensions + d) * LANES + lane]).collect()
    }

    /// How far apart the points in two places are.
    pub fn between(&self, i: usize, j: usize) -> f64 {
        let start = |place: usize| place / LANES * self.dimensions * LANES + place % LANES;
        let (a, b) = (self.values[start(i)..].iter(), self.values[start(j)..].iter());
        // As `simd::squares` adds them.
        let both = a.step_by(LANES).zip(b.step_by(LANES)).take(self.dimensions);
        let square = both.fold(0.0, |sum: f64, (x, y)| (x - y).mul_add(x - y, sum));
        square * self.factor(self.weights[i], self.weights[j])
    }

    fn factor(&self, a: f64, b: f64) -> f64 {
        if self.ward { 2.0 * a * b / (a + b) } else { 1.0 }
    }

    /// What is farther than this by single precision is farther than `limit`.
    ///
    /// The coordinates of two points are rounded by no more than their distances from the origin times [`COARSE`], so the distance of
    /// the points is by no more than both (triangle inequality); and the sum of the squares as [`simd::coarse_squares`] says. Ward's
    /// factor is never more than twice the weight of either.
    fn coarse_limit(&self, limit: f64, weight: f64) -> f64 {
        if self.largest > COARSE_MOST {
            return f64::INFINITY;
        }
        let factor = if self.ward { 2.0 * weight } else { 1.0 };
        let shift = 2.0 * COARSE * (self.largest * factor).sqrt();
        (limit.sqrt() + shift).powi(2) * (1.0 + 2.0 * (self.dimensions + 8) as f64 * COARSE)
    }

    fn tile_box(&self, tile: usize) -> (&[f64], &[f64]) {
        self.boxes[2 * self.dimensions * tile..][..2 * self.dimensions].split_at(self.dimensions)
    }

    /// The `most` nearest of each of these places. Those of places near each other are found fastest together.
    pub fn search(&self, places: &[u32], most: usize) -> Vec<Nearest> {
        places.chunks(ROWS).flat_map(|block| self.search_block(block, most)).collect()
    }

    fn search_block(&self, places: &[u32], most: usize) -> Vec<Nearest> {
        let points: Vec<Vec<f64>> = places.iter().map(|&place| self.point(place as usize)).collect();
        let weights: Vec<f64> = places.iter().map(|&place| self.weights[place as usize]).collect();
        let (mut low, mut high) = (points[0].clone(), points[0].clone());
        for point in &points {
            low.iter_mut().zip(point).for_each(|(low, &value)| *low = low.min(value));
            high.iter_mut().zip(point).for_each(|(high, &value)| *high = high.max(value));
        }
        let lightest = weights.iter().copied().fold(f64::INFINITY, f64::min);
        // Tiles that may be near come first, so that the others can be passed over.
        let mut tiles: Vec<(f64, usize)> = (0..self.lightest.len())
            .map(|tile| {
                let (tile_low, tile_high) = self.tile_box(tile);
                let square = simd::box_square([&low, &high], [tile_low, tile_high]);
                (SLACK * square * self.factor(lightest, self.lightest[tile]), tile)
            })
            .collect();
        tiles.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut found: Vec<Vec<(f64, u32)>> = vec![Vec::with_capacity(most + 2); places.len()];
        // One more than asked for: it bounds the others.
        let worst = |near: &Vec<(f64, u32)>| match near.get(most) {
            Some(&worst) => worst,
            None => (f64::INFINITY, 0),
        };
        let coarse: Vec<Vec<f32>> = points.iter().map(|p| p.iter().map(|&value| value as f32).collect()).collect();
        let (mut squares, mut about, mut close) = ([0.0; LANES], [[0.0; LANES]; 2], Vec::with_capacity(places.len()));
        for (least, tile) in tiles {
            if found.iter().all(|near| least > worst(near).0) {
                break;
            }
            let (tile_low, tile_high) = self.tile_box(tile);
            let whole = tile * self.dimensions * LANES..(tile + 1) * self.dimensions * LANES;
            let others: &[f64; LANES] = self.weights[tile * LANES..].first_chunk().expect("a whole tile");
            close.clear();
            close.extend((0..places.len()).filter(|&row| {
                let square = simd::box_square([&points[row], &points[row]], [tile_low, tile_high]);
                SLACK * square * self.factor(weights[row], self.lightest[tile]) <= worst(&found[row]).0
            }));
            for rows in close.chunks(2) {
                let pair = [rows[0], rows[rows.len() - 1]];
                simd::coarse_squares(pair.map(|row| &coarse[row][..]), &self.coarse[whole.clone()], &mut about);
                for (&row, about) in rows.iter().zip(&mut about) {
                    let (weight, near) = (weights[row], &mut found[row]);
                    let mut limit = worst(near);
                    if self.ward {
                        simd::scale(about, others, weight);
                    }
                    if simd::least(about) > self.coarse_limit(limit.0, weight) {
                        continue;
                    }
                    simd::squares(&points[row], &self.values[whole.clone()], &mut squares);
                    if self.ward {
                        simd::scale(&mut squares, others, weight);
                    }
                    let place = places[row] as usize;
                    if place / LANES == tile {
                        squares[place % LANES] = f64::INFINITY;
                    }
                    if simd::least(&squares) > limit.0 {
                        continue;
                    }
                    for (lane, &square) in squares.iter().enumerate() {
                        let other = (square, (tile * LANES + lane) as u32);
                        if other < limit && square < f64::INFINITY {
                            let at = near.partition_point(|known| *known < other);
                            near.insert(at, other);
                            near.truncate(most + 1);
                            limit = worst(near);
                        }
                    }
                }
            }
        }
        let nearest = |mut near: Vec<(f64, u32)>| {
            let bound =
                if near.len() > most { near.pop().map_or(f64::INFINITY, |(bound, _)| bound) } else { f64::INFINITY };
            Nearest { near, bound }
        };
        found.into_iter().map(nearest).collect()
    }
}

/// An order in which points near each other come together: halved where a coordinate is spread most, again and again, down to tiles
/// (a k-d tree; Bentley, 1975).
pub(super) fn neighbours(points: &[&[f64]]) -> Vec<u32> {
    fn halve(order: &mut [u32], points: &[&[f64]]) {
        if order.len() <= LANES {
            order.sort_unstable();
            return;
        }
        let dimensions = points[0].len();
        let (mut sums, mut squares) = (vec![0.0; dimensions], vec![0.0; dimensions]);
        for &i in order.iter() {
            for ((sum, square), value) in sums.iter_mut().zip(&mut squares).zip(points[i as usize]) {
                *sum += value;
                *square += value * value;
            }
        }
        let spread = |d: &usize| squares[*d] - sums[*d] * sums[*d] / order.len() as f64;
        let widest = (0..dimensions).max_by(|a, b| spread(a).total_cmp(&spread(b)).then(b.cmp(a)));
        let Some(axis) = widest else { return };
        let middle = (order.len() / 2).next_multiple_of(LANES);
        let value = |i: &u32| points[*i as usize][axis];
        order.select_nth_unstable_by(middle, |a, b| value(a).total_cmp(&value(b)).then(a.cmp(b)));
        let (first, last) = order.split_at_mut(middle);
        rayon::join(|| halve(first, points), || halve(last, points));
    }
    let mut order: Vec<u32> = (0..points.len() as u32).collect();
    halve(&mut order, points);
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_nearest_are_those_of_all_pairs(
            points in prop::collection::vec(prop::collection::vec(0i8..5, 3), 1..150),
            weights in prop::collection::vec(1i8..4, 150), gone in prop::collection::vec(prop::bool::weighted(0.2), 150),
            moved in prop::collection::vec(prop::bool::weighted(0.2), 150), ward: bool, most in 1usize..6,
        ) {
            // Small integers, so that there are ties.
            let mut points: Vec<Vec<f64>> = points.iter().map(|p| p.iter().map(|&x| f64::from(x)).collect()).collect();
            let weights: Vec<f64> = weights.into_iter().map(f64::from).collect();
            let of: Vec<&[f64]> = points.iter().map(Vec::as_slice).collect();
            let mut tiles = Tiles::new(&of, &weights, ward);
            for i in (0..points.len()).filter(|&i| moved[i]) {
                points[i].iter_mut().for_each(|x| *x += 2.5);
                tiles.put(i, &points[i], weights[i]);
            }
            let there: Vec<u32> = (0..points.len() as u32).filter(|&i| !gone[i as usize]).collect();
            (0..points.len()).filter(|&i| gone[i]).for_each(|i| tiles.remove(i));
            let apart = |i: u32, j: u32| {
                let (i, j) = (i as usize, j as usize);
                let square: f64 = points[i].iter().zip(&points[j]).map(|(x, y)| (x - y) * (x - y)).sum();
                square * if ward { 2.0 * weights[i] * weights[j] / (weights[i] + weights[j]) } else { 1.0 }
            };
            for (&i, found) in there.iter().zip(tiles.search(&there, most)) {
                let mut all: Vec<(f64, u32)> = there.iter().filter(|&&j| j != i).map(|&j| (apart(i, j), j)).collect();
                all.sort_by(|a, b| a.partial_cmp(b).expect("finite"));
                prop_assert_eq!(found.bound, all.get(most).map_or(f64::INFINITY, |other| other.0));
                all.truncate(most);
                for &(distance, j) in &all {
                    prop_assert_eq!(tiles.between(i as usize, j as usize), distance);
                }
                prop_assert_eq!(found.near, all);
                prop_assert_eq!(tiles.point(i as usize), &points[i as usize][..]);
            }
        }

        #[test]
        fn single_precision_hides_nobody_who_is_near(
            points in prop::collection::vec(prop::collection::vec(-1.0..1f64, 12), 70..200),
            weights in prop::collection::vec(0.5..4f64, 200), ward: bool, far in 0usize..4,
        ) {
            // The farther from the origin, the less of a difference is left in single precision; at last no square of it fits.
            let far = [0.0, 1e3, 1e7, 1e20][far];
            let points: Vec<Vec<f64>> = points.into_iter().map(|p| p.into_iter().map(|x| x + far).collect()).collect();
            let of: Vec<&[f64]> = points.iter().map(Vec::as_slice).collect();
            let tiles = Tiles::new(&of, &weights, ward);
            let all: Vec<u32> = (0..points.len() as u32).collect();
            for (&i, found) in all.iter().zip(tiles.search(&all, 3)) {
                let others = all.iter().filter(|&&j| j != i).map(|&j| (tiles.between(i as usize, j as usize), j));
                let mut expected: Vec<(f64, u32)> = others.collect();
                expected.sort_by(|a, b| a.partial_cmp(b).expect("finite"));
                prop_assert_eq!(found.bound, expected[3].0);
                prop_assert_eq!(found.near, &expected[..3]);
            }
        }

        #[test]
        fn an_order_has_every_point_once_and_neighbours_together(
            points in prop::collection::vec(prop::collection::vec(0.0..1f64, 2), 0..300),
        ) {
            let of: Vec<&[f64]> = points.iter().map(Vec::as_slice).collect();
            let order = neighbours(&of);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..points.len() as u32).collect::<Vec<_>>());
            // Each half of the first cut lies on one side of it.
            if points.len() > LANES {
                let (first, last) = order.split_at((points.len() / 2).next_multiple_of(LANES));
                let apart = (0..2).any(|d| {
                    let of = |i: &u32| points[*i as usize][d];
                    let highest = first.iter().map(of).fold(0.0, f64::max);
                    last.iter().map(of).all(|value| value >= highest)
                });
                prop_assert!(apart);
            }
        }
    }
}
