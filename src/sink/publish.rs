//! A finished run made visible all at once: staged, synced, renamed, pointed to; old runs expired.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::documents::Manifest;
use super::staging::{Staging, hex, sync_folder};
use super::{RunResult, change, documents, migration, packages, prom, report, sums, tables};
use crate::encode::civil;
use crate::telemetry::StageRecord;

/// Why a run could not be published. The runs that were there before are untouched, and so is `latest`.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error("another run holds {dir:?}; wait for it to end, or choose another output.dir")]
    Taken { dir: PathBuf },
    #[error("cannot write {path:?}; check output.dir, its permissions and the free space there")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot write {path:?}: {message}")]
    Format { path: PathBuf, message: String },
    #[error("{path:?} is not a link to a run and is not overwritten; move it away, or choose another output.dir")]
    Foreign { path: PathBuf },
    #[error("the row accounts do not close: read {read}, kept {kept} + quarantined {quarantined} + merged {merged}")]
    Unbalanced { read: u64, kept: u64, quarantined: u64, merged: u64 },
}

/// What a caller makes an exit code of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Another run holds the output: exit code 5.
    Taken,
    /// No space, or no quota left: exit code 6.
    Resource,
    /// The output cannot be written for another reason (permissions, not a folder): exit code 3.
    Output,
    /// The result contradicts itself: exit code 1.
    Bug,
}

impl SinkError {
    pub(super) fn write(path: &Path, source: io::Error) -> SinkError {
        SinkError::Write { path: path.to_owned(), source }
    }

    pub fn kind(&self) -> ErrorKind {
        match self {
            SinkError::Taken { .. } => ErrorKind::Taken,
            SinkError::Write { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                    ErrorKind::Resource
                }
                _ => ErrorKind::Output,
            },
            SinkError::Foreign { .. } => ErrorKind::Output,
            SinkError::Format { .. } | SinkError::Unbalanced { .. } => ErrorKind::Bug,
        }
    }
}

/// A run that readers can see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    pub run_id: String,
    /// `DIR/runs/<run id>`.
    pub path: PathBuf,
    /// Ids of the runs that were removed because there were more than `output.keep_runs`.
    pub expired: Vec<String>,
}

/// The right to publish into one output folder, held until it is dropped.
#[derive(Debug)]
pub struct Publisher {
    dir: PathBuf,
    // The lock is the system's: it ends with the process, however that ends.
    _lock: File,
    /// Bytes a run may take; a disk that fills up, in tests.
    #[cfg(test)]
    pub(super) room: std::cell::Cell<i64>,
}

const STAGING: &str = ".staging-";
pub(super) const SUCCESS: &str = "_SUCCESS";

/// How long an output folder may still be held by what is left of a run that has ended.
const PATIENCE: Duration = Duration::from_millis(500);

/// Removes what was staged and never published. Only for whoever holds the lock of the output folder.
pub fn clear_staging(dir: &Path) -> Result<(), SinkError> {
    let runs = dir.join("runs");
    for name in names(&runs)?.iter().filter(|name| name.starts_with(STAGING)) {
        let stale = runs.join(name);
        std::fs::remove_dir_all(&stale).map_err(|source| SinkError::write(&stale, source))?;
    }
    Ok(())
}

