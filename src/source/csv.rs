//! CSV files, plain or compressed, to record batches of text.
//!
//! Plain files are divided into blocks of whole records (`blocks.rs`), dealt to the workers in turn. A compressed file
//! cannot be entered in the middle: every worker splits all of it into records, and keeps those of its own blocks of
//! 8,192 records.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::csv::{ByteRecord, Reader, ReaderBuilder, Terminator};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema};

use super::blocks::Block;
use super::files::TableFile;
use super::{Chunk, Column, ColumnKind, Inner, RejectSample, Rejects, SourceError};
use crate::job::{CsvSpec, InputSpec, OnBadRow};

/// Records of a compressed file that go to one worker together.
pub(super) const BLOCK: u64 = 8192;

/// A longer field makes a bad row: no feature, id or metric is a megabyte of text.
const MAX_FIELD: usize = 1 << 20;

/// Bytes after which a record is taken for the work of a quote that is never closed.
pub(super) const MAX_RECORD: usize = 16 << 20;

/// Bytes of text after which a chunk is handed on before its block is full. Offsets within a column are 32 bits.
const MAX_CHUNK: usize = 32 << 20;

const BUFFER: usize = 128 << 10;

/// What compressed files begin with.
const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

/// Fed to the splitter behind the last byte of a file: a record of its own, unless a quote is still open. No text in
/// UTF-8 contains it.
const END: &[u8] = b"\xff\xfe\xfd\xfc\xfb\xff";

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

/// A file's bytes as they come from the disk, counted.
struct Counted {
    file: File,
    bytes: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = loop {
            match self.file.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.bytes.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// The text between decompression and the splitter: refuses to feed one record for ever, and marks the end.
struct Tape {
    text: Box<dyn BufRead + Send>,
    /// Bytes that may be read before the record must be complete.
    budget: usize,
    end: Option<io::Cursor<Vec<u8>>>,
}

impl Read for Tape {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(end) = &mut self.end {
            return end.read(buffer);
        }
        if self.budget == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let n = self.text.read(buffer)?;
        if n == 0 {
            self.end = Some(io::Cursor::new([b"\n", END].concat()));
            return self.read(buffer);
        }
        self.budget = self.budget.saturating_sub(n);
        Ok(n)
    }
}

/// One file as a sequence of records.
struct Splitter {
    path: std::path::PathBuf,
    reader: Reader<Tape>,
    quote: char,
    /// Lines before the first record, which the reader has not seen.
    skipped: u64,
    /// Where the last record begins.
    line: u64,
    scratch: Vec<u8>,
}

impl Splitter {
    /// A file from its start, to its end or to that of a block.
    fn open(path: &Path, spec: &CsvSpec, bytes: Arc<AtomicU64>, end: Option<u64>) -> Result<Splitter, SourceError> {
        let read = |source| SourceError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(read)?;
        let file = Counted { file, bytes }.take(end.unwrap_or(u64::MAX));
        let mut raw = BufReader::with_capacity(BUFFER, file);
        let start = raw.fill_buf().map_err(read)?;
        let damaged =
            |message: &str| SourceError::Damaged { path: path.to_owned(), format: "CSV", message: message.to_owned() };
        let suffix = path.extension().map(|suffix| suffix.to_ascii_lowercase()).unwrap_or_default();
        // The magic numbers of both are no UTF-8, so no text is taken for compressed.
        let (is_gzip, is_zstd) = (start.starts_with(GZIP), start.starts_with(ZSTD));
        if start.starts_with(b"PAR1") {
            return Err(damaged("it is a Parquet file; input.format = \"parquet\" reads it"));
        }
        if (suffix == "gz" && !is_gzip) || (suffix == "zst" && !is_zstd) {
            return Err(damaged("its name says compressed but its first bytes do not"));
        }
        let mut text: Box<dyn BufRead + Send> = if is_gzip {
            Box::new(BufReader::with_capacity(BUFFER, flate2::bufread::MultiGzDecoder::new(raw)))
        } else if is_zstd {
            let decoder = zstd::stream::read::Decoder::with_buffer(raw).map_err(read)?;
            Box::new(BufReader::with_capacity(BUFFER, decoder))
        } else {
            Box::new(raw)
        };
        let start = text.fill_buf().map_err(read)?;
        if start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff") {
            let message = "utf-16 text; convert it: iconv -f UTF-16 -t UTF-8".to_owned();
            return Err(SourceError::Encoding { path: path.to_owned(), line: 1, message });
        }
        if start.starts_with(b"\xef\xbb\xbf") {
            text.consume(3);
        }
        for _ in 0..spec.skip_lines {
            if !skip_line(&mut text).map_err(read)? {
                break;
            }
        }
        Ok(Splitter::of(path, spec, text, spec.skip_lines as u64))
    }

