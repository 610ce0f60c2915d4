//! `sums.parquet`: the exact sums behind `segments.parquet`, by part.

use arrow::array::{ArrayRef, Decimal128Array, Int64Array};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};
use rayon::prelude::*;

use super::columns::{Column, write_parquet};
use super::staging::Staging;
use super::{RunResult, SinkError};
use crate::stats::{DISCOVERY, MetricKind, PARTS, Stats, VALIDATION};

const NAMES: [&str; PARTS] = ["discovery", "validation"];

type Sum = fn(&Stats) -> i128;

/// The sums of a metric, by the names they have in the table.
pub(super) fn sums_of(kind: MetricKind) -> &'static [(&'static str, Sum)] {
    match kind {
        MetricKind::Rate => &[("sum", |s| s.sum)],
        MetricKind::Amount => &[("sum", |s| s.sum), ("sum_squares", |s| s.sq)],
        MetricKind::Ratio => &[
            ("sum", |s| s.sum),
            ("sum_squares", |s| s.sq),
            ("denominator", |s| s.den),
            ("denominator_squares", |s| s.den_sq),
            ("product", |s| s.cross),
        ],
    }
}

/// The column of a metric's sum.
pub(super) fn column_name(part: usize, metric: &str, sum: &str) -> String {
    format!("{}.{metric}.{sum}", NAMES[part])
}

/// The column of the customers of a part.
pub(super) fn uv_name(part: usize) -> String {
    format!("{}.uv", NAMES[part])
}

/// The base first, then the segments as in `segments.parquet`. Where one part has fewer customers than the floor but some, or
/// leaves so few of the base, both parts are null: the whole is written elsewhere.
pub(super) fn write_sums(staging: &Staging, result: &RunResult) -> Result<(), SinkError> {
    let rows: Vec<usize> = std::iter::once(0).chain(result.written().into_iter().map(|i| i + 1)).collect();
    let parts = if result.job.highlight.holdout > 0.0 { PARTS } else { 1 };
    let answer = result.answer;
    // The base's own parts are in the first row, so what a segment leaves of them is told too.
    let told = |row: usize| {
        let base_and_own = answer.uv[0].iter().zip(&answer.uv[row]);
        base_and_own.into_iter().all(|(base, own)| !result.few(*own) && !result.few(base - own))
    };
    let mut columns: Vec<Column<usize>> = Vec::new();
    for part in [DISCOVERY, VALIDATION].into_iter().take(parts) {
        let uv = move |&row: &usize| told(row).then(|| answer.uv[row][part]);
        columns.push(Column::new(&uv_name(part), move |at: &[usize]| at.iter().map(uv).collect::<Int64Array>()));
        for (metric, name) in result.metric_names().enumerate() {
            for (sum, of) in sums_of(result.moments.kinds()[metric]) {
                let value = move |row: usize| told(row).then(|| of(&answer.stats(result.moments, metric, row, part)));
                let narrow = rows.par_iter().all(|&row| value(row).is_none_or(|v| i64::try_from(v).is_ok()));
                columns
                    .push(Column::new(&column_name(part, name, sum), move |at: &[usize]| integers(at, value, narrow)));
            }
        }
    }
    // Hardly any value occurs twice, so a dictionary would only cost time.
    staging.write("sums.parquet", |out| write_parquet(out, &rows, &columns, |p| p.set_dictionary_enabled(false)))
}

/// As 64-bit integers, or where these do not suffice as decimals without places after the point.
fn integers(at: &[usize], value: impl Fn(usize) -> Option<i128>, narrow: bool) -> ArrayRef {
    match narrow {
        true => std::sync::Arc::new(at.iter().map(|&i| value(i).map(|v| v as i64)).collect::<Int64Array>()),
        false => {
            let wide: Decimal128Array = at.iter().map(|&i| value(i)).collect();
            std::sync::Arc::new(wide.with_data_type(DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0)))
        }
    }
}
