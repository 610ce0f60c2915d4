//! The folder a run is written to before it is published: every byte counted, digested and synced.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use sha2::{Digest, Sha256};

use super::documents::ManifestFile;
use super::publish::SinkError;

/// A run in the making. Files are written through it, so that the manifest can list what reached the disk.
pub(super) struct Staging {
    pub root: PathBuf,
    // Audience files are written by several threads, each of which adds its own entry.
    written: Mutex<BTreeMap<String, ManifestFile>>,
    /// Bytes it may still take: without limit but in tests, where it stands in for a disk that fills up.
    pub room: AtomicI64,
}

impl Staging {
    pub fn new(root: PathBuf) -> Result<Staging, SinkError> {
        std::fs::create_dir(&root).map_err(|source| SinkError::write(&root, source))?;
        Ok(Staging { root, written: Mutex::default(), room: AtomicI64::new(i64::MAX) })
    }

    /// Writes one file, `name` being its path below the run with `/` between the parts.
    pub fn write<E: Into<WriteError>>(
        &self,
        name: &str,
        fill: impl FnOnce(&mut Output) -> Result<(), E>,
    ) -> Result<(), SinkError> {
        let path = self.root.join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| SinkError::write(folder, source))?;
        }
        let (bytes, sha256) = write_file(&path, &self.room, fill)?;
        let entry = ManifestFile { path: name.to_owned(), bytes, sha256 };
        self.written.lock().expect("no writer panics while it holds the list").insert(entry.path.clone(), entry);
        Ok(())
    }

    /// What was written so far, by path.
    pub fn files(&self) -> Vec<ManifestFile> {
        self.written.lock().expect("no writer panics while it holds the list").values().cloned().collect()
    }

    /// Makes the names of all files last, the innermost folders first.
    pub fn sync_folders(&self) -> Result<(), SinkError> {
        let mut folders = vec![self.root.clone()];
        let mut at = 0;
        while at < folders.len() {
            let entries = std::fs::read_dir(&folders[at]).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
            for entry in entries.map_err(|source| SinkError::write(&folders[at], source))? {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(entry.path());
                }
            }
            at += 1;
        }
        folders.iter().rev().try_for_each(|folder| sync_folder(folder))
    }
}

/// Writes a file that was not there, and syncs it; gives its bytes, and their SHA-256. `room`: bytes that it may take.
pub(super) fn write_file<E: Into<WriteError>>(
    path: &Path,
    room: &AtomicI64,
    fill: impl FnOnce(&mut Output) -> Result<(), E>,
) -> Result<(u64, String), SinkError> {
    let file = File::create_new(path).map_err(|source| SinkError::write(path, source))?;
    let mut output = Output {
        file: BufWriter::with_capacity(1 << 18, Counted { file, room, failed: None }),
        bytes: 0,
        digest: Sha256::new(),
    };
    let filled = fill(&mut output).map_err(Into::into);
    let Output { file, bytes, digest } = output;
    // A format's writer may wrap the cause beyond recognition; the file itself remembers it.
    let (counted, flushed) = match file.into_inner() {
        Ok(counted) => (Some(counted), Ok(())),
        Err(error) => {
            let (error, buffer) = error.into_parts();
            (Some(buffer.into_parts().0), Err(error))
        }
    };
    let mut counted = counted.expect("the buffer gives its file back either way");
    if let Some(source) = counted.failed.take() {
        return Err(SinkError::write(path, source));
    }
    match filled {
        Err(WriteError::Io(source)) => return Err(SinkError::write(path, source)),
        Err(WriteError::Format(message)) => return Err(SinkError::Format { path: path.to_owned(), message }),
        Ok(()) => {}
    }
    flushed.and_then(|()| counted.file.sync_all()).map_err(|source| SinkError::write(path, source))?;
    Ok((bytes, hex(&digest.finalize())))
}

/// Makes the names in a folder last. Not every system can; there the rename is all there is.
pub(super) fn sync_folder(folder: &Path) -> Result<(), SinkError> {
    if cfg!(unix) {
        File::open(folder).and_then(|f| f.sync_all()).map_err(|source| SinkError::write(folder, source))?;
    }
    Ok(())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What writing a file's content can fail with.
pub(super) enum WriteError {
    Io(io::Error),
    Format(String),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        WriteError::Io(error)
    }
}

macro_rules! format_errors {
    ($($error:ty),*) => { $(
        impl From<$error> for WriteError {
            fn from(error: $error) -> Self {
                WriteError::Format(error.to_string())
            }
        }
    )* };
}
format_errors!(parquet::errors::ParquetError, arrow::error::ArrowError, csv::Error, serde_json::Error);

/// A file being written.
pub(super) struct Output<'a> {
    file: BufWriter<Counted<'a>>,
    bytes: u64,
    digest: Sha256,
}

impl Write for Output<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buffer)?;
        self.digest.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The file below the buffer: remembers the first error.
struct Counted<'a> {
    file: File,
    room: &'a AtomicI64,
    failed: Option<io::Error>,
}

impl Counted<'_> {
    fn take_room(&self, bytes: usize) -> io::Result<()> {
        let bytes = bytes as i64;
        if self.room.fetch_sub(bytes, Ordering::Relaxed) < bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl Write for Counted<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let result = self.take_room(buffer.len()).and_then(|()| self.file.write(buffer));
        if let Err(error) = &result
            && error.kind() != io::ErrorKind::Interrupted
            && self.failed.is_none()
        {
            self.failed = Some(match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => error.kind().into(),
            });
        }
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
