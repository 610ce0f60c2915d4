//! Which of the two periods that a job compares each row is of.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, UInt8Type};
use glob::Pattern;

use super::intake::{Problem, retain};
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

/// A value of the column.
struct Value<'a> {
    text: &'a str,
    /// Of a column of fractions: 202609.0 is 202609.
    number: Option<f64>,
    /// Of a column of dates or times, which are written in ISO 8601: the day alone.
    day: Option<&'a str>,
}

impl Selected {
    fn new(values: &OneOrMany) -> Selected {
        let texts: Vec<String> = values.values().iter().map(Scalar::text).collect();
        Selected {
            // What is no pattern is the value itself.
            patterns: texts.iter().filter_map(|text| Pattern::new(text).ok()).collect(),
            numbers: texts.iter().filter_map(|text| text.parse().ok()).collect(),
            texts,
        }
    }

    fn has(&self, value: &Value) -> bool {
        let is = |text: &str| {
            self.texts.iter().any(|own| own == text) || self.patterns.iter().any(|pattern| pattern.matches(text))
        };
        // A time is of its day, and is written with a space as well as with a T.
        let spaced = || value.day.is_some() && is(&value.text.replacen('T', " ", 1));
        is(value.text)
            || value.number.is_some_and(|number| self.numbers.contains(&number))
            || value.day.is_some_and(is)
            || spaced()
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
    /// The rows of the batch that was looked at last which are of a period.
    checked: Vec<u8>,
    /// What was found out about values.
    known: Map<String, Of>,
}

/// Values told of a column in which a period is not found.
const MOST_SEEN: usize = 8;

/// Values that are remembered; a column of times has one for nearly every row.
const MOST_KNOWN: usize = 1 << 12;

impl LocalPeriods {
    /// The rows of a chunk that are of one of the periods; none where all are. What is wrong with the others is nobody's concern.
    /// Those of both are reported by their place in what is left.
    pub fn select(&mut self, input: &PeriodInput, chunk: &Chunk) -> (Option<Chunk>, Vec<(usize, Problem)>) {
        let rows = chunk.rows.column(input.column);
        // Of a column with a dictionary only that is looked through.
        let keys = chunk.dictionary(input.column).map(|_| rows.as_primitive::<UInt8Type>());
        let array = chunk.dictionary(input.column).unwrap_or(rows);
        let texts = texts(array);
        let dated = array.data_type().is_temporal();
        let value = |(text, number)| Value { text, number, day: dated.then(|| text.split('T').next()).flatten() };
        let of_value: Vec<Of> = (texts.iter().zip(numbers(array)))
            .map(|(text, number)| text.map_or(Of::Neither, |text| self.of(input, &value((text, number)))))
            .collect();
        let place = |row: usize| match keys {
            Some(keys) => keys.is_valid(row).then(|| usize::from(keys.value(row))),
            None => Some(row),
        };
        let of: Vec<Of> = (0..rows.len()).map(|row| place(row).map_or(Of::Neither, |place| of_value[place])).collect();
        if self.seen.len() < MOST_SEEN {
            let others = texts.iter().zip(&of_value).filter(|(_, of)| **of == Of::Neither);
            for text in others.filter_map(|(text, _)| text) {
                if self.seen.len() < MOST_SEEN && !self.seen.iter().any(|seen| seen == text) {
                    self.seen.push(text.to_owned());
                }
            }
        }
        let kept: Vec<usize> = (0..of.len()).filter(|&row| of[row] != Of::Neither).collect();
        self.checked = kept.iter().map(|&row| u8::from(of[row] == Of::Before)).collect();
        let both = kept.iter().enumerate().filter(|(_, row)| of[**row] == Of::Both).map(|(at, &row)| {
            let problem = Problem {
                reason: BOTH_PERIODS,
                column: chunk.rows.schema_ref().field(input.column).name().clone(),
                value: format!("{:?}", place(row).map_or("", |place| texts.value(place))),
                remedy: "let no pattern of compare.before match what one of compare.after matches".into(),
                dropped: false,
            };
            (at, problem)
        });
        let both = both.collect();
        if kept.len() == of.len() {
            return (None, both);
        }
        let flags: BooleanArray = of.iter().map(|of| Some(*of != Of::Neither)).collect();
        let left = Chunk {
            rows: filter_record_batch(&chunk.rows, &flags).expect("one flag a row"),
            row_numbers: Some(kept.iter().map(|&row| chunk.row_number(row)).collect()),
            ..chunk.clone()
        };
        (Some(left), both)
    }

    fn of(&mut self, input: &PeriodInput, value: &Value) -> Of {
        if let Some(of) = self.known.get(value.text) {
            return *of;
        }
        let of = match (input.before.has(value), input.after.has(value)) {
            (true, false) => Of::Before,
            (false, true) => Of::After,
            (false, false) => Of::Neither,
            (true, true) => Of::Both,
        };
        if self.known.len() < MOST_KNOWN {
            self.known.insert(value.text.to_owned(), of);
        }
        of
    }

    /// Takes in the batch that was looked at last, but for the rows that are not kept.
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
fn texts(array: &ArrayRef) -> StringArray {
    match values::is_text(array.data_type()) {
        true => values::texts(array),
        false => cast(array, &DataType::Utf8).expect("values are written as text").as_string::<i32>().clone(),
    }
}

/// Fractions as numbers. Whole numbers are compared as text, of which none is rounded.
fn numbers(array: &ArrayRef) -> Vec<Option<f64>> {
    match array.data_type() {
        kind if kind.is_numeric() && !kind.is_integer() => values::floats(array).iter().collect(),
        _ => vec![None; array.len()],
    }
}
