//! A worker's column of numbers: coded through a dictionary of its own while there are few, else as they are.

use arrow::array::{ArrayRef, UInt8Array};

use super::Map;
use super::intake::retain;
use super::local::{Keys, LocalCodes, MISSING_CODE};
use super::shard::Codes;
use crate::segment::ItemCode;

/// What stands for missing: the least integer, and as the bits of a float -0, which is held as 0.
pub const MISSING_INT: i64 = i64::MIN;

/// Distinct numbers up to which codes fit 16 bits.
const MOST_CODED: usize = u16::MAX as usize;

/// One number a row, in 64 bits: whole numbers as they are, floats by their bits; see [`bits`].
#[derive(Debug)]
pub struct Numbers {
    rows: Rows,
    /// Whether some float was not finite, be its row kept or not.
    nonfinite: bool,
}

#[derive(Debug)]
enum Rows {
    Coded(Box<Coded>),
    /// There are too many for codes.
    Plain(Vec<i64>),
}

#[derive(Debug)]
struct Coded {
    /// The code of a value is its place and one more.
    values: Vec<i64>,
    index: Map<i64, u32>,
    codes: LocalCodes,
    keys: Keys,
    /// Values of late with their codes, by a hash: looking here spares most of the searching.
    recent: [(i64, u32); RECENT],
}

const RECENT: usize = 256;

impl Default for Numbers {
    fn default() -> Numbers {
        let coded = Coded {
            values: Vec::new(),
            index: Map::default(),
            codes: LocalCodes::default(),
            keys: Keys::default(),
            recent: [(MISSING_INT, MISSING_CODE); RECENT],
        };
        Numbers { rows: Rows::Coded(Box::new(coded)), nonfinite: false }
    }
}

/// A float as the integer that stands for it; NaN is missing, and 0 and -0 are one value.
pub fn bits(value: f64) -> i64 {
    if value.is_nan() { MISSING_INT } else { (value + 0.0).to_bits() as i64 }
}

/// The float that an integer stands for; missing must have been told apart.
pub fn float(bits: i64) -> f64 {
    f64::from_bits(bits as u64)
}

