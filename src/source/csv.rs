//! CSV files, plain or compressed, to record batches of text.
//!
//! Plain files are divided into blocks of whole records (`blocks.rs`), dealt to the workers in turn. A compressed file
//! cannot be entered in the middle: every worker splits all of it into records, and keeps those of its own blocks of
//! 8,192 records.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ::csv::ByteRecord;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema};

use super::blocks::Block;
use super::files::TableFile;
use super::records::{Splitter, is_compressed, not_utf8};
use super::{Chunk, Column, ColumnKind, Inner, RejectSample, Rejects, SourceError};
use crate::job::{CsvSpec, InputSpec, OnBadRow};

/// Records of a compressed file that go to one worker together.
pub(super) const BLOCK: u64 = 8192;

/// A longer field makes a bad row: no feature, id or metric is a megabyte of text.
const MAX_FIELD: usize = 1 << 20;

/// Bytes of text after which a chunk is handed on before its block is full. Offsets within a column are 32 bits.
const MAX_CHUNK: usize = 32 << 20;

/// Whether a text means a missing value; for Parquet text columns as well.
pub fn is_null_text(text: &str, spec: &CsvSpec) -> bool {
    text.is_empty() || spec.null_values.iter().any(|null| null == text)
}

/// Reads the columns of each file, which must agree, and notes which files hold no rows.
pub(super) fn open(input: &InputSpec, files: &mut [TableFile]) -> Result<Vec<Column>, SourceError> {
    let spec = &input.csv;
    let ascii = |setting, value: char| {
        let allowed = "expected one ASCII character that is not a line end";
        if value.is_ascii() && !matches!(value, '\n' | '\r') {
            Ok(())
        } else {
            Err(SourceError::Setting { setting, value, allowed })
        }
    };
    ascii("input.csv.delimiter", spec.delimiter)?;
    ascii("input.csv.quote", spec.quote)?;
    if spec.delimiter == spec.quote {
        let allowed = "the delimiter and input.csv.quote must differ";
        return Err(SourceError::Setting { setting: "input.csv.delimiter", value: spec.delimiter, allowed });
    }

    let mut agreed: Option<(usize, Vec<String>)> = None;
    for file in 0..files.len() {
        let mut splitter = Splitter::open(&files[file].path, spec, Arc::default(), None)?;
        let names = splitter.header(spec)?;
        if !splitter.next(&mut ByteRecord::new())? {
            files[file].rows = Some(0);
        }
        match &agreed {
            None => agreed = Some((file, names)),
            Some((first, expected)) => agree(expected, &names).map_err(|difference| SourceError::Columns {
                first: files[*first].path.clone(),
                other: files[file].path.clone(),
                difference,
            })?,
        }
    }
    let (_, names) = agreed.expect("a table has a file");
    Ok(names.into_iter().map(|name| Column { name, kind: ColumnKind::Text, data_type: DataType::Utf8 }).collect())
}

/// CSV has no names beside the values, so the order of the columns must agree too.
fn agree(expected: &[String], names: &[String]) -> Result<(), String> {
    match expected.iter().zip(names).position(|(a, b)| a != b) {
        Some(i) => Err(format!("column {} is {:?} in the first, {:?} in the second", i + 1, expected[i], names[i])),
        None if expected.len() != names.len() => {
            let (more, which) = if expected.len() > names.len() { (expected, "first") } else { (names, "second") };
            let extra = &more[expected.len().min(names.len())];
            Err(format!("{} columns and {}; {extra:?} is in the {which} alone", expected.len(), names.len()))
        }
        None => Ok(()),
    }
}

/// What the first file's columns suggest is wrong with the settings.
pub(super) fn hint(columns: &[Column], file: &Path, spec: &CsvSpec) -> Option<String> {
    if let [column] = columns {
        let likely = [';', '\t', '|', ','].into_iter().find(|c| *c != spec.delimiter && column.name.contains(*c))?;
        let start: String = column.name.chars().take(40).collect();
        return Some(format!(
            "the header line of {file:?} is a single column that begins {start:?}; if its columns are separated by {likely:?}, set input.csv.delimiter = {:?}",
            likely.to_string()
        ));
    }
    let data = columns.iter().find(|column| spec.names.is_empty() && column.name.trim().parse::<f64>().is_ok())?;
    Some(format!(
        "the first line of {file:?} holds {:?} and looks like data; if it is no header line, set input.csv.header = false and input.csv.names",
        data.name
    ))
}

