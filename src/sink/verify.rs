//! A published run checked: every byte against the manifest, every account against the others.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::change::read_change;
use super::documents::{GroupsFile, Manifest, ManifestFile, read_groups, read_manifest};
use super::migration::{MIGRATION, read_migration};
use super::publish::is_run_id;
use super::staging::hex;

/// What was checked and found good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    pub run_id: String,
    pub checks: Vec<Check>,
}

/// One check that held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    /// The figures that were compared.
    pub detail: String,
}

/// The first thing that is wrong with a run.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("{path:?} has no _SUCCESS; it is not a published run{}", latest(path))]
    Unpublished { path: PathBuf },
    #[error("cannot read {path:?}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path:?} is damaged: {message}")]
    Malformed { path: PathBuf, message: String },
    #[error("{path:?} is listed in manifest.json, which may only name files of the run")]
    Outside { path: String },
    #[error("{path:?} is missing; manifest.json lists it with {bytes} bytes")]
    Missing { path: String, bytes: u64 },
    #[error("{path:?} is not listed in manifest.json")]
    Unlisted { path: String },
    #[error("{path:?} has {found} bytes; manifest.json says {expected}")]
    Size { path: String, expected: u64, found: u64 },
    #[error("{path:?} has sha256 {found}; manifest.json says {expected}")]
    Checksum { path: String, expected: String, found: String },
    #[error("manifest.json says {read} rows read, but {kept} kept + {quarantined} quarantined + {merged} merged")]
    Rows { read: u64, kept: u64, quarantined: u64, merged: u64 },
    #[error("{path:?} has {found} customers; groups.json says {expected}")]
    GroupSize { path: PathBuf, expected: i64, found: i64 },
    #[error("the groups have {assigned} customers; manifest.json says {customers} in all")]
    TooMany { assigned: i64, customers: u64 },
    #[error("customer {id:?} is in {first:?} and again in {second:?}; a customer is in one group at most")]
    Repeated { id: String, first: PathBuf, second: PathBuf },
    #[error("{path:?} is not sorted by customer: {second:?} comes after {first:?}")]
    Unsorted { path: PathBuf, first: String, second: String },
}

/// The run that was meant, where a job's output folder was given.
fn latest(path: &Path) -> String {
    let latest = path.join("latest");
    if latest.join("_SUCCESS").is_file() { format!("; did you mean {latest:?}?") } else { String::new() }
}

/// Not in the manifest's list: they hold clock times, or say that the rest is complete.
const UNLISTED: [&str; 3] = ["manifest.json", "metrics.prom", "_SUCCESS"];

/// Checks a published run, `DIR/latest` or `DIR/runs/<run id>`.
pub fn verify(run: &Path) -> Result<VerifyReport, VerifyError> {
    if !run.join("_SUCCESS").is_file() {
        return Err(VerifyError::Unpublished { path: run.to_owned() });
    }
    let manifest = read_manifest(run)?;
    if !is_run_id(&manifest.run_id) {
        let message = format!("run_id {:?} is not one", manifest.run_id);
        return Err(VerifyError::Malformed { path: run.join("manifest.json"), message });
    }
    let mut checks = Vec::new();
    let mut check = |name: &str, detail: String| checks.push(Check { name: name.into(), detail });
    check("published", "_SUCCESS is there and manifest.json can be read".into());
    check("files", verify_files(run, &manifest)?);
    check("rows", verify_rows(&manifest)?);
    let groups = read_groups(run)?;
    let assigned: i64 = groups.groups.iter().map(|g| g.measures.uv).sum();
    check("audiences", verify_audiences(run, &groups)?);
    if u64::try_from(assigned).map_or(true, |assigned| assigned > manifest.customers) {
        return Err(VerifyError::TooMany { assigned, customers: manifest.customers });
    }
    if manifest.files.iter().any(|file| file.path == "change.json") {
        let change = read_change(run)?;
        if let Some(message) = change.contradiction() {
            return Err(VerifyError::Malformed { path: run.join("change.json"), message });
        }
        check(
            "change",
            format!(
                "{} steps and the rest, and the values of {} features, each add up to the whole change",
                change.steps.len(),
                change.features.len()
            ),
        );
    }
    if let Some(migration) = read_migration(run)? {
        if let Some(message) = migration.contradiction() {
            return Err(VerifyError::Malformed { path: run.join(MIGRATION), message });
        }
        let (then, now) = (migration.previous.groups.len(), migration.groups.len());
        check("migration", format!("who went from {then} groups to {now} adds up to each of them"));
    }
    check("customers", format!("{assigned} of {} customers are in a group", manifest.customers));
    Ok(VerifyReport { run_id: manifest.run_id, checks })
}