impl Coded {
    fn code(&mut self, value: i64) -> u32 {
        let slot = ((value as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize;
        let (recent, code) = self.recent[slot];
        if recent == value {
            return code;
        }
        let code = if value == MISSING_INT {
            MISSING_CODE
        } else {
            *self.index.entry(value).or_insert_with(|| {
                self.values.push(value);
                self.values.len() as u32
            })
        };
        self.recent[slot] = (value, code);
        code
    }

    fn value(&self, code: u32) -> i64 {
        code.checked_sub(1).map_or(MISSING_INT, |place| self.values[place as usize])
    }
}

impl Numbers {
    pub fn len(&self) -> usize {
        match &self.rows {
            Rows::Coded(coded) => coded.codes.len(),
            Rows::Plain(values) => values.len(),
        }
    }

    /// Whether there are few enough distinct ones for codes.
    pub fn is_coded(&self) -> bool {
        matches!(self.rows, Rows::Coded(_))
    }

    /// Rows without a number.
    pub fn missing(&self) -> u64 {
        match &self.rows {
            Rows::Coded(coded) => coded.codes.missing(),
            Rows::Plain(values) => values.iter().filter(|value| **value == MISSING_INT).count() as u64,
        }
    }

    /// The number in one row, [`MISSING_INT`] for none.
    pub fn at(&self, row: usize) -> i64 {
        match &self.rows {
            Rows::Coded(coded) => coded.value(coded.codes.at(row)),
            Rows::Plain(values) => values[row],
        }
    }

    pub fn extend(&mut self, new: impl Iterator<Item = i64>) {
        match &mut self.rows {
            Rows::Plain(values) => values.extend(new),
            Rows::Coded(coded) => {
                let codes: Vec<u32> = new.map(|value| coded.code(value)).collect();
                coded.codes.append(&codes);
                self.bound();
            }
        }
    }

    /// Appends floats; what is not finite is missing.
    pub fn extend_finite(&mut self, new: impl Iterator<Item = Option<f64>>) {
        let mut nonfinite = false;
        let mut finite = |value: &f64| {
            nonfinite |= !value.is_finite();
            value.is_finite()
        };
        self.extend(new.map(|value| value.filter(&mut finite).map_or(MISSING_INT, bits)));
        self.nonfinite |= nonfinite;
    }

    /// Whether floats were missing for being NaN or infinite.
    pub fn nonfinite(&self) -> bool {
        self.nonfinite
    }

    /// Appends rows by their places in a dictionary, which holds these numbers.
    pub fn extend_places(&mut self, keys: &UInt8Array, dictionary: &ArrayRef, numbers: impl Fn(&ArrayRef) -> Vec<i64>) {
        match &mut self.rows {
            Rows::Coded(coded) => {
                let mut known = std::mem::take(&mut coded.keys);
                let mut codes = std::mem::take(&mut coded.codes);
                known.append_places(keys, dictionary, &mut codes, |dictionary, places| {
                    let numbers = numbers(dictionary);
                    places.iter().map(|&place| coded.code(numbers[place])).collect()
                });
                (coded.keys, coded.codes) = (known, codes);
                self.bound();
            }
            Rows::Plain(values) => {
                let numbers = numbers(dictionary);
                values.extend(keys.iter().map(|key| key.map_or(MISSING_INT, |key| numbers[usize::from(key)])));
            }
        }
    }

    /// Holds the numbers as they are once there are too many for codes.
    fn bound(&mut self) {
        if let Rows::Coded(coded) = &self.rows
            && coded.values.len() > MOST_CODED
        {
            self.rows = Rows::Plain(coded.codes.iter().map(|code| coded.value(code)).collect());
        }
    }

    /// Gives each number, or [`MISSING_INT`], with how many rows have it; a number may come in several parts.
    pub fn counted(&self, mut each: impl FnMut(i64, u64)) {
        match &self.rows {
            Rows::Coded(coded) => {
                let counts = coded.codes.counts(coded.values.len() + 1);
                let counts = counts.into_iter().zip(0..).filter(|(count, _)| *count > 0);
                counts.for_each(|(count, code)| each(coded.value(code), count));
            }
            Rows::Plain(values) => values.iter().for_each(|&value| each(value, 1)),
        }
    }

    /// Extends a table by the codes of the values that are new since it was made, given that of each number or [`MISSING_INT`].
    pub fn learn(&self, table: &mut Vec<ItemCode>, code: impl Fn(i64) -> ItemCode) {
        if let Rows::Coded(coded) = &self.rows {
            table.extend((table.len()..=coded.values.len()).map(|local| code(coded.value(local as u32))));
        }
    }

    /// The agreed codes of all rows, which are then gone, by such a table and in the same way.
    pub fn take(&mut self, table: &[ItemCode], cardinality: usize, code: impl Fn(i64) -> ItemCode) -> Codes {
        match &mut self.rows {
            Rows::Coded(coded) => std::mem::take(&mut coded.codes).coded(table, cardinality),
            Rows::Plain(values) => {
                let mut codes = Codes::with_capacity(cardinality, values.len());
                values.drain(..).for_each(|value| codes.push(code(value)));
                codes
            }
        }
    }

    pub fn retain(&mut self, keep: &[bool]) {
        match &mut self.rows {
            Rows::Coded(coded) => coded.codes.retain(keep),
            Rows::Plain(values) => retain(values, keep),
        }
    }
}

impl FromIterator<f64> for Numbers {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Numbers {
        let mut numbers = Numbers::default();
        numbers.extend_finite(values.into_iter().map(Some));
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_the_same_when_they_become_too_many_for_codes() {
        let value = |row: usize| if row.is_multiple_of(11) { MISSING_INT } else { (row % 70_000) as i64 - 9 };
        let mut numbers = Numbers::default();
        for from in (0..150_000).step_by(10_000) {
            numbers.extend((from..from + 10_000).map(value));
            assert!((0..from + 10_000).step_by(997).all(|row| numbers.at(row) == value(row)), "{from}");
        }
        assert!(matches!(numbers.rows, Rows::Plain(_)));
        assert_eq!(numbers.len(), 150_000);
    }

    #[test]
    fn floats_keep_their_order_of_bits_but_for_zeros_and_nan() {
        assert_eq!(bits(-0.0), bits(0.0));
        assert_eq!(bits(f64::NAN), MISSING_INT);
        for value in [1.5, -1.5, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE] {
            assert_eq!(float(bits(value)), value);
        }
    }
}
