//! What an enumeration found.

use rayon::prelude::*;

use super::{Layout, Shape, Survivors};
use crate::block::Block;
use crate::segment::{FeatureSet, Segment};
use crate::stats::{Moments, PARTS, Parts, Stats};

/// Frequent segments with their exact sums; at worker 0 all of them, elsewhere none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Sorted; the base comes first, unless there are no customers.
    pub segments: Vec<Segment>,
    /// Customers of each segment in each part.
    pub uv: Vec<Parts<i64>>,
    /// The sums of each segment: all of the discovery part, then all of the validation part.
    pub sums: Vec<i128>,
}

impl Answer {
    /// The frequent cells of all feature sets, which have these layouts; `width` is the number of moments a cell. On all cores.
    pub fn of<'a>(
        mut blocks: Vec<(FeatureSet, Block)>,
        layout: impl Fn(FeatureSet) -> &'a Layout + Sync,
        shape: &Shape,
        width: usize,
    ) -> Answer {
        // Cells are numbered in the order of their segments, so that sorted feature sets give sorted segments.
        blocks.sort_unstable_by_key(|(set, _)| *set);
        // Of a set without `rest` codes every cell has a name; of others the cells are asked one by one.
        let named = |(set, block): &(FeatureSet, Block)| {
            let layout = layout(*set);
            let all = set.features().all(|f| shape.items[usize::from(f)] == shape.cardinality[usize::from(f)]);
            let has_name = |cell: &&u64| all || layout.segment(*set, **cell, shape).is_some();
            block.cells().iter().filter(has_name).count()
        };
        let sizes: Vec<usize> = blocks.par_iter().map(named).collect();
        let total = sizes.iter().sum();
        let mut answer = Answer {
            segments: vec![Segment::BASE; total],
            uv: vec![[0; PARTS]; total],
            sums: vec![0; total * PARTS * width],
        };
        let (mut segments, mut uv, mut sums) = (&mut answer.segments[..], &mut answer.uv[..], &mut answer.sums[..]);
        let mut work = Vec::with_capacity(blocks.len());
        for ((set, block), &size) in blocks.iter().zip(&sizes) {
            work.push((
                *set,
                block,
                segments.split_off_mut(..size).expect("as many as were counted"),
                uv.split_off_mut(..size).expect("as many as were counted"),
                sums.split_off_mut(..size * PARTS * width).expect("as many as were counted"),
            ));
        }
        work.into_par_iter().for_each(|(set, block, segments, uv, sums)| {
            let layout = layout(set);
            let named = |(i, &cell): (usize, &u64)| Some((i, layout.segment(set, cell, shape)?));
            let mut places = Vec::with_capacity(segments.len());
            for ((i, segment), to) in block.cells().iter().enumerate().filter_map(named).zip(segments) {
                places.push(i);
                *to = segment;
            }
            for (part, planes) in block.planes().chunks(1 + width).enumerate() {
                uv.iter_mut().zip(&places).for_each(|(uv, &i)| uv[part] = planes[0].at(i) as i64);
                // Plane by plane: all of one width.
                for (moment, plane) in planes[1..].iter().enumerate() {
                    plane.read(&places, sums.iter_mut().skip(part * width + moment).step_by(PARTS * width));
                }
            }
        });
        debug_assert!(answer.segments.is_sorted());
        answer
    }

    /// The exact sums of metric `metric` over the customers of segment `i` in one part.
    pub fn stats(&self, moments: &Moments, metric: usize, i: usize, part: usize) -> Stats {
        let at = (PARTS * i + part) * moments.width();
        moments.stats(metric, self.uv[i][part], &self.sums[at..at + moments.width()])
    }

    /// The segments of one level, as the level above is planned from them.
    pub fn survivors(&self, level: usize) -> Survivors {
        let mut survivors = Survivors::new();
        for segment in self.segments.iter().filter(|segment| segment.level() == level) {
            survivors.entry(segment.features()).or_default().push(*segment);
        }
        survivors
    }
}
