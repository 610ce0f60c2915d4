//! A worker's feature columns: values as they are, coded only within this worker.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::codebook::ItemValue;
use super::intake::{FEATURE_NOT_A_DATE, FEATURE_NOT_A_NUMBER, Problem, Report, retain};
use super::reading::FeatureInput;
use super::tags::{LocalTags, Tag};
use super::text::{Dictionary, NULL};
use super::values;
use crate::job::{DatePart, FeatureKind};
use crate::source::ColumnKind;

/// The integer that stands for missing in integer columns.
pub const MISSING_INT: i64 = i64::MIN;

/// A feature's values.
#[derive(Debug)]
pub enum LocalFeature {
    Text {
        dictionary: Dictionary,
        codes: Vec<u32>,
        max_distinct: usize,
    },
    /// Whole numbers, booleans as 0 and 1, parts of dates; [`MISSING_INT`] is missing.
    Ints {
        values: Vec<i64>,
        what: IntKind,
    },
    /// NaN is missing.
    Floats(Vec<f64>),
    /// A set a row.
    Tags(LocalTags),
    /// More distinct texts than may be: nothing is kept but how many rows there were.
    Overflow {
        rows: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum IntKind {
    Number,
    Bool,
    Part(DatePart),
}

impl IntKind {
    /// A value as an item would be written.
    pub fn label(self, value: i64) -> String {
        match self {
            IntKind::Number => value.to_string(),
            IntKind::Bool => (value == 1).to_string(),
            IntKind::Part(part) => ItemValue::Part { part, value: value as i32 }.to_string(),
        }
    }
}

impl LocalFeature {
    pub fn new(input: &FeatureInput, kind: &ColumnKind, max_distinct: usize) -> LocalFeature {
        let ints = |what| LocalFeature::Ints { values: Vec::new(), what };
        let part = input.part.unwrap_or(DatePart::YearMonth);
        match kind {
            ColumnKind::TextList | ColumnKind::IntList => LocalFeature::Tags(LocalTags::new(kind, max_distinct)),
            ColumnKind::Text if input.separator.is_some() => LocalFeature::Tags(LocalTags::new(kind, max_distinct)),
            ColumnKind::Text if input.part.is_some() || input.kind == Some(FeatureKind::Date) => {
                ints(IntKind::Part(part))
            }
            // What the job declares a number is read as one, however few values there are.
            ColumnKind::Text if input.bin.is_some() || input.kind == Some(FeatureKind::Number) => {
                LocalFeature::Floats(Vec::new())
            }
            ColumnKind::Text => {
                LocalFeature::Text { dictionary: Dictionary::default(), codes: Vec::new(), max_distinct }
            }
            ColumnKind::Bool => ints(IntKind::Bool),
            ColumnKind::Int => ints(IntKind::Number),
            ColumnKind::Float | ColumnKind::Decimal => LocalFeature::Floats(Vec::new()),
            ColumnKind::Date | ColumnKind::Timestamp => ints(IntKind::Part(part)),
            ColumnKind::Unsupported(_) => LocalFeature::Overflow { rows: 0 },
        }
    }

    /// A column to compare rows by.
    pub fn ordered(kind: &ColumnKind) -> LocalFeature {
        match kind {
            ColumnKind::Text | ColumnKind::TextList | ColumnKind::IntList | ColumnKind::Unsupported(_) => {
                LocalFeature::Text { dictionary: Dictionary::default(), codes: Vec::new(), max_distinct: usize::MAX }
            }
            ColumnKind::Float | ColumnKind::Decimal => LocalFeature::Floats(Vec::new()),
            ColumnKind::Bool | ColumnKind::Int | ColumnKind::Date | ColumnKind::Timestamp => {
                LocalFeature::Ints { values: Vec::new(), what: IntKind::Number }
            }
        }
    }

    pub fn push_order(&mut self, array: &ArrayRef) {
        match (&mut *self, values::order(array)) {
            (LocalFeature::Ints { values, .. }, Some(order)) => {
                values.extend(order.into_iter().map(|v| v.unwrap_or(MISSING_INT)))
            }
            (LocalFeature::Ints { values, .. }, None) => {
                values.extend(values::ints(array).into_iter().map(|v| v.unwrap_or(MISSING_INT)))
            }
            (LocalFeature::Floats(values), _) => values.extend(values::floats(array)),
            (LocalFeature::Text { dictionary, codes, .. }, _) => {
                dictionary.codes(&values::texts(array), |_| false, |c| codes.push(c))
            }
            (LocalFeature::Tags(_) | LocalFeature::Overflow { .. }, _) => {}
        }
    }

    /// Reports values that are not what the job declares the column to be.
    pub fn check(&mut self, input: &FeatureInput, array: &ArrayRef, report: Report) {
        let is_text = values::is_text(array.data_type());
        let number = input.kind == Some(FeatureKind::Number) || input.bin.is_some();
        let date = input.kind == Some(FeatureKind::Date) || input.part.is_some();
        if !is_text || !(number || date) {
            return;
        }
        let text = cast(array, &DataType::Utf8).expect("text casts to text");
        for (i, text) in text.as_string::<i32>().iter().enumerate() {
            let Some(text) = text.filter(|text| !input.null_values.iter().any(|null| null == text)) else { continue };
            let good = if number {
                text.trim().parse::<f64>().is_ok_and(f64::is_finite)
            } else {
                values::parse_dates(&[text]).is_valid(0)
            };
            if !good {
                report(i, &|| Problem {
                    reason: if number { FEATURE_NOT_A_NUMBER } else { FEATURE_NOT_A_DATE },
                    column: input.column_name.clone(),
                    value: format!("{text:?}"),
                    remedy: format!(
                        "features.{} says it is a {}; features.{0}.null_values can say that it means missing",
                        input.name,
                        if number { "number" } else { "date" }
                    ),
                    dropped: false,
                });
            }
        }
    }

    pub fn push(&mut self, input: &FeatureInput, array: &ArrayRef) {
        let is_null = |text: &str| input.null_values.iter().any(|null| null == text);
        match self {
            LocalFeature::Text { dictionary, codes, max_distinct } => {
                dictionary.codes(&values::texts(array), is_null, |code| codes.push(code));
                if dictionary.len() > *max_distinct {
                    self.overflow();
                }
            }
            LocalFeature::Ints { values, what } => match what {
                IntKind::Bool => {
                    values.extend(values::bools(array).into_iter().map(|v| v.map_or(MISSING_INT, i64::from)))
                }
                IntKind::Number => {
                    let nulls: Vec<i64> = numeric_nulls(input, |v| (v.fract() == 0.0).then_some(v as i64));
                    let value = |v: Option<i64>| v.filter(|v| !nulls.contains(v)).unwrap_or(MISSING_INT);
                    values.extend(values::ints(array).into_iter().map(value));
                }
                IntKind::Part(part) => {
                    let of = |parts: Vec<Option<i32>>| parts.into_iter().map(|v| v.map_or(MISSING_INT, i64::from));
                    if values::is_text(array.data_type()) {
                        let mut dictionary = Dictionary::default();
                        let mut codes = Vec::with_capacity(array.len());
                        dictionary.codes(&values::texts(array), is_null, |code| codes.push(code));
                        let distinct: Vec<&str> = dictionary.values().iter().map(|v| &**v).collect();
                        let parts = values::parts(&values::parse_dates(&distinct), *part);
                        let parsed: Vec<i64> = parts.into_iter().map(|v| v.map_or(MISSING_INT, i64::from)).collect();
                        values.extend(
                            codes.into_iter().map(|c| if c == NULL { MISSING_INT } else { parsed[c as usize] }),
                        );
                    } else {
                        values.extend(of(values::parts(array, *part)));
                    }
                }
            },
            LocalFeature::Floats(values) if values::is_text(array.data_type()) => {
                let mut dictionary = Dictionary::default();
                let mut codes = Vec::with_capacity(array.len());
                dictionary.codes(&values::texts(array), is_null, |code| codes.push(code));
                let parsed: Vec<Option<f64>> = dictionary.values().iter().map(|v| finite(v)).collect();
                if codes.iter().any(|&c| c != NULL && parsed[c as usize].is_none()) {
                    *self = LocalFeature::Overflow { rows: values.len() + array.len() };
                    return;
                }
                values.extend(
                    codes
                        .into_iter()
                        .map(|c| if c == NULL { f64::NAN } else { parsed[c as usize].unwrap_or(f64::NAN) }),
                );
            }
            LocalFeature::Floats(values) => {
                let nulls: Vec<f64> = numeric_nulls(input, Some);
                let value = |v: f64| if nulls.contains(&v) { f64::NAN } else { v };
                values.extend(values::floats(array).into_iter().map(value));
            }
            LocalFeature::Tags(tags) => {
                tags.push(input, array);
                if tags.too_many() {
                    *self = LocalFeature::Overflow { rows: tags.rows() };
                }
            }
            LocalFeature::Overflow { rows } => *rows += array.len(),
        }
    }

    /// Too many distinct texts: numbers from now on if they all are, else given up.
    fn overflow(&mut self) {
        if let LocalFeature::Text { dictionary, codes, .. } = self {
            let used = used(codes, dictionary.len());
            let parsed: Vec<Option<f64>> = dictionary.values().iter().map(|v| number(v)).collect();
            let all = parsed.iter().zip(&used).all(|(p, used)| !used || p.is_some());
            *self = match all {
                true => LocalFeature::Floats(
                    codes
                        .iter()
                        .map(|&c| if c == NULL { f64::NAN } else { parsed[c as usize].unwrap_or(f64::NAN) })
                        .collect(),
                ),
                false => LocalFeature::Overflow { rows: codes.len() },
            };
        }
    }

    /// The value in one row.
    pub fn at(&self, row: usize) -> Place<'_> {
        match self {
            LocalFeature::Text { dictionary, codes, .. } => match codes[row] {
                NULL => Place::Missing,
                code => Place::Text(&dictionary.values()[code as usize]),
            },
            LocalFeature::Ints { values, .. } if values[row] == MISSING_INT => Place::Missing,
            LocalFeature::Ints { values, .. } => Place::Int(values[row]),
            LocalFeature::Floats(values) if values[row].is_nan() => Place::Missing,
            LocalFeature::Floats(values) => Place::Float(values[row]),
            LocalFeature::Tags(tags) => Place::Tags(tags.at(row)),
            LocalFeature::Overflow { .. } => Place::Missing,
        }
    }

    pub fn rows(&self) -> usize {
        match self {
            LocalFeature::Text { codes, .. } => codes.len(),
            LocalFeature::Ints { values, .. } => values.len(),
            LocalFeature::Floats(values) => values.len(),
            LocalFeature::Tags(tags) => tags.rows(),
            LocalFeature::Overflow { rows } => *rows,
        }
    }

    pub fn retain(&mut self, keep: &[bool]) {
        match self {
            LocalFeature::Text { codes, .. } => retain(codes, keep),
            LocalFeature::Ints { values, .. } => retain(values, keep),
            LocalFeature::Floats(values) => retain(values, keep),
            LocalFeature::Tags(tags) => tags.retain(keep),
            LocalFeature::Overflow { rows } => *rows = keep.iter().filter(|&&k| k).count(),
        }
    }
}

/// Of the values that mean missing, the numbers: what a column of numbers can hold.
fn numeric_nulls<T>(input: &FeatureInput, number: impl Fn(f64) -> Option<T>) -> Vec<T> {
    input.null_values.iter().filter_map(|text| finite(text).and_then(&number)).collect()
}

/// One value of a feature column.
#[derive(Clone, Debug, PartialEq)]
pub enum Place<'a> {
    Missing,
    Int(i64),
    Float(f64),
    Text(&'a str),
    /// In order.
    Tags(Vec<Tag>),
}

/// A finite number, as text writes it.
pub fn finite(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|v| v.is_finite())
}

