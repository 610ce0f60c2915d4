//! A worker's customer ids.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array};
use arrow::datatypes::DataType;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::intake::{ID_MISSING, ID_NOT_WHOLE, Problem, Report, retain};
use super::values;
use crate::source::ColumnKind;

/// Customer ids as the table has them.
#[derive(Debug)]
pub enum LocalIds {
    /// The row's number serves.
    None,
    Int(Vec<i64>),
    Text(Vec<Box<str>>),
}

impl LocalIds {
    pub fn new(kind: Option<&ColumnKind>) -> LocalIds {
        match kind {
            None => LocalIds::None,
            Some(ColumnKind::Text) => LocalIds::Text(Vec::new()),
            Some(_) => LocalIds::Int(Vec::new()),
        }
    }

    pub fn check(&self, array: &ArrayRef, column: &str, report: Report) {
        let missing = |value: &str| Problem {
            reason: ID_MISSING,
            column: column.to_owned(),
            value: value.to_owned(),
            remedy: "every row needs a customer id".into(),
            dropped: false,
        };
        if array.null_count() > 0 {
            (0..array.len()).filter(|&i| array.is_null(i)).for_each(|i| report(i, &|| missing("null")));
        }
        match array.data_type() {
            kind if values::is_text(kind) => {
                for (i, text) in values::texts(array).iter().enumerate() {
                    if text.is_some_and(|text| text.trim().is_empty()) {
                        report(i, &|| missing("blank"));
                    }
                }
            }
            DataType::Float16 | DataType::Float32 | DataType::Float64 => {
                for (i, value) in values::floats(array).iter().enumerate() {
                    let Some(value) = value else { continue };
                    if value.fract() != 0.0 || value.abs() >= 9_007_199_254_740_992.0 || value.is_nan() {
                        report(i, &|| Problem {
                            reason: ID_NOT_WHOLE,
                            column: column.to_owned(),
                            value: value.to_string(),
                            remedy: "ids held as floats must be whole and below 2^53; store them as integers or text"
                                .into(),
                            dropped: false,
                        });
                    }
                }
            }
            _ => {
                let ints = values::ints(array);
                if ints.null_count() == array.null_count() {
                    return;
                }
                for i in 0..array.len() {
                    if array.is_valid(i) && ints.is_null(i) {
                        report(i, &|| Problem {
                            reason: ID_NOT_WHOLE,
                            column: column.to_owned(),
                            value: "above 2^63".into(),
                            remedy: "integer ids fit 64 signed bits; store larger ones as text".into(),
                            dropped: false,
                        });
                    }
                }
            }
        }
    }

    pub fn push(&mut self, array: &ArrayRef) {
        match self {
            LocalIds::None => {}
            LocalIds::Int(ids) => ids.extend_from_slice(whole(array).values()),
            LocalIds::Text(ids) => {
                ids.extend(values::texts(array).iter().map(|id| Box::from(id.expect("checked"))));
            }
        }
    }

    /// A 64-bit hash of each id, the same for a whole number held as text. Empty without an id column.
    pub fn hashes(&self) -> Vec<u64> {
        match self {
            LocalIds::None => Vec::new(),
            LocalIds::Int(ids) => ids.iter().map(|id| hash(IdRef::Int(*id), 0)).collect(),
            LocalIds::Text(ids) => ids.iter().map(|id| hash(IdRef::Text(id), 0)).collect(),
        }
    }

    pub fn text(&self, row: usize) -> String {
        match self {
            LocalIds::None => row.to_string(),
            LocalIds::Int(ids) => ids[row].to_string(),
            LocalIds::Text(ids) => ids[row].to_string(),
        }
    }

    pub fn retain(&mut self, keep: &[bool]) {
        match self {
            LocalIds::None => {}
            LocalIds::Int(ids) => retain(ids, keep),
            LocalIds::Text(ids) => retain(ids, keep),
        }
    }
}

/// Ids that were checked as whole numbers.
fn whole(array: &ArrayRef) -> Int64Array {
    match array.data_type() {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            values::floats(array).values().iter().map(|&v| v as i64).collect()
        }
        _ => values::ints(array),
    }
}

/// Ids that were checked, as outputs have them: text, or whole numbers of 64 bits.
pub fn written(array: &ArrayRef) -> ArrayRef {
    match values::is_text(array.data_type()) {
        true => Arc::new(values::texts(array)),
        false => Arc::new(whole(array)),
    }
}

/// One customer id.
#[derive(Clone, Copy, Debug)]
pub enum IdRef<'a> {
    Int(i64),
    Text(&'a str),
}

/// A seeded hash of an id (XXH3, 64 bits). Text that is a whole number as it would be printed hashes as the number, so a
/// table has the same hold-out as CSV and as Parquet.
#[inline]
pub fn hash(id: IdRef, seed: u64) -> u64 {
    let int = match id {
        IdRef::Int(id) => Some(id),
        IdRef::Text(text) => canonical(text),
    };
    match (int, id) {
        (Some(id), _) => xxh3_64_with_seed(&id.to_le_bytes(), seed),
        (None, IdRef::Text(text)) => xxh3_64_with_seed(text.as_bytes(), seed),
        (None, IdRef::Int(_)) => unreachable!("a whole number is one"),
    }
}

fn canonical(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let printed = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && (digits == text || digits != "0");
    if printed && (digits == "0" || !digits.starts_with('0')) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_hashes_alike_as_text_and_as_number() {
        for id in [0, 7, -7, i64::MAX, i64::MIN] {
            assert_eq!(hash(IdRef::Text(&id.to_string()), 3), hash(IdRef::Int(id), 3), "{id}");
        }
        for text in ["007", "+7", "-0", "", "7 ", "99999999999999999999"] {
            assert_eq!(canonical(text), None, "{text:?}");
        }
    }
}