/// Why a record is no row of the table.
struct Problem {
    /// What it is counted under.
    reason: &'static str,
    column: Option<usize>,
    detail: String,
}

fn problem(record: &ByteRecord, columns: &[Column], spec: &CsvSpec) -> Option<Problem> {
    if record.len() != columns.len() {
        let by = if spec.header { "as in the header line" } else { "as input.csv.names has" };
        let detail = format!("{} fields, expected {}, {by}", record.len(), columns.len());
        return Some(Problem { reason: "ragged line", column: None, detail });
    }
    if record.as_slice().len() > MAX_FIELD
        && let Some(column) = record.iter().position(|field| field.len() > MAX_FIELD)
    {
        let found = record[column].len();
        let likely = "most likely a quote that is never closed, see input.csv.quote";
        let detail = format!("{found} bytes, allowed are {MAX_FIELD}; {likely}");
        return Some(Problem { reason: "field too long", column: Some(column), detail });
    }
    if record.as_slice().is_ascii() {
        return None;
    }
    let column = record.iter().position(|field| std::str::from_utf8(field).is_err())?;
    Some(Problem { reason: "not utf-8", column: Some(column), detail: not_utf8(&record[column]) })
}

/// A worker's records, file after file.
pub(super) struct CsvScan {
    table: Arc<Inner>,
    columns: Vec<usize>,
    schema: Arc<Schema>,
    worker: u64,
    workers: u64,
    file: usize,
    /// How many blocks of the file this worker has read.
    blocks: u64,
    splitter: Option<Splitter>,
    /// The block that is being read; none for a compressed file.
    block: Option<Block>,
    /// The next record's number within the file.
    row: u64,
    record: ByteRecord,
    builders: Vec<StringBuilder>,
    /// Of the rows in the builders.
    numbers: Vec<u64>,
    held: usize,
    pub(super) file_rows: Vec<u64>,
    pub(super) bytes: Arc<AtomicU64>,
}

impl CsvScan {
    pub(super) fn new(table: Arc<Inner>, columns: &[usize], worker: usize, workers: usize) -> CsvScan {
        let fields = columns.iter().map(|&i| Field::new(&table.columns[i].name, DataType::Utf8, true));
        CsvScan {
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            columns: columns.to_vec(),
            worker: worker as u64,
            workers: workers as u64,
            file: 0,
            blocks: 0,
            splitter: None,
            block: None,
            row: 0,
            record: ByteRecord::new(),
            builders: columns.iter().map(|_| StringBuilder::new()).collect(),
            numbers: Vec::new(),
            held: 0,
            file_rows: vec![0; table.files.len()],
            bytes: Arc::default(),
            table,
        }
    }

    pub(super) fn next(&mut self, rows_read: &mut u64, rejects: &mut Rejects) -> Result<Option<Chunk>, SourceError> {
        let table = Arc::clone(&self.table);
        while self.file < table.files.len() {
            if self.splitter.is_none() && !self.enter(&table)? {
                self.file += 1;
                self.blocks = 0;
                continue;
            }
            let splitter = self.splitter.as_mut().expect("just entered");
            if !splitter.next(&mut self.record)? {
                let chunk = self.chunk();
                self.splitter = None;
                match self.block.take() {
                    None => {
                        self.file_rows[self.file] = self.row;
                        self.file += 1;
                        self.blocks = 0;
                    }
                    Some(Block { end: Some(end), .. }) if end.row != self.row => {
                        let file = &table.files[self.file];
                        let message = format!("it changed while it was read: {} rows instead of {}", self.row, end.row);
                        return Err(SourceError::Damaged { path: file.path.clone(), format: "CSV", message });
                    }
                    Some(_) => self.blocks += 1,
                }
                if chunk.is_some() {
                    return Ok(chunk);
                }
                continue;
            }
            let (row, line) = (self.row, splitter.line);
            self.row += 1;
            if self.block.is_none() && (self.file as u64 + row / BLOCK) % self.workers != self.worker {
                continue;
            }
            *rows_read += 1;
            match problem(&self.record, &table.columns, &table.input.csv) {
                None => self.push(row),
                Some(problem) => self.reject(row, line, problem, rejects)?,
            }
            let full = self.block.is_none() && self.row.is_multiple_of(BLOCK);
            if (full || self.held > MAX_CHUNK)
                && let Some(chunk) = self.chunk()
            {
                return Ok(Some(chunk));
            }
        }
        Ok(None)
    }

