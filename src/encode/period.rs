//! Which of the two periods that a job compares each row is of.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, UInt8Type};
use glob::Pattern;

use super::intake::{Problem, Report, retain};
use super::{Map, values};
use crate::job::{CompareSpec, OneOrMany, Scalar};
use crate::source::Chunk;

/// Rows of neither period are left out for this reason.
pub const ANOTHER_PERIOD: &str = "another period";
const BOTH_PERIODS: &str = "in both periods";

/// How rows are told apart.
#[derive(Clone, Debug)]
pub struct PeriodInput {
    pub column: usize,
    pub before: Selected,
    pub after: Selected,
}

impl PeriodInput {
    pub fn new(column: usize, spec: &CompareSpec) -> PeriodInput {
        PeriodInput { column, before: Selected::new(&spec.before), after: Selected::new(&spec.after) }
    }
}

/// The values that a period is of.
#[derive(Clone, Debug)]
pub struct Selected {
    texts: Vec<String>,
    patterns: Vec<Pattern>,
    numbers: Vec<f64>,
}

impl Selected {
    fn new(values: &OneOrMany) -> Selected {
        let texts: Vec<String> = values.values().iter().map(Scalar::text).collect();
        Selected {
            patterns: texts.iter().filter_map(|text| Pattern::new(text).ok()).collect(),
            numbers: texts.iter().filter_map(|text| text.parse().ok()).collect(),
            texts,
        }
    }

    /// A value may have the characters of patterns, as `Q[1]` has.
    fn has(&self, text: &str, number: Option<f64>) -> bool {
        number.is_some_and(|number| self.numbers.contains(&number))
            || self.texts.iter().any(|own| own == text)
            || self.patterns.iter().any(|pattern| pattern.matches(text))
    }
}

/// A row of the earlier period, of the later, of none or of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Before,
    After,
    Neither,
    Both,
}

/// A worker's rows by period.
#[derive(Debug, Default)]
pub struct LocalPeriods {
    /// 1 for a row of the earlier period.
    pub before: Vec<u8>,
    /// Some values of rows of neither, to explain a period without rows.
    pub seen: Vec<String>,
    /// The batch that was checked last.
    checked: Vec<u8>,
    /// What was found out about values.
    known: Map<String, Of>,
}

/// Values told of a column in which a period is not found.
const MOST_SEEN: usize = 8;

/// Values that are remembered; a column of times has one for nearly every row.
const MOST_KNOWN: usize = 1 << 12;

impl LocalPeriods {
    /// Reads a batch and reports the rows that are not of one of the periods. The rows to keep are then taken in by `push`.
    pub fn check(&mut self, input: &PeriodInput, chunk: &Chunk, report: Report) {
        let rows = chunk.rows.column(input.column);
        let name = || chunk.rows.schema_ref().field(input.column).name().clone();
        // Of a column with a dictionary only that is looked through.
        let keys = chunk.dictionary(input.column).map(|_| rows.as_primitive::<UInt8Type>());
        let array = chunk.dictionary(input.column).unwrap_or(rows);
        let texts = texts(array);
        let of: Vec<Of> = texts.iter().zip(numbers(array)).map(|(t, n)| self.of(input, t.as_deref(), n)).collect();
        let place = |row: usize| match keys {
            Some(keys) => keys.is_valid(row).then(|| usize::from(keys.value(row))),
            None => Some(row),
        };
        let of: Vec<Of> = (0..rows.len()).map(|row| place(row).map_or(Of::Neither, |place| of[place])).collect();
        let text = |row: usize| place(row).and_then(|place| texts[place].as_ref());
        for (row, of) in of.iter().enumerate().filter(|(_, of)| matches!(of, Of::Neither | Of::Both)) {
            let value = || text(row).map_or("null".to_owned(), |text| format!("{text:?}"));
            if let Some(text) = text(row)
                && *of == Of::Neither
                && self.seen.len() < MOST_SEEN
                && !self.seen.contains(text)
            {
                self.seen.push(text.clone());
            }
            report(row, &|| Problem {
                reason: if *of == Of::Both { BOTH_PERIODS } else { ANOTHER_PERIOD },
                column: name(),
                value: value(),
                remedy: "let no pattern of compare.before match what one of compare.after matches".into(),
                dropped: *of == Of::Neither,
            });
        }
        self.checked = of.into_iter().map(|of| u8::from(of == Of::Before)).collect();
    }

    fn of(&mut self, input: &PeriodInput, text: Option<&str>, number: Option<f64>) -> Of {
        let Some(text) = text else { return Of::Neither };
        if let Some(of) = self.known.get(text) {
            return *of;
        }
        let of = match (input.before.has(text, number), input.after.has(text, number)) {
            (true, false) => Of::Before,
            (false, true) => Of::After,
            (false, false) => Of::Neither,
            (true, true) => Of::Both,
        };
        if self.known.len() < MOST_KNOWN {
            self.known.insert(text.to_owned(), of);
        }
        of
    }

    /// Takes in the batch that was checked last, but for the rows that are not kept.
    pub fn push(&mut self, kept: Option<&[bool]>) {
        if let Some(kept) = kept {
            retain(&mut self.checked, kept);
        }
        self.before.append(&mut self.checked);
    }

    pub fn retain(&mut self, keep: &[bool]) {
        retain(&mut self.before, keep);
    }
}

/// Values as text: dates and times in ISO 8601.
fn texts(array: &ArrayRef) -> Vec<Option<String>> {
    let texts = match values::is_text(array.data_type()) {
        true => values::texts(array),
        false => cast(array, &DataType::Utf8).expect("values are written as text").as_string::<i32>().clone(),
    };
    texts.iter().map(|text| text.map(str::to_owned)).collect()
}

/// Values as numbers, where they are: 202609 and 202609.0 are one.
fn numbers(array: &ArrayRef) -> Vec<Option<f64>> {
    match array.data_type() {
        kind if kind.is_numeric() => values::floats(array).iter().collect(),
        _ => vec![None; array.len()],
    }
}
