//! An account of values that a codebook has no item for, which adds up to the same however the rows were divided.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use super::features::{LocalFeature, finite};

/// Values told apart at the most.
const KEPT: usize = 4096;

/// Characters of a value that are told; the rest may be megabytes.
const CHARS: usize = 80;

/// Customers whose value of a feature is no item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strangers {
    /// It is missing, and missing is no item.
    pub missing: u64,
    /// It is none of the items; of a set of tags, at least one is none.
    pub others: u64,
    /// Of text where the run had numbers: whether some text is a number, and whether some is none.
    pub numerals: bool,
    pub words: bool,
    /// By hash and value, so that of too many those remain that remain in any order; their customers are exact.
    values: BTreeMap<(u64, String), u64>,
}

impl Strangers {
    pub fn add(&mut self, value: &str, customers: u64) {
        let told = match value.char_indices().nth(CHARS) {
            Some((end, _)) => format!("{}…", &value[..end]),
            None => value.to_owned(),
        };
        self.keep((xxh3_64(told.as_bytes()), told), customers);
    }

    /// Looks at the texts of a column that should be numbers, until there is one of each kind.
    pub(super) fn tell_numerals(&mut self, local: &LocalFeature) {
        if let (false, LocalFeature::Text { dictionary, .. }) = (self.numerals && self.words, local) {
            for text in dictionary.values() {
                let number = finite(text).is_some();
                self.numerals |= number;
                self.words |= !number;
            }
        }
    }

    fn keep(&mut self, key: (u64, String), customers: u64) {
        let full = self.values.len() == KEPT;
        let beyond = full && self.values.last_key_value().is_some_and(|(last, _)| *last < key);
        if beyond {
            return;
        }
        *self.values.entry(key).or_default() += customers;
        if self.values.len() > KEPT {
            self.values.pop_last();
        }
    }

    pub fn merge(&mut self, other: Strangers) {
        self.missing += other.missing;
        self.others += other.others;
        self.numerals |= other.numerals;
        self.words |= other.words;
        other.values.into_iter().for_each(|(key, customers)| self.keep(key, customers));
    }

    /// The most frequent of the values, each with its customers, at least `least`; of more than 4,096 values, of so many that a hash
    /// picks.
    pub fn examples(&self, most: usize, least: u64) -> Vec<(String, u64)> {
        let enough = self.values.iter().filter(|(_, customers)| **customers >= least);
        let mut all: Vec<(String, u64)> = enough.map(|((_, value), customers)| (value.clone(), *customers)).collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all.truncate(most);
        all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_account_does_not_depend_on_how_the_rows_were_divided(
            rows in proptest::collection::vec(0u32..9000, 1..12_000), workers in 1usize..5,
        ) {
            let (mut whole, mut parts) = (Strangers::default(), vec![Strangers::default(); workers]);
            for (i, value) in rows.iter().enumerate() {
                whole.add(&value.to_string(), 1);
                parts[i * 7 % workers].add(&value.to_string(), 1);
            }
            let mut merged = Strangers::default();
            parts.into_iter().rev().for_each(|part| merged.merge(part));
            prop_assert_eq!(&merged, &whole);
            prop_assert!(whole.values.len() <= KEPT);
            for (value, customers) in whole.examples(5, 2) {
                prop_assert_eq!(customers, rows.iter().filter(|v| v.to_string() == value).count() as u64);
            }
        }
    }

    #[test]
    fn the_most_frequent_are_told_and_long_ones_are_cut_between_characters() {
        let mut strangers = Strangers::default();
        for (value, customers) in [("b", 3), ("a", 3), ("c", 9), ("退", 1)] {
            strangers.add(value, customers);
        }
        strangers.add(&"退".repeat(300), 20);
        let told = |value: &str, customers| (value.to_owned(), customers);
        assert_eq!(strangers.examples(3, 1), [told(&format!("{}…", "退".repeat(80)), 20), told("c", 9), told("a", 3)]);
        assert_eq!(strangers.examples(9, 4).len(), 2);
    }
}