    /// Goes to this worker's next block of the file, or to the start of a compressed one; false when there is none.
    fn enter(&mut self, table: &Inner) -> Result<bool, SourceError> {
        let (file, spec, bytes) = (&table.files[self.file], &table.input.csv, Arc::clone(&self.bytes));
        let blocks = &table.blocks[self.file];
        let read = |source| SourceError::Read { path: file.path.clone(), source };
        self.row = 0;
        if is_compressed(&file.path).map_err(read)? {
            let mut splitter = Splitter::open(&file.path, spec, bytes, None)?;
            splitter.header(spec)?;
            self.splitter = Some(splitter);
            return Ok(true);
        }
        // Block 0 of the next file goes to the next worker, so that many small files are shared as well.
        let first = (self.worker + self.workers - self.file as u64 % self.workers) % self.workers;
        let nth = first + self.blocks * self.workers;
        let Some(block) = blocks.get(nth as usize, &file.path, file.bytes, spec).map_err(read)? else {
            self.file_rows[self.file] = blocks.rows(&file.path, file.bytes, spec).map_err(read)?;
            return Ok(false);
        };
        self.splitter = Some(if nth == 0 {
            let mut splitter = Splitter::open(&file.path, spec, bytes, block.end.map(|end| end.byte))?;
            splitter.header(spec)?;
            splitter
        } else {
            Splitter::enter(&file.path, spec, bytes, block)?
        });
        self.row = block.start.row;
        self.block = Some(block);
        Ok(true)
    }

    fn push(&mut self, row: u64) {
        let spec = &self.table.input.csv;
        let good = "records that are not UTF-8 are bad rows";
        let all = std::str::from_utf8(self.record.as_slice()).expect(good);
        for (&column, builder) in self.columns.iter().zip(&mut self.builders) {
            let text = &all[self.record.range(column).expect("records with other numbers of fields are bad rows")];
            let text = if spec.trim { text.trim() } else { text };
            if is_null_text(text, spec) {
                builder.append_null();
            } else {
                builder.append_value(text);
            }
            self.held += text.len();
        }
        self.numbers.push(row);
    }

    fn reject(&self, row: u64, line: u64, problem: Problem, rejects: &mut Rejects) -> Result<(), SourceError> {
        let path = &self.table.files[self.file].path;
        let Problem { reason, column, detail } = problem;
        let column = column.map(|column| self.table.columns[column].name.clone());
        match self.table.input.on_bad_row {
            OnBadRow::Fail => {
                let place = column.map_or(String::new(), |column| format!(" in column {column:?}"));
                Err(SourceError::BadRow {
                    path: path.clone(),
                    row,
                    line,
                    problem: format!("{reason}{place}: {detail}"),
                })
            }
            OnBadRow::Quarantine => {
                rejects.add(reason, || RejectSample {
                    file: path.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned()),
                    row,
                    line: Some(line),
                    column,
                    reason: reason.to_owned(),
                    // The text itself may be personal, megabytes long or unreadable.
                    value: detail,
                });
                Ok(())
            }
        }
    }

    /// The rows in the builders, which then are empty.
    fn chunk(&mut self) -> Option<Chunk> {
        let numbers = std::mem::take(&mut self.numbers);
        let (&first_row, &last) = (numbers.first()?, numbers.last()?);
        self.held = 0;
        let columns: Vec<ArrayRef> = self.builders.iter_mut().map(|b| Arc::new(b.finish()) as ArrayRef).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(numbers.len()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .expect("every builder took a value of every row");
        let gaps = last - first_row + 1 != numbers.len() as u64;
        Some(Chunk { file: self.file, first_row, rows, dictionaries: Vec::new(), row_numbers: gaps.then_some(numbers) })
    }
}