    /// A block in the middle of a file.
    fn enter(path: &Path, spec: &CsvSpec, bytes: Arc<AtomicU64>, block: Block) -> Result<Splitter, SourceError> {
        let read = |source| SourceError::Read { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(read)?;
        file.seek(SeekFrom::Start(block.start.byte)).map_err(read)?;
        let length = block.end.map_or(u64::MAX, |end| end.byte - block.start.byte);
        let text = BufReader::with_capacity(BUFFER, Counted { file, bytes }.take(length));
        // The library takes a byte order mark off the start of what it reads; here it would be part of a value. So a
        // blank line goes before, in the place of the last line of the block before.
        let text = io::Cursor::new(b"\n").chain(text);
        let before = block.start.line;
        Ok(Splitter { line: 1 + before, ..Splitter::of(path, spec, Box::new(text), before.saturating_sub(1)) })
    }

    fn of(path: &Path, spec: &CsvSpec, text: Box<dyn BufRead + Send>, skipped: u64) -> Splitter {
        let byte = |c: char| u8::try_from(c).expect("checked to be ASCII when the table was opened");
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(byte(spec.delimiter))
            .quote(byte(spec.quote))
            // With the library's own CRLF a record ends before the line feed, and the lines could not be told.
            .terminator(Terminator::Any(b'\n'))
            .buffer_capacity(BUFFER)
            .from_reader(Tape { text, budget: 0, end: None });
        Splitter { path: path.to_owned(), reader, quote: spec.quote, skipped, line: 1 + skipped, scratch: Vec::new() }
    }

    /// The columns' names, from the header line or the job.
    fn header(&mut self, spec: &CsvSpec) -> Result<Vec<String>, SourceError> {
        let mut names = spec.names.clone();
        if spec.header {
            let mut record = ByteRecord::new();
            if self.next(&mut record)? {
                if !names.is_empty() && names.len() != record.len() {
                    let (found, expected) = (record.len(), names.len());
                    return Err(SourceError::Names { path: self.path.clone(), found, expected });
                }
                if names.is_empty() {
                    names = self.texts(&record)?;
                }
            }
        }
        if names.is_empty() {
            return Err(SourceError::NoHeader { path: self.path.clone() });
        }
        if spec.trim {
            names.iter_mut().for_each(|name| *name = name.trim().to_owned());
        }
        super::distinct(&self.path, names.iter().map(String::as_str), "; input.csv.names gives other names")?;
        Ok(names)
    }

    fn texts(&self, record: &ByteRecord) -> Result<Vec<String>, SourceError> {
        let encoding = |message: String| SourceError::Encoding { path: self.path.clone(), line: self.line, message };
        let mut texts = Vec::with_capacity(record.len());
        for field in record {
            let text = std::str::from_utf8(field).map_err(|_| encoding(not_utf8(field)))?;
            if text.contains('\r') {
                return Err(encoding("the line ends are carriage returns; convert them: tr '\\r' '\\n'".into()));
            }
            texts.push(text.to_owned());
        }
        Ok(texts)
    }

    /// Reads the next record; false at the end of the file. Blank lines are no records.
    fn next(&mut self, record: &mut ByteRecord) -> Result<bool, SourceError> {
        loop {
            self.reader.get_mut().budget = MAX_RECORD;
            let from = self.reader.position().clone();
            match self.reader.read_byte_record(record) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) => {
                    let line = self.line.max(from.line() + self.skipped);
                    return Err(match error.into_kind() {
                        // What the tape says when its budget is spent; reading never fails so.
                        ::csv::ErrorKind::Io(source) if source.kind() == io::ErrorKind::FileTooLarge => {
                            SourceError::LongRecord { path: self.path.clone(), line, quote: self.quote }
                        }
                        ::csv::ErrorKind::Io(source) => SourceError::Read { path: self.path.clone(), source },
                        other => SourceError::Damaged {
                            path: self.path.clone(),
                            format: "CSV",
                            message: format!("{other:?}"),
                        },
                    });
                }
            }
            let bytes = record.as_slice();
            let to = self.reader.position();
            // Blank lines before the record and line ends inside it both lie between the two positions.
            let inside = match to.line() - from.line() {
                0 | 1 => 0,
                _ => bytes.iter().filter(|byte| **byte == b'\n').count() as u64,
            };
            let line = (to.line() + self.skipped).saturating_sub(inside);
            if bytes.ends_with(END) {
                self.line = line;
                return self.end(record);
            }
            self.line = line.saturating_sub(1);
            // A blank line with a carriage return, possibly behind others without, which the library passes over: one
            // byte beside the line feeds. A quoted empty field has more.
            if bytes == b"\r" && (to.byte() - from.byte()) - (to.line() - from.line()) == 1 {
                continue;
            }
            if bytes.last() == Some(&b'\r') {
                strip_carriage_return(record, &mut self.scratch);
            }
            return Ok(true);
        }
    }

    fn end(&mut self, record: &mut ByteRecord) -> Result<bool, SourceError> {
        let alone = record.as_slice() == END;
        if self.reader.get_ref().end.is_none() || self.reader.read_byte_record(record).unwrap_or(true) {
            let message = not_utf8(END);
            return Err(SourceError::Encoding { path: self.path.clone(), line: self.line, message });
        }
        if alone {
            Ok(false)
        } else {
            Err(SourceError::OpenQuote { path: self.path.clone(), line: self.line, quote: self.quote })
        }
    }
}

