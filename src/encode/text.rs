//! A worker's column of text as codes of its own dictionary.

use std::hash::BuildHasher;

use hashbrown::HashTable;

use super::values::{TextRows, Texts};

/// The code of a missing value.
pub const NULL: u32 = u32::MAX;

/// Distinct values in the order in which they were met, and one code a row.
#[derive(Debug, Default)]
pub struct Dictionary {
    values: Vec<Box<str>>,
    index: HashTable<u32>,
    hasher: foldhash::fast::FixedState,
}

impl Dictionary {
    pub fn values(&self) -> &[Box<str>] {
        &self.values
    }

    /// The code of a value, new or known.
    pub fn code(&mut self, text: &str) -> u32 {
        let hash = self.hasher.hash_one(text);
        let (values, hasher) = (&self.values, &self.hasher);
        let entry = self.index.entry(
            hash,
            |&code| &*values[code as usize] == text,
            |&code| hasher.hash_one(&*values[code as usize]),
        );
        match entry {
            hashbrown::hash_table::Entry::Occupied(entry) => *entry.get(),
            hashbrown::hash_table::Entry::Vacant(entry) => {
                let code = self.values.len() as u32;
                entry.insert(code);
                self.values.push(text.into());
                code
            }
        }
    }

    /// The code of a value that is known.
    pub fn find(&self, text: &str) -> Option<u32> {
        self.index.find(self.hasher.hash_one(text), |&code| &*self.values[code as usize] == text).copied()
    }

    /// The codes of a batch, null and the values that mean it as [`NULL`]. `is_null` is asked once a distinct value.
    pub fn codes(&mut self, texts: &Texts, is_null: impl Fn(&str) -> bool, mut each: impl FnMut(u32)) {
        match &texts.rows {
            TextRows::Keys(keys) => {
                let coded: Vec<Option<&str>> =
                    texts.distinct.iter().map(|v| v.as_deref().filter(|text| !is_null(text))).collect();
                // Values of a dictionary that no row uses must not become items.
                let mut codes: Vec<Option<u32>> = vec![None; coded.len()];
                for key in keys {
                    each(match key.map(|key| key as usize) {
                        None => NULL,
                        Some(key) => *codes[key].get_or_insert_with(|| coded[key].map_or(NULL, |text| self.code(text))),
                    });
                }
            }
            TextRows::Plain(rows) => {
                let mut nulls: hashbrown::HashMap<u32, bool, foldhash::fast::FixedState> = Default::default();
                for text in rows {
                    each(match text {
                        None => NULL,
                        Some(text) => {
                            let code = self.code(text);
                            if *nulls.entry(code).or_insert_with(|| is_null(text)) { NULL } else { code }
                        }
                    });
                }
            }
        }
    }

    /// Forgets the values: there were too many.
    pub fn clear(&mut self) {
        *self = Dictionary::default();
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}