fn verify_files(run: &Path, manifest: &Manifest) -> Result<String, VerifyError> {
    let mut listed: BTreeSet<&str> = UNLISTED.into();
    let mut bytes = 0;
    for file in &manifest.files {
        verify_file(run, file)?;
        listed.insert(&file.path);
        bytes += file.bytes;
    }
    match files_below(run, "")?.into_iter().find(|path| !listed.contains(path.as_str())) {
        Some(path) => Err(VerifyError::Unlisted { path }),
        None => {
            Ok(format!("{} files, {bytes} bytes, each with its size and sha256, and no others", manifest.files.len()))
        }
    }
}

/// Whether a file is as the manifest lists it.
pub(super) fn verify_file(run: &Path, file: &ManifestFile) -> Result<(), VerifyError> {
    let inside = Path::new(&file.path).components().all(|part| matches!(part, Component::Normal(_)));
    if !inside {
        return Err(VerifyError::Outside { path: file.path.clone() });
    }
    let path = run.join(&file.path);
    let found = match path.symlink_metadata() {
        Ok(found) if found.is_file() => found.len(),
        _ => return Err(VerifyError::Missing { path: file.path.clone(), bytes: file.bytes }),
    };
    if found != file.bytes {
        return Err(VerifyError::Size { path: file.path.clone(), expected: file.bytes, found });
    }
    let found = sha256(&path).map_err(|source| VerifyError::Read { path: path.clone(), source })?;
    if found != file.sha256 {
        return Err(VerifyError::Checksum { path: file.path.clone(), expected: file.sha256.clone(), found });
    }
    Ok(())
}

fn sha256(path: &Path) -> io::Result<String> {
    let mut content = File::open(path)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match content.read(&mut buffer)? {
            0 => return Ok(hex(&digest.finalize())),
            read => digest.update(&buffer[..read]),
        }
    }
}

/// Everything below a folder that is not a folder itself, by path.
fn files_below(folder: &Path, prefix: &str) -> Result<Vec<String>, VerifyError> {
    let read = |source| VerifyError::Read { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().map_err(read)?.is_dir() {
            files.extend(files_below(&entry.path(), &format!("{name}/"))?);
        } else {
            files.push(name);
        }
    }
    files.sort();
    Ok(files)
}

fn verify_rows(manifest: &Manifest) -> Result<String, VerifyError> {
    let rows = manifest.rows;
    let (read, kept, quarantined, merged) = (rows.read, rows.kept, rows.quarantined, rows.merged);
    if !rows.balanced() {
        return Err(VerifyError::Rows { read, kept, quarantined, merged });
    }
    Ok(format!("{read} read = {kept} kept + {quarantined} quarantined + {merged} merged"))
}

