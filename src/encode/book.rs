//! From merged sketches to a codebook, and from a worker's values to its codes.
//!
//! Two agreements: first how each feature's values are grouped (its `Draft`), then, once bands have been counted exactly, which
//! groups have enough customers to be items. Both are decided by one worker from sums, so all workers code alike.

use serde::{Deserialize, Serialize};

use super::codebook::{Codebook, Feature, ItemValue};
use super::features::{IntKind, LocalFeature, number};
use super::numbers::{MISSING_INT, float};
use super::reading::FeatureInput;
use super::sketch::{Sketch, Values, parsed};
use super::tags::{TagSource, items as tag_items};
use super::values;
use crate::job::{BinSpec, DatePart, FeatureKind, Missing};
use crate::segment::ItemCode;

/// Numbers with at most this many distinct values are codes or counts; each value is an item unless the job bands them.
pub const FEW_VALUES: usize = 12;

/// Bands of a number that the job says nothing about.
pub const DEFAULT_QUANTILES: u32 = 5;

/// Bands a width may make.
const MOST_BANDS: f64 = 10_000.0;

/// Items a feature may have: codes are 16 bits, and one is left for `rest`.
const MOST_ITEMS: usize = u16::MAX as usize;

/// How the values of a feature become groups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Draft {
    /// Each distinct value.
    Values,
    /// Bands between these borders, increasing, closed below.
    Bands(Vec<f64>),
    /// Parts of dates written as text.
    Parts(DatePart),
    /// Not a feature, with the reason.
    Refused(String),
}

/// A band setting that makes no sense for the data; exit code 2.
#[derive(Debug, thiserror::Error)]
#[error(
    "features.{feature}.bin = {{ width = {width:?} }}: values from {least} to {largest} would make {bands:?} bands; at most 10000 are allowed, so use a larger width"
)]
pub struct TooManyBands {
    feature: String,
    width: f64,
    least: f64,
    largest: f64,
    bands: f64,
}

impl Draft {
    /// Decides how a feature's values are grouped, from the sketch of all rows.
    pub fn of(input: &FeatureInput, sketch: &Sketch, max_distinct: usize) -> Result<Draft, TooManyBands> {
        if let Values::TooMany = sketch.values {
            return Ok(Draft::Refused(format!(
                "more than {max_distinct} distinct values, like an identifier (screen.max_distinct)"
            )));
        }
        let numbers = match &sketch.values {
            Values::Texts(texts) => {
                if input.kind.is_none() && texts.len() > FEW_VALUES && are_dates(texts) {
                    return Ok(Draft::Parts(input.part.unwrap_or(DatePart::YearMonth)));
                }
                // Texts that are numbers are banded only where there are many: few are codes, and keep their spelling.
                if input.kind == Some(FeatureKind::Category) || texts.len() <= FEW_VALUES || parsed(texts).is_none() {
                    return Ok(Draft::Values);
                }
                sketch.values.numbers()
            }
            Values::Ints(IntKind::Bool | IntKind::Part(_), _) => return Ok(Draft::Values),
            Values::Ints(IntKind::Number, _) | Values::Floats(_) | Values::Buckets { .. } => sketch.values.numbers(),
            Values::Tags { .. } => return Ok(Draft::Values),
            Values::TooMany => Vec::new(),
        };
        let (Some(&(least, _)), Some(&(mut largest, _))) = (numbers.first(), numbers.last()) else {
            return Ok(Draft::Values);
        };
        if let Values::Buckets { largest: last, .. } = &sketch.values {
            largest = *last;
        }
        match (&input.bin, input.kind) {
            (Some(BinSpec::Width(width)), _) => {
                let (first, last) = ((least / width).floor(), (largest / width).floor());
                let bands = last - first + 1.0;
                if bands > MOST_BANDS {
                    return Err(TooManyBands { feature: input.name.clone(), width: *width, least, largest, bands });
                }
                Ok(Draft::Bands((1..bands as i64).map(|i| tidy((first + i as f64) * width, *width)).collect()))
            }
            (Some(BinSpec::Edges(edges)), _) => Ok(Draft::Bands(edges.clone())),
            (Some(BinSpec::Quantiles(n)), _) => Ok(Draft::Bands(quantiles(&numbers, *n))),
            (None, Some(FeatureKind::Category)) => match &sketch.values {
                Values::Buckets { .. } => Ok(Draft::Refused(format!(
                    "more than {} distinct numbers are not used as codes",
                    super::sketch::EXACT_NUMBERS
                ))),
                _ => Ok(Draft::Values),
            },
            (None, _) if numbers.len() <= FEW_VALUES => Ok(Draft::Values),
            (None, _) => Ok(Draft::Bands(quantiles(&numbers, DEFAULT_QUANTILES))),
        }
    }
}

