//! Where a plain CSV file can be divided: starts of records with the rows and lines before them.
//!
//! Whether a line end ends a record depends on all quotes before it, so the file has to be gone through from its
//! start; but only quotes and line ends have to be looked at, which is several times faster than splitting it into
//! fields. The workers of a process share what one of them found, and find further blocks as they ask for them.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Mutex;

use memchr::memchr2_iter;

use crate::job::CsvSpec;

/// Bytes of a block: small files are divided too, and a block of a large one is a few milliseconds' work.
const LEAST: u64 = if cfg!(test) { 64 } else { 64 << 10 };
const MOST: u64 = 1 << 20;
const WANTED: u64 = 64;

/// Bytes looked through at a time.
const BUFFER: usize = if cfg!(test) { 100 } else { 256 << 10 };

/// The start of a record, and of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Start {
    pub(super) byte: u64,
    /// Rows before it, the header line not counted.
    pub(super) row: u64,
    pub(super) line: u64,
}

/// A block from its start to the next one's, or to the end of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) start: Start,
    pub(super) end: Option<Start>,
}

/// The blocks of one file, as far as they are known.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    finder: Mutex<Option<Finder>>,
}

#[derive(Debug)]
struct Finder {
    file: File,
    buffer: Vec<u8>,
    /// Of the file, before the buffer.
    offset: u64,
    delimiter: u8,
    quote: u8,
    block: u64,
    /// The byte before the buffer.
    last: u8,
    state: State,
    skip_lines: usize,
    header: bool,
    line_start: u64,
    rows: u64,
    lines: u64,
    starts: Vec<Start>,
    ended: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Unquoted,
    Quoted,
    /// A quote within quotes at this byte: the end of them, unless another follows at once.
    Closing(u64),
}

impl Blocks {
    /// Block `nth` of the file, none beyond its end.
    pub(super) fn get(&self, nth: usize, path: &Path, bytes: u64, spec: &CsvSpec) -> io::Result<Option<Block>> {
        self.with(path, bytes, spec, |finder| {
            while !finder.ended && finder.starts.len() < nth + 2 {
                finder.advance()?;
            }
            let start = finder.starts.get(nth).copied();
            Ok(start.map(|start| Block { start, end: finder.starts.get(nth + 1).copied() }))
        })
    }

    /// All rows of the file.
    pub(super) fn rows(&self, path: &Path, bytes: u64, spec: &CsvSpec) -> io::Result<u64> {
        self.with(path, bytes, spec, |finder| {
            while !finder.ended {
                finder.advance()?;
            }
            Ok(finder.rows)
        })
    }

    fn with<T>(
        &self,
        path: &Path,
        bytes: u64,
        spec: &CsvSpec,
        ask: impl FnOnce(&mut Finder) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut finder = self.finder.lock().expect("no thread panics while it holds this");
        if finder.is_none() {
            *finder = Some(Finder::new(File::open(path)?, bytes, spec));
        }
        ask(finder.as_mut().expect("just made"))
    }
}

impl Finder {
    fn new(file: File, bytes: u64, spec: &CsvSpec) -> Finder {
        let byte = |c: char| u8::try_from(c).expect("checked to be ASCII when the table was opened");
        Finder {
            file,
            buffer: vec![0; BUFFER],
            offset: 0,
            delimiter: byte(spec.delimiter),
            quote: byte(spec.quote),
            block: (bytes / WANTED).clamp(LEAST, MOST),
            last: 0,
            state: State::Unquoted,
            skip_lines: spec.skip_lines,
            header: spec.header,
            line_start: 0,
            rows: 0,
            lines: 0,
            starts: vec![Start::default()],
            ended: false,
        }
    }

    /// Looks through some more of the file.
    fn advance(&mut self) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = fill(&mut self.file, &mut buffer);
        if let Ok(len @ 1..) = read {
            self.look(&buffer[..len]);
        }
        self.buffer = buffer;
        if read? == 0 {
            self.end_line(self.offset, self.last);
            self.ended = true;
            self.buffer = Vec::new();
        }
        Ok(())
    }

    fn look(&mut self, bytes: &[u8]) {
        if self.offset == 0 {
            // Up to two are taken off a text: one by us, one by the library.
            let marks = bytes.chunks_exact(3).take(2).take_while(|mark| *mark == b"\xef\xbb\xbf").count();
            self.line_start = 3 * marks as u64;
        }
        for at in memchr2_iter(self.quote, b'\n', bytes) {
            let place = self.offset + at as u64;
            let before = if at > 0 { bytes[at - 1] } else { self.last };
            let ends_line = bytes[at] == b'\n';
            self.lines += u64::from(ends_line);
            if self.skip_lines > 0 {
                if ends_line {
                    self.skip_lines -= 1;
                    self.line_start = place + 1;
                }
                continue;
            }
            match self.state {
                State::Quoted => {
                    if !ends_line {
                        self.state = State::Closing(place);
                    }
                    continue;
                }
                State::Closing(quote) if !ends_line && place == quote + 1 => {
                    self.state = State::Quoted;
                    continue;
                }
                State::Closing(_) => self.state = State::Unquoted,
                State::Unquoted => {}
            }
            if ends_line {
                self.end_line(place, before);
                let start = Start { byte: place + 1, row: self.rows, line: self.lines };
                let long = self.starts.last().is_none_or(|last| start.byte - last.byte >= self.block);
                if long && !self.header {
                    self.starts.push(start);
                }
            } else if place == self.line_start || before == self.delimiter {
                // Elsewhere than at the start of a field a quote is text.
                self.state = State::Quoted;
            }
        }
        self.offset += bytes.len() as u64;
        self.last = bytes[bytes.len() - 1];
    }

    /// A record ends before this byte, unless the line is blank.
    fn end_line(&mut self, place: u64, before: u8) {
        let length = place.saturating_sub(self.line_start);
        self.line_start = place + 1;
        if length == 0 || (length == 1 && before == b'\r') {
            return;
        }
        if self.header {
            self.header = false;
        } else {
            self.rows += 1;
        }
    }
}

/// Reads as much as fits, less only at the end of the file.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match file.read(&mut buffer[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}
