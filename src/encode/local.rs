//! Codes of a worker's own dictionaries, one a row, as narrow as the dictionary is small.

use arrow::array::{Array, ArrayRef, AsArray, UInt8Array};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type};

use super::intake::retain;
use super::shard::Codes;
use crate::segment::ItemCode;

/// The code of a missing value. The values of a dictionary follow from 1, so a column can widen as it is.
pub const MISSING_CODE: u32 = 0;

/// One code a row.
#[derive(Debug)]
pub enum LocalCodes {
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
}

impl Default for LocalCodes {
    fn default() -> LocalCodes {
        LocalCodes::U8(Vec::new())
    }
}

/// What a code or the key of a dictionary array is held in.
trait Width: Copy {
    fn of(code: u32) -> Self;
    fn place(self) -> usize;
}

impl Width for u8 {
    #[inline]
    fn of(code: u32) -> u8 {
        code as u8
    }
    #[inline]
    fn place(self) -> usize {
        usize::from(self)
    }
}

impl Width for u16 {
    #[inline]
    fn of(code: u32) -> u16 {
        code as u16
    }
    #[inline]
    fn place(self) -> usize {
        usize::from(self)
    }
}

impl Width for u32 {
    #[inline]
    fn of(code: u32) -> u32 {
        code
    }
    #[inline]
    fn place(self) -> usize {
        self as usize
    }
}

impl Width for i32 {
    #[inline]
    fn of(code: u32) -> i32 {
        code as i32
    }
    // What is below zero stands where a value is missing, and is beyond every table.
    #[inline]
    fn place(self) -> usize {
        self as usize
    }
}

impl LocalCodes {
    pub fn len(&self) -> usize {
        match self {
            LocalCodes::U8(codes) => codes.len(),
            LocalCodes::U16(codes) => codes.len(),
            LocalCodes::U32(codes) => codes.len(),
        }
    }

    pub fn at(&self, row: usize) -> u32 {
        match self {
            LocalCodes::U8(codes) => u32::from(codes[row]),
            LocalCodes::U16(codes) => u32::from(codes[row]),
            LocalCodes::U32(codes) => codes[row],
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.len()).map(|row| self.at(row))
    }

    /// Makes room for codes up to this one.
    fn widen(&mut self, largest: u32) {
        match self {
            LocalCodes::U8(codes) if largest > u32::from(u8::MAX) => {
                *self = match u16::try_from(largest) {
                    Ok(_) => LocalCodes::U16(codes.iter().map(|&code| u16::from(code)).collect()),
                    Err(_) => LocalCodes::U32(codes.iter().map(|&code| u32::from(code)).collect()),
                }
            }
            LocalCodes::U16(codes) if largest > u32::from(u16::MAX) => {
                *self = LocalCodes::U32(codes.iter().map(|&code| u32::from(code)).collect());
            }
            LocalCodes::U8(_) | LocalCodes::U16(_) | LocalCodes::U32(_) => {}
        }
    }

    pub fn append(&mut self, new: &[u32]) {
        self.widen(new.iter().copied().max().unwrap_or(0));
        match self {
            LocalCodes::U8(codes) => codes.extend(new.iter().map(|&code| code as u8)),
            LocalCodes::U16(codes) => codes.extend(new.iter().map(|&code| code as u16)),
            LocalCodes::U32(codes) => codes.extend_from_slice(new),
        }
    }

    fn set_missing(&mut self, rows: impl Iterator<Item = usize>) {
        match self {
            LocalCodes::U8(codes) => rows.for_each(|row| codes[row] = 0),
            LocalCodes::U16(codes) => rows.for_each(|row| codes[row] = 0),
            LocalCodes::U32(codes) => rows.for_each(|row| codes[row] = 0),
        }
    }

    /// Rows without a value.
    pub fn missing(&self) -> u64 {
        fn missing<T: Copy + Into<u32>>(codes: &[T]) -> u64 {
            codes.iter().filter(|code| (**code).into() == MISSING_CODE).count() as u64
        }
        match self {
            LocalCodes::U8(codes) => missing(codes),
            LocalCodes::U16(codes) => missing(codes),
            LocalCodes::U32(codes) => missing(codes),
        }
    }

