//! What changed between two published runs: highlights, groups, and who went where.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::common::{Customers, in_common};
use super::known::{Kind, each_batch};
use super::migration::Told;
use super::past::Past;
use super::publish::SUCCESS;
use super::verify::verify_file;
use super::{Migration, MigrationFile, VerifyError};
use crate::highlight::Direction;
use crate::job::PRIVACY_FLOOR;
use crate::merge::Identity;
use crate::stats::MetricKind;

/// What changed from one run to another.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    pub before: RunEntry,
    pub after: RunEntry,
    /// What else differs, and what cannot be compared.
    pub notes: Vec<String>,
    pub gained: Vec<HighlightEntry>,
    pub lost: Vec<HighlightEntry>,
    /// Highlights of both runs.
    pub kept: Vec<[HighlightEntry; 2]>,
    /// Of the groups; none where customers are not known by the same ids.
    pub migration: Option<MigrationFile>,
    /// Of the metric before and after.
    #[serde(skip)]
    pub metrics: [(MetricKind, Option<String>); 2],
}

/// One of the runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunEntry {
    pub run_id: String,
    pub started: String,
    pub customers: u64,
    pub metric_mean: f64,
    pub highlights: u64,
    pub validated: Option<u64>,
    pub groups: u64,
}

/// A highlight of one of the runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HighlightEntry {
    pub segment: String,
    pub direction: Direction,
    pub rank: i64,
    pub uv: i64,
    pub lift: Option<f64>,
    pub effect: f64,
    pub impact: f64,
    pub validated: Option<bool>,
}

const COLUMNS: [(&str, Kind); 8] = [
    ("rank", Kind::Rank),
    ("segment", Kind::Text),
    ("direction", Kind::Text),
    ("uv", Kind::Whole),
    ("lift", Kind::Float),
    ("effect", Kind::Float),
    ("impact", Kind::Float),
    ("validated", Kind::Flag),
];

/// Compares two runs, each `DIR/latest` or `DIR/runs/<run id>`.
pub fn diff(before: &Path, after: &Path) -> Result<Difference, VerifyError> {
    let [then, now] = [open(before)?, open(after)?];
    let [old, new] = [highlights(&then)?, highlights(&now)?];
    let only = |own: &Highlights, other: &Highlights| -> Vec<HighlightEntry> {
        ranked(own.iter().filter(|(key, _)| !other.contains_key(*key)).map(|(_, entry)| entry.clone()))
    };
    let both = new.iter().filter_map(|(key, entry)| Some([old.get(key)?.clone(), entry.clone()]));
    let mut kept: Vec<[HighlightEntry; 2]> = both.collect();
    kept.sort_by_key(|[_, after]| after.rank);
    let mut notes = differences(&then, &now);
    let migration = match then.comparable(now.id_column(), &now.manifest.input.digest) {
        Ok(()) => Some(migration(&then, &now)?),
        Err(reason) => {
            notes.push(format!("Groups are not compared: {reason}."));
            None
        }
    };
    Ok(Difference {
        gained: only(&new, &old),
        lost: only(&old, &new),
        before: entry(&then),
        after: entry(&now),
        notes,
        kept,
        migration,
        metrics: [&then, &now].map(|run| {
            let kind = run.manifest.metrics.first().map_or(MetricKind::Amount, |metric| metric.kind);
            (kind, unit(run).map(str::to_owned))
        }),
    })
}

fn open(run: &Path) -> Result<Past, VerifyError> {
    if !run.join(SUCCESS).is_file() {
        return Err(VerifyError::Unpublished { path: run.to_owned() });
    }
    Past::open(run)
}

fn unit(run: &Past) -> Option<&str> {
    run.manifest.job["metric"]["unit"].as_str()
}

