//! `run`: a job on a layout, published.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use serde::Serialize;

use super::progress::Bar;
use super::{JobArgs, LayoutArgs, print};
use crate::cluster::{self, Exit, Layout, Processes};
use crate::dataflow::{self, Failure, FailureKind, Outcome, Shared};
use crate::encode::{FeatureInput, Reading};
use crate::job::{Job, Offered};
use crate::memory::Size;
use crate::sink::{
    ErrorKind, FileInfo, Migration, Publisher, RunResult, SinkError, TableInfo, clear_staging, terminal,
};
use crate::source::{self, SourceError, Table};
use crate::telemetry::Progress;

/// What a run came to, for people and for scripts.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    pub run_id: String,
    pub path: PathBuf,
    pub report: PathBuf,
    pub rows_read: u64,
    pub customers: u64,
    pub segments: u64,
    pub highlights: u64,
    pub validated: Option<u64>,
    pub groups: u64,
    #[serde(skip)]
    pub tables: String,
    pub notes: Vec<String>,
}

/// Runs a job and tells what came out.
pub fn run(job: &JobArgs, args: &LayoutArgs, json: bool, bar: bool) -> Result<(), Failure> {
    let layout = args.layout()?;
    let memory = args.memory(&layout);
    let job = job.load()?;
    if let Some(summary) = execute(job, &layout, memory, bar)? {
        tell(&summary, json);
    }
    Ok(())
}

/// The tables, notes and the report's path; or the summary as one line of JSON.
pub fn tell(summary: &Summary, json: bool) {
    if json {
        print(&serde_json::to_string(summary).expect("a summary is JSON"));
        return;
    }
    let mut text = summary.tables.clone();
    for note in &summary.notes {
        text.push_str(&format!("\nNote: {note}"));
    }
    let validated = summary.validated.map_or(String::new(), |n| format!(", {n} of them validated"));
    text.push_str(&format!(
        "\n{} customers, {} segments, {} highlights{validated}, {} groups\nreport: {}",
        summary.customers,
        summary.segments,
        summary.highlights,
        summary.groups,
        summary.report.display(),
    ));
    print(&text);
}

/// The table and the columns a job reads of it.
pub fn open(job: &Job) -> Result<(Table, Reading), Failure> {
    let table = Table::open(&job.input).map_err(|error| source_failure(&error))?;
    let reading = Reading::new(job, &table).map_err(|error| Failure::new(FailureKind::Input, &error))?;
    let several = |feature: &FeatureInput| {
        feature.separator.is_some() || table.columns()[reading.columns[feature.column]].kind.is_list()
    };
    let offered = Offered {
        columns: table.columns().iter().map(|column| column.name.as_str()).collect(),
        features: reading.features[..reading.combined].iter().map(|f| (f.name.as_str(), several(f))).collect(),
        refused: &reading.refused,
    };
    job.check_by(&offered).map_err(|error| Failure::new(FailureKind::Usage, &error))?;
    Ok((table, reading))
}

pub fn source_failure(error: &SourceError) -> Failure {
    let kind = match error.kind() {
        source::ErrorKind::Input => FailureKind::Input,
        source::ErrorKind::Quality => FailureKind::Quality,
    };
    Failure::new(kind, error)
}

pub fn sink_failure(error: &SinkError) -> Failure {
    let kind = match error.kind() {
        ErrorKind::Taken => FailureKind::Taken,
        ErrorKind::Resource => FailureKind::Resources,
        ErrorKind::Output => FailureKind::Input,
        ErrorKind::Bug => FailureKind::Bug,
    };
    Failure::new(kind, error)
}

