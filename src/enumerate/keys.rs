//! The cell of each row in a block, built column by column.
//!
//! A key is the sum of code times stride over the features of the block, modulo 2^16. Several columns are read in one loop.

use crate::encode::{Codes, Shard};
use crate::segment::FeatureId;
use crate::simd::add_scaled;

/// A column of a block and how many cells apart its codes are.
pub struct Axis<'a> {
    codes: &'a Codes,
    stride: u16,
}

impl Axis<'_> {
    /// The axes of a grid over `features`, the last feature fastest.
    pub fn grid<'a>(shard: &'a Shard, features: &[FeatureId], cards: &[usize]) -> Vec<Axis<'a>> {
        let mut stride = 1usize;
        let mut axes: Vec<Axis> = Vec::with_capacity(features.len());
        for (&feature, &card) in features.iter().zip(cards).rev() {
            axes.push(Axis { codes: &shard.features[usize::from(feature)], stride: stride as u16 });
            stride *= card;
        }
        axes.reverse();
        axes
    }
}

/// Byte columns that are read in one loop.
const AT_ONCE: usize = 4;

/// The keys of rows `start..start + keys.len()`.
pub fn keys(axes: &[Axis], start: usize, keys: &mut [u16]) {
    let mut bytes: Vec<(&[u8], u16)> = Vec::with_capacity(axes.len());
    keys.fill(0);
    for axis in axes {
        match axis.codes {
            Codes::U8(codes) => bytes.push((&codes[start..start + keys.len()], axis.stride)),
            Codes::U16(codes) => {
                let codes = &codes[start..start + keys.len()];
                keys.iter_mut()
                    .zip(codes)
                    .for_each(|(key, &code)| *key = key.wrapping_add(code.wrapping_mul(axis.stride)));
            }
            Codes::Tags(_) => unreachable!("a row with several codes is not on a grid"),
        }
    }
    for group in bytes.chunks(AT_ONCE) {
        match *group {
            [a] => add_scaled([a], keys),
            [a, b] => add_scaled([a, b], keys),
            [a, b, c] => add_scaled([a, b, c], keys),
            [a, b, c, d] => add_scaled([a, b, c, d], keys),
            _ => unreachable!("chunks of one to AT_ONCE"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_are_sums_of_code_times_stride(
            columns in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 77), any::<bool>()), 0..9),
            strides in proptest::collection::vec(any::<u16>(), 9),
            start in 0usize..50,
        ) {
            let codes: Vec<Codes> = columns.iter().map(|(codes, wide)| match wide {
                true => Codes::U16(codes.iter().map(|&c| u16::from(c)).collect()),
                false => Codes::U8(codes.clone()),
            }).collect();
            let axes: Vec<Axis> = codes.iter().zip(&strides).map(|(codes, &stride)| Axis { codes, stride }).collect();
            let mut found = vec![7u16; 77 - start];
            keys(&axes, start, &mut found);
            for (row, &key) in found.iter().enumerate() {
                let expected: u32 =
                    columns.iter().zip(&strides).map(|((c, _), &s)| u32::from(c[start + row]) * u32::from(s)).sum();
                prop_assert_eq!(key, expected as u16);
            }
        }
    }
}