    /// How many rows have each code below `len`.
    pub fn counts(&self, len: usize) -> Vec<u64> {
        let mut counts = vec![0u64; len.max(1 << 8)];
        match self {
            LocalCodes::U8(codes) if len <= FEW => count_few(codes, &mut counts[..len]),
            LocalCodes::U8(codes) => count_bytes(codes, &mut counts),
            LocalCodes::U16(codes) => codes.iter().for_each(|&code| counts[usize::from(code)] += 1),
            LocalCodes::U32(codes) => codes.iter().for_each(|&code| counts[code as usize] += 1),
        }
        counts.truncate(len);
        counts
    }

    /// The agreed codes, where `table` has one for each local code: one beyond the cardinality where no row asks for it.
    pub fn coded(self, table: &[ItemCode], cardinality: usize) -> Codes {
        let narrow = cardinality <= 1 << 8;
        let free = usize::from(table[0]) >= cardinality;
        match self {
            LocalCodes::U8(mut codes) if narrow => {
                // A table may have been learnt from blocks whose codes were wider.
                let mut table: Vec<u8> = table.iter().take(1 << 8).map(|&code| code as u8).collect();
                // A column without missing values mostly differs by a constant from the agreed codes.
                if let ([free, first, ..], true) = (&mut table[..], free) {
                    *free = first.wrapping_sub(1);
                }
                ByteMap::new(&table).apply(&mut codes);
                Codes::U8(codes)
            }
            LocalCodes::U8(codes) => Codes::U16(codes.iter().map(|&code| table[usize::from(code)]).collect()),
            LocalCodes::U16(codes) if narrow => {
                Codes::U8(codes.iter().map(|&code| table[usize::from(code)] as u8).collect())
            }
            LocalCodes::U16(mut codes) => {
                codes.iter_mut().for_each(|code| *code = table[usize::from(*code)]);
                Codes::U16(codes)
            }
            LocalCodes::U32(codes) if narrow => {
                Codes::U8(codes.iter().map(|&code| table[code as usize] as u8).collect())
            }
            LocalCodes::U32(codes) => Codes::U16(codes.iter().map(|&code| table[code as usize]).collect()),
        }
    }

    pub fn retain(&mut self, keep: &[bool]) {
        match self {
            LocalCodes::U8(codes) => retain(codes, keep),
            LocalCodes::U16(codes) => retain(codes, keep),
            LocalCodes::U32(codes) => retain(codes, keep),
        }
    }
}

/// Codes up to which comparing sixteen rows at a time with each code is faster than a counter a code.
const FEW: usize = 16;

/// Rows counted in bytes before these are added up, so at most 255.
const STRIP: usize = 240;

fn count_few(codes: &[u8], counts: &mut [u64]) {
    // Some kilobytes at a time, so that they are still in the cache for the next code.
    for part in codes.chunks(16 * STRIP) {
        for (code, count) in counts.iter_mut().enumerate() {
            let equal = |strip: &[u8]| strip.iter().fold(0u8, |n, &c| n.wrapping_add(u8::from(c == code as u8)));
            *count += part.chunks(STRIP).map(|strip| u64::from(equal(strip))).sum::<u64>();
        }
    }
}

fn count_bytes(codes: &[u8], counts: &mut [u64]) {
    // Neighbours go to different counters: equal ones would wait for each other.
    let mut lanes = vec![[0u64; 1 << 8]; 4];
    let (fours, rest) = codes.as_chunks::<4>();
    for four in fours {
        (0..4).for_each(|lane| lanes[lane][usize::from(four[lane])] += 1);
    }
    rest.iter().for_each(|&code| lanes[0][usize::from(code)] += 1);
    for lane in lanes {
        counts.iter_mut().zip(lane).for_each(|(sum, count)| *sum += count);
    }
}

/// A table from bytes to bytes, applied to long columns.
#[derive(Debug)]
struct ByteMap {
    single: [u8; 1 << 8],
    /// What to add, where that is all the table does.
    shift: Option<u8>,
    /// Two bytes to two bytes, where they are few.
    pairs: Option<Vec<u16>>,
}

impl ByteMap {
    fn new(table: &[u8]) -> ByteMap {
        let mut single = [0; 1 << 8];
        single[..table.len()].copy_from_slice(table);
        let shift = table.first().copied().unwrap_or(0);
        let shifts = table.iter().enumerate().all(|(from, &to)| to == (from as u8).wrapping_add(shift));
        let pairs = (!shifts && table.len() <= FEW).then(|| {
            let mut pairs = vec![0; table.len() << 8];
            for (high, &to_high) in table.iter().enumerate() {
                for (low, &to_low) in table.iter().enumerate() {
                    pairs[high << 8 | low] = u16::from(to_high) << 8 | u16::from(to_low);
                }
            }
            pairs
        });
        ByteMap { single, shift: shifts.then_some(shift), pairs }
    }