/// A multiple of a decimal width without the noise of binary fractions: 3 * 0.1 is 0.3, not 0.30000000000000004.
fn tidy(border: f64, width: f64) -> f64 {
    let decimals = (0..=9).find(|&d| (width * 10f64.powi(d)).fract() == 0.0);
    match decimals {
        Some(decimals) => {
            let unit = 10f64.powi(decimals);
            (border * unit).round() / unit
        }
        None => border,
    }
}

fn are_dates(texts: &[(String, u64)]) -> bool {
    use arrow::array::Array;
    // A date has at least two separators; asking first keeps long lists of other texts cheap.
    let looks =
        |text: &str| text.len() >= 8 && text.bytes().filter(|b| matches!(b, b'-' | b'T' | b':' | b'/')).count() >= 2;
    texts.iter().all(|(text, _)| looks(text)) && {
        let list: Vec<&str> = texts.iter().map(|(text, _)| text.as_str()).collect();
        values::parse_dates(&list).null_count() == 0
    }
}

/// Borders that leave about equally many customers between them: border q is the least value that has at least q/n of the
/// customers below it, so equal values are never split and a value with many customers gets a band of its own.
fn quantiles(numbers: &[(f64, u64)], n: u32) -> Vec<f64> {
    let total: u64 = numbers.iter().map(|(_, count)| count).sum();
    let mut borders = Vec::new();
    let mut below = 0u64;
    let mut next = 1u64;
    for &(value, count) in numbers {
        // The border lies at `value` for every q whose share is reached by what is below it.
        if next < u64::from(n) && below > 0 && u128::from(below) * u128::from(n) >= u128::from(next) * u128::from(total)
        {
            borders.push(value);
            while next < u64::from(n) && u128::from(below) * u128::from(n) >= u128::from(next) * u128::from(total) {
                next += 1;
            }
        }
        below += count;
    }
    borders
}

/// The band of a value: how many borders are at or below it.
pub(super) fn band(borders: &[f64], value: f64) -> usize {
    borders.partition_point(|border| *border <= value)
}

/// How many of a worker's customers are in each band; empty for a feature that is not banded.
pub fn band_counts(feature: &LocalFeature, draft: &Draft) -> Vec<u64> {
    let Draft::Bands(borders) = draft else { return Vec::new() };
    let mut counts = vec![0u64; borders.len() + 1];
    match feature {
        LocalFeature::Ints { values, .. } => {
            let mut add = |value: i64, rows: u64| counts[band(borders, value as f64)] += rows;
            values.counted(|value, rows| {
                if value != MISSING_INT {
                    add(value, rows)
                }
            });
        }
        LocalFeature::Floats(values) => {
            let mut add = |value: f64, rows: u64| counts[band(borders, value)] += rows;
            values.counted(|value, rows| {
                if value != MISSING_INT {
                    add(float(value), rows)
                }
            });
        }
        LocalFeature::Text { dictionary, codes, .. } => {
            let rows = codes.counts(dictionary.codes());
            let values = dictionary.values().iter().zip(&rows[1..]);
            values.for_each(|(v, rows)| counts[band(borders, number(v).unwrap_or(0.0))] += rows);
        }
        LocalFeature::Tags(_) | LocalFeature::Overflow { .. } => {}
    }
    counts
}

