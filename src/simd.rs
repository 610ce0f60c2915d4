//! The loops that gain by vector instructions, each written once in plain Rust and compiled three times.
//!
//! Programs are built for the oldest processor of their kind, so a copy of each loop is compiled for AVX2 and one for AVX-512,
//! and chosen at run time; elsewhere the plain one runs. Measured: 500,000 keys of 5 columns 0.05 ms with AVX2 in one loop,
//! 0.21 ms column by column without. Here is the only `unsafe` of the program.

#![allow(unsafe_code)]

/// Compiles a function again for AVX2 and for AVX-512, and calls the best of them that the processor has the instructions of.
macro_rules! on_best {
    ($(#[$doc:meta])* $vis:vis fn $name:ident $(<const $n:ident: usize>)? ($($arg:ident: $type:ty),*) $(-> $result:ty)? $body:block) => {
        $(#[$doc])*
        $vis fn $name $(<const $n: usize>)? ($($arg: $type),*) $(-> $result)? {
            #[inline(always)]
            fn plain $(<const $n: usize>)? ($($arg: $type),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,avx2,fma,popcnt")]
            fn avx512 $(<const $n: usize>)? ($($arg: $type),*) $(-> $result)? {
                plain($($arg),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,popcnt")]
            fn avx2 $(<const $n: usize>)? ($($arg: $type),*) $(-> $result)? {
                plain($($arg),*)
            }

            #[cfg(target_arch = "x86_64")]
            match best() {
                // SAFETY: the one condition of the calls is that the processor has the features named above, which `best` asked.
                Best::Avx512 => return unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                Best::Avx2 => return unsafe { avx2($($arg),*) },
                Best::Plain => {}
            }
            plain($($arg),*)
        }
    };
}

/// Instructions that the loops are compiled for.
#[cfg(target_arch = "x86_64")]
enum Best {
    Avx512,
    Avx2,
    Plain,
}

/// The best of them that this processor has.
#[cfg(target_arch = "x86_64")]
fn best() -> Best {
    use std::arch::is_x86_feature_detected as has;
    if !(has!("avx2") && has!("fma") && has!("popcnt")) {
        return Best::Plain;
    }
    let all = has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") && has!("avx512vpopcntdq");
    if all { Best::Avx512 } else { Best::Avx2 }
}

on_best! {
    /// Adds code times stride of every column to the keys, modulo 2^16. The columns are at least as long as the keys.
    pub fn add_scaled<const N: usize>(columns: [(&[u8], u16); N], keys: &mut [u16]) {
        let rows = keys.len();
        let columns = columns.map(|(codes, stride)| (&codes[..rows], stride));
        for row in 0..rows {
            let mut key = keys[row];
            for (codes, stride) in &columns {
                key = key.wrapping_add(u16::from(codes[row]).wrapping_mul(*stride));
            }
            keys[row] = key;
        }
    }
}

on_best! {
    /// Adds, for each pair of bitmaps, how many bits are set in both. Bitmaps are of `words` words, one after the other.
    pub fn count_pairs(bitmaps: &[u64], words: usize, pairs: &[[u32; 2]], counts: &mut [u32]) {
        for (&[i, j], count) in pairs.iter().zip(counts) {
            let (a, b) = (&bitmaps[i as usize * words..][..words], &bitmaps[j as usize * words..][..words]);
            // A sum that could fail on overflow, as releases are built, would not become vector instructions.
            let both = a.iter().zip(b).map(|(a, b)| u64::from((a & b).count_ones()));
            *count = count.wrapping_add(both.fold(0, u64::wrapping_add) as u32);
        }
    }
}

on_best! {
    /// Adds, for each of some bitmaps as long as `bits`, one after the other, how many bits are set in both.
    pub fn add_common(bits: &[u64], bitmaps: &[u64], counts: &mut [i64]) {
        for (bitmap, count) in bitmaps.chunks_exact(bits.len()).zip(counts) {
            let both = bits.iter().zip(bitmap).map(|(a, b)| u64::from((a & b).count_ones()));
            *count = count.wrapping_add(both.fold(0, u64::wrapping_add) as i64);
        }
    }
}

on_best! {
    /// How many bits are set.
    pub fn ones(bits: &[u64]) -> u32 {
        bits.iter().map(|bits| u64::from(bits.count_ones())).fold(0, u64::wrapping_add) as u32
    }
}

on_best! {
    /// Moves the bits that are set in `bits` from `free` to `taken`, which is written anew; says how many they are.
    pub fn take(bits: &[u64], free: &mut [u64], taken: &mut [u64]) -> u32 {
        let mut count = 0u64;
        for ((&bits, free), taken) in bits.iter().zip(free).zip(taken) {
            *taken = bits & *free;
            *free &= !bits;
            count = count.wrapping_add(u64::from(taken.count_ones()));
        }
        count as u32
    }
}

/// Points that are compared with one at a time.
pub const LANES: usize = 32;

on_best! {
    /// The squared distances of a point to [`LANES`] others, of which `tile` has the first coordinate of all, then the second, and so
    /// on. Of each pair the squares are added in the order of the coordinates, each rounded once: the same on every processor.
    pub fn squares(point: &[f64], tile: &[f64], squares: &mut [f64; LANES]) {
        let mut sums = [0.0; LANES];
        for (own, others) in point.iter().zip(tile.as_chunks::<LANES>().0) {
            for (sum, other) in sums.iter_mut().zip(others) {
                *sum = (own - other).mul_add(own - other, *sum);
            }
        }
        *squares = sums;
    }
}

on_best! {
    /// About the squared distances of two points to [`LANES`] others each, in single precision: rounding may make each of n coordinates
    /// add n + 4 times 2^-24 of the sum too much or too little, beside what the coordinates themselves were rounded.
    pub fn coarse_squares(points: [&[f32]; 2], tile: &[f32], squares: &mut [[f64; LANES]; 2]) {
        let mut sums = [[0.0f32; LANES]; 2];
        for ((a, b), others) in points[0].iter().zip(points[1]).zip(tile.as_chunks::<LANES>().0) {
            for i in 0..LANES {
                let (to_a, to_b) = (a - others[i], b - others[i]);
                sums[0][i] = to_a.mul_add(to_a, sums[0][i]);
                sums[1][i] = to_b.mul_add(to_b, sums[1][i]);
            }
        }
        for (squares, sums) in squares.iter_mut().zip(&sums) {
            squares.iter_mut().zip(sums).for_each(|(square, &sum)| *square = f64::from(sum));
        }
    }
}

on_best! {
    /// How far apart two boxes are, squared, each given by its lowest and its highest coordinates; 0 where they touch. A sum that is
    /// rounded in another order than [`squares`] is.
    pub fn box_square(a: [&[f64]; 2], b: [&[f64]; 2]) -> f64 {
        const SUMS: usize = 8;
        let gap = |low: f64, high: f64, other_low: f64, other_high: f64| {
            let (below, above) = (other_low - high, low - other_high);
            let gap = if below > above { below } else { above };
            if gap > 0.0 { gap } else { 0.0 }
        };
        let (low, low_rest) = a[0].as_chunks::<SUMS>();
        let (high, high_rest) = a[1].as_chunks::<SUMS>();
        let (other_low, other_low_rest) = b[0].as_chunks::<SUMS>();
        let (other_high, other_high_rest) = b[1].as_chunks::<SUMS>();
        let mut sums = [0.0; SUMS];
        for (((low, high), other_low), other_high) in low.iter().zip(high).zip(other_low).zip(other_high) {
            for i in 0..SUMS {
                let gap = gap(low[i], high[i], other_low[i], other_high[i]);
                sums[i] += gap * gap;
            }
        }
        let rest = low_rest.iter().zip(high_rest).zip(other_low_rest).zip(other_high_rest);
        let rest = rest.map(|(((low, high), other_low), other_high)| gap(*low, *high, *other_low, *other_high).powi(2));
        sums.iter().sum::<f64>() + rest.sum::<f64>()
    }
}

on_best! {
    /// Squared distances of a point to others become those of Ward's linkage, given its weight and theirs.
    pub fn scale(squares: &mut [f64; LANES], weights: &[f64; LANES], own: f64) {
        for (square, weight) in squares.iter_mut().zip(weights) {
            *square *= 2.0 * own * weight / (own + weight);
        }
    }
}

on_best! {
    /// Squared distances become distances.
    pub fn roots(squares: &mut [f64; LANES]) {
        squares.iter_mut().for_each(|square| *square = square.sqrt());
    }
}

on_best! {
    /// The smallest.
    pub fn least(values: &[f64; LANES]) -> f64 {
        let (eights, _) = values.as_chunks::<8>();
        let mut least = [f64::INFINITY; 8];
        for eight in eights {
            for (least, value) in least.iter_mut().zip(eight) {
                *least = if value < least { *value } else { *least };
            }
        }
        least.into_iter().fold(f64::INFINITY, |a, b| if b < a { b } else { a })
    }
}

on_best! {
    /// The squared distance of two points. A sum that is rounded in another order than [`squares`] is, the same on every processor.
    pub fn square(a: &[f64], b: &[f64]) -> f64 {
        const SUMS: usize = 16;
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<SUMS>(), b.as_chunks::<SUMS>());
        let mut sums = [0.0f64; SUMS];
        for (a, b) in a.iter().zip(b) {
            for i in 0..SUMS {
                sums[i] = (a[i] - b[i]).mul_add(a[i] - b[i], sums[i]);
            }
        }
        let rest = a_rest.iter().zip(b_rest).fold(0.0f64, |sum, (a, b)| (a - b).mul_add(a - b, sum));
        sums.iter().sum::<f64>() + rest
    }
}

on_best! {
    /// The smallest of some distances, plus what is added to each, and the first place where it is.
    pub fn nearest(distances: &[f64], added: &[f64]) -> (f64, usize) {
        let ((distances, rest), (added, rest_added)) = (distances.as_chunks::<LANES>(), added.as_chunks::<LANES>());
        let mut least = [f64::INFINITY; LANES];
        for (distances, added) in distances.iter().zip(added) {
            for ((least, distance), added) in least.iter_mut().zip(distances).zip(added) {
                let distance = distance + added;
                *least = if distance < *least { distance } else { *least };
            }
        }
        let of_rest = || rest.iter().zip(rest_added).map(|(distance, added)| distance + added);
        let least = least.into_iter().chain(of_rest()).fold(f64::INFINITY, |a, b| if b < a { b } else { a });
        // Chunk by chunk, each compared at once; a search value by value takes longer than finding the least.
        let is_in = |(distances, added): (&[f64; LANES], &[f64; LANES])| {
            let same = distances.iter().zip(added).map(|(distance, added)| u64::from(distance + added == least));
            same.fold(0, |any, same| any | same) != 0
        };
        let chunk = distances.iter().zip(added).position(is_in);
        let within = match chunk {
            Some(at) => distances[at].iter().zip(&added[at]).position(|(distance, added)| distance + added == least),
            None => of_rest().position(|distance| distance == least),
        };
        (least, chunk.unwrap_or(distances.len()) * LANES + within.unwrap_or(0))
    }
}

on_best! {
    /// Squared distances to two clusters become those to both together, by Ward's rule: `own` are their sizes, `height` is their
    /// squared distance, and `sizes` are those of the others.
    pub fn ward(from: &[f64], into: &mut [f64], sizes: &[f64], own: [f64; 2], height: f64) {
        let [a, b] = own;
        for ((into, &from), &size) in into.iter_mut().zip(from).zip(sizes) {
            let each = 1.0 / (a + b + size);
            *into = (size + a) * each * from + (size + b) * each * *into - size * each * height;
        }
    }
}

on_best! {
    /// Distances to two clusters of these sizes become their weighted mean.
    pub fn mean(from: &[f64], into: &mut [f64], own: [f64; 2]) {
        let [a, b] = own.map(|size| size / (own[0] + own[1]));
        into.iter_mut().zip(from).for_each(|(into, &from)| *into = a * from + b * *into);
    }
}

on_best! {
    /// Distances become the larger of two.
    pub fn largest(from: &[f64], into: &mut [f64]) {
        into.iter_mut().zip(from).for_each(|(into, &from)| *into = if from > *into { from } else { *into });
    }
}

/// Parts of which the distances of a row are added at a time.
pub const PARTS: usize = 16;

/// Keys of rows, and what each key adds to the distances of a row.
pub type Distances<'a> = (&'a [u16], &'a [[i32; PARTS]]);

on_best! {
    /// Of each row the smallest of its distances, if that is smaller than what there is: what they start from, and what the row's keys
    /// add to each, modulo 2^32.
    ///
    /// Key by key within a row: the other way round the compiler takes 16 rows for the lanes, and gathers and scatters each
    /// number, ten times as slowly.
    pub fn least_distances(start: &[[i32; PARTS]], keys: &[Distances<'_>], least: &mut [i32]) {
        for (row, (least, start)) in least.iter_mut().zip(start).enumerate() {
            let mut sums = *start;
            for (keys, table) in keys {
                let added = &table[usize::from(keys[row])];
                sums.iter_mut().zip(added).for_each(|(sum, added)| *sum = sum.wrapping_add(*added));
            }
            let own = sums.iter().fold(i32::MAX, |a, &b| if b < a { b } else { a });
            *least = if own < *least { own } else { *least };
        }
    }
}

/// Which codes are this one, one bit a code.
pub fn equal_bits(codes: &[u8], code: u8) -> Vec<u64> {
    let mut bits = Vec::with_capacity(codes.len().div_ceil(64));
    let (words, rest) = codes.as_chunks::<64>();
    #[cfg(target_arch = "x86_64")]
    match best() {
        // SAFETY: the one condition of the calls is that the processor has the features of each, which `best` asked.
        Best::Avx512 => unsafe { equal::avx512(words, code, &mut bits) },
        // SAFETY: as above.
        Best::Avx2 => unsafe { equal::avx2(words, code, &mut bits) },
        Best::Plain => equal::plain(words, code, &mut bits),
    }
    #[cfg(not(target_arch = "x86_64"))]
    equal::plain(words, code, &mut bits);
    if !rest.is_empty() {
        bits.push(rest.iter().enumerate().fold(0, |word, (i, &c)| word | u64::from(c == code) << i));
    }
    bits
}

/// Whether the processor has the instructions of [`picked`].
pub fn picks() -> bool {
    #[cfg(target_arch = "x86_64")]
    return matches!(best(), Best::Avx512) && std::arch::is_x86_feature_detected!("avx512vbmi2");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// The codes at the bits of the first mask, then those of the second and so on, one bit a code. Every code is in one mask.
pub fn picked(codes: &[u8], masks: &[Vec<u64>]) -> Vec<u8> {
    assert!(masks.iter().all(|mask| mask.len() == codes.len().div_ceil(64)), "one bit a code");
    // Whole words are written, so that the last one may reach beyond the end.
    let mut out = vec![0; codes.len() + 64];
    let (words, rest) = codes.as_chunks::<64>();
    let mut at = 0;
    for mask in masks {
        #[cfg(target_arch = "x86_64")]
        if picks() {
            // SAFETY: the one condition of the call is that the processor has the features, which has just been asked.
            at = unsafe { pick::avx512(words, mask, &mut out, at) };
        } else {
            at = pick::plain(words, mask, &mut out, at);
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            at = pick::plain(words, mask, &mut out, at);
        }
        for (_, &code) in rest.iter().enumerate().filter(|(i, _)| mask[words.len()] >> i & 1 == 1) {
            out[at] = code;
            at += 1;
        }
    }
    out.truncate(at);
    out
}

/// Writes the codes at the bits of a mask from a place on; gives the place after them.
mod pick {
    pub fn plain(codes: &[[u8; 64]], mask: &[u64], out: &mut [u8], mut at: usize) -> usize {
        for (codes, &mask) in codes.iter().zip(mask) {
            let mut rest = mask;
            while rest != 0 {
                out[at] = codes[rest.trailing_zeros() as usize];
                at += 1;
                rest &= rest - 1;
            }
        }
        at
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,popcnt")]
    pub fn avx512(codes: &[[u8; 64]], mask: &[u64], out: &mut [u8], mut at: usize) -> usize {
        use std::arch::x86_64::{_mm512_loadu_si512, _mm512_maskz_compress_epi8, _mm512_storeu_si512};
        for (codes, &mask) in codes.iter().zip(mask) {
            // SAFETY: the 64 bytes that are read are those of the array.
            let codes = unsafe { _mm512_loadu_si512(codes.as_ptr().cast()) };
            let to: &mut [u8; 64] = out[at..].first_chunk_mut().expect("there is room for a whole word");
            // SAFETY: the 64 bytes that are written are those of the array.
            unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), _mm512_maskz_compress_epi8(mask, codes)) };
            at += mask.count_ones() as usize;
        }
        at
    }
}

/// One word for 64 codes. The compiler does not find the instructions that put a comparison into bits by itself: 8,192 codes
/// take 0.9 microseconds as plain loops compiled for AVX-512.
mod equal {
    pub fn plain(codes: &[[u8; 64]], code: u8, bits: &mut Vec<u64>) {
        for codes in codes {
            // Bytes of zero or one, of which the multiplication gathers eight: byte k goes to bit 56 + k.
            let equal: [u8; 64] = std::array::from_fn(|i| u8::from(codes[i] == code));
            let (eights, _) = equal.as_chunks::<8>();
            let gather = |eight: &[u8; 8]| u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
            bits.push(eights.iter().enumerate().fold(0, |word, (i, eight)| word | gather(eight) << (8 * i)));
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub fn avx512(codes: &[[u8; 64]], code: u8, bits: &mut Vec<u64>) {
        use std::arch::x86_64::{_mm512_cmpeq_epi8_mask, _mm512_loadu_si512, _mm512_set1_epi8};
        let all = _mm512_set1_epi8(code as i8);
        bits.extend(codes.iter().map(|codes| {
            // SAFETY: the 64 bytes that are read are those of the array.
            let codes = unsafe { _mm512_loadu_si512(codes.as_ptr().cast()) };
            _mm512_cmpeq_epi8_mask(codes, all)
        }));
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    pub fn avx2(codes: &[[u8; 64]], code: u8, bits: &mut Vec<u64>) {
        use std::arch::x86_64::{_mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_set1_epi8};
        let all = _mm256_set1_epi8(code as i8);
        bits.extend(codes.iter().map(|codes| {
            let half = |at: usize| {
                // SAFETY: the 32 bytes that are read are those of half of the array.
                let codes = unsafe { _mm256_loadu_si256(codes[at..at + 32].as_ptr().cast()) };
                u64::from(_mm256_movemask_epi8(_mm256_cmpeq_epi8(codes, all)) as u32)
            };
            half(0) | half(32) << 32
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts_of(words: &[[u64; 3]], [i, j]: [usize; 2]) -> i64 {
        words.iter().map(|w| (0..64).filter(|bit| w[i] >> bit & w[j] >> bit & 1 == 1).count() as i64).sum()
    }

    proptest! {
        #[test]
        fn the_nearest_is_the_first_of_the_least_that_is_there(
            all in proptest::collection::vec((0u8..6, proptest::bool::weighted(0.3)), 1..120),
        ) {
            let distances: Vec<f64> = all.iter().map(|(distance, _)| f64::from(*distance)).collect();
            let gone: Vec<f64> = all.iter().map(|(_, gone)| if *gone { f64::INFINITY } else { 0.0 }).collect();
            let there = all.iter().enumerate().filter(|(_, (_, gone))| !gone);
            let expected = there.min_by_key(|(_, (distance, _))| *distance).map(|(at, (d, _))| (f64::from(*d), at));
            prop_assert_eq!(nearest(&distances, &gone), expected.unwrap_or((f64::INFINITY, 0)));
        }

        #[test]
        fn squares_are_those_of_the_differences(
            point in proptest::collection::vec(-9i32..9, 0..7), others in proptest::collection::vec(-9i32..9, 7 * LANES),
        ) {
            let point: Vec<f64> = point.into_iter().map(f64::from).collect();
            let tile: Vec<f64> = others[..point.len() * LANES].iter().map(|&value| f64::from(value)).collect();
            let mut found = [1.0; LANES];
            squares(&point, &tile, &mut found);
            for (lane, found) in found.into_iter().enumerate() {
                let square = |(d, own): (usize, &f64)| (own - tile[d * LANES + lane]).powi(2);
                prop_assert_eq!(found, point.iter().enumerate().map(square).sum::<f64>());
            }
        }

        #[test]
        fn counts_are_those_of_the_bits_one_by_one(words in proptest::collection::vec(any::<[u64; 3]>(), 0..70)) {
            let bitmaps: Vec<u64> = (0..3).flat_map(|i| words.iter().map(move |w| w[i])).collect();
            let pairs = [[1, 0], [2, 0], [2, 1], [1, 1]];
            let mut counts = [7; 4];
            count_pairs(&bitmaps, words.len(), &pairs, &mut counts);
            for ([i, j], count) in pairs.into_iter().zip(counts) {
                prop_assert_eq!(i64::from(count), 7 + counts_of(&words, [i, j].map(|i| i as usize)));
            }
            if !words.is_empty() {
                let mut added = [5; 3];
                add_common(&bitmaps[..words.len()], &bitmaps, &mut added);
                let [alone, first, second] = [counts_of(&words, [0, 0]), counts_of(&words, [1, 0]), counts_of(&words, [2, 0])];
                prop_assert_eq!(added, [5 + alone, 5 + first, 5 + second]);
            }
        }

        #[test]
        fn codes_are_picked_by_the_bits_of_each_mask_in_turn(
            codes in proptest::collection::vec(any::<u8>(), 0..400),
            classes in proptest::collection::vec(0u8..3, 400),
        ) {
            let classes = &classes[..codes.len()];
            let masks: Vec<Vec<u64>> = (0..3).map(|class| equal_bits(classes, class)).collect();
            let of = |class: u8| codes.iter().zip(classes).filter(move |(_, own)| **own == class).map(|(code, _)| *code);
            let expected: Vec<u8> = (0..3).flat_map(of).collect();
            prop_assert_eq!(picked(&codes, &masks), &expected[..]);
            // And as processors without the instruction do it.
            let (words, rest) = codes.as_chunks::<64>();
            let mut out = vec![0; codes.len()];
            let end = masks.iter().fold(0, |at, mask| pick::plain(words, mask, &mut out, at));
            let whole = 64 * words.len();
            let of = |class: u8| (0..whole).filter(move |i| classes[*i] == class).map(|i| codes[i]);
            prop_assert_eq!(&out[..end], &(0..3).flat_map(of).collect::<Vec<u8>>()[..]);
            prop_assert_eq!(rest.len() + end, codes.len());
        }

        #[test]
        fn bits_are_set_where_the_codes_are_equal(codes in proptest::collection::vec(0u8..3, 0..400), code in 0u8..4) {
            let bits = equal_bits(&codes, code);
            prop_assert_eq!(bits.len(), codes.len().div_ceil(64));
            for place in 0..64 * bits.len() {
                prop_assert_eq!(bits[place / 64] >> (place % 64) & 1 == 1, codes.get(place) == Some(&code));
            }
            // What this processor does not choose is looked at too.
            let (words, _) = codes.as_chunks::<64>();
            let mut other = Vec::new();
            equal::plain(words, code, &mut other);
            prop_assert_eq!(&other[..], &bits[..words.len()]);
            #[cfg(target_arch = "x86_64")]
            if std::arch::is_x86_feature_detected!("avx2") {
                other.clear();
                // SAFETY: the processor has the feature.
                unsafe { equal::avx2(words, code, &mut other) };
                prop_assert_eq!(&other[..], &bits[..words.len()]);
            }
        }
    }
}