    /// `all` says that every key has its place in the table: where a value is missing, the key may be anything.
    fn append(&self, keys: &[u8], all: bool, codes: &mut Vec<u8>) {
        let start = codes.len();
        match all {
            true => {
                codes.extend_from_slice(keys);
                self.apply(&mut codes[start..]);
            }
            false => codes.extend(keys.iter().map(|&key| self.single[usize::from(key)])),
        }
    }

    fn apply(&self, codes: &mut [u8]) {
        match (self.shift, &self.pairs) {
            (Some(0), _) => {}
            (Some(shift), _) => codes.iter_mut().for_each(|code| *code = code.wrapping_add(shift)),
            (None, Some(pairs)) => {
                let (eights, rest) = codes.as_chunks_mut::<8>();
                for eight in eights {
                    let from = u64::from_le_bytes(*eight);
                    let pair = |nth: u32| {
                        let pair = usize::from((from >> (16 * nth)) as u16);
                        u64::from(pairs[pair]) << (16 * nth)
                    };
                    *eight = (pair(0) | pair(1) | pair(2) | pair(3)).to_le_bytes();
                }
                rest.iter_mut().for_each(|code| *code = self.single[usize::from(*code)]);
            }
            (None, None) => codes.iter_mut().for_each(|code| *code = self.single[usize::from(*code)]),
        }
    }
}

/// From places in a dictionary to local codes; what was found out is kept as long as the dictionary stays.
#[derive(Debug, Default)]
pub struct Keys {
    /// The dictionary that `table` is for; held, so that no other comes to lie at its address.
    values: Option<ArrayRef>,
    /// The code of each value, or [`UNSEEN`].
    table: Vec<u32>,
    unseen: usize,
    largest: u32,
    /// The table where keys and codes are bytes.
    bytes: Option<Box<ByteMap>>,
}

/// No row was seen to have the value, so it has no code: values that no row has must not become items.
const UNSEEN: u32 = u32::MAX;

/// Has a code as soon as the batch was looked through.
const MET: u32 = u32::MAX - 1;

impl Keys {
    /// Appends the codes of a dictionary array's rows. `resolve` gives the codes of values, by their places.
    pub fn append(
        &mut self,
        array: &ArrayRef,
        codes: &mut LocalCodes,
        resolve: impl FnOnce(&ArrayRef, &[usize]) -> Vec<u32>,
    ) {
        let array = array.as_any_dictionary();
        self.renew(array.values());
        let keys = match array.keys().data_type() {
            DataType::Int32 => array.keys().as_primitive::<Int32Type>().clone(),
            _ => cast(array.keys(), &DataType::Int32).expect("keys are integers").as_primitive::<Int32Type>().clone(),
        };
        self.meet(keys.values(), keys.nulls(), resolve);
        codes.widen(self.largest);
        self.look_up(keys.values(), codes);
        forget_missing(keys.nulls(), codes);
    }

    /// The same of places in a dictionary.
    pub fn append_places(
        &mut self,
        keys: &UInt8Array,
        dictionary: &ArrayRef,
        codes: &mut LocalCodes,
        resolve: impl FnOnce(&ArrayRef, &[usize]) -> Vec<u32>,
    ) {
        self.renew(dictionary);
        self.meet(keys.values(), keys.nulls(), resolve);
        codes.widen(self.largest);
        if let LocalCodes::U8(codes) = codes {
            let bytes = || Box::new(ByteMap::new(&self.table.iter().map(|&code| code as u8).collect::<Vec<u8>>()));
            self.bytes.get_or_insert_with(bytes).append(keys.values(), keys.null_count() == 0, codes);
        } else {
            self.look_up(keys.values(), codes);
        }
        forget_missing(keys.nulls(), codes);
    }

    /// Forgets what was known unless the dictionary is still the same.
    fn renew(&mut self, values: &ArrayRef) {
        let same = |known: &ArrayRef| std::ptr::addr_eq(known.as_ref(), values.as_ref());
        if !self.values.as_ref().is_some_and(same) {
            self.values = Some(ArrayRef::clone(values));
            self.table.clear();
            self.table.resize(values.len(), UNSEEN);
            self.unseen = values.len();
            self.largest = 0;
            self.bytes = None;
        }
    }

