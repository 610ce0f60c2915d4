//! The program as a user starts it, in a folder of its own, and what it leaves there.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use nichemine::job::Language;
use nichemine::planted::{Planting, plant};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// Nothing here takes more than a few seconds; a program that is still there after this has hung.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A run of the program that has ended, with all its children: they write to the same pipes.
#[derive(Debug)]
pub struct Ended {
    /// None where a signal ended it.
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// Asserts that it published, or whatever else success is.
    #[track_caller]
    pub fn well(self) -> Ended {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self
    }

    /// Asserts the exit code, that the message has all of these, and that it is the program's own message.
    #[track_caller]
    pub fn refused(self, code: i32, says: &[&str]) -> Ended {
        assert!(!self.err.contains("bug in nichemine"), "{}", self.err);
        assert_eq!(self.code, Some(code), "{}", self.err);
        says.iter().for_each(|part| assert!(self.err.contains(part), "{part:?} is not in: {}", self.err));
        self
    }
}

/// A program that runs.
pub struct Running {
    child: Child,
    texts: Receiver<(bool, Vec<u8>)>,
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for it and for its children.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        let mut texts = [String::new(), String::new()];
        for _ in 0..2 {
            let Ok((is_err, text)) = self.texts.recv_timeout(LIMIT) else {
                panic!("it, or a child of it, still runs after {LIMIT:?}; so far: {texts:?}");
            };
            texts[usize::from(is_err)] = String::from_utf8(text).expect("its output is UTF-8");
        }
        let code = self.child.wait().unwrap().code();
        let [out, err] = texts;
        Ended { code, out, err }
    }

    pub fn signal(&self, signal: &str) {
        signal_pid(signal, self.pid());
    }

    /// Ids of the processes that it started and that are still there.
    pub fn children(&self) -> Vec<u32> {
        let path = format!("/proc/{0}/task/{0}/children", self.pid());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }

    /// Polls until `event`, which comes while the program runs.
    #[track_caller]
    pub fn until<T>(&self, mut event: impl FnMut(&Running) -> Option<T>) -> T {
        let started = std::time::Instant::now();
        loop {
            if let Some(found) = event(self) {
                return found;
            }
            assert!(started.elapsed() < LIMIT, "what is waited for does not come");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Where a test failed; an ended child is no longer there to be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn signal_pid(signal: &str, pid: u32) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

/// A folder with tables, jobs and outputs; the program's working directory.
pub struct Folder {
    dir: TempDir,
}

impl Folder {
    pub fn new() -> Folder {
        Folder { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Folder {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    pub fn start(&self, arguments: &str) -> Running {
        self.start_with(&arguments.split_whitespace().collect::<Vec<_>>())
    }

    pub fn start_with(&self, arguments: &[&str]) -> Running {
        let mut child = Command::new(env!("CARGO_BIN_EXE_nichemine"))
            .args(arguments)
            .current_dir(self.dir.path())
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, texts) = channel();
        let pipes: [(bool, Box<dyn Read + Send>); 2] =
            [(false, Box::new(child.stdout.take().unwrap())), (true, Box::new(child.stderr.take().unwrap()))];
        for (is_err, mut pipe) in pipes {
            let send = send.clone();
            std::thread::spawn(move || {
                let mut text = Vec::new();
                pipe.read_to_end(&mut text).unwrap();
                // The test may have failed and gone by now.
                let _ = send.send((is_err, text));
            });
        }
        Running { child, texts }
    }

    /// Runs the program to its end, with arguments separated by spaces.
    #[track_caller]
    pub fn nichemine(&self, arguments: &str) -> Ended {
        self.start(arguments).end()
    }

    /// Runs `job.toml`; gives the published run's folder.
    #[track_caller]
    pub fn publish(&self, job: &str, arguments: &str) -> PathBuf {
        self.write("job.toml", job);
        let ended = self.nichemine(&format!("run job.toml --output json {arguments}")).well();
        let summary: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
        self.path(summary["path"].as_str().unwrap())
    }
}

/// File names below a folder with the SHA-256 of their bytes; links by their target.
pub fn digests(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            if path.is_symlink() {
                found.insert(name, std::fs::read_link(&path).unwrap().display().to_string());
            } else if path.is_dir() {
                folders.push(path);
            } else {
                let digest = Sha256::digest(std::fs::read(&path).unwrap());
                found.insert(name, digest.iter().map(|byte| format!("{byte:02x}")).collect());
            }
        }
    }
    found
}

/// The files of a run that two runs of the same job have in common.
pub fn answer(run: &Path) -> BTreeMap<String, String> {
    let mut files = digests(run);
    for clock in ["manifest.json", "metrics.prom"] {
        assert!(files.remove(clock).is_some(), "{clock}");
    }
    files
}

pub fn json(path: impl AsRef<Path>) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A Parquet file as one batch.
pub fn parquet(path: impl AsRef<Path>) -> RecordBatch {
    let builder = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap()).unwrap();
    let schema = Arc::clone(builder.schema());
    let batches: Vec<RecordBatch> = builder.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

/// Writes a batch in row groups of this many rows.
pub fn write_parquet(path: &Path, batch: &RecordBatch, group: usize) {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group)).build();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

/// A planted table of 60,000 customers in all languages and formats that the program knows, made once.
pub fn planted(name: &str) -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let folder = MADE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("planted");
        std::fs::create_dir_all(&folder).unwrap();
        let planting = Planting { customers: 60_000, features: 8, niches: 6, seed: 11, ..Planting::default() };
        plant(&planting, &folder.join("en.parquet")).unwrap();
        plant(&planting, &folder.join("en.csv")).unwrap();
        plant(&Planting { language: Language::Zh, ..planting.clone() }, &folder.join("zh.parquet")).unwrap();
        folder
    });
    folder.join(name)
}

/// Numbers that look random and are always the same (SplitMix64, Steele et al., 2014).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}
