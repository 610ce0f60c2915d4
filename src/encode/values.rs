//! Arrow columns to plain values: the one place that knows arrow's types.

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::{DatePart as ArrowPart, cast, date_part};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimeUnit};

use crate::job::DatePart;

/// A column of text: the distinct values of this batch, and the place of each row's among them.
pub struct Texts {
    pub distinct: Vec<Option<String>>,
    /// Place in `distinct`, or `None` for null.
    pub rows: TextRows,
}

pub enum TextRows {
    Keys(Vec<Option<u32>>),
    Plain(StringArray),
}

/// Text as it is held: dictionary keys where the reader kept them.
pub fn texts(array: &ArrayRef) -> Texts {
    match array.data_type() {
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            let values = plain_text(dictionary.values());
            let distinct = (0..values.len()).map(|i| values.is_valid(i).then(|| values.value(i).to_owned())).collect();
            let keys = cast(dictionary.keys(), &DataType::Int64).expect("dictionary keys are integers");
            let keys = keys.as_primitive::<Int64Type>().iter();
            let keys = keys.map(|key| key.and_then(|key| u32::try_from(key).ok())).collect();
            Texts { distinct, rows: TextRows::Keys(keys) }
        }
        _ => Texts { distinct: Vec::new(), rows: TextRows::Plain(plain_text(array)) },
    }
}

fn plain_text(array: &ArrayRef) -> StringArray {
    cast(array, &DataType::Utf8).expect("text columns are text").as_string::<i32>().clone()
}

/// Whole numbers, missing as `None`; unsigned ones beyond `i64` are missing too, which the caller must have excluded.
pub fn ints(array: &ArrayRef) -> Vec<Option<i64>> {
    let cast = cast(array, &DataType::Int64).expect("integer columns cast to integers");
    cast.as_primitive::<Int64Type>().iter().collect()
}

/// Numbers, missing as NaN.
pub fn floats(array: &ArrayRef) -> Vec<f64> {
    let cast = cast(array, &DataType::Float64).expect("numeric columns cast to floats");
    cast.as_primitive::<Float64Type>().iter().map(|value| value.unwrap_or(f64::NAN)).collect()
}

pub fn bools(array: &ArrayRef) -> Vec<Option<bool>> {
    array.as_boolean().iter().collect()
}

/// A part of each date or time, in the time zone the column names; missing as `None`.
pub fn parts(array: &ArrayRef, part: DatePart) -> Vec<Option<i32>> {
    let of = |what: ArrowPart| -> Vec<Option<i32>> {
        let dated = matches!(array.data_type(), DataType::Date32 | DataType::Date64);
        if dated && what == ArrowPart::Hour {
            return (0..array.len()).map(|i| array.is_valid(i).then_some(0)).collect();
        }
        let values = date_part(array, what).expect("every part but the hour is defined for dates and times");
        values.as_primitive::<Int32Type>().iter().collect()
    };
    let both = |a: Vec<Option<i32>>, b: Vec<Option<i32>>, join: fn(i32, i32) -> i32| {
        a.into_iter().zip(b).map(|(a, b)| Some(join(a?, b?))).collect()
    };
    match part {
        DatePart::Year => of(ArrowPart::Year),
        DatePart::Quarter => of(ArrowPart::Quarter),
        DatePart::Month => of(ArrowPart::Month),
        DatePart::Day => of(ArrowPart::Day),
        DatePart::Hour => of(ArrowPart::Hour),
        DatePart::Weekday => of(ArrowPart::DayOfWeekMonday0).into_iter().map(|d| Some(d? + 1)).collect(),
        DatePart::YearMonth => both(of(ArrowPart::Year), of(ArrowPart::Month), |year, month| year * 100 + month),
        DatePart::Date => {
            let dates = cast(array, &DataType::Date32).expect("dates and times cast to dates");
            dates.as_primitive::<arrow::datatypes::Date32Type>().iter().collect()
        }
    }
}

/// Texts in ISO 8601 as times without a zone; null where one is not a date.
pub fn parse_dates(texts: &[&str]) -> ArrayRef {
    let texts: ArrayRef = std::sync::Arc::new(StringArray::from(texts.to_vec()));
    cast(&texts, &DataType::Timestamp(TimeUnit::Microsecond, None)).expect("a failed cast of one value is null")
}

/// Whether values of this type are text, in whatever form.
pub fn is_text(kind: &DataType) -> bool {
    match kind {
        DataType::Dictionary(_, values) => is_text(values),
        kind => matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View),
    }
}

/// Microseconds since 1970 of a date, a time or a number: what `latest_by` compares.
pub fn order(array: &ArrayRef) -> Option<Vec<Option<i64>>> {
    match array.data_type() {
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, _) => {
            let micros = cast(array, &DataType::Timestamp(TimeUnit::Microsecond, None)).ok()?;
            Some(micros.as_primitive::<arrow::datatypes::TimestampMicrosecondType>().iter().collect())
        }
        _ => None,
    }
}
