//! Which feature sets of a level can have a frequent cell, given the frequent segments of the level below.

use std::collections::BTreeMap;

use hashbrown::HashSet;
use rayon::prelude::*;

use super::{Shape, Survivors};
use crate::segment::{FeatureId, FeatureSet, Item, ItemCode, Segment};

/// Segments of `level` that may be frequent, as all that are one item shorter are.
pub fn candidates(level: usize, shape: &Shape, below: &Survivors) -> u64 {
    wanted(level, shape, below).into_iter().map(|(_, candidates)| candidates).sum()
}

/// The feature sets of `level`, from 2, that hold a candidate, with the number of their candidates; sorted. Those with tags are
/// listed apart.
pub fn wanted(level: usize, shape: &Shape, below: &Survivors) -> Vec<(FeatureSet, u64)> {
    let prefixes: Vec<(&FeatureSet, &Vec<Segment>)> = below.iter().filter(|(set, _)| !shape.has_tags(**set)).collect();
    let members: BTreeMap<FeatureSet, Members> =
        prefixes.iter().map(|&(&set, segments)| (set, Members::new(set, segments, shape))).collect();
    let of_prefix = |(&prefix, segments): (&FeatureSet, &Vec<Segment>)| {
        let mut found = Vec::new();
        let later = prefix.feature(level - 2) + 1..shape.features() as FeatureId;
        for feature in later.filter(|&f| !shape.tags[usize::from(f)]) {
            let set = prefix.with(feature);
            let others: Option<Vec<&Members>> = (0..level - 1).map(|i| members.get(&set.without(i))).collect();
            let Some(others) = others else { continue };
            let items = shape.items[usize::from(feature)] as ItemCode;
            let mut candidates = 0;
            let mut bases: Vec<Base> = Vec::with_capacity(level - 1);
            for &segment in segments {
                bases.clear();
                bases.extend(others.iter().enumerate().map(|(i, members)| members.base(segment.without(i))));
                candidates += (0..items)
                    .filter(|&code| {
                        let item = Item { feature, code };
                        others.iter().zip(&bases).all(|(members, base)| members.has(*base, item))
                    })
                    .count() as u64;
            }
            if candidates > 0 {
                found.push((set, candidates));
            }
        }
        found
    };
    let mut found: Vec<(FeatureSet, u64)> = prefixes.into_par_iter().flat_map_iter(of_prefix).collect();
    found.sort_unstable();
    found
}

/// Which cells of a feature set are frequent: a bitmap over its grid where that is small.
enum Members {
    Bits { cardinality: Vec<usize>, bits: Vec<u64> },
    Hashed(HashSet<Segment, foldhash::fast::FixedState>),
}

/// Where the cells that continue a segment by one more item start.
#[derive(Clone, Copy)]
enum Base {
    Cell(usize),
    Segment(Segment),
}

impl Members {
    /// The most cells of a bitmap: half a MiB.
    const MOST_BITS: usize = 1 << 22;

    fn new(set: FeatureSet, segments: &[Segment], shape: &Shape) -> Members {
        if shape.cells(set) > Self::MOST_BITS {
            return Members::Hashed(segments.iter().copied().collect());
        }
        let cardinality: Vec<usize> = set.features().map(|f| shape.card(f)).collect();
        let mut bits = vec![0u64; cardinality.iter().product::<usize>().div_ceil(64)];
        for segment in segments {
            let cell = cell_of(&cardinality, *segment);
            bits[cell / 64] |= 1 << (cell % 64);
        }
        Members::Bits { cardinality, bits }
    }

    fn base(&self, shorter: Segment) -> Base {
        match self {
            Members::Bits { cardinality, .. } => {
                let last = cardinality[cardinality.len() - 1];
                Base::Cell(cell_of(&cardinality[..cardinality.len() - 1], shorter) * last)
            }
            Members::Hashed(_) => Base::Segment(shorter),
        }
    }

    fn has(&self, base: Base, item: Item) -> bool {
        match (self, base) {
            (Members::Bits { bits, .. }, Base::Cell(start)) => {
                let cell = start + usize::from(item.code);
                bits[cell / 64] >> (cell % 64) & 1 == 1
            }
            (Members::Hashed(segments), Base::Segment(shorter)) => segments.contains(&shorter.with(item)),
            (Members::Bits { .. }, Base::Segment(_)) | (Members::Hashed(_), Base::Cell(_)) => {
                unreachable!("a base is used with the members that gave it")
            }
        }
    }
}

fn cell_of(cardinality: &[usize], segment: Segment) -> usize {
    cardinality.iter().zip(segment.items()).fold(0, |cell, (card, item)| cell * card + usize::from(item.code))
}
