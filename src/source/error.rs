//! What can be wrong with a table.

use std::path::PathBuf;

/// Which exit code an error ends the run with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Missing, unreadable or not as declared: exit code 3.
    Input,
    /// A row that the job does not tolerate: exit code 4.
    Quality,
}

#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(
        "input.path = {pattern:?}: nothing found at {tried:?}; expected a file, a folder or a glob on this machine"
    )]
    NotFound { pattern: String, tried: PathBuf },
    #[error("input.path = {pattern:?}: the folder {tried:?} holds no table; expected files named {SUFFIXES}")]
    EmptyFolder { pattern: String, tried: PathBuf },
    #[error("input.path = {pattern:?} is not a glob: {message}")]
    Glob { pattern: String, message: String },
    #[error("cannot read {path:?}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "{path:?} is {what}, not a file; to read nested folders give a glob such as \"folder/*/*.parquet\" as input.path"
    )]
    NotAFile { path: PathBuf, what: &'static str },
    #[error(
        "{path:?} is not named like a table; expected {SUFFIXES}; input.format says how to read a file of another name, a leading `_` or `.` leaves it out"
    )]
    UnknownSuffix { path: PathBuf },
    #[error(
        "{first:?} is {first_format} and {other:?} is {other_format}; all files of a table have one format; a glob as input.path picks some of them"
    )]
    MixedFormats { first: PathBuf, first_format: &'static str, other: PathBuf, other_format: &'static str },
    #[error("{path:?} is not a readable {format} file: {message}")]
    Damaged { path: PathBuf, format: &'static str, message: String },
    #[error("{path:?}: {place} declares {declared} rows but holds {found}; the file is damaged")]
    RowCount { path: PathBuf, place: String, declared: i64, found: u64 },
    #[error("{first:?} and {other:?} do not have the same columns: {difference}")]
    Columns { first: PathBuf, other: PathBuf, difference: String },
    #[error("{path:?}: column {name:?} occurs twice, at positions {first} and {second}; names must be distinct{fix}")]
    DuplicateColumn { path: PathBuf, name: String, first: usize, second: usize, fix: &'static str },
    #[error("{path:?}: column {position} has no name; input.csv.names gives names")]
    UnnamedColumn { path: PathBuf, position: usize },
    #[error("{path:?} is empty, not even a header line; input.csv.names gives the columns of files without one")]
    NoHeader { path: PathBuf },
    #[error("{path:?} has {found} columns in its header line but input.csv.names has {expected} names")]
    Names { path: PathBuf, found: usize, expected: usize },
    #[error("{path:?} line {line}: {message}")]
    Encoding { path: PathBuf, line: u64, message: String },
    #[error(
        "{path:?} line {line}: a quote {quote:?} opens a field and is never closed; input.csv.quote = \"\\u0000\" reads quotes as text"
    )]
    OpenQuote { path: PathBuf, line: u64, quote: char },
    #[error(
        "{path:?} line {line}: a record of more than {} MiB; most likely a quote {quote:?} that is never closed; input.csv.quote = \"\\u0000\" reads quotes as text",
        super::records::MAX_RECORD >> 20
    )]
    LongRecord { path: PathBuf, line: u64, quote: char },
    #[error("{path:?} line {line}: {problem}; input.on_bad_row = \"quarantine\" leaves such rows out and counts them")]
    BadRow { path: PathBuf, row: u64, line: u64, problem: String },
    #[error("{setting} = {value:?}: {allowed}")]
    Setting { setting: &'static str, value: char, allowed: &'static str },
    #[error("{setting}: the table has no column {name:?}{}{}", .suggestion.as_ref().map_or(String::new(), |s| format!("; did you mean {s:?}?")), .hint.as_ref().map_or(String::new(), |h| format!("; {h}")))]
    NoColumn { setting: String, name: String, suggestion: Option<String>, hint: Option<String> },
}

const SUFFIXES: &str = ".parquet, .csv, .tsv or .txt, the last three also with .gz or .zst";

impl SourceError {
    pub fn kind(&self) -> ErrorKind {
        match self {
            SourceError::BadRow { .. } => ErrorKind::Quality,
            SourceError::NotFound { .. }
            | SourceError::EmptyFolder { .. }
            | SourceError::Glob { .. }
            | SourceError::Read { .. }
            | SourceError::NotAFile { .. }
            | SourceError::UnknownSuffix { .. }
            | SourceError::MixedFormats { .. }
            | SourceError::Damaged { .. }
            | SourceError::RowCount { .. }
            | SourceError::Columns { .. }
            | SourceError::DuplicateColumn { .. }
            | SourceError::UnnamedColumn { .. }
            | SourceError::NoHeader { .. }
            | SourceError::Names { .. }
            | SourceError::Encoding { .. }
            | SourceError::OpenQuote { .. }
            | SourceError::LongRecord { .. }
            | SourceError::Setting { .. }
            | SourceError::NoColumn { .. } => ErrorKind::Input,
        }
    }
}
