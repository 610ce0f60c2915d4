//! The job's `[input]` to a worker's share of the table, as record batches.
//!
//! A table is listed once, and its files must have the same columns. [`Table::scan`] then gives each worker rows that
//! no other worker gets. Which rows those are follows from the files and the number of workers alone.

mod blocks;
mod csv;
mod error;
mod files;
mod hybrid;
mod pages;
mod parquet;
mod records;
mod rejects;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::take;
use arrow::datatypes::DataType;

pub use csv::is_null_text;
pub use error::{ErrorKind, SourceError};
pub use files::{TableFile, by_suffix as format_of};
pub use rejects::{MAX_SAMPLES, RejectSample, Rejects};

use crate::job::{InputSpec, TableFormat, closest};

/// A table's files and columns; cheap to clone.
#[derive(Clone, Debug)]
pub struct Table {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    input: InputSpec,
    format: TableFormat,
    files: Vec<TableFile>,
    columns: Vec<Column>,
    /// Of Parquet files, in the order of `files`.
    footers: Vec<parquet::Footer>,
    /// Of CSV files, in the order of `files`.
    blocks: Vec<blocks::Blocks>,
    digest: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub name: String,
    pub kind: ColumnKind,
    /// Of this column's values, but where chunks hold them by [`Chunk::dictionaries`]. Text is `Utf8`, or
    /// `Dictionary(Int32, Utf8)` when every data page is encoded so.
    pub data_type: DataType,
}

/// What a column holds, as far as later stages tell apart.
#[derive(Clone, Debug, PartialEq)]
pub enum ColumnKind {
    Text,
    Bool,
    /// Signed or not, of any width.
    Int,
    Float,
    Decimal,
    Date,
    Timestamp,
    /// Several texts a row.
    TextList,
    /// Several whole numbers a row.
    IntList,
    /// Not usable; names the type.
    Unsupported(String),
}

impl ColumnKind {
    /// As people call it.
    pub fn name(&self) -> String {
        match self {
            ColumnKind::Unsupported(kind) => kind.clone(),
            ColumnKind::TextList => "list of text".into(),
            ColumnKind::IntList => "list of int".into(),
            kind => format!("{kind:?}").to_lowercase(),
        }
    }

    /// Whether a row has several values.
    pub fn is_list(&self) -> bool {
        matches!(self, ColumnKind::TextList | ColumnKind::IntList)
    }
}

impl Table {
    /// Lists the files and agrees on the columns. Nothing but headers, footers and the ends of files is read.
    pub fn open(input: &InputSpec) -> Result<Table, SourceError> {
        let (mut files, format) = files::list(input)?;
        let (columns, footers) = match format {
            TableFormat::Csv => (csv::open(input, &mut files)?, Vec::new()),
            TableFormat::Parquet => parquet::open(&mut files)?,
        };
        let digest = files::digest(&files, format)?;
        let blocks = files.iter().map(|_| blocks::Blocks::default()).collect();
        Ok(Table { inner: Arc::new(Inner { input: input.clone(), format, files, columns, footers, blocks, digest }) })
    }

    /// In the order of the first file.
    pub fn columns(&self) -> &[Column] {
        &self.inner.columns
    }

    /// Sorted by path.
    pub fn files(&self) -> &[TableFile] {
        &self.inner.files
    }

    pub fn format(&self) -> TableFormat {
        self.inner.format
    }

    /// All rows, bad ones included, when that is known without reading the table.
    pub fn rows(&self) -> Option<u64> {
        self.inner.files.iter().try_fold(0u64, |rows, file| rows.checked_add(file.rows?))
    }

    /// 32 hexadecimal digits, the same wherever the same table is mounted; see `files::digest` for what they cover.
    pub fn digest(&self) -> &str {
        &self.inner.digest
    }

    /// The first file whose size or time of change differs from when the table was opened.
    pub fn changed_since_open(&self) -> Option<PathBuf> {
        files::changed(&self.inner.files)
    }

    /// Where a column stands; `setting` is what named it.
    pub fn column(&self, setting: &str, name: &str) -> Result<usize, SourceError> {
        self.columns().iter().position(|column| column.name == name).ok_or_else(|| SourceError::NoColumn {
            setting: setting.to_owned(),
            name: name.to_owned(),
            suggestion: closest(name, self.columns().iter().map(|column| column.name.as_str())),
            hint: self.hint(),
        })
    }

    /// What may be wrong with the CSV settings when a column is not found.
    pub fn hint(&self) -> Option<String> {
        match self.inner.format {
            TableFormat::Csv => csv::hint(&self.inner.columns, &self.inner.files[0].path, &self.inner.input.csv),
            TableFormat::Parquet => None,
        }
    }

    /// This worker's share of the rows, with these columns (places in [`Table::columns`]) in this order. Chunks of a
    /// file come in the order of its rows; every row goes to exactly one of the `workers`.
    pub fn scan(&self, columns: &[usize], worker: usize, workers: usize) -> Scan {
        self.scan_by(columns, worker, workers, u64::MAX)
    }

    /// As [`Table::scan`], dealt in smaller parts: for whoever needs the rows of all workers in the order of the table, and would
    /// have to hold what the others read of theirs meanwhile.
    pub fn scan_in_order(&self, columns: &[usize], worker: usize, workers: usize) -> Scan {
        self.scan_by(columns, worker, workers, IN_ORDER)
    }