/// Sizes against `groups.json`, and no customer twice: the files are sorted, so they are read side by side.
fn verify_audiences(run: &Path, groups: &GroupsFile) -> Result<String, VerifyError> {
    let mut cursors = Vec::new();
    for group in &groups.groups {
        let path = run.join(super::audience_folder(group.id)).join("part-0.parquet");
        let (cursor, rows) = Cursor::open(path)?;
        if rows != group.measures.uv {
            return Err(VerifyError::GroupSize { path: cursor.path, expected: group.measures.uv, found: rows });
        }
        cursors.push(cursor);
    }
    let mut customers: u64 = 0;
    loop {
        let heads = cursors.iter().enumerate().filter_map(|(i, c)| c.head().map(|id| (id, i)));
        let Some((smallest, at)) = heads.min() else { break };
        let again = cursors.iter().enumerate().find(|(i, c)| *i != at && c.head() == Some(smallest));
        if let Some((_, other)) = again {
            return Err(VerifyError::Repeated {
                id: smallest.to_string(),
                first: cursors[at].path.clone(),
                second: other.path.clone(),
            });
        }
        customers += 1;
        cursors[at].advance()?;
    }
    Ok(format!("{} files with {customers} customers, as groups.json says, and none twice", cursors.len()))
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Id<'a> {
    Int(i64),
    Text(&'a str),
}

impl std::fmt::Display for Id<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Id::Int(id) => write!(f, "{id}"),
            Id::Text(id) => f.write_str(id),
        }
    }
}

/// The ids of one audience file, one at a time.
struct Cursor {
    path: PathBuf,
    batches: ParquetRecordBatchReader,
    ids: Option<ArrayRef>,
    at: usize,
}

