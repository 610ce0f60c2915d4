//! One CSV file, plain or compressed, as a sequence of records.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::csv::{ByteRecord, Reader, ReaderBuilder, Terminator};

use super::SourceError;
use super::blocks::Block;
use crate::job::CsvSpec;

/// Bytes after which a record is taken for the work of a quote that is never closed.
pub(super) const MAX_RECORD: usize = 16 << 20;

const BUFFER: usize = 128 << 10;

/// What compressed files begin with.
const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

/// Fed to the splitter behind the last byte of a file: a record of its own, unless a quote is still open. No text in
/// UTF-8 contains it.
const END: &[u8] = b"\xff\xfe\xfd\xfc\xfb\xff";

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
pub(super) struct Splitter {
    path: std::path::PathBuf,
    reader: Reader<Tape>,
    quote: char,
    /// Lines before the first record, which the reader has not seen.
    skipped: u64,
    /// Where the last record begins.
    pub(super) line: u64,
    scratch: Vec<u8>,
}

impl Splitter {
    /// A file from its start, to its end or to that of a block.
    pub(super) fn open(
        path: &Path,
        spec: &CsvSpec,
        bytes: Arc<AtomicU64>,
        end: Option<u64>,
    ) -> Result<Splitter, SourceError> {
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
    pub(super) fn enter(
        path: &Path,
        spec: &CsvSpec,
        bytes: Arc<AtomicU64>,
        block: Block,
    ) -> Result<Splitter, SourceError> {
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
    pub(super) fn header(&mut self, spec: &CsvSpec) -> Result<Vec<String>, SourceError> {
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
    pub(super) fn next(&mut self, record: &mut ByteRecord) -> Result<bool, SourceError> {
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

pub(super) fn is_compressed(path: &Path) -> io::Result<bool> {
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
pub(super) fn not_utf8(bytes: &[u8]) -> String {
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