/// The same where nothing declares the column a number: what has a leading zero is a code, as in postcodes.
pub fn number(text: &str) -> Option<f64> {
    let digits = text.trim().trim_start_matches(['-', '+']);
    let code = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    if code { None } else { finite(text) }
}

/// Which codes occur.
pub fn used(codes: &[u32], len: usize) -> Vec<bool> {
    let mut used = vec![false; len];
    codes.iter().filter(|&&code| code != NULL).for_each(|&code| used[code as usize] = true);
    used
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array, StringArray};

    use super::*;
    use crate::job::{BinSpec, Missing};

    #[test]
    fn values_that_mean_missing_hold_for_columns_of_numbers_too() {
        let input = FeatureInput {
            name: "pdays".into(),
            column: 0,
            column_name: "pdays".into(),
            kind: None,
            bin: None,
            part: None,
            separator: None,
            missing: Missing::Level,
            null_values: vec!["-1".into(), "unknown".into()],
        };
        let read = |kind: ColumnKind, array: ArrayRef| {
            let mut feature = LocalFeature::new(&input, &kind, 100);
            feature.push(&input, &array);
            (0..3).map(|row| feature.at(row) == Place::Missing).collect::<Vec<_>>()
        };
        let ints = Int64Array::from(vec![Some(-1), Some(90), None]);
        assert_eq!(read(ColumnKind::Int, Arc::new(ints)), [true, false, true]);
        let floats = Float64Array::from(vec![Some(-1.0), Some(-1.5), None]);
        assert_eq!(read(ColumnKind::Float, Arc::new(floats)), [true, false, true]);
    }

    #[test]
    fn text_that_the_job_declares_a_number_is_read_as_one_however_few_values_it_has() {
        let input = FeatureInput {
            name: "visits".into(),
            column: 0,
            column_name: "visits".into(),
            kind: None,
            bin: Some(BinSpec::Width(10.0)),
            part: None,
            separator: None,
            missing: Missing::Level,
            null_values: vec!["?".into()],
        };
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("07"), Some("?"), None, Some(" 12.5 ")]));
        let mut feature = LocalFeature::new(&input, &ColumnKind::Text, 100);
        feature.push(&input, &texts);
        let values: Vec<Place> = (0..4).map(|row| feature.at(row)).collect();
        assert_eq!(values, [Place::Float(7.0), Place::Missing, Place::Missing, Place::Float(12.5)]);
    }
}