fn entry(run: &Past) -> RunEntry {
    let manifest = &run.manifest;
    RunEntry {
        run_id: manifest.run_id.clone(),
        started: manifest.started.clone(),
        customers: manifest.customers,
        metric_mean: run.metric_mean(),
        highlights: manifest.highlights.highlights,
        validated: manifest.highlights.validated,
        groups: manifest.groups,
    }
}

/// By segment and direction.
type Highlights = BTreeMap<(String, Direction), HighlightEntry>;

fn highlights(run: &Past) -> Result<Highlights, VerifyError> {
    let name = "highlights.parquet";
    let listed = run.manifest.files.iter().find(|file| file.path == name);
    verify_file(&run.path, listed.ok_or_else(|| VerifyError::Unlisted { path: name.into() })?)?;
    let mut found = Highlights::new();
    each_batch(&run.path.join(name), &COLUMNS, |_, batch| {
        for row in 0..batch.rows() {
            let direction = if batch.text("direction", row) == "under" { Direction::Under } else { Direction::Over };
            let entry = HighlightEntry {
                segment: batch.text("segment", row).to_owned(),
                direction,
                rank: batch.rank("rank", row),
                uv: batch.whole("uv", row).unwrap_or(0) as i64,
                lift: batch.float("lift", row),
                effect: batch.float("effect", row).unwrap_or(0.0),
                impact: batch.float("impact", row).unwrap_or(0.0),
                validated: batch.flag("validated", row),
            };
            found.insert((entry.segment.clone(), direction), entry);
        }
    })?;
    Ok(found)
}

fn ranked(entries: impl Iterator<Item = HighlightEntry>) -> Vec<HighlightEntry> {
    let mut entries: Vec<HighlightEntry> = entries.collect();
    entries.sort_by_key(|entry| entry.rank);
    entries
}

/// Sections of the job that differ, and what else makes figures differ.
fn differences(then: &Past, now: &Past) -> Vec<String> {
    let mut notes = Vec::new();
    let (a, b) = (&then.manifest, &now.manifest);
    let sections = |job: &serde_json::Value| job.as_object().map_or(Vec::new(), |all| all.keys().cloned().collect());
    let mut names: Vec<String> = [sections(&a.job), sections(&b.job)].concat();
    names.sort();
    names.dedup();
    names.retain(|name| name != "output" && a.job[name.as_str()] != b.job[name.as_str()]);
    if !names.is_empty() {
        let names: Vec<String> = names.iter().map(|name| format!("[{name}]")).collect();
        notes.push(format!("The jobs differ in {}.", names.join(", ")));
    }
    let units = [then, now].map(|run| unit(run).map_or("none".to_owned(), |unit| format!("{unit:?}")));
    if units[0] != units[1] {
        notes.push(format!(
            "The metric's unit is {} before and {} after: figures are each in their own.",
            units[0], units[1]
        ));
    }
    if a.version != b.version {
        notes.push(format!("The runs are of versions {} and {} of the program.", a.version, b.version));
    }
    if a.input.digest == b.input.digest {
        notes.push("Both runs are of the same table.".into());
    }
    notes
}

fn migration(then: &Past, now: &Past) -> Result<MigrationFile, VerifyError> {
    let groups = now.formers();
    let ids: Vec<u32> = groups.iter().map(|group| group.id).collect();
    let shared = in_common(&then.path, &then.ids(), &Customers::Published(&now.path, &ids), groups.len())?;
    let sizes: Vec<_> = groups.iter().map(|group| (then.matched_by(group.direction), group.uv)).collect();
    let migration = Migration {
        run_id: then.manifest.run_id.clone(),
        customers: then.manifest.customers,
        identity: Identity::new(then.formers(), &sizes, &[], shared),
    };
    // Told is what both runs may tell.
    let lifted = then.manifest.privacy.allow_small && now.manifest.privacy.allow_small;
    let floor = if lifted { 1 } else { PRIVACY_FLOOR as i64 };
    let uv: Vec<i64> = groups.iter().map(|group| group.uv).collect();
    Ok(Told::new(&migration, &uv, floor).file(&groups))
}