/// A feature of the codebook, from exact counts; `Err` says why it is none.
pub fn feature(
    input: &FeatureInput,
    sketch: &Sketch,
    draft: &Draft,
    bands: &[u64],
    min_uv: u64,
) -> Result<Feature, String> {
    if let (Draft::Values, Values::Tags { tags, spaced }) = (draft, &sketch.values) {
        // Missing is no item of them, and rare tags share no code: a customer who has one may have others.
        let (items, uv) = tag_items(tags, min_uv);
        few_enough(items.len())?;
        let source = match &input.separator {
            Some(separator) => TagSource::Text { separator: separator.clone(), spaced: *spaced },
            None => TagSource::List,
        };
        return Ok(Feature {
            name: input.name.clone(),
            column: input.column_name.clone(),
            items,
            uv,
            rest: false,
            tags: Some(source),
            null_values: input.null_values.clone(),
            ..Feature::default()
        });
    }
    let mut groups: Vec<(ItemValue, u64)> = match (draft, &sketch.values) {
        (Draft::Refused(reason), _) => return Err(reason.clone()),
        (Draft::Bands(borders), _) => bands
            .iter()
            .enumerate()
            .map(|(i, &count)| {
                let low = i.checked_sub(1).map(|i| borders[i]);
                (ItemValue::Range { low, high: borders.get(i).copied() }, count)
            })
            .collect(),
        (Draft::Parts(part), Values::Texts(texts)) => {
            let list: Vec<&str> = texts.iter().map(|(text, _)| text.as_str()).collect();
            let parts = values::parts(&values::parse_dates(&list), *part);
            let mut counts = std::collections::BTreeMap::new();
            for (part, (_, count)) in parts.into_iter().zip(texts) {
                *counts.entry(part.ok_or("some values are not dates")?).or_insert(0) += count;
            }
            counts.into_iter().map(|(value, count)| (ItemValue::Part { part: *part, value }, count)).collect()
        }
        (Draft::Values, Values::Texts(texts)) => {
            texts.iter().map(|(text, count)| (ItemValue::Text(text.clone()), *count)).collect()
        }
        (Draft::Values, Values::Ints(what, ints)) => {
            let item = |value: i64| match what {
                IntKind::Number => ItemValue::Int(value),
                IntKind::Bool => ItemValue::Bool(value == 1),
                IntKind::Part(part) => ItemValue::Part { part: *part, value: value as i32 },
            };
            ints.iter().map(|&(value, count)| (item(value), count)).collect()
        }
        (Draft::Values, Values::Floats(floats)) => {
            floats.iter().map(|&(value, count)| (ItemValue::Number(value), count)).collect()
        }
        (Draft::Values | Draft::Parts(_), _) => return Err("its values could not be grouped".into()),
    };
    let mut completed = None;
    if sketch.nulls > 0 {
        let most =
            groups.iter().enumerate().max_by_key(|(i, (_, count))| (*count, std::cmp::Reverse(*i))).map(|(i, _)| i);
        match (input.missing, most) {
            (Missing::Mode, Some(most)) => {
                groups[most].1 += sketch.nulls;
                completed = Some(groups[most].0.clone());
            }
            (Missing::Level | Missing::Mode, _) => groups.push((ItemValue::Missing, sketch.nulls)),
        }
    }
    let (items, rare): (Vec<_>, Vec<_>) = groups.into_iter().partition(|(_, count)| *count >= min_uv);
    few_enough(items.len())?;
    let rest: u64 = rare.iter().map(|(_, count)| count).sum();
    let mut uv: Vec<u64> = items.iter().map(|(_, count)| *count).collect();
    if rest > 0 {
        uv.push(rest);
    }
    let items: Vec<ItemValue> = items.into_iter().map(|(value, _)| value).collect();
    let least = whole(&sketch.values);
    // Of few customers, who make no item, nothing more is told.
    let lone = least.filter(|least| match items.first() {
        Some(ItemValue::Range { low: None, high: Some(border) }) => *border <= least + 1.0,
        _ => false,
    });
    Ok(Feature {
        name: input.name.clone(),
        column: input.column_name.clone(),
        completed: completed
            .and_then(|value| items.iter().position(|item| *item == value))
            .map(|code| code as ItemCode),
        items,
        uv,
        rest: rest > 0,
        tags: None,
        null_values: input.null_values.clone(),
        whole: least.is_some(),
        lone: lone.map(|value| value as i64),
        nonfinite: sketch.nonfinite,
    })
}

