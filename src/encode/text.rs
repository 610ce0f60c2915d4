//! A worker's column of text as codes of its own dictionary.

use std::hash::BuildHasher;

use arrow::array::{Array, ArrayRef, UInt8Array};
use arrow::datatypes::DataType;
use hashbrown::HashTable;

use super::local::{Keys, LocalCodes, MISSING_CODE};
use super::values::texts;

/// Distinct values; the code of a value is its place and one more.
#[derive(Debug, Default)]
pub struct Dictionary {
    values: Vec<Box<str>>,
    index: HashTable<u32>,
    hasher: foldhash::fast::FixedState,
    keys: Keys,
    text: usize,
}

/// Bytes a value takes beside its text: its place, its entry in the index, and what the allocator adds.
const BESIDE: usize = 40;

impl Dictionary {
    /// Bytes of the values.
    pub fn text(&self) -> usize {
        self.text
    }

    pub fn values(&self) -> &[Box<str>] {
        &self.values
    }

    /// The value of a code, none for missing.
    pub fn value(&self, code: u32) -> Option<&str> {
        code.checked_sub(1).map(|place| &*self.values[place as usize])
    }

    /// Codes there can be: one a value, and missing.
    pub fn codes(&self) -> usize {
        self.values.len() + 1
    }

    /// The code of a value, new or known. A value that means missing is not taken in.
    pub fn code(&mut self, text: &str, is_null: &impl Fn(&str) -> bool) -> u32 {
        let hash = self.hasher.hash_one(text);
        let (values, hasher) = (&self.values, &self.hasher);
        let entry = self.index.entry(
            hash,
            |&place| &*values[place as usize] == text,
            |&place| hasher.hash_one(&*values[place as usize]),
        );
        match entry {
            hashbrown::hash_table::Entry::Occupied(entry) => *entry.get() + 1,
            hashbrown::hash_table::Entry::Vacant(_) if is_null(text) => MISSING_CODE,
            hashbrown::hash_table::Entry::Vacant(entry) => {
                let place = self.values.len() as u32;
                entry.insert(place);
                self.values.push(text.into());
                self.text += text.len() + BESIDE;
                place + 1
            }
        }
    }

    /// The code of a value, if it is known.
    pub fn find(&self, text: &str) -> Option<u32> {
        let found = self.index.find(self.hasher.hash_one(text), |&place| &*self.values[place as usize] == text);
        found.map(|place| place + 1)
    }

    /// Appends the codes of a batch, null and the values that mean it as missing.
    pub fn append(&mut self, array: &ArrayRef, is_null: impl Fn(&str) -> bool, codes: &mut LocalCodes) {
        if matches!(array.data_type(), DataType::Dictionary(_, _)) {
            let mut keys = std::mem::take(&mut self.keys);
            keys.append(array, codes, |values, places| self.resolve(values, places, &is_null));
            self.keys = keys;
            return;
        }
        let texts = texts(array);
        let code = |text: Option<&str>| text.map_or(MISSING_CODE, |text| self.code(text, &is_null));
        codes.append(&texts.iter().map(code).collect::<Vec<u32>>());
    }

    /// The same of a batch of places in a dictionary.
    pub fn append_places(
        &mut self,
        keys: &UInt8Array,
        dictionary: &ArrayRef,
        is_null: impl Fn(&str) -> bool,
        codes: &mut LocalCodes,
    ) {
        let mut known = std::mem::take(&mut self.keys);
        known.append_places(keys, dictionary, codes, |values, places| self.resolve(values, places, &is_null));
        self.keys = known;
    }

    /// The codes of some values of a dictionary. New ones are numbered in their own order, as codebooks are:
    /// where all values occur early, the local codes are then the agreed ones but for a constant.
    fn resolve(&mut self, values: &ArrayRef, places: &[usize], is_null: &impl Fn(&str) -> bool) -> Vec<u32> {
        let texts = texts(values);
        let text = |place: usize| texts.is_valid(place).then(|| texts.value(place));
        let mut sorted: Vec<&str> = places.iter().filter_map(|&place| text(place)).collect();
        sorted.sort_unstable();
        for text in sorted {
            self.code(text, is_null);
        }
        places.iter().map(|&place| text(place).map_or(MISSING_CODE, |text| self.code(text, is_null))).collect()
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }
}