impl Publisher {
    /// Takes the output folder for this process, making it if need be, and clears away what a dead run left staged.
    pub fn lock(dir: &Path) -> Result<Publisher, SinkError> {
        let runs = dir.join("runs");
        std::fs::create_dir_all(&runs).map_err(|source| SinkError::write(&runs, source))?;
        let path = dir.join(".lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|source| SinkError::write(&path, source))?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                // A run that is interrupted while it starts its other processes leaves them the lock until they are loaded.
                Err(TryLockError::WouldBlock) if started.elapsed() < PATIENCE => std::thread::sleep(PATIENCE / 50),
                Err(TryLockError::WouldBlock) => return Err(SinkError::Taken { dir: dir.to_owned() }),
                Err(TryLockError::Error(source)) => return Err(SinkError::write(&path, source)),
            }
        }
        let latest = dir.join("latest");
        if let Ok(found) = latest.symlink_metadata()
            && (found.is_dir() || (cfg!(unix) && !found.is_symlink()))
        {
            return Err(SinkError::Foreign { path: latest });
        }
        clear_staging(dir)?;
        Ok(Publisher {
            dir: dir.to_owned(),
            _lock: file,
            #[cfg(test)]
            room: i64::MAX.into(),
        })
    }

    /// Writes a result and makes it the latest run.
    pub fn publish(&self, result: &RunResult) -> Result<Published, SinkError> {
        let rows = result.quality.rows;
        if !rows.balanced() {
            return Err(SinkError::Unbalanced {
                read: rows.read,
                kept: rows.kept,
                quarantined: rows.quarantined,
                merged: rows.merged,
            });
        }
        let runs = self.dir.join("runs");
        let run_id = self.free_id(result)?;
        let root = runs.join(format!("{STAGING}{run_id}"));
        let published = self.stage(&root, &run_id, result).and_then(|()| {
            let path = runs.join(&run_id);
            std::fs::rename(&root, &path).map_err(|source| SinkError::write(&path, source))?;
            sync_folder(&runs)?;
            Ok(path)
        });
        let path = match published {
            Ok(path) => path,
            Err(error) => {
                // What cannot be removed now is removed by the next run that takes the lock.
                let _ = std::fs::remove_dir_all(&root);
                return Err(error);
            }
        };
        self.point_latest(&run_id)?;
        // The next run of the same job on the same table is compared with the run that this one is.
        let compared = result.previous.as_deref();
        let expired = self.expire(result.job.output.keep_runs, &run_id, compared);
        Ok(Published { run_id, path, expired })
    }

    fn stage(&self, root: &Path, run_id: &str, result: &RunResult) -> Result<(), SinkError> {
        let started = std::time::Instant::now();
        let staging = Staging::new(root.to_owned())?;
        #[cfg(test)]
        staging.room.store(self.room.get(), std::sync::atomic::Ordering::Relaxed);
        let step = |what: &str| tracing::debug!(seconds = started.elapsed().as_secs_f64(), "{what}");
        tables::write_segments(&staging, result)?;
        sums::write_sums(&staging, result)?;
        change::write_change(&staging, result)?;
        migration::write(&staging, result)?;
        step("segments written");
        tables::write_highlights(&staging, result)?;
        packages::write(&staging, result)?;
        step("packages written");
        documents::write_groups(&staging, result)?;
        documents::write_features(&staging, result)?;
        documents::write_quality(&staging, result)?;
        step("documents written");
        let html = report::report(result, result.job.output.language);
        staging.write("report.html", |out| io::Write::write_all(out, html.as_bytes()))?;
        let mut manifest = Manifest::of(result, run_id, SystemTime::now(), staging.files());
        let (seconds, out) = (started.elapsed().as_secs_f64(), manifest.files.len() as u64);
        manifest.stages.push(StageRecord { name: "sink".into(), seconds, out });
        staging.write("metrics.prom", |out| prom::write(out, result, &manifest))?;
        documents::write_manifest(&staging, &manifest)?;
        // A run folder is complete if it says so: nothing of it may reach the disk after this file.
        staging.sync_folders()?;
        staging.write(SUCCESS, |_| Ok::<(), io::Error>(()))?;
        sync_folder(root)
    }

    /// UTC time and a digest of job and input; numbered when two runs start within a second, whatever their digests, always
    /// upwards: a number that an expired run had would make the new run older than those it follows.
    fn free_id(&self, result: &RunResult) -> Result<String, SinkError> {
        let mut digest = Sha256::new();
        digest.update(result.job.identity());
        digest.update([0]);
        digest.update(&result.table.digest);
        let time = compact_time(result.started);
        let stem = format!("{time}-{}", &hex(&digest.finalize())[..8]);
        let names = names(&self.dir.join("runs"))?;
        let taken = names.iter().filter(|name| is_run_id(name) && name.starts_with(&time));
        Ok(match taken.map(|name| age(name).1).max() {
            Some(number) => format!("{stem}-{}", number.saturating_add(1)),
            None => stem,
        })
    }

    /// Replaces `latest` by one rename, so that a reader finds the old run or the new one.
    fn point_latest(&self, run_id: &str) -> Result<(), SinkError> {
        let (latest, next) = (self.dir.join("latest"), self.dir.join(".latest-tmp"));
        match std::fs::remove_file(&next) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(SinkError::write(&next, source)),
            _ => {}
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(Path::new("runs").join(run_id), &next)
            .map_err(|source| SinkError::write(&next, source))?;
        #[cfg(not(unix))]
        std::fs::write(&next, format!("runs/{run_id}\n")).map_err(|source| SinkError::write(&next, source))?;
        std::fs::rename(&next, &latest).map_err(|source| SinkError::write(&latest, source))?;
        sync_folder(&self.dir)
    }

    /// Removes the oldest runs beyond `keep`, but not the one that the new run is compared with. The new run is published by now, so
    /// what fails here is only logged.
    fn expire(&self, keep: usize, new: &str, compared: Option<&str>) -> Vec<String> {
        let runs = self.dir.join("runs");
        let mut complete: Vec<String> = names(&runs)
            .unwrap_or_default()
            .into_iter()
            .filter(|name| name != new && is_run_id(name) && runs.join(name).join(SUCCESS).is_file())
            .filter(|name| runs.join(name).symlink_metadata().is_ok_and(|found| found.is_dir()))
            .collect();
        complete.sort_by(|a, b| age(a).cmp(&age(b)).then_with(|| a.cmp(b)));
        let surplus = (complete.len() + 1).saturating_sub(keep.max(1)).min(complete.len());
        complete.truncate(surplus);
        complete.retain(|name| Some(name.as_str()) != compared);
        complete.retain(|name| {
            // Renamed first: a run is there whole or not at all, even while it is being removed.
            let doomed = runs.join(format!("{STAGING}expired-{name}"));
            let removed = std::fs::rename(runs.join(name), &doomed).and_then(|()| std::fs::remove_dir_all(&doomed));
            if let Err(error) = &removed {
                tracing::warn!(run = name, %error, "cannot remove an expired run");
            }
            removed.is_ok()
        });
        complete
    }
}