fn is_compressed(path: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    File::open(path)?.take(4).read_to_end(&mut start)?;
    Ok(start.starts_with(GZIP) || start.starts_with(ZSTD))
}

/// Passes over one line of any length; false when there is none.
fn skip_line(text: &mut dyn BufRead) -> io::Result<bool> {
    loop {
        let part = text.fill_buf()?;
        if part.is_empty() {
            return Ok(false);
        }
        match part.iter().position(|byte| *byte == b'\n') {
            Some(at) => {
                text.consume(at + 1);
                return Ok(true);
            }
            None => {
                let n = part.len();
                text.consume(n);
            }
        }
    }
}

/// A record's last byte is the carriage return of its line end.
fn strip_carriage_return(record: &mut ByteRecord, scratch: &mut Vec<u8>) {
    let last = record.len() - 1;
    scratch.clear();
    scratch.extend_from_slice(&record[last]);
    // Nothing to strip when the last field is empty and the one before it ends so.
    if scratch.pop().is_some() {
        record.truncate(last);
        record.push_field(scratch);
    }
}

/// What is wrong with bytes that are not UTF-8, and what to do.
fn not_utf8(bytes: &[u8]) -> String {
    let at = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), |_| 0);
    let shown: Vec<String> = bytes[at..].iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let convert = if looks_like_gbk(bytes) {
        "it looks like GBK; convert the file: iconv -f GB18030 -t UTF-8"
    } else {
        "convert the file: iconv -f ENCODING -t UTF-8, often with WINDOWS-1252 as ENCODING"
    };
    format!("the bytes {} are no text in utf-8; {convert}", shown.join(" "))
}

/// Whether all bytes above ASCII come in pairs of GB 2312, the common part of GBK and GB 18030: both from 0xA1 to 0xFE.
fn looks_like_gbk(bytes: &[u8]) -> bool {
    let mut at = 0;
    let mut pairs = 0;
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (0..0x80, _) => at += 1,
            (0xa1..=0xf7, Some(0xa1..=0xfe)) => {
                pairs += 1;
                at += 2;
            }
            _ => return false,
        }
    }
    pairs > 0
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
        for (&column, builder) in self.columns.iter().zip(&mut self.builders) {
            let text = std::str::from_utf8(&self.record[column]).expect("records that are not UTF-8 are bad rows");
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
