//! One run of the program as a process of its own: its time, its memory, and its manifest.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nichemine::sink::{Manifest, read_manifest};

/// How many threads, in how many processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub threads: usize,
    pub processes: usize,
}

/// What a run took and what it says of itself.
pub struct Run {
    /// From the start of the process to its end.
    pub seconds: f64,
    /// The largest resident memory of each process, added; none where the system does not say.
    pub peak_bytes: Option<u64>,
    pub manifest: Manifest,
    /// What it published.
    pub folder: PathBuf,
}

impl Run {
    /// Runs a job with settings changed.
    pub fn of(job: &Path, settings: &[String], layout: Layout) -> Result<Run, String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nichemine"));
        command.args(["--output", "json", "run"]).arg(job);
        command.args(["-w", &layout.threads.to_string(), "--processes", &layout.processes.to_string()]);
        command.args(settings.iter().flat_map(|setting| ["--set", setting]));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let shown = format!("{command:?}");
        let failed = |error: std::io::Error| format!("cannot run {shown}: {error}");

        let started = Instant::now();
        let child = command.spawn().map_err(failed)?;
        let id = child.id();
        let ended = AtomicBool::new(false);
        let (output, seconds, peak_bytes) = std::thread::scope(|scope| {
            let watch = scope.spawn(|| peak(id, &ended));
            let output = child.wait_with_output();
            let seconds = started.elapsed().as_secs_f64();
            ended.store(true, Ordering::Relaxed);
            (output, seconds, watch.join().expect("the watch does not panic"))
        });
        let output = output.map_err(failed)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("{shown} ended with {}:\n{said}", output.status));
        }
        let summary: serde_json::Value =
            serde_json::from_slice(&output.stdout).map_err(|error| format!("the summary is no JSON: {error}"))?;
        let folder = PathBuf::from(summary["path"].as_str().ok_or("the summary has no path")?);
        let manifest = read_manifest(&folder).map_err(|error| error.to_string())?;
        Ok(Run { seconds, peak_bytes, manifest, folder })
    }
}

/// Looks at a process and those it started until `ended`. The system keeps the largest figure of each for as long as the
/// process lives, so only what is allocated in its last moment can be missed.
fn peak(id: u32, ended: &AtomicBool) -> Option<u64> {
    let mut largest: HashMap<u32, u64> = HashMap::new();
    while !ended.load(Ordering::Relaxed) {
        let started_by_it = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        let others = started_by_it.split_whitespace().filter_map(|id| id.parse().ok());
        for id in std::iter::once(id).chain(others) {
            if let Some(bytes) = resident(id) {
                largest.insert(id, bytes);
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    (!largest.is_empty()).then(|| largest.values().sum())
}

/// The largest resident memory of a process so far, as Linux tells it.
fn resident(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
