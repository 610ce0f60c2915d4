//! A worker's metric columns: read as they are, scaled to integers once all workers agree on the scale.

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Decimal128Type, UInt8Type};

use super::intake::{METRIC_MISSING, METRIC_NOT_A_NUMBER, Problem, Report, retain};
use super::reading::MetricInput;
use super::values;
use crate::job::{CsvSpec, MetricMissing};
use crate::source::{Chunk, is_null_text};
use crate::stats::MetricKind;

/// A metric's values, not scaled yet.
#[derive(Debug)]
pub struct LocalMetric {
    pub num: LocalNumbers,
    pub den: Option<LocalNumbers>,
    null_values: CsvSpec,
    /// Of a rate: some of the values that were seen while none of them meant yes, to explain a metric that is always no.
    pub seen: Vec<String>,
    any_yes: bool,
    /// The batch that was checked last: numerator, denominator.
    checked: Vec<LocalNumbers>,
}

/// Numbers kept exactly: whole ones, decimals of one scale, or floats.
#[derive(Debug)]
pub enum LocalNumbers {
    /// 0 or 1.
    Bits(Vec<u8>),
    Ints {
        values: Vec<i64>,
        decimals: u8,
    },
    Floats(Vec<f64>),
}

/// One batch of a metric column. What is missing or bad is zero in `values`.
struct Batch {
    values: LocalNumbers,
    /// Rows, and how they show it.
    missing: Vec<(usize, &'static str)>,
    /// Values that are no finite number, with their text.
    bad: Vec<(usize, String)>,
}

/// Values a rate shows when it is always no.
const MOST_SEEN: usize = 8;

impl LocalMetric {
    pub fn new(input: &MetricInput, csv: &CsvSpec) -> LocalMetric {
        let numbers = || LocalNumbers::Ints { values: Vec::new(), decimals: 0 };
        LocalMetric {
            num: if input.kind == MetricKind::Rate { LocalNumbers::Bits(Vec::new()) } else { numbers() },
            den: input.denominator.map(|_| numbers()),
            null_values: csv.clone(),
            seen: Vec::new(),
            any_yes: false,
            checked: Vec::new(),
        }
    }

    /// Reads a batch, and reports what is missing or no number. The rows to keep are then taken in by `push`.
    pub fn check(&mut self, input: &MetricInput, chunk: &Chunk, report: Report) {
        self.checked.clear();
        for column in std::iter::once(input.column).chain(input.denominator) {
            let read = self.read(input, chunk, column);
            let name = || chunk.rows.schema_ref().field(column).name().clone();
            if input.missing != MetricMissing::Zero {
                for (row, value) in read.missing {
                    report(row, &|| {
                        Problem {
                        reason: METRIC_MISSING,
                        column: name(),
                        value: value.to_owned(),
                        remedy: match input.setting.as_str() {
                            "metric" => {
                                "metric.missing = \"drop\" leaves such customers out of the base, \"zero\" counts them as 0"
                                    .into()
                            }
                            setting => format!("{setting}.missing = \"zero\" counts them as 0"),
                        },
                        dropped: input.missing == MetricMissing::Drop,
                    }
                    });
                }
            }
            for (row, text) in read.bad {
                report(row, &|| Problem {
                    reason: METRIC_NOT_A_NUMBER,
                    column: name(),
                    value: text.clone(),
                    remedy: format!(
                        "{}.kind = \"{}\" needs finite numbers",
                        input.setting,
                        if input.kind == MetricKind::Ratio { "ratio" } else { "amount" }
                    ),
                    dropped: false,
                });
            }
            self.checked.push(read.values);
        }
    }

    /// Takes in the batch that was checked last, but for the rows that are not kept.
    pub fn push(&mut self, kept: Option<&[bool]>) {
        let sides = std::iter::once(&mut self.num).chain(&mut self.den);
        for (numbers, mut batch) in sides.zip(self.checked.drain(..)) {
            if let Some(kept) = kept {
                batch.retain(kept);
            }
            numbers.append(batch);
        }
    }

