//! What an enumeration found.

use rayon::prelude::*;

use super::{Layout, Shape, Survivors};
use crate::block::Block;
use crate::segment::{FeatureSet, Segment};
use crate::stats::{DISCOVERY, Moments, PARTS, Parts, Stats, VALIDATION};

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

    /// Keeps the segments whose flag is set.
    pub fn retain(&mut self, kept: &[bool]) {
        if kept.iter().all(|&kept| kept) {
            return;
        }
        let width = self.sums.len() / self.segments.len().max(1);
        let of = |kept: &mut std::slice::Iter<bool>| kept.next() == Some(&true);
        let (mut first, mut second) = (kept.iter(), kept.iter());
        self.segments.retain(|_| of(&mut first));
        self.uv.retain(|_| of(&mut second));
        let sums = self.sums.chunks(width.max(1)).zip(kept).filter(|(_, kept)| **kept);
        self.sums = sums.flat_map(|(sums, _)| sums.iter().copied()).collect();
    }

    /// The exact sums of metric `metric` over the customers of segment `i` in one part.
    pub fn stats(&self, moments: &Moments, metric: usize, i: usize, part: usize) -> Stats {
        let at = (PARTS * i + part) * moments.width();
        moments.stats(metric, self.uv[i][part], &self.sums[at..at + moments.width()])
    }

    /// The exact sums of metric `metric` over each segment but the base: of the discovery part, and of both. On all cores.
    pub fn found_and_whole(&self, moments: &Moments, metric: usize) -> (Vec<Stats>, Vec<Stats>) {
        let of = |i: usize| {
            let [found, held] = [DISCOVERY, VALIDATION].map(|part| self.stats(moments, metric, i, part));
            (found, found + held)
        };
        (1..self.segments.len()).into_par_iter().map(of).unzip()
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

/// Which of these sorted segments have all that are one item shorter among them, and these theirs.
///
/// The bound of a segment is at least that of one that says more but for the rounding of sums of squares, so nearly all of them.
pub fn closed(segments: &[Segment]) -> Vec<bool> {
    let mut kept = vec![true; segments.len()];
    let deepest = segments.iter().map(|segment| segment.level()).max().unwrap_or(0);
    for level in 2..=deepest {
        let is_kept = |parent: Segment| segments.binary_search(&parent).is_ok_and(|at| kept[at]);
        let torn = |i: &usize| segments[*i].level() == level && !segments[*i].parents().all(is_kept);
        let torn: Vec<usize> = (0..segments.len()).into_par_iter().filter(torn).collect();
        torn.into_iter().for_each(|i| kept[i] = false);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::Item;

    #[test]
    fn a_segment_without_one_of_its_parents_goes_and_so_do_those_that_need_it() {
        let segment = |features: &[u16]| {
            Segment::of_items(&features.iter().map(|&feature| Item { feature, code: 0 }).collect::<Vec<_>>())
        };
        // Without (0, 1) there is no (0, 1, 2); without 3 there is no (2, 3), nor anything beyond.
        let mut segments: Vec<Segment> =
            [&[][..], &[0], &[1], &[2], &[0, 2], &[1, 2], &[2, 3], &[0, 1, 2], &[1, 2, 3]].map(segment).to_vec();
        segments.sort_unstable();
        let kept = closed(&segments);
        let left: Vec<Segment> = segments.iter().zip(kept).filter(|(_, kept)| *kept).map(|(s, _)| *s).collect();
        let mut expected = [&[][..], &[0], &[1], &[2], &[0, 2], &[1, 2]].map(segment).to_vec();
        expected.sort_unstable();
        assert_eq!(left, expected);
    }
}
