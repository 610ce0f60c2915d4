//! A worker's feature columns: values as they are, coded only within this worker.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Int64Type, UInt8Type, UInt64Type};

use super::codebook::ItemValue;
use super::intake::{FEATURE_NOT_A_DATE, FEATURE_NOT_A_NUMBER, FEATURE_OUT_OF_RANGE, Problem, Report};
use super::local::LocalCodes;
use super::numbers::{MISSING_INT, Numbers, bits, float};
use super::reading::FeatureInput;
use super::tags::{LocalTags, Tag};
use super::text::Dictionary;
use super::values;
use crate::job::{DatePart, FeatureKind};
use crate::source::{Chunk, ColumnKind};

/// A feature's values.
#[derive(Debug)]
pub enum LocalFeature {
    Text {
        dictionary: Dictionary,
        codes: LocalCodes,
        max_distinct: usize,
    },
    /// Whole numbers, booleans as 0 and 1, parts of dates; [`MISSING_INT`] is missing.
    Ints {
        values: Numbers,
        what: IntKind,
    },
    /// By their bits; see [`super::numbers::bits`]. Of a feature none but finite ones.
    Floats(Numbers),
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
        let ints = |what| LocalFeature::Ints { values: Numbers::default(), what };
        let part = input.part.unwrap_or(DatePart::YearMonth);
        match kind {
            ColumnKind::TextList | ColumnKind::IntList => LocalFeature::Tags(LocalTags::new(kind, max_distinct)),
            ColumnKind::Text if input.separator.is_some() => LocalFeature::Tags(LocalTags::new(kind, max_distinct)),
            ColumnKind::Text if input.part.is_some() || input.kind == Some(FeatureKind::Date) => {
                ints(IntKind::Part(part))
            }
            // What the job declares a number is read as one, however few values there are.
            ColumnKind::Text if input.bin.is_some() || input.kind == Some(FeatureKind::Number) => {
                LocalFeature::Floats(Numbers::default())
            }
            ColumnKind::Text => {
                LocalFeature::Text { dictionary: Dictionary::default(), codes: LocalCodes::default(), max_distinct }
            }
            ColumnKind::Bool => ints(IntKind::Bool),
            ColumnKind::Int => ints(IntKind::Number),
            ColumnKind::Float | ColumnKind::Decimal => LocalFeature::Floats(Numbers::default()),
            ColumnKind::Date | ColumnKind::Timestamp => ints(IntKind::Part(part)),
            ColumnKind::Unsupported(_) => LocalFeature::Overflow { rows: 0 },
        }
    }

    /// A column to compare rows by.
    pub fn ordered(kind: &ColumnKind) -> LocalFeature {
        match kind {
            ColumnKind::Text | ColumnKind::TextList | ColumnKind::IntList | ColumnKind::Unsupported(_) => {
                LocalFeature::Text {
                    dictionary: Dictionary::default(),
                    codes: LocalCodes::default(),
                    max_distinct: usize::MAX,
                }
            }
            ColumnKind::Float | ColumnKind::Decimal => LocalFeature::Floats(Numbers::default()),
            ColumnKind::Bool | ColumnKind::Int | ColumnKind::Date | ColumnKind::Timestamp => {
                LocalFeature::Ints { values: Numbers::default(), what: IntKind::Number }
            }
        }
    }

    pub fn push_order(&mut self, array: &ArrayRef) {
        match (&mut *self, values::order(array)) {
            (LocalFeature::Ints { values, .. }, order) => {
                values.extend(order.unwrap_or_else(|| values::ints(array)).iter().map(|v| v.unwrap_or(MISSING_INT)))
            }
            (LocalFeature::Floats(values), _) => {
                values.extend(values::floats(array).iter().map(|v| v.map_or(MISSING_INT, bits)))
            }
            (LocalFeature::Text { dictionary, codes, .. }, _) => dictionary.append(array, |_| false, codes),
            (LocalFeature::Tags(_) | LocalFeature::Overflow { .. }, _) => {}
        }
    }

    /// Reports values that are not what the job declares the column to be, or that no feature can have.
    pub fn check(&mut self, input: &FeatureInput, chunk: &Chunk, report: Report) {
        let column = chunk.rows.column(input.column);
        if let LocalFeature::Ints { what: IntKind::Number, .. } = self {
            return out_of_range(input, chunk, report);
        }
        let is_text = values::is_text(chunk.dictionary(input.column).unwrap_or(column).data_type());
        let number = input.kind == Some(FeatureKind::Number) || input.bin.is_some();
        let date = input.kind == Some(FeatureKind::Date) || input.part.is_some();
        if !is_text || !(number || date) {
            return;
        }
        for (i, text) in values::texts(&chunk.values(input.column, column)).iter().enumerate() {
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
        let declared = input.kind == Some(FeatureKind::Number) || input.bin.is_some();
        match self {
            LocalFeature::Text { dictionary, codes, max_distinct } => {
                dictionary.append(array, is_null, codes);
                if dictionary.len() > *max_distinct {
                    self.overflow();
                }
            }
            LocalFeature::Ints { values, what } => match what {
                IntKind::Bool => {
                    values.extend(values::bools(array).into_iter().map(|v| v.map_or(MISSING_INT, i64::from)))
                }
                IntKind::Number => {
                    values.extend(ints(input, array).into_iter());
                }
                IntKind::Part(part) => {
                    let of = |parts: Vec<Option<i32>>| parts.into_iter().map(|v| v.map_or(MISSING_INT, i64::from));
                    if values::is_text(array.data_type()) {
                        let (distinct, codes) = batch(array, is_null);
                        let distinct: Vec<&str> = distinct.values().iter().map(|v| &**v).collect();
                        let parts = values::parts(&values::parse_dates(&distinct), *part);
                        let parsed: Vec<i64> = std::iter::once(MISSING_INT).chain(of(parts)).collect();
                        values.extend(codes.iter().map(|code| parsed[code as usize]));
                    } else {
                        values.extend(of(values::parts(array, *part)));
                    }
                }
            },
            LocalFeature::Floats(values) if values::is_text(array.data_type()) => {
                let (distinct, codes) = batch(array, is_null);
                let parse = if declared { finite } else { number };
                let parsed: Vec<Option<f64>> = distinct.values().iter().map(|text| parse(text)).collect();
                if parsed.contains(&None) {
                    *self = LocalFeature::Overflow { rows: values.len() + array.len() };
                    return;
                }
                let parsed: Vec<i64> =
                    std::iter::once(MISSING_INT).chain(parsed.into_iter().flatten().map(bits)).collect();
                values.extend(codes.iter().map(|code| parsed[code as usize]));
            }
            LocalFeature::Floats(values) => {
                let nulls: Vec<f64> = numeric_nulls(input, Some);
                values.extend_finite(values::floats(array).iter().map(|v| v.filter(|v| !nulls.contains(v))));
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

    /// Takes in a column of a chunk, or some rows of it.
    pub fn push_of(&mut self, input: &FeatureInput, chunk: &Chunk, column: &ArrayRef) {
        let dictionary = chunk.dictionary(input.column);
        let is_null = |text: &str| input.null_values.iter().any(|null| null == text);
        match (&mut *self, dictionary.map(|dictionary| (column.as_primitive::<UInt8Type>(), dictionary))) {
            (LocalFeature::Text { dictionary, codes, max_distinct }, Some((keys, values))) => {
                dictionary.append_places(keys, values, is_null, codes);
                if dictionary.len() > *max_distinct {
                    self.overflow();
                }
            }
            (LocalFeature::Ints { values, what: IntKind::Number }, Some((keys, dictionary))) => {
                values.extend_places(keys, dictionary, |dictionary| ints(input, dictionary));
            }
            (_, _) => self.push(input, &chunk.values(input.column, column)),
        }
    }

    /// Too many distinct texts: numbers from now on if they all are, else given up.
    fn overflow(&mut self) {
        if let LocalFeature::Text { dictionary, codes, .. } = self {
            let parsed: Option<Vec<i64>> = dictionary.values().iter().map(|v| number(v).map(bits)).collect();
            *self = match parsed {
                Some(parsed) => {
                    let mut numbers = Numbers::default();
                    let value = |code: u32| code.checked_sub(1).map_or(MISSING_INT, |place| parsed[place as usize]);
                    numbers.extend(codes.iter().map(value));
                    LocalFeature::Floats(numbers)
                }
                None => LocalFeature::Overflow { rows: codes.len() },
            };
        }
    }

    /// The value in one row.
    pub fn at(&self, row: usize) -> Place<'_> {
        match self {
            LocalFeature::Text { dictionary, codes, .. } => {
                dictionary.value(codes.at(row)).map_or(Place::Missing, Place::Text)
            }
            LocalFeature::Ints { values, .. } => match values.at(row) {
                MISSING_INT => Place::Missing,
                value => Place::Int(value),
            },
            LocalFeature::Floats(values) => match values.at(row) {
                MISSING_INT => Place::Missing,
                bits => Place::Float(float(bits)),
            },
            LocalFeature::Tags(tags) => Place::Tags(tags.at(row)),
            LocalFeature::Overflow { .. } => Place::Missing,
        }
    }

    pub fn rows(&self) -> usize {
        match self {
            LocalFeature::Text { codes, .. } => codes.len(),
            LocalFeature::Ints { values, .. } | LocalFeature::Floats(values) => values.len(),
            LocalFeature::Tags(tags) => tags.rows(),
            LocalFeature::Overflow { rows } => *rows,
        }
    }

    /// Rows without a value; of tags none is counted.
    pub fn missing(&self) -> u64 {
        match self {
            LocalFeature::Text { codes, .. } => codes.missing(),
            LocalFeature::Ints { values, .. } | LocalFeature::Floats(values) => values.missing(),
            LocalFeature::Tags(_) | LocalFeature::Overflow { .. } => 0,
        }
    }

    /// Bytes of the distinct texts; numbers are bounded by themselves.
    pub fn text(&self) -> usize {
        match self {
            LocalFeature::Text { dictionary, .. } => dictionary.text(),
            LocalFeature::Tags(tags) => tags.text(),
            LocalFeature::Ints { .. } | LocalFeature::Floats(_) | LocalFeature::Overflow { .. } => 0,
        }
    }

    pub fn retain(&mut self, keep: &[bool]) {
        match self {
            LocalFeature::Text { codes, .. } => codes.retain(keep),
            LocalFeature::Ints { values, .. } | LocalFeature::Floats(values) => values.retain(keep),
            LocalFeature::Tags(tags) => tags.retain(keep),
            LocalFeature::Overflow { rows } => *rows = keep.iter().filter(|&&k| k).count(),
        }
    }
}

/// Whole numbers, those that mean missing as [`MISSING_INT`].
fn ints(input: &FeatureInput, array: &ArrayRef) -> Vec<i64> {
    let nulls: Vec<i64> = numeric_nulls(input, |v| (v.fract() == 0.0).then_some(v as i64));
    let value = |v: Option<i64>| v.filter(|v| !nulls.contains(v)).unwrap_or(MISSING_INT);
    values::ints(array).iter().map(value).collect()
}

/// Reports whole numbers that would be missing without anybody saying so: the least of 64 bits, which stands for missing, and what is
/// above the largest.
fn out_of_range(input: &FeatureInput, chunk: &Chunk, report: Report) {
    let column = chunk.rows.column(input.column);
    // Almost always there is none, which a look at the values alone tells; those of null rows may be anything.
    let values = chunk.dictionary(input.column).unwrap_or(column);
    let any = match values.data_type() {
        DataType::Int64 => values.as_primitive::<Int64Type>().values().contains(&MISSING_INT),
        DataType::UInt64 => values.as_primitive::<UInt64Type>().values().iter().any(|&v| i64::try_from(v).is_err()),
        _ => false,
    };
    if !any {
        return;
    }
    let rows = chunk.values(input.column, column);
    let number = |row: usize| match rows.data_type() {
        DataType::Int64 => i128::from(rows.as_primitive::<Int64Type>().value(row)),
        _ => i128::from(rows.as_primitive::<UInt64Type>().value(row)),
    };
    let is_read = |number: i128| i64::try_from(number).is_ok_and(|number| number != MISSING_INT);
    let declared = |number: i128| input.null_values.iter().any(|null| null.trim().parse() == Ok(number));
    for row in (0..rows.len()).filter(|&row| rows.is_valid(row)) {
        let number = number(row);
        if !is_read(number) && !declared(number) {
            report(row, &|| Problem {
                reason: FEATURE_OUT_OF_RANGE,
                column: input.column_name.clone(),
                value: number.to_string(),
                remedy: format!(
                    "whole numbers are read from {} to {}; features.{}.null_values can say that it means missing, features.exclude leaves the column out",
                    MISSING_INT + 1,
                    i64::MAX,
                    input.name
                ),
                dropped: false,
            });
        }
    }
}

/// One batch of text by its own dictionary.
fn batch(array: &ArrayRef, is_null: impl Fn(&str) -> bool) -> (Dictionary, LocalCodes) {
    let (mut dictionary, mut codes) = (Dictionary::default(), LocalCodes::default());
    dictionary.append(array, is_null, &mut codes);
    (dictionary, codes)
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