impl Cursor {
    /// Opens a file; also how many rows it has.
    fn open(path: PathBuf) -> Result<(Cursor, i64), VerifyError> {
        let file = File::open(&path).map_err(|source| VerifyError::Read { path: path.clone(), source })?;
        let malformed = |message: String| VerifyError::Malformed { path: path.clone(), message };
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| malformed(e.to_string()))?;
        let rows = builder.metadata().file_metadata().num_rows();
        let id = builder.schema().fields().first().map(|field| field.data_type().clone());
        if !matches!(id, Some(DataType::Int64 | DataType::Utf8)) {
            return Err(malformed(format!("the first column is {id:?}, expected a customer id, Int64 or Utf8")));
        }
        let first = ProjectionMask::leaves(builder.parquet_schema(), [0]);
        let batches = builder.with_projection(first).build().map_err(|e| malformed(e.to_string()))?;
        let mut cursor = Cursor { path: path.clone(), batches, ids: None, at: 0 };
        cursor.load()?;
        Ok((cursor, rows))
    }

    fn head(&self) -> Option<Id<'_>> {
        self.ids.as_ref().map(|ids| id(ids, self.at))
    }

    fn advance(&mut self) -> Result<(), VerifyError> {
        let Some(before) = self.ids.clone() else { return Ok(()) };
        let before_at = self.at;
        self.at += 1;
        if self.at == before.len() {
            self.load()?;
        }
        let first = id(&before, before_at);
        match self.head() {
            Some(second) if second == first => Err(VerifyError::Repeated {
                id: first.to_string(),
                first: self.path.clone(),
                second: self.path.clone(),
            }),
            Some(second) if second < first => Err(VerifyError::Unsorted {
                path: self.path.clone(),
                first: first.to_string(),
                second: second.to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// The next batch that has rows.
    fn load(&mut self) -> Result<(), VerifyError> {
        self.at = 0;
        let next = self.batches.by_ref().find(|batch| batch.as_ref().map_or(true, |b| b.num_rows() > 0));
        let malformed = |message| VerifyError::Malformed { path: self.path.clone(), message };
        let ids = next.transpose().map_err(|e| malformed(e.to_string()))?.map(|b: RecordBatch| b.column(0).clone());
        if ids.as_ref().is_some_and(|ids| ids.null_count() > 0) {
            return Err(malformed("a customer id is null".into()));
        }
        self.ids = ids;
        Ok(())
    }
}

fn id(ids: &ArrayRef, at: usize) -> Id<'_> {
    match ids.data_type() {
        DataType::Int64 => Id::Int(ids.as_primitive::<Int64Type>().value(at)),
        _ => Id::Text(ids.as_string::<i32>().value(at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Publisher;
    use crate::sink::sample::Sample;

    fn published(sample: &Sample) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = Publisher::lock(dir.path()).expect("free").publish(&sample.result()).expect("published").path;
        (dir, path)
    }

    #[test]
    fn a_published_run_passes_every_check() {
        let (dir, _) = published(&Sample::new());
        let report = verify(&dir.path().join("latest")).expect("whole");
        let names: Vec<&str> = report.checks.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["published", "files", "rows", "audiences", "customers"]);
        assert_eq!(report.checks[2].detail, "1003 read = 1000 kept + 2 quarantined + 1 merged");
        assert_eq!(report.checks[4].detail, "90 of 1000 customers are in a group");
    }

    #[test]
    fn any_flipped_byte_is_noticed_and_the_file_named() {
        let (_dir, run) = published(&Sample::new());
        for file in read_manifest(&run).expect("readable").files {
            let path = run.join(&file.path);
            let good = std::fs::read(&path).expect("a file");
            let mut bad = good.clone();
            bad[good.len() / 2] ^= 1;
            std::fs::write(&path, bad).expect("written");
            let error = verify(&run).expect_err("damaged").to_string();
            assert!(error.contains(&file.path) && error.contains(&file.sha256), "{error}");
            std::fs::write(&path, good).expect("written");
        }
        verify(&run).expect("whole again");
    }

    #[test]
    fn files_that_went_came_or_changed_their_length_are_named() {
        let (_dir, run) = published(&Sample::new());
        std::fs::write(run.join("audience/group=1/part-1.parquet"), "more").expect("written");
        let error = verify(&run).expect_err("one more");
        assert!(
            matches!(&error, VerifyError::Unlisted { path } if path == "audience/group=1/part-1.parquet"),
            "{error}"
        );
        std::fs::remove_file(run.join("audience/group=1/part-1.parquet")).expect("removed");
        std::fs::write(run.join("quality.json"), "{}").expect("written");
        assert!(matches!(verify(&run), Err(VerifyError::Size { found: 2, .. })));
        std::fs::remove_file(run.join("quality.json")).expect("removed");
        assert!(matches!(verify(&run), Err(VerifyError::Missing { path, .. }) if path == "quality.json"));
        std::fs::remove_file(run.join("_SUCCESS")).expect("removed");
        assert!(matches!(verify(&run), Err(VerifyError::Unpublished { .. })));
    }

    #[test]
    fn a_manifest_cannot_point_outside_its_run() {
        let (_dir, run) = published(&Sample::new());
        let text = std::fs::read_to_string(run.join("manifest.json")).expect("text");
        std::fs::write(run.join("manifest.json"), text.replace("\"groups.json\"", "\"../groups.json\""))
            .expect("written");
        assert!(matches!(verify(&run), Err(VerifyError::Outside { .. })));
    }

    #[test]
    fn a_customer_in_two_groups_is_found() {
        let mut sample = Sample::new();
        let crate::audience::CustomerIds::Text(ids) = &mut sample.assigned.ids else { panic!("text ids") };
        ids[89] = ids[3].clone();
        let twice = ids[3].clone();
        let (_dir, run) = published(&sample);
        let error = verify(&run).expect_err("twice");
        assert!(matches!(&error, VerifyError::Repeated { id, .. } if *id == twice), "{error}");
    }

    #[test]
    fn a_group_must_have_the_customers_that_its_audience_file_has() {
        let mut sample = Sample::new();
        sample.grouping.groups[0].measures.uv = 41;
        let (_dir, run) = published(&sample);
        assert!(matches!(verify(&run), Err(VerifyError::GroupSize { expected: 41, found: 40, .. })));
    }
}