    fn read(&mut self, input: &MetricInput, chunk: &Chunk, column: usize) -> Batch {
        let rows = chunk.rows.column(column);
        let rate = input.kind == MetricKind::Rate;
        match chunk.dictionary(column) {
            // Once there is a yes, nobody asks what was seen.
            Some(dictionary) if rate && self.any_yes && dictionary.data_type().is_integer() => {
                let yes = input.positive.numbers();
                let mut table = [0; 1 << 8];
                for (bit, value) in table.iter_mut().zip(values::floats(dictionary).values()) {
                    *bit = u8::from(yes.contains(value));
                }
                let keys = rows.as_primitive::<UInt8Type>();
                let mut bits: Vec<u8> = keys.values().iter().map(|&key| table[usize::from(key)]).collect();
                zero(&mut bits, keys.nulls());
                Batch::of(LocalNumbers::Bits(bits), keys.nulls())
            }
            _ if rate => {
                let batch = self.rate(input, &chunk.values(column, rows));
                if let LocalNumbers::Bits(bits) = &batch.values {
                    self.any_yes = self.any_yes || bits.contains(&1);
                }
                batch
            }
            _ => self.numbers(&chunk.values(column, rows)),
        }
    }

    fn rate(&mut self, input: &MetricInput, array: &ArrayRef) -> Batch {
        let csv = self.null_values.clone();
        match array.data_type() {
            DataType::Boolean => {
                let values = values::bools(array);
                if !self.any_yes {
                    let seen = [false, true].into_iter().filter(|value| values.contains(&Some(*value)));
                    seen.for_each(|value| self.see(&value.to_string()));
                }
                let bits = values.iter().map(|v| u8::from(v.is_some_and(|v| input.positive.bool(v))));
                Batch::of(LocalNumbers::Bits(bits.collect()), array.nulls())
            }
            kind if kind.is_numeric() => {
                let array = values::floats(array);
                let yes = input.positive.numbers();
                if !self.any_yes {
                    let mut seen: Vec<f64> = Vec::new();
                    for value in array.iter().flatten().filter(|v| !v.is_nan()) {
                        if seen.len() == MOST_SEEN {
                            break;
                        }
                        if !seen.contains(&value) {
                            seen.push(value);
                        }
                    }
                    seen.iter().for_each(|value| self.see(&value.to_string()));
                }
                let mut bits: Vec<u8> = match yes[..] {
                    [yes] => array.values().iter().map(|&value| u8::from(value == yes)).collect(),
                    _ => array.values().iter().map(|value| u8::from(yes.contains(value))).collect(),
                };
                zero(&mut bits, array.nulls());
                Batch::of_floats(LocalNumbers::Bits(bits), &array)
            }
            _ => {
                let (mut bits, mut missing) = (Vec::with_capacity(array.len()), Vec::new());
                for (i, text) in values::texts(array).iter().enumerate() {
                    match text.filter(|text| !is_null_text(text, &csv)) {
                        None => {
                            missing.push((i, "null"));
                            bits.push(0);
                        }
                        Some(text) => {
                            if !self.any_yes {
                                self.see(text);
                            }
                            bits.push(u8::from(input.positive.text(text)));
                        }
                    }
                }
                Batch { values: LocalNumbers::Bits(bits), missing, bad: Vec::new() }
            }
        }
    }