/// The least of whole numbers; none where any is not whole, or larger than all whole numbers are exact.
fn whole(values: &Values) -> Option<f64> {
    let fits = |value: &f64| value.fract() == 0.0 && value.abs() <= MOST_EXACT;
    let least = match values {
        Values::Ints(IntKind::Number, ints) => ints.iter().map(|&(value, _)| value as f64).reduce(f64::min)?,
        Values::Floats(floats) => {
            let all = floats.iter().all(|(value, _)| fits(value));
            floats.iter().map(|&(value, _)| value).reduce(f64::min).filter(|_| all)?
        }
        Values::Buckets { least, whole: true, .. } => *least,
        Values::Texts(texts) => {
            let numbers: Option<Vec<f64>> = texts.iter().map(|(text, _)| number(text).filter(fits)).collect();
            numbers?.into_iter().reduce(f64::min)?
        }
        _ => return None,
    };
    Some(least).filter(fits)
}

/// Up to this, every whole number is one of the floating-point numbers.
const MOST_EXACT: f64 = 9_007_199_254_740_992.0;

fn few_enough(items: usize) -> Result<(), String> {
    match items <= MOST_ITEMS {
        true => Ok(()),
        false => Err(format!(
            "{items} frequent values are more than the {MOST_ITEMS} a feature can have; raise enumerate.min_uv"
        )),
    }
}

impl Codebook {
    /// Customers who have each item of each feature, then those of `rest`.
    pub fn uv(&self) -> impl Iterator<Item = &[u64]> {
        self.features.iter().map(|feature| feature.uv.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input() -> FeatureInput {
        FeatureInput {
            name: "f".into(),
            column: 0,
            column_name: "f".into(),
            kind: None,
            bin: None,
            part: None,
            separator: None,
            missing: Missing::Level,
            null_values: Vec::new(),
        }
    }

    #[test]
    fn quantiles_never_split_a_value_and_a_heavy_one_stands_alone() {
        let flat: Vec<(f64, u64)> = (0..10).map(|v| (f64::from(v), 1)).collect();
        assert_eq!(quantiles(&flat, 5), [2.0, 4.0, 6.0, 8.0]);
        // 90 of 100 at zero: the only border is the first value above it.
        let heavy = [(0.0, 90), (5.0, 6), (9.0, 4)];
        assert_eq!(quantiles(&heavy, 5), [5.0]);
        assert_eq!(quantiles(&[(3.0, 7)], 5), Vec::<f64>::new());
    }

    #[test]
    fn decimal_widths_have_decimal_borders() {
        assert_eq!(tidy(0.1 * 3.0, 0.1), 0.3);
        assert_eq!(tidy(20.0, 10.0), 20.0);
    }

    #[test]
    fn bands_of_whole_numbers_tell_their_only_value_where_it_is_an_item() {
        let input = input();
        let of = |values, min_uv| {
            let sketch = Sketch { rows: 103, nulls: 0, nonfinite: false, values };
            let feature = feature(&input, &sketch, &Draft::Bands(vec![1.0, 4.0]), &[3, 0, 100], min_uv).expect("items");
            (feature.whole, feature.lone)
        };
        let ints = |least| Values::Ints(IntKind::Number, vec![(least, 3), (5, 100)]);
        assert_eq!(of(ints(0), 2), (true, Some(0)));
        assert_eq!(of(ints(0), 10), (true, None), "of three customers nothing is told");
        assert_eq!(of(ints(-1), 2), (true, None), "there may be two");
        assert_eq!(of(Values::Floats(vec![(0.0, 3), (5.0, 100)]), 2), (true, Some(0)));
        assert_eq!(of(Values::Floats(vec![(0.5, 3), (5.0, 100)]), 2), (false, None));
    }

    #[test]
    fn postcodes_stay_text_and_long_numbers_are_banded() {
        let input = input();
        let draft = |texts: Vec<String>| {
            let values = Values::Texts(texts.into_iter().map(|t| (t, 1)).collect());
            Draft::of(&input, &Sketch { rows: 100, nulls: 0, nonfinite: false, values }, 1000).expect("no width")
        };
        assert_eq!(draft((0..100).map(|i| format!("{i:05}")).collect()), Draft::Values);
        assert!(matches!(draft((0..100).map(|i| format!("{i}")).collect()), Draft::Bands(_)));
        assert_eq!(draft((0..12).map(|i| format!("{i}")).collect()), Draft::Values);
        let days = (1..29).map(|i| format!("2017-02-{i:02}")).collect();
        assert_eq!(draft(days), Draft::Parts(DatePart::YearMonth));
    }
}