    /// Gives codes to the values that rows have for the first time.
    fn meet<K: Width>(
        &mut self,
        keys: &[K],
        nulls: Option<&NullBuffer>,
        resolve: impl FnOnce(&ArrayRef, &[usize]) -> Vec<u32>,
    ) {
        if self.unseen == 0 {
            return;
        }
        let mut met = Vec::new();
        let mut meet = |key: &K| {
            let code = &mut self.table[key.place()];
            if *code == UNSEEN {
                *code = MET;
                met.push(key.place());
            }
        };
        match nulls {
            None => keys.iter().for_each(&mut meet),
            Some(nulls) => nulls.valid_indices().for_each(|row| meet(&keys[row])),
        }
        if met.is_empty() {
            return;
        }
        let values = self.values.as_ref().expect("set when the dictionary was new");
        let codes = resolve(values, &met);
        for (place, code) in met.iter().zip(codes) {
            self.table[*place] = code;
            self.largest = self.largest.max(code);
        }
        self.unseen -= met.len();
        self.bytes = None;
    }

    fn look_up<K: Width>(&self, keys: &[K], codes: &mut LocalCodes) {
        fn append<K: Width, C: Width>(table: &[u32], keys: &[K], codes: &mut Vec<C>) {
            let code = |key: &K| C::of(table.get(key.place()).copied().unwrap_or(MISSING_CODE));
            codes.extend(keys.iter().map(code));
        }
        match codes {
            LocalCodes::U8(codes) => append(&self.table, keys, codes),
            LocalCodes::U16(codes) => append(&self.table, keys, codes),
            LocalCodes::U32(codes) => append(&self.table, keys, codes),
        }
    }
}

/// The last rows of `codes` were appended with these nulls.
fn forget_missing(nulls: Option<&NullBuffer>, codes: &mut LocalCodes) {
    if let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0) {
        let start = codes.len() - nulls.len();
        codes.set_missing((!nulls.inner()).set_indices().map(|row| start + row));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::StringArray;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_are_mapped_and_counted_as_one_by_one(
            table in proptest::collection::vec(any::<u8>(), 1..40),
            shift in any::<u8>(), shifted in any::<bool>(),
            rows in proptest::collection::vec(any::<usize>(), 0..2000),
        ) {
            let table: Vec<u8> = match shifted {
                true => (0..table.len()).map(|i| (i as u8).wrapping_add(shift)).collect(),
                false => table,
            };
            let mut codes: Vec<u8> = rows.iter().map(|row| (row % table.len()) as u8).collect();
            let counted = LocalCodes::U8(codes.clone()).counts(table.len());
            for (code, count) in counted.iter().enumerate() {
                prop_assert_eq!(*count, codes.iter().filter(|&&c| usize::from(c) == code).count() as u64);
            }
            let expected: Vec<u8> = codes.iter().map(|&code| table[usize::from(code)]).collect();
            ByteMap::new(&table).apply(&mut codes);
            prop_assert_eq!(codes, expected);
        }
    }

    #[test]
    fn narrow_codes_are_looked_up_in_a_table_of_more_than_a_byte() {
        let table: Vec<ItemCode> = (0..600).map(|code| code % 7).collect();
        let codes = LocalCodes::U8(vec![0, 255, 13]).coded(&table, 7);
        assert_eq!(codes, Codes::U8(vec![0, (255 % 7) as u8, 13 % 7]));
    }

    #[test]
    fn codes_widen_as_a_dictionary_grows_and_stay_what_they_were() {
        let mut codes = LocalCodes::default();
        let all: Vec<u32> = vec![0, 255, 7, 256, 65_535, 1, 65_536];
        for (i, code) in all.iter().enumerate() {
            codes.append(&[*code]);
            assert_eq!(codes.iter().collect::<Vec<_>>(), all[..=i]);
        }
        assert!(matches!(codes, LocalCodes::U32(_)));
    }

    #[test]
    fn values_that_no_row_has_get_no_code_and_missing_rows_none_of_a_value() {
        let values: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c", "d"]));
        let (mut keys, mut codes, mut asked) = (Keys::default(), LocalCodes::default(), Vec::new());
        for rows in [vec![Some(3), None, Some(1)], vec![Some(1), Some(0), None]] {
            keys.append_places(&UInt8Array::from(rows), &values, &mut codes, |_, places| {
                let first = asked.len() as u32 + 1;
                asked.extend_from_slice(places);
                (first..).take(places.len()).collect()
            });
        }
        assert_eq!(asked, [3, 1, 0]);
        assert_eq!(codes.iter().collect::<Vec<_>>(), [1, 0, 2, 2, 3, 0]);
    }
}