    fn numbers(&self, array: &ArrayRef) -> Batch {
        let csv = &self.null_values;
        match array.data_type() {
            DataType::Boolean => {
                let values = values::bools(array).into_iter().map(|v| i64::from(v == Some(true))).collect();
                Batch::of(LocalNumbers::Ints { values, decimals: 0 }, array.nulls())
            }
            DataType::Decimal128(_, scale) if (0..=9).contains(scale) => {
                let decimals = *scale as u8;
                let array = array.as_primitive::<Decimal128Type>();
                let mut bad = Vec::new();
                let value = |(i, v): (usize, Option<i128>)| {
                    let v = v.unwrap_or(0);
                    i64::try_from(v).unwrap_or_else(|_| {
                        bad.push((i, format!("{:?}", v.to_string())));
                        0
                    })
                };
                let values = array.iter().enumerate().map(value).collect();
                Batch { bad, ..Batch::of(LocalNumbers::Ints { values, decimals }, array.nulls()) }
            }
            kind if kind.is_integer() => {
                let ints = values::ints(array);
                let mut values = ints.values().to_vec();
                let mut bad = Vec::new();
                if ints.null_count() > 0 {
                    for i in (0..ints.len()).filter(|&i| ints.is_null(i)) {
                        values[i] = 0;
                        if array.is_valid(i) {
                            bad.push((i, format!("{:?}", "above 2^63")));
                        }
                    }
                }
                Batch { bad, ..Batch::of(LocalNumbers::Ints { values, decimals: 0 }, array.nulls()) }
            }
            kind if kind.is_numeric() => {
                let array = values::floats(array);
                let mut batch = Batch::of_floats(LocalNumbers::Floats(Vec::new()), &array);
                let infinite = array.iter().enumerate().filter_map(|(i, v)| Some((i, v.filter(|v| v.is_infinite())?)));
                batch.bad.extend(infinite.map(|(i, v)| (i, v.to_string())));
                let zeroed = array.iter().map(|v| v.filter(|v| v.is_finite()).unwrap_or(0.0));
                Batch { values: LocalNumbers::Floats(zeroed.collect()), ..batch }
            }
            _ => {
                let mut batch = Batch { values: LocalNumbers::Bits(Vec::new()), missing: Vec::new(), bad: Vec::new() };
                let mut floats = Vec::with_capacity(array.len());
                for (i, text) in values::texts(array).iter().enumerate() {
                    let text = text.filter(|text| !is_null_text(text, csv));
                    floats.push(match text.map(|text| (text, text.trim().parse::<f64>())) {
                        Some((_, Ok(value))) if value.is_finite() => value,
                        Some((_, Ok(value))) if value.is_infinite() => {
                            batch.bad.push((i, value.to_string()));
                            0.0
                        }
                        Some((text, Err(_))) => {
                            batch.bad.push((i, format!("{text:?}")));
                            0.0
                        }
                        none => {
                            batch.missing.push((i, if none.is_some() { "NaN" } else { "null" }));
                            0.0
                        }
                    });
                }
                Batch { values: LocalNumbers::Floats(floats), ..batch }
            }
        }
    }

    fn see(&mut self, text: &str) {
        if self.seen.len() < MOST_SEEN && !self.seen.iter().any(|seen| seen == text) {
            self.seen.push(text.to_owned());
        }
    }

    /// The values in one row.
    pub fn text(&self, row: usize) -> String {
        let one = |numbers: &LocalNumbers| match numbers {
            LocalNumbers::Bits(values) => values[row].to_string(),
            LocalNumbers::Ints { values, .. } => values[row].to_string(),
            LocalNumbers::Floats(values) => format!("{:?}", values[row]),
        };
        std::iter::once(&self.num).chain(&self.den).map(one).collect::<Vec<_>>().join("/")
    }

    pub fn retain(&mut self, keep: &[bool]) {
        std::iter::once(&mut self.num).chain(&mut self.den).for_each(|numbers| numbers.retain(keep));
    }
}

fn zero(bits: &mut [u8], nulls: Option<&NullBuffer>) {
    if let Some(nulls) = nulls {
        (0..bits.len()).filter(|&i| nulls.is_null(i)).for_each(|i| bits[i] = 0);
    }
}

impl Batch {
    fn of(values: LocalNumbers, nulls: Option<&NullBuffer>) -> Batch {
        let missing = match nulls.filter(|nulls| nulls.null_count() > 0) {
            Some(nulls) => (0..nulls.len()).filter(|&i| nulls.is_null(i)).map(|i| (i, "null")).collect(),
            None => Vec::new(),
        };
        Batch { values, missing, bad: Vec::new() }
    }

    fn of_floats(values: LocalNumbers, array: &Float64Array) -> Batch {
        let mut batch = Batch::of(values, array.nulls());
        if array.values().iter().any(|value| value.is_nan()) {
            let nan = |i: &usize| array.is_valid(*i) && array.value(*i).is_nan();
            batch.missing.extend((0..array.len()).filter(nan).map(|i| (i, "NaN")));
        }
        batch
    }
}

impl LocalNumbers {
    fn append(&mut self, batch: LocalNumbers) {
        match (&mut *self, batch) {
            (LocalNumbers::Bits(values), LocalNumbers::Bits(new)) => values.extend(new),
            (LocalNumbers::Ints { values, decimals }, LocalNumbers::Ints { values: new, decimals: scale })
                if values.is_empty() || *decimals == scale =>
            {
                *decimals = scale;
                values.extend(new);
            }
            (LocalNumbers::Ints { values, .. }, LocalNumbers::Floats(new)) if values.is_empty() => {
                *self = LocalNumbers::Floats(new);
            }
            (LocalNumbers::Floats(values), LocalNumbers::Floats(new)) => values.extend(new),
            (_, _) => unreachable!("a column has one type in all files"),
        }
    }