/// Oldest first, and `-10` after `-9`: the time, and the number within its second.
pub(super) fn age(run_id: &str) -> (&str, u64) {
    let mut parts = run_id.splitn(3, '-');
    let time = parts.next().unwrap_or_default();
    (time, parts.nth(1).and_then(|n| n.parse().ok()).unwrap_or(1))
}

pub(super) fn names(folder: &Path) -> Result<Vec<String>, SinkError> {
    let entries = std::fs::read_dir(folder).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    let entries = entries.map_err(|source| SinkError::write(folder, source))?;
    let mut names: Vec<String> = entries.iter().filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

/// Whether a folder's name is that of a run: `YYYYMMDDTHHMMSSZ-xxxxxxxx`, with `-2`, `-3` ... where that was taken.
pub fn is_run_id(name: &str) -> bool {
    let form = "########T######Z-xxxxxxxx";
    let Some((stem, number)) = name.split_at_checked(form.len()) else { return false };
    let fits = stem.bytes().zip(form.bytes()).all(|(byte, form)| match form {
        b'#' => byte.is_ascii_digit(),
        b'x' => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        fixed => byte == fixed,
    });
    let number = number.strip_prefix('-').unwrap_or(if number.is_empty() { "2" } else { "" });
    fits && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
}

/// Year, month, day, hour, minute and second of a time, UTC.
fn clock(time: SystemTime) -> (i64, u32, u32, u64, u64, u64) {
    // A clock before 1970 is a machine without one; its runs still need ids.
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let (year, month, day) = civil((seconds / 86_400) as i64);
    (year, month, day, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

fn compact_time(time: SystemTime) -> String {
    let (year, month, day, hour, minute, second) = clock(time);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// RFC 3339, to the second.
pub(super) fn rfc3339(time: SystemTime) -> String {
    let (year, month, day, hour, minute, second) = clock(time);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::sink::sample::Sample;
    use crate::sink::verify;

    fn tree(folder: &Path) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(at) = folders.pop() {
            for name in names(&at).expect("a folder") {
                let path = at.join(name);
                if path.is_symlink() {
                    continue;
                }
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(folder).expect("below").to_string_lossy().into_owned();
                    files.push((name, std::fs::read(&path).expect("a file")));
                }
            }
        }
        files.sort();
        files
    }

    #[test]
    fn times_are_written_in_utc_by_the_calendar() {
        // 2024-02-29T12:34:56Z: 19,782 days and 45,296 seconds after the epoch.
        let time = UNIX_EPOCH + Duration::from_secs(19_782 * 86_400 + 45_296);
        assert_eq!(compact_time(time), "20240229T123456Z");
        assert_eq!(rfc3339(time), "2024-02-29T12:34:56Z");
    }

    #[test]
    fn only_the_names_that_runs_are_given_are_run_ids() {
        for name in ["20240229T123456Z-0123abcd", "20240229T123456Z-0123abcd-2", "20240229T123456Z-0123abcd-12"] {
            assert!(is_run_id(name), "{name}");
        }
        for name in [
            "",
            "latest",
            "20240229T123456Z",
            "20240229T123456Z-0123ABCD",
            "20240229T123456Z-0123abcd-",
            "20240229T123456Z-0123abcd-x",
            "20240229T123456Z-0123abcd.bak",
            "20240229T12345é",
        ] {
            assert!(!is_run_id(name), "{name}");
        }
    }

    #[test]
    fn publishing_the_same_result_twice_gives_the_same_bytes_but_for_the_clock_files() {
        let sample = Sample::new();
        let dir = tempfile::tempdir().expect("a folder");
        let publisher = Publisher::lock(dir.path()).expect("free");
        let first = publisher.publish(&sample.result()).expect("published");
        let second = publisher.publish(&sample.result()).expect("published");
        assert_eq!(second.run_id, format!("{}-2", first.run_id));
        let [first, second] = [&first, &second].map(|p| {
            let mut files = tree(&p.path);
            files.retain(|(name, _)| !matches!(name.as_str(), "manifest.json" | "metrics.prom"));
            files
        });
        assert_eq!(first.len(), 11, "{:?}", first.iter().map(|f| &f.0).collect::<Vec<_>>());
        assert_eq!(first, second);
        let latest = std::fs::read_link(dir.path().join("latest")).expect("a link");
        assert!(latest.is_relative() && dir.path().join(latest).join(SUCCESS).is_file());
    }

    #[test]
    fn a_second_publisher_is_told_that_the_output_is_taken_until_the_first_is_gone() {
        let dir = tempfile::tempdir().expect("a folder");
        let first = Publisher::lock(dir.path()).expect("free");
        let error = Publisher::lock(dir.path()).expect_err("held");
        assert_eq!(error.kind(), ErrorKind::Taken);
        assert!(error.to_string().contains("another run holds"), "{error}");
        drop(first);
        Publisher::lock(dir.path()).expect("free again");
    }

    #[test]
    fn a_disk_that_fills_up_at_any_point_leaves_the_earlier_run_alone() {
        let sample = Sample::new();
        let dir = tempfile::tempdir().expect("a folder");
        let publisher = Publisher::lock(dir.path()).expect("free");
        publisher.publish(&sample.result()).expect("published");
        let before = tree(dir.path());
        let size: usize = before.iter().map(|(_, content)| content.len()).sum();
        for room in (0..10).map(|tenth| size * tenth / 10) {
            publisher.room.set(room as i64);
            let error = publisher.publish(&sample.result()).expect_err("no room");
            assert_eq!(error.kind(), ErrorKind::Resource, "{room}: {error:?}");
            assert!(error.to_string().contains(".staging-"), "names the path: {error}");
            assert_eq!(tree(dir.path()), before, "with room for {room} of {size} bytes");
        }
        publisher.room.set(i64::MAX);
        publisher.publish(&sample.result()).expect("published again");
    }

    #[test]
    fn an_output_that_is_no_folder_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("out");
        std::fs::write(&file, "mine").expect("written");
        let error = Publisher::lock(&file).expect_err("a file");
        assert_eq!(error.kind(), ErrorKind::Output);
        assert!(error.to_string().contains("out"), "{error}");
        assert_eq!(std::fs::read(&file).expect("still there"), b"mine");
    }

    #[test]
    fn a_latest_of_somebody_elses_is_not_overwritten() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(dir.path().join("latest")).expect("made");
        let error = Publisher::lock(dir.path()).expect_err("not ours");
        assert!(matches!(error, SinkError::Foreign { .. }), "{error}");
    }

    #[test]
    fn what_a_dead_run_left_staged_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a folder");
        let runs = dir.path().join("runs");
        std::fs::create_dir_all(runs.join(".staging-20240101T000000Z-00000000/audience")).expect("made");
        std::fs::create_dir_all(runs.join("notes")).expect("made");
        Publisher::lock(dir.path()).expect("free");
        assert_eq!(names(&runs).expect("a folder"), ["notes"]);
    }

    #[test]
    fn old_runs_expire_and_folders_that_are_no_runs_stay() {
        let sample = Sample::with("[output]\nkeep_runs = 2\n");
        let dir = tempfile::tempdir().expect("a folder");
        let runs = dir.path().join("runs");
        // No _SUCCESS, a name of somebody else's, and one that is from the future but complete.
        std::fs::create_dir_all(runs.join("20200101T000000Z-00000000")).expect("made");
        std::fs::create_dir_all(runs.join("keep me")).expect("made");
        std::fs::write(runs.join("keep me").join(SUCCESS), "").expect("written");
        let publisher = Publisher::lock(dir.path()).expect("free");
        // Of tables that change, all within one second: the digests say nothing of the order.
        let publish = |n: u32| {
            let mut result = sample.result();
            result.table.digest = n.to_string();
            publisher.publish(&result).expect("published").run_id
        };
        let ids: Vec<String> = (0..12).map(publish).collect();
        assert!(!ids.is_sorted_by_key(|id| &id[17..25]), "{ids:?}");
        let left = names(&runs).expect("a folder");
        assert_eq!(
            left.iter().map(String::as_str).collect::<BTreeSet<_>>(),
            BTreeSet::from(["20200101T000000Z-00000000", ids[10].as_str(), ids[11].as_str(), "keep me"])
        );
        verify(&dir.path().join("latest")).expect("the newest is whole");
    }

    #[test]
    fn accounts_that_do_not_close_are_not_published() {
        let mut sample = Sample::new();
        sample.quality.rows.read += 1;
        let dir = tempfile::tempdir().expect("a folder");
        let error = Publisher::lock(dir.path()).expect("free").publish(&sample.result()).expect_err("unbalanced");
        assert_eq!(error.kind(), ErrorKind::Bug);
    }
}
