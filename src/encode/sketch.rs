//! What one worker knows of a feature's values, in a form that merges to the same whatever the division of the rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Map;
use super::features::{IntKind, LocalFeature, number};
use super::numbers::{MISSING_INT, Numbers, float};
use super::tags::Tag;

/// Distinct numbers that are counted one by one; beyond, in buckets of relative width 2^-12.
pub const EXACT_NUMBERS: usize = 1 << 16;

/// Values of a feature with their counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sketch {
    pub rows: u64,
    pub nulls: u64,
    /// Whether some of the nulls are NaN or infinities.
    pub nonfinite: bool,
    pub values: Values,
}

/// Each list is sorted by value and names a value once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Values {
    Texts(Vec<(String, u64)>),
    Ints(IntKind, Vec<(i64, u64)>),
    Floats(Vec<(f64, u64)>),
    /// Too many distinct numbers: least, largest, whether all are whole, and counts by bucket (see [`bucket`]).
    Buckets {
        least: f64,
        largest: f64,
        whole: bool,
        counts: Vec<(u64, u64)>,
    },
    /// Customers by tag, who may have several.
    Tags {
        tags: Vec<(Tag, u64)>,
        /// Whether white space was dropped around some.
        spaced: bool,
    },
    /// Too many distinct texts or tags.
    TooMany,
}

impl Sketch {
    pub fn of(feature: &LocalFeature) -> Sketch {
        match feature {
            LocalFeature::Text { dictionary, codes, .. } => {
                let counts = codes.counts(dictionary.codes());
                // Values of rows that were left out since have none.
                let values = dictionary.values().iter().zip(&counts[1..]).filter(|(_, count)| **count > 0);
                let mut values: Vec<(String, u64)> = values.map(|(text, &count)| (text.to_string(), count)).collect();
                values.sort_unstable();
                Sketch { rows: codes.len() as u64, nulls: counts[0], nonfinite: false, values: Values::Texts(values) }
            }
            LocalFeature::Ints { values, what } => {
                let (counts, nulls) = counts(values, |value| value != MISSING_INT);
                let mut counts: Vec<(i64, u64)> = counts.into_iter().collect();
                counts.sort_unstable();
                Sketch {
                    rows: values.len() as u64,
                    nulls,
                    nonfinite: false,
                    values: Values::Ints(*what, counts).bounded(),
                }
            }
            LocalFeature::Floats(values) => {
                let (counts, nulls) = counts(values, |value| value != MISSING_INT);
                let mut counts: Vec<(f64, u64)> = counts.into_iter().map(|(bits, n)| (float(bits), n)).collect();
                counts.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
                Sketch {
                    rows: values.len() as u64,
                    nulls,
                    nonfinite: values.nonfinite(),
                    values: Values::Floats(counts).bounded(),
                }
            }
            LocalFeature::Tags(tags) => tags.sketch(),
            LocalFeature::Overflow { rows } => {
                Sketch { rows: *rows as u64, nulls: 0, nonfinite: false, values: Values::TooMany }
            }
        }
    }

    /// The sketch of both workers' rows.
    pub fn merge(self, other: Sketch, max_distinct: usize) -> Sketch {
        let values = match (self.values, other.values) {
            (Values::Texts(a), Values::Texts(b)) => Values::Texts(added(a, b)).limited(max_distinct),
            (Values::Ints(what, a), Values::Ints(_, b)) => Values::Ints(what, added(a, b)).bounded(),
            (Values::TooMany, _) | (_, Values::TooMany) => Values::TooMany,
            (Values::Tags { tags: a, spaced }, Values::Tags { tags: b, spaced: too }) => {
                let tags = added(a, b);
                if tags.len() > max_distinct { Values::TooMany } else { Values::Tags { tags, spaced: spaced || too } }
            }
            (Values::Texts(texts), numbers) | (numbers, Values::Texts(texts)) => match parsed(&texts) {
                Some(parsed) => numeric(Values::Floats(parsed), numbers),
                None => Values::TooMany,
            },
            (a, b) => numeric(a, b),
        };
        Sketch {
            rows: self.rows + other.rows,
            nulls: self.nulls + other.nulls,
            nonfinite: self.nonfinite || other.nonfinite,
            values,
        }
    }

    /// Distinct values; a lower bound where there were too many to hold one by one, 0 for too many texts.
    pub fn distinct(&self) -> u64 {
        match &self.values {
            Values::Texts(values) => values.len() as u64,
            Values::Ints(_, values) => values.len() as u64,
            Values::Floats(values) => values.len() as u64,
            // Only a lower bound is known.
            Values::Buckets { .. } => EXACT_NUMBERS as u64 + 1,
            Values::Tags { tags, .. } => tags.len() as u64,
            Values::TooMany => 0,
        }
    }
}

/// How many rows have each number that `counts`, and how many have none of those.
fn counts(numbers: &Numbers, counts: impl Fn(i64) -> bool) -> (Map<i64, u64>, u64) {
    let (mut by_number, mut others) = (Map::default(), 0);
    numbers.counted(|number, count| {
        if counts(number) {
            *by_number.entry(number).or_insert(0) += count;
        } else {
            others += count;
        }
    });
    (by_number, others)
}

/// The sums of two lists of counts.
fn added<K: Ord>(a: Vec<(K, u64)>, b: Vec<(K, u64)>) -> Vec<(K, u64)> {
    let mut counts: BTreeMap<K, u64> = a.into_iter().collect();
    for (value, count) in b {
        *counts.entry(value).or_default() += count;
    }
    counts.into_iter().collect()
}

