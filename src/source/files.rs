//! `[input] path` to the list of files that make up the table.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use xxhash_rust::xxh3::Xxh3;

use super::SourceError;
use crate::job::{InputSpec, TableFormat};

/// One file of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct TableFile {
    pub path: PathBuf,
    /// On disk.
    pub bytes: u64,
    /// Known from a Parquet footer, or when a CSV file holds no rows; other CSV files are counted as they are read.
    pub rows: Option<u64>,
    /// When it was listed; with `bytes` it tells whether the file has changed since.
    pub modified: Option<SystemTime>,
}

/// The files of a table, sorted by path, and their one format.
pub(super) fn list(input: &InputSpec) -> Result<(Vec<TableFile>, TableFormat), SourceError> {
    let path = Path::new(&input.path);
    // A path that exists is taken as it is, even when its name could be read as a glob.
    let mut paths = if path.is_dir() {
        folder(path, &input.path)?
    } else if fs::symlink_metadata(path).is_ok() || !input.path.contains(['*', '?', '[']) {
        vec![path.to_owned()]
    } else {
        matches(&input.path)?
    };
    paths.sort();

    let mut files = Vec::with_capacity(paths.len());
    let mut format: Option<(TableFormat, usize)> = None;
    let single = paths.len() == 1 && !path.is_dir();
    for path in paths {
        let metadata = fs::metadata(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => SourceError::NotFound {
                pattern: input.path.clone(),
                tried: std::path::absolute(&path).unwrap_or_else(|_| path.clone()),
            },
            _ => SourceError::Read { path: path.clone(), source },
        })?;
        if metadata.is_dir() {
            return Err(SourceError::NotAFile { path, what: "a folder" });
        }
        // Opening a pipe would wait for a writer that may never come.
        if !metadata.is_file() {
            return Err(SourceError::NotAFile { path, what: "a pipe, socket or device" });
        }
        let found = match (by_suffix(&path), input.format) {
            (Some(found), None) => found,
            (Some(_), Some(said)) if single => said,
            (Some(found), Some(_)) => found,
            (None, Some(said)) if single || path.extension().is_none() => said,
            (None, _) => return Err(SourceError::UnknownSuffix { path }),
        };
        let (expected, by) = *format.get_or_insert((found, files.len()));
        if expected != found {
            let first: &TableFile = &files[by];
            return Err(SourceError::MixedFormats {
                first: first.path.clone(),
                first_format: name(expected),
                other: path,
                other_format: name(found),
            });
        }
        files.push(TableFile { path, bytes: metadata.len(), rows: None, modified: metadata.modified().ok() });
    }
    let (format, _) = format.expect("at least one path, each with a format");
    Ok((files, format))
}

fn name(format: TableFormat) -> &'static str {
    match format {
        TableFormat::Parquet => "Parquet",
        TableFormat::Csv => "CSV",
    }
}

/// What a file's name says of its format.
pub fn by_suffix(path: &Path) -> Option<TableFormat> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    if name.ends_with(".parquet") {
        return Some(TableFormat::Parquet);
    }
    let plain = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
    [".csv", ".tsv", ".txt"].iter().any(|suffix| plain.ends_with(suffix)).then_some(TableFormat::Csv)
}

/// `_SUCCESS`, `.part.crc`, `_staging`: what other programs leave beside a table.
fn is_skipped(path: &Path) -> bool {
    path.file_name().is_some_and(|name| matches!(name.as_encoded_bytes().first(), Some(b'_' | b'.')))
}

fn folder(path: &Path, pattern: &str) -> Result<Vec<PathBuf>, SourceError> {
    let read = |source| SourceError::Read { path: path.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(path).map_err(read)? {
        let entry = entry.map_err(read)?.path();
        if !is_skipped(&entry) {
            paths.push(entry);
        }
    }
    if paths.is_empty() {
        let tried = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        return Err(SourceError::EmptyFolder { pattern: pattern.to_owned(), tried });
    }
    Ok(paths)
}

fn matches(pattern: &str) -> Result<Vec<PathBuf>, SourceError> {
    let glob_error = |message: String| SourceError::Glob { pattern: pattern.to_owned(), message };
    // `*.csv` leaves out `_old.csv`, `_*.csv` asks for it.
    let last = Path::new(pattern).file_name();
    let asked = last.is_some_and(|name| matches!(name.as_encoded_bytes().first(), Some(b'_' | b'.')));
    let mut paths = Vec::new();
    for path in glob::glob(pattern).map_err(|error| glob_error(error.to_string()))? {
        let path = path.map_err(|error| SourceError::Read { path: error.path().to_owned(), source: error.into() })?;
        if asked || !is_skipped(&path) {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        let tried = std::path::absolute(pattern).unwrap_or_else(|_| PathBuf::from(pattern));
        return Err(SourceError::NotFound { pattern: pattern.to_owned(), tried });
    }
    Ok(paths)
}

/// Bytes at each end of a CSV file that go into the digest. A Parquet file's end covers its footer instead.
const DIGEST_BYTES: u64 = 64 << 10;

/// Of names, sizes and contents sampled where a change of the table shows: the footers of Parquet files, which hold
/// each column chunk's place and size, and both ends of CSV files. Folders and times do not count, so that peers
/// that mount the table at different places agree.
pub(super) fn digest(files: &[TableFile], format: TableFormat) -> Result<String, SourceError> {
    let mut hash = Xxh3::new();
    for file in files {
        let name = file.path.file_name().unwrap_or_default().as_encoded_bytes();
        hash.update(&(name.len() as u64).to_le_bytes());
        hash.update(name);
        hash.update(&file.bytes.to_le_bytes());
        let read = |source| SourceError::Read { path: file.path.clone(), source };
        let mut handle = File::open(&file.path).map_err(read)?;
        let tail = match format {
            TableFormat::Csv => {
                feed(&mut handle, &mut hash, 0, DIGEST_BYTES.min(file.bytes)).map_err(read)?;
                DIGEST_BYTES
            }
            TableFormat::Parquet => footer_length(&mut handle, file.bytes).map_err(read)?,
        };
        let from = file.bytes.saturating_sub(tail);
        feed(&mut handle, &mut hash, from, file.bytes - from).map_err(read)?;
    }
    Ok(format!("{:032x}", hash.digest128()))
}

/// A Parquet file ends with its footer, four bytes with the footer's length, and four of magic.
fn footer_length(file: &mut File, bytes: u64) -> std::io::Result<u64> {
    let mut length = [0; 4];
    file.seek(SeekFrom::Start(bytes.saturating_sub(8)))?;
    file.read_exact(&mut length)?;
    Ok(u64::from(u32::from_le_bytes(length)) + 8)
}

fn feed(file: &mut File, hash: &mut Xxh3, from: u64, bytes: u64) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(from))?;
    let mut part = file.take(bytes);
    let mut buffer = vec![0; DIGEST_BYTES as usize];
    loop {
        match part.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => hash.update(&buffer[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The first file whose size or time is no longer what it was when it was listed.
pub(super) fn changed(files: &[TableFile]) -> Option<PathBuf> {
    let changed = |file: &&TableFile| match fs::metadata(&file.path) {
        Ok(now) => now.len() != file.bytes || now.modified().ok() != file.modified,
        Err(_) => true,
    };
    files.iter().find(changed).map(|file| file.path.clone())
}
