//! A worker's metric columns: read as they are, scaled to integers once all workers agree on the scale.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type};

use super::intake::{METRIC_MISSING, METRIC_NOT_A_NUMBER, Problem, Report, retain};
use super::reading::MetricInput;
use super::values::{self, TextRows};
use crate::job::{CsvSpec, MetricMissing};
use crate::source::is_null_text;
use crate::stats::MetricKind;

/// A metric's values, not scaled yet.
#[derive(Debug)]
pub struct LocalMetric {
    pub num: LocalNumbers,
    pub den: Option<LocalNumbers>,
    null_values: CsvSpec,
    /// Of a rate: some of the values that were seen, to explain a metric that is always no.
    pub seen: Vec<String>,
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

/// One batch of a metric column; missing as `None`.
enum Batch {
    Bits(Vec<Option<u8>>),
    Ints(Vec<Option<i64>>, u8),
    /// A value that is no number is in `bad`, with its text.
    Floats(Vec<Option<f64>>, Vec<(usize, String)>),
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
        }
    }

    pub fn check(&mut self, input: &MetricInput, batch: &RecordBatch, report: Report) {
        for column in std::iter::once(input.column).chain(input.denominator) {
            let name = batch.schema().field(column).name().clone();
            let missing = |value: &str| Problem {
                reason: METRIC_MISSING,
                column: name.clone(),
                value: value.to_owned(),
                remedy: match input.setting.as_str() {
                    "metric" => {
                        "metric.missing = \"drop\" leaves such customers out of the base, \"zero\" counts them as 0"
                            .into()
                    }
                    setting => format!("{setting}.missing = \"zero\" counts them as 0"),
                },
                dropped: input.missing == MetricMissing::Drop,
            };
            let counts_as_zero = input.missing == MetricMissing::Zero;
            let read = self.read(input, batch.column(column));
            let mut each_missing = |rows: &mut dyn Iterator<Item = (usize, &'static str)>| {
                if !counts_as_zero {
                    rows.for_each(|(i, value)| report(i, &|| missing(value)));
                }
            };
            match &read {
                Batch::Bits(v) => {
                    each_missing(&mut v.iter().enumerate().filter(|v| v.1.is_none()).map(|v| (v.0, "null")))
                }
                Batch::Ints(v, _) => {
                    each_missing(&mut v.iter().enumerate().filter(|v| v.1.is_none()).map(|v| (v.0, "null")))
                }
                Batch::Floats(v, _) => {
                    each_missing(&mut v.iter().enumerate().filter(|v| v.1.is_none()).map(|v| (v.0, "null")));
                    each_missing(
                        &mut v.iter().enumerate().filter(|v| v.1.is_some_and(f64::is_nan)).map(|v| (v.0, "NaN")),
                    );
                }
            }
            let not_a_number = |value: String| Problem {
                reason: METRIC_NOT_A_NUMBER,
                column: name.clone(),
                value,
                remedy: format!(
                    "{}.kind = \"{}\" needs finite numbers",
                    input.setting,
                    if input.kind == MetricKind::Ratio { "ratio" } else { "amount" }
                ),
                dropped: false,
            };
            if let Batch::Floats(values, bad) = &read {
                bad.iter().for_each(|(i, text)| report(*i, &|| not_a_number(format!("{text:?}"))));
                let infinite = values.iter().enumerate().filter(|(_, v)| v.is_some_and(f64::is_infinite));
                infinite.for_each(|(i, v)| report(i, &|| not_a_number(v.map_or(String::new(), |v| v.to_string()))));
            }
        }
    }

    fn read(&mut self, input: &MetricInput, array: &ArrayRef) -> Batch {
        let csv = &self.null_values;
        let kind = array.data_type().clone();
        let rate = input.kind == MetricKind::Rate;
        match kind {
            DataType::Boolean => {
                let values = values::bools(array);
                if rate {
                    let seen = [false, true].into_iter().filter(|value| values.contains(&Some(*value)));
                    seen.for_each(|value| self.see(&value.to_string()));
                }
                match rate {
                    true => {
                        Batch::Bits(values.into_iter().map(|v| v.map(|v| u8::from(input.positive.bool(v)))).collect())
                    }
                    false => Batch::Ints(values.into_iter().map(|v| v.map(i64::from)).collect(), 0),
                }
            }
            DataType::Decimal128(_, scale) if !rate && (0..=9).contains(&scale) => {
                let values = array.as_primitive::<Decimal128Type>();
                let mut bad = Vec::new();
                let ints: Vec<Option<i64>> = values
                    .iter()
                    .enumerate()
                    .map(|(i, v)| {
                        v.map(|v| {
                            i64::try_from(v).unwrap_or_else(|_| {
                                bad.push((i, v.to_string()));
                                0
                            })
                        })
                    })
                    .collect();
                if bad.is_empty() {
                    return Batch::Ints(ints, scale as u8);
                }
                Batch::Floats(ints.into_iter().map(|v| v.map(|v| v as f64)).collect(), bad)
            }
            _ if kind.is_integer() && !rate => {
                let values = values::ints(array);
                let bad: Vec<(usize, String)> = (0..array.len())
                    .filter(|&i| array.is_valid(i) && values[i].is_none())
                    .map(|i| (i, "above 2^63".to_owned()))
                    .collect();
                if bad.is_empty() { Batch::Ints(values, 0) } else { Batch::Floats(vec![Some(0.0); array.len()], bad) }
            }
            _ if kind.is_numeric() => {
                let floats = values::floats(array);
                let present = floats.iter().enumerate().map(|(i, &v)| array.is_valid(i).then_some(v));
                if rate {
                    let mut seen: Vec<f64> = Vec::new();
                    for value in present.clone().flatten().filter(|v| !v.is_nan()) {
                        if seen.len() < MOST_SEEN && !seen.contains(&value) {
                            seen.push(value);
                        }
                    }
                    seen.iter().for_each(|value| self.see(&value.to_string()));
                }
                match rate {
                    true => Batch::Bits(
                        present
                            .map(|v| v.filter(|v| !v.is_nan()).map(|v| u8::from(input.positive.number(v))))
                            .collect(),
                    ),
                    false => Batch::Floats(present.collect(), Vec::new()),
                }
            }
            _ => {
                let texts = values::texts(array);
                let of = |text: Option<&str>| text.filter(|text| !is_null_text(text, csv)).map(str::to_owned);
                let rows: Vec<Option<String>> = match &texts.rows {
                    TextRows::Plain(rows) => rows.iter().map(of).collect(),
                    TextRows::Keys(keys) => {
                        keys.iter().map(|k| of(k.and_then(|k| texts.distinct[k as usize].as_deref()))).collect()
                    }
                };
                if rate {
                    rows.iter().flatten().for_each(|text| self.see(text));
                    return Batch::Bits(
                        rows.iter().map(|t| t.as_ref().map(|t| u8::from(input.positive.text(t)))).collect(),
                    );
                }
                let mut bad = Vec::new();
                let floats = rows.into_iter().enumerate().map(|(i, text)| {
                    let text = text?;
                    text.trim().parse::<f64>().map_err(|_| bad.push((i, text.clone()))).ok().or(Some(0.0))
                });
                let floats = floats.collect();
                Batch::Floats(floats, bad)
            }
        }
    }

    fn see(&mut self, text: &str) {
        if self.seen.len() < MOST_SEEN && !self.seen.iter().any(|seen| seen == text) {
            self.seen.push(text.to_owned());
        }
    }

    pub fn push(&mut self, input: &MetricInput, batch: &RecordBatch) {
        let read = self.read(input, batch.column(input.column));
        self.num.push(read);
        if let Some(column) = input.denominator {
            let read = self.read(input, batch.column(column));
            if let Some(den) = &mut self.den {
                den.push(read);
            }
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
        for numbers in std::iter::once(&mut self.num).chain(&mut self.den) {
            match numbers {
                LocalNumbers::Bits(values) => retain(values, keep),
                LocalNumbers::Ints { values, .. } => retain(values, keep),
                LocalNumbers::Floats(values) => retain(values, keep),
            }
        }
    }
}

impl LocalNumbers {
    /// Appends a batch that passed the check; what is missing now counts as zero.
    fn push(&mut self, batch: Batch) {
        match (&mut *self, batch) {
            (LocalNumbers::Bits(values), Batch::Bits(new)) => values.extend(new.into_iter().map(|v| v.unwrap_or(0))),
            (LocalNumbers::Ints { values, decimals }, Batch::Ints(new, scale))
                if values.is_empty() || *decimals == scale =>
            {
                *decimals = scale;
                values.extend(new.into_iter().map(|v| v.unwrap_or(0)));
            }
            (LocalNumbers::Ints { values, .. }, Batch::Floats(new, _)) if values.is_empty() => {
                *self =
                    LocalNumbers::Floats(new.into_iter().map(|v| v.filter(|v| !v.is_nan()).unwrap_or(0.0)).collect());
            }
            (LocalNumbers::Floats(values), Batch::Floats(new, _)) => {
                values.extend(new.into_iter().map(|v| v.filter(|v| !v.is_nan()).unwrap_or(0.0)));
            }
            (_, _) => unreachable!("a column has one type in all files"),
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