    /// `most`: rows of a Parquet row group that a worker reads at a stretch.
    fn scan_by(&self, columns: &[usize], worker: usize, workers: usize, most: u64) -> Scan {
        assert!(worker < workers, "worker {worker} of {workers}");
        let table = Arc::clone(&self.inner);
        let reader = match self.inner.format {
            TableFormat::Csv => Reader::Csv(Box::new(csv::CsvScan::new(table, columns, worker, workers))),
            TableFormat::Parquet => {
                Reader::Parquet(Box::new(parquet::ParquetScan::new(table, columns, worker, workers, most)))
            }
        };
        Scan { reader, ended: false, rows_read: 0, rejects: Rejects::default() }
    }
}

/// Rows of a row group at a stretch where the order matters: eight batches, so that entering a group in the middle costs little.
const IN_ORDER: u64 = 1 << 17;

/// A worker's way through a table.
pub struct Scan {
    reader: Reader,
    ended: bool,
    rows_read: u64,
    rejects: Rejects,
}

enum Reader {
    Csv(Box<csv::CsvScan>),
    Parquet(Box<parquet::ParquetScan>),
}

/// Some rows of one file.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Place in [`Table::files`].
    pub file: usize,
    /// The first row's number within the file, from 0.
    pub first_row: u64,
    pub rows: RecordBatch,
    /// For columns of few values, these: `rows` then holds places among them, in bytes. Shorter where no more follow.
    ///
    /// Arrow's own dictionary arrays look at each key when they are made, which takes as long as unpacking it.
    pub dictionaries: Vec<Option<ArrayRef>>,
    /// Each row's number within the file, when rows in between were left out.
    pub row_numbers: Option<Vec<u64>>,
}

impl Chunk {
    /// The values of a column whose rows may be places in a dictionary. `column` is that of `rows`, or some rows of it.
    pub fn values(&self, place: usize, column: &ArrayRef) -> ArrayRef {
        match self.dictionary(place) {
            Some(dictionary) => take(dictionary, column, None).expect("every key is a place in the dictionary"),
            None => ArrayRef::clone(column),
        }
    }

    pub fn dictionary(&self, place: usize) -> Option<&ArrayRef> {
        self.dictionaries.get(place).and_then(Option::as_ref)
    }

    /// The number within the file of row `i` of this chunk.
    pub fn row_number(&self, i: usize) -> u64 {
        match &self.row_numbers {
            Some(numbers) => numbers[i],
            None => self.first_row + i as u64,
        }
    }
}

impl Iterator for Scan {
    type Item = Result<Chunk, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = match &mut self.reader {
            Reader::Csv(scan) => scan.next(&mut self.rows_read, &mut self.rejects),
            Reader::Parquet(scan) => scan.next(&mut self.rows_read),
        };
        self.ended = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}

impl Scan {
    /// This worker's rows so far, bad ones included.
    pub fn rows_read(&self) -> u64 {
        self.rows_read
    }

    /// The records of each file, over all workers; complete once the iterator has ended without an error.
    pub fn file_rows(&self) -> Vec<u64> {
        match &self.reader {
            Reader::Csv(scan) => scan.file_rows.clone(),
            Reader::Parquet(scan) => scan.file_rows(),
        }
    }

    /// This worker's bad rows so far.
    pub fn rejects(&self) -> &Rejects {
        &self.rejects
    }

    /// Bytes this worker has read from files so far: for Parquet an estimate from the sizes of the column chunks.
    pub fn bytes_read(&self) -> u64 {
        match &self.reader {
            Reader::Csv(scan) => scan.bytes.load(Ordering::Relaxed),
            Reader::Parquet(scan) => scan.bytes,
        }
    }
}

/// Column names must be there and distinct, or settings that name a column would be ambiguous.
fn distinct<'a>(path: &Path, names: impl Iterator<Item = &'a str>, fix: &'static str) -> Result<(), SourceError> {
    let mut places = std::collections::BTreeMap::new();
    for (i, name) in names.enumerate() {
        if name.is_empty() {
            return Err(SourceError::UnnamedColumn { path: path.to_owned(), position: i + 1 });
        }
        if let Some(first) = places.insert(name, i + 1) {
            let (path, name) = (path.to_owned(), name.to_owned());
            return Err(SourceError::DuplicateColumn { path, name, first, second: i + 1, fix });
        }
    }
    Ok(())
}

thread_local! {
    static DECODING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside a decoder whose panics are caught and become errors. A panic hook that ends the
/// process leaves those alone.
pub fn is_decoding() -> bool {
    DECODING.get()
}

/// Runs a decoder on a file that may be damaged: in 4 of 141 fuzzed files the Parquet reader panics rather than fails.
fn decode<T>(path: &Path, format: &'static str, decoder: impl FnOnce() -> Result<T, String>) -> Result<T, SourceError> {
    let outer = DECODING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(decoder));
    DECODING.set(outer);
    let message = match result {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(message)) => message,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("the decoder gave up").to_owned()
        }
    };
    Err(SourceError::Damaged { path: path.to_owned(), format, message })
}