/// Numbers of either form, in the form that both need.
fn numeric(a: Values, b: Values) -> Values {
    match (a, b) {
        (Values::Floats(a), Values::Floats(b)) => {
            let key = |values: Vec<(f64, u64)>| values.into_iter().map(|(v, n)| (ordered(v), n)).collect();
            let sum = added(key(a), key(b)).into_iter().map(|(key, n)| (from_ordered(key), n)).collect();
            Values::Floats(sum).bounded()
        }
        (a, b) => match (a.bucketed(), b.bucketed()) {
            (
                Values::Buckets { least, largest, whole, counts },
                Values::Buckets { least: other_least, largest: other_largest, whole: other_whole, counts: other },
            ) => Values::Buckets {
                least: least.min(other_least),
                largest: largest.max(other_largest),
                whole: whole && other_whole,
                counts: added(counts, other),
            },
            _ => unreachable!("both are numbers"),
        },
    }
}

/// The texts as numbers, if all of them are.
pub fn parsed(texts: &[(String, u64)]) -> Option<Vec<(f64, u64)>> {
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    for (text, count) in texts {
        *counts.entry(ordered(number(text)? + 0.0)).or_default() += count;
    }
    Some(counts.into_iter().map(|(key, n)| (from_ordered(key), n)).collect())
}

impl Values {
    /// Texts beyond the limit: numbers if they all are, else given up.
    fn limited(self, max_distinct: usize) -> Values {
        match self {
            Values::Texts(texts) if texts.len() > max_distinct => match parsed(&texts) {
                Some(numbers) => Values::Floats(numbers).bounded(),
                None => Values::TooMany,
            },
            other => other,
        }
    }

    /// Numbers in buckets where there are too many to hold one by one.
    fn bounded(self) -> Values {
        match &self {
            Values::Ints(IntKind::Number, values) if values.len() > EXACT_NUMBERS => self.bucketed(),
            Values::Floats(values) if values.len() > EXACT_NUMBERS => self.bucketed(),
            _ => self,
        }
    }

    fn bucketed(self) -> Values {
        let values: Vec<(f64, u64)> = match self {
            Values::Ints(_, values) => values.into_iter().map(|(v, n)| (v as f64, n)).collect(),
            Values::Floats(values) => values,
            other => return other,
        };
        let least = values.first().map_or(f64::INFINITY, |v| v.0);
        let largest = values.last().map_or(f64::NEG_INFINITY, |v| v.0);
        let whole = values.iter().all(|(v, _)| v.fract() == 0.0);
        let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
        for (value, count) in values {
            *counts.entry(bucket(value)).or_default() += count;
        }
        Values::Buckets { least, largest, whole, counts: counts.into_iter().collect() }
    }

    /// Numbers in increasing order with their counts; a bucket counts at its lower end. Empty for texts.
    pub fn numbers(&self) -> Vec<(f64, u64)> {
        match self {
            Values::Ints(_, values) => values.iter().map(|&(v, n)| (v as f64, n)).collect(),
            Values::Floats(values) => values.clone(),
            Values::Buckets { least, counts, .. } => {
                counts.iter().map(|&(bucket, n)| (from_ordered(bucket << BUCKET_BITS).max(*least), n)).collect()
            }
            Values::Texts(texts) => parsed(texts).unwrap_or_default(),
            Values::Tags { .. } | Values::TooMany => Vec::new(),
        }
    }
}

/// Bits of a float that a bucket does not tell apart: 52 of the fraction less 12.
const BUCKET_BITS: u32 = 40;

/// The bucket of a number: its sign, exponent and first 12 bits of the fraction, in the order of the numbers.
fn bucket(value: f64) -> u64 {
    ordered(value) >> BUCKET_BITS
}

/// The bits of a float as an integer of the same order.
fn ordered(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

fn from_ordered(key: u64) -> f64 {
    f64::from_bits(if key >> 63 == 1 { key & !(1 << 63) } else { !key })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sketches_merge_to_the_same_whatever_the_division(
            values in proptest::collection::vec(prop_oneof![proptest::num::f64::ANY, (-5i32..5).prop_map(f64::from)], 0..200),
            cut in 0usize..200,
        ) {
            let whole = Sketch::of(&LocalFeature::Floats(values.iter().copied().collect()));
            let (a, b) = values.split_at(cut.min(values.len()));
            let [a, b] = [a, b].map(|part| Sketch::of(&LocalFeature::Floats(part.iter().copied().collect())));
            prop_assert_eq!(b.clone().merge(a.clone(), 10), whole.clone());
            let bucketed = |sketch: Sketch| Sketch { values: sketch.values.bucketed(), ..sketch };
            prop_assert_eq!(bucketed(a).merge(b, 10), bucketed(whole));
        }

        #[test]
        fn order_of_keys_is_order_of_numbers(a in any::<f64>(), b in any::<f64>()) {
            prop_assert_eq!(ordered(a).cmp(&ordered(b)), a.total_cmp(&b));
            prop_assert_eq!(from_ordered(ordered(a)).to_bits(), a.to_bits());
            // Numbers below 2.3e-308 have fewer digits than a bucket tells apart.
            if a.is_normal() {
                let low = from_ordered(bucket(a) << BUCKET_BITS);
                prop_assert!(low <= a && (a - low).abs() <= a.abs().max(low.abs()) * 2f64.powi(-11));
            }
        }
    }
}