/// Runs a job in so much memory a process; the summary is at process 0, nothing elsewhere.
pub fn execute(job: Job, layout: &Layout, memory: Size, bar: bool) -> Result<Option<Summary>, Failure> {
    let started = SystemTime::now();
    let (table, reading) = open(&job)?;
    let first = layout.process_index() == 0;
    let publisher = first.then(|| Publisher::lock(&job.output.dir)).transpose().map_err(|e| sink_failure(&e))?;
    let staged = publisher.as_ref().map(|_| {
        let dir = job.output.dir.clone();
        // Whatever ends the program: what was not published is removed while the lock is held.
        cluster::on_exit(move || drop(clear_staging(&dir)))
    });
    let identity = format!("{}\n{}\n{}", job.identity(), table.digest(), env!("CARGO_PKG_VERSION"));
    let progress = Progress::new(job.enumerate.max_level);
    let shared = Shared::new(layout.threads_per_process(), memory);
    let share = layout.threads_per_process() as f64 / layout.workers() as f64;
    let bar = (first && bar).then(|| Bar::start(Arc::clone(&progress), table.rows(), share));
    let publisher = Mutex::new(publisher);
    let layout_text = layout.to_string();
    let work = move |worker: &mut timely::worker::Worker| {
        let mut summary = None;
        let publish = |mut outcome: Outcome| {
            if let Some(path) = table.changed_since_open() {
                let text = format!("{path:?} changed while it was read; nothing is published");
                return Err(Failure { kind: FailureKind::Input, place: (usize::MAX, u64::MAX), text });
            }
            let publisher = publisher.lock().expect("no other worker publishes").take();
            let publisher = publisher.expect("worker 0 publishes once, and its process holds the lock");
            let Outcome { codebook, grouping, assigned, previous, notes, .. } = &mut outcome;
            let migration = previous.settle(&job, codebook, grouping, assigned);
            notes.extend_from_slice(previous.notes());
            let (outcome, migration) = (&outcome, migration.as_ref());
            summary = Some(publish(&publisher, &job, &table, outcome, migration, started, &layout_text)?);
            Ok(())
        };
        dataflow::run(worker, &job, &table, &reading, &shared, &progress, publish)?;
        Ok(summary)
    };
    let results: Vec<Result<Option<Summary>, Failure>> = match cluster::execute(layout, &identity, work) {
        Ok(results) => results,
        Err(error) => {
            drop(bar);
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(source) = cause {
                text = format!("{text}: {source}");
                cause = source.source();
            }
            cluster::leave(error.exit(), Some(&text));
        }
    };
    drop(bar);
    if let Some(staged) = staged {
        staged.cancel();
    }
    let mut summary = None;
    for result in results {
        match result {
            Ok(found) => summary = summary.or(found),
            // All processes agreed on the failure; of those started here the first one tells.
            Err(_) if matches!(layout.processes(), Processes::Child { .. }) => cluster::leave(Exit::Published, None),
            Err(failure) => return Err(failure),
        }
    }
    Ok(summary)
}

fn publish(
    publisher: &Publisher,
    job: &Job,
    table: &Table,
    outcome: &Outcome,
    migration: Option<&Migration>,
    started: SystemTime,
    layout: &str,
) -> Result<Summary, Failure> {
    // Named from the folder that holds them all, so that two files of one name in different folders stay apart.
    let folders = table.files().iter().filter_map(|file| file.path.parent());
    let common = folders.reduce(|a, b| a.ancestors().find(|folder| b.starts_with(folder)).unwrap_or(Path::new("")));
    let name =
        |path: &Path| path.strip_prefix(common.unwrap_or(Path::new(""))).unwrap_or(path).to_string_lossy().into_owned();
    let files = table.files().iter().zip(&outcome.file_rows).map(|(file, &rows)| FileInfo {
        name: name(&file.path),
        bytes: file.bytes,
        rows,
    });
    let [base, base_discovery, base_validation] = outcome.bases;
    let result = RunResult {
        job,
        started,
        table: TableInfo { files: files.collect(), digest: table.digest().to_owned() },
        id_column: job.input.id.as_deref(),
        codebook: &outcome.codebook,
        verdicts: &outcome.verdicts,
        kind: outcome.kind,
        base,
        base_discovery,
        base_validation: (job.highlight.holdout > 0.0).then_some(base_validation),
        secondary: outcome.secondary.clone(),
        segments: &outcome.segments,
        answer: &outcome.answer,
        moments: &outcome.moments,
        scales: &outcome.scales,
        caps: outcome.caps.iter().map(|caps| caps.map(|caps| caps.told(job))).collect(),
        prior: &outcome.prior,
        highlights: &outcome.highlights,
        funnel: &outcome.funnel,
        grouping: &outcome.grouping,
        alternatives: &outcome.alternatives,
        assigned: &outcome.assigned,
        mix: &outcome.mix,
        quality: &outcome.quality,
        stages: &outcome.stages,
        levels: &outcome.levels,
        layout: layout.to_owned(),
        changes: outcome.changes.as_ref(),
        migration,
        previous: outcome.previous.run_id().map(str::to_owned),
        fingerprint: outcome.previous.fingerprint.clone(),
        notes: outcome.notes.clone(),
    };
    let published = publisher.publish(&result).map_err(|error| sink_failure(&error))?;
    tracing::info!(run = published.run_id, segments = outcome.segments.len(), "published");
    Ok(Summary {
        report: published.path.join("report.html"),
        run_id: published.run_id,
        path: published.path,
        rows_read: outcome.quality.rows.read,
        customers: outcome.quality.customers,
        segments: outcome.segments.len() as u64,
        highlights: outcome.funnel.highlights,
        validated: outcome.funnel.validated,
        groups: outcome.grouping.groups.len() as u64,
        tables: terminal(&result, None),
        notes: outcome.notes.clone(),
    })
}