    fn retain(&mut self, keep: &[bool]) {
        match self {
            LocalNumbers::Bits(values) => retain(values, keep),
            LocalNumbers::Ints { values, .. } => retain(values, keep),
            LocalNumbers::Floats(values) => retain(values, keep),
        }
    }
}

/// Decimal places that values are kept to when the job names none and they have more.
const MOST_DECIMALS: u8 = 6;

/// A metric value that does not fit; exit code 4.
#[derive(Debug, thiserror::Error)]
#[error(
    "{setting}: column {column:?} holds {value}, which does not fit 64 bits with {decimals} decimals; {setting}.decimals = {fits} would hold it"
)]
pub struct Overflow {
    setting: String,
    column: String,
    value: String,
    decimals: u8,
    fits: u8,
}

impl LocalNumbers {
    /// Decimal places that these values need, at most 6.
    pub fn decimals(&self) -> u8 {
        match self {
            LocalNumbers::Bits(_) => 0,
            LocalNumbers::Ints { decimals, .. } => *decimals,
            LocalNumbers::Floats(values) => {
                let mut most = 0;
                for &value in values {
                    while most < MOST_DECIMALS && !exact(value, most) {
                        most += 1;
                    }
                }
                most
            }
        }
    }

    /// The values times `10^decimals`, and how many had to be rounded for that.
    pub fn scaled(self, decimals: u8, setting: &str, column: &str) -> Result<(Vec<i64>, u64), Overflow> {
        let overflow = |value: String, magnitude: f64| Overflow {
            setting: setting.to_owned(),
            column: column.to_owned(),
            value,
            decimals,
            fits: (0..decimals).rev().find(|&d| magnitude * 10f64.powi(i32::from(d)) < LARGEST).unwrap_or(0),
        };
        match self {
            LocalNumbers::Bits(values) => Ok((values.into_iter().map(i64::from).collect(), 0)),
            LocalNumbers::Ints { mut values, decimals: own } => {
                let mut rounded = 0;
                if own <= decimals {
                    let factor = 10i64.pow(u32::from(decimals - own));
                    for value in &mut values {
                        let shown = || format!("{}", *value as f64 / 10f64.powi(i32::from(own)));
                        *value = match value.checked_mul(factor).filter(|v| *v != i64::MIN) {
                            Some(scaled) => scaled,
                            None => {
                                return Err(overflow(
                                    shown(),
                                    value.unsigned_abs() as f64 / 10f64.powi(i32::from(own)),
                                ));
                            }
                        };
                    }
                } else {
                    let factor = 10i64.pow(u32::from(own - decimals));
                    for value in &mut values {
                        rounded += u64::from(*value % factor != 0);
                        let half = factor / 2 * value.signum();
                        *value = value.saturating_add(half) / factor;
                    }
                }
                Ok((values, rounded))
            }
            LocalNumbers::Floats(values) => {
                let unit = 10f64.powi(i32::from(decimals));
                let mut rounded = 0;
                let mut scaled = Vec::with_capacity(values.len());
                for value in values {
                    if (value * unit).abs() >= LARGEST {
                        return Err(overflow(value.to_string(), value.abs()));
                    }
                    rounded += u64::from(!exact(value, decimals));
                    scaled.push((value * unit).round() as i64);
                }
                Ok((scaled, rounded))
            }
        }
    }
}

/// Floats below this convert to `i64` without saturating.
const LARGEST: f64 = 9.2e18;

/// Whether a value is written with at most so many decimals.
fn exact(value: f64, decimals: u8) -> bool {
    let unit = 10f64.powi(i32::from(decimals));
    (value * unit).round() / unit == value
}
