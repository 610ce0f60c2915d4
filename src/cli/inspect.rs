//! `check`, `describe`, `verify`: looking at a table, a job or a run without changing anything.

use std::path::Path;
use std::sync::Mutex;

use comfy_table::{Cell, CellAlignment};
use serde::Serialize;

use super::run::open;
use super::{JobArgs, print};
use crate::cluster::{self, Layout};
use crate::dataflow::{self, Failure, FailureKind, Shared};
use crate::encode::{Draft, FeatureInput, LocalFeature, Sketch, Values};
use crate::job::{CsvSpec, InputSpec, Job, Missing, Override, ScreenSpec, TableFormat};
use crate::memory::Size;
use crate::screen::Verdict;
use crate::sink::{self, ExplainError, visible};
use crate::source::{ColumnKind, Table};
use crate::telemetry::Progress;

/// Validates a job against its table: every column it names is there and fits.
pub fn check(args: &JobArgs, json: bool) -> Result<(), Failure> {
    let job = args.load()?;
    let (table, reading) = open(&job)?;
    if json {
        let features: Vec<&str> = reading.features[..reading.combined].iter().map(|f| f.name.as_str()).collect();
        print(
            &serde_json::json!({ "files": table.files().len(), "rows": table.rows(), "features": features })
                .to_string(),
        );
        return Ok(());
    }
    let rows = table.rows().map_or("an unknown number of".to_owned(), |rows| rows.to_string());
    let mut text = format!(
        "{} is a valid job: {} file(s), {rows} rows, {} columns, {} features",
        args.job.display(),
        table.files().len(),
        table.columns().len(),
        reading.combined
    );
    for (name, reason) in &reading.refused {
        text.push_str(&format!("\nnot a feature: {}: {reason}", visible(name)));
    }
    print(&text);
    Ok(())
}

/// Runs something on the workers of one process and gives worker 0's answer.
pub fn on_workers<T: Send + 'static>(
    layout: &Layout,
    work: impl Fn(&mut timely::worker::Worker) -> Result<T, Failure> + Send + Sync + 'static,
) -> Result<T, Failure> {
    let results = cluster::execute(layout, "", work);
    let results = results.unwrap_or_else(|error| cluster::leave(error.exit(), Some(&error.to_string())));
    results.into_iter().next().expect("there is a worker 0")
}

#[derive(Serialize)]
struct ColumnSummary {
    name: String,
    kind: String,
    rows: u64,
    nulls: u64,
    /// None where there were too many to count.
    distinct: Option<u64>,
    entropy: f64,
    evenness: f64,
    /// The most frequent values with their counts.
    top: Vec<(String, u64)>,
    least: Option<f64>,
    largest: Option<f64>,
    suggestion: String,
}

/// Describes the columns of a table, or judges the features of a job.
pub fn describe(
    target: &str,
    delimiter: char,
    null_values: Vec<String>,
    set: &[Override],
    json: bool,
) -> Result<(), Failure> {
    if target.ends_with(".toml") {
        return judge(Path::new(target), set, json);
    }
    let input = InputSpec {
        path: target.to_owned(),
        format: None,
        id: None,
        csv: CsvSpec { delimiter, null_values: null_values.clone(), ..CsvSpec::default() },
        on_bad_row: Default::default(),
        max_bad_rows: None,
        max_bad_share: None,
        on_duplicate_id: Default::default(),
        latest_by: None,
    };
    let source = |error: crate::source::SourceError| Failure::new(FailureKind::Input, &error);
    let table = Table::open(&input).map_err(source)?;
    let columns: Vec<usize> = (0..table.columns().len()).collect();
    let inputs: Vec<FeatureInput> = table
        .columns()
        .iter()
        .enumerate()
        .map(|(column, c)| FeatureInput {
            name: c.name.clone(),
            column,
            column_name: c.name.clone(),
            kind: None,
            bin: None,
            part: None,
            separator: None,
            missing: Missing::Level,
            null_values: match c.kind {
                ColumnKind::Text | ColumnKind::TextList => null_values.clone(),
                _ => Vec::new(),
            },
        })
        .collect();
    let max_distinct = ScreenSpec::default().max_distinct;
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let merged: Mutex<Vec<Option<Sketch>>> = Mutex::new(vec![None; inputs.len()]);
    let failed: Mutex<Option<Failure>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for worker in 0..threads {
            let (table, columns, inputs, merged, failed) = (&table, &columns, &inputs, &merged, &failed);
            scope.spawn(move || {
                let kinds = table.columns().iter().map(|c| &c.kind);
                let mut features: Vec<LocalFeature> = inputs
                    .iter()
                    .zip(kinds)
                    .map(|(input, kind)| LocalFeature::new(input, kind, max_distinct))
                    .collect();
                for chunk in table.scan(columns, worker, threads) {
                    match chunk {
                        Ok(chunk) => features.iter_mut().zip(inputs).for_each(|(feature, input)| {
                            feature.push_of(input, &chunk, chunk.rows.column(input.column))
                        }),
                        Err(error) => {
                            *failed.lock().expect("no thread panics while it holds this") = Some(source(error));
                            return;
                        }
                    }
                }
                let mut merged = merged.lock().expect("no thread panics while it holds this");
                for (merged, feature) in merged.iter_mut().zip(&features) {
                    let sketch = Sketch::of(feature);
                    *merged = Some(match merged.take() {
                        Some(sum) => sum.merge(sketch, max_distinct),
                        None => sketch,
                    });
                }
            });
        }
    });
    if let Some(failure) = failed.into_inner().expect("the threads have ended") {
        return Err(failure);
    }
    let sketches = merged.into_inner().expect("the threads have ended");
    let summaries: Vec<ColumnSummary> = table
        .columns()
        .iter()
        .zip(inputs.iter().zip(sketches))
        .map(|(column, (input, sketch))| {
            summary(&column.kind, input, &sketch.expect("every thread has a sketch"), max_distinct)
        })
        .collect();
    if json {
        print(&serde_json::to_string(&summaries).expect("a summary is JSON"));
        return Ok(());
    }
    let rows = summaries.first().map_or(0, |s| s.rows);
    let format = match table.format() {
        TableFormat::Parquet => "Parquet",
        TableFormat::Csv => "CSV",
    };
    let mut text = sink::table(
        &[
            "column",
            "type",
            "missing",
            "distinct",
            "entropy",
            "evenness",
            "most frequent values or range",
            "as a feature",
        ],
        None,
    );
    for s in &summaries {
        let values = match (s.top.is_empty(), s.least, s.largest) {
            (true, Some(least), Some(largest)) => format!("{least} to {largest}"),
            _ => s.top.iter().map(|(v, n)| format!("{} ({})", short(v), grouped(*n))).collect::<Vec<_>>().join(", "),
        };
        text.add_row(vec![
            Cell::new(visible(&s.name)),
            Cell::new(&s.kind),
            right(format!("{:.1} %", 100.0 * s.nulls as f64 / s.rows.max(1) as f64)),
            right(s.distinct.map_or("too many".into(), grouped)),
            right(format!("{:.2}", s.entropy)),
            right(format!("{:.2}", s.evenness)),
            Cell::new(values),
            Cell::new(&s.suggestion),
        ]);
    }
    let mut lines =
        format!("{} file(s), {format}, {} rows, {} columns", table.files().len(), grouped(rows), summaries.len());
    if let Some(hint) = table.hint() {
        lines.push_str(&format!("\nhint: {hint}"));
    }
    print(&format!("{lines}\n{text}"));
    Ok(())
}

/// Values shown of a column.
const MOST_SHOWN: usize = 4;

fn summary(kind: &ColumnKind, input: &FeatureInput, sketch: &Sketch, max_distinct: usize) -> ColumnSummary {
    let mut counts: Vec<(String, u64)> = match &sketch.values {
        Values::Texts(texts) => texts.clone(),
        Values::Ints(what, ints) if ints.len() <= 1000 => ints.iter().map(|&(v, n)| (what.label(v), n)).collect(),
        Values::Floats(floats) if floats.len() <= 1000 => floats.iter().map(|&(v, n)| (v.to_string(), n)).collect(),
        Values::Tags { tags, .. } => tags.iter().map(|(tag, n)| (tag.to_string(), *n)).collect(),
        Values::Ints(..) | Values::Floats(_) | Values::Buckets { .. } | Values::TooMany => Vec::new(),
    };
    let numbers = sketch.values.numbers();
    let all: Vec<u64> = if numbers.is_empty() {
        counts.iter().map(|(_, n)| *n).collect()
    } else {
        numbers.iter().map(|(_, n)| *n).collect()
    };
    let total: u64 = all.iter().sum();
    let share = |n: &u64| *n as f64 / total.max(1) as f64;
    let entropy: f64 = all.iter().filter(|&&n| n > 0).map(|n| -share(n) * share(n).log2()).sum::<f64>().max(0.0);
    let draft = Draft::of(input, sketch, max_distinct);
    let many = matches!(sketch.values, Values::Buckets { whole: true, .. });
    let type_name = match (kind, &draft) {
        (ColumnKind::Unsupported(name), _) => name.clone(),
        // CSV is all text; what matters is what the text says.
        (ColumnKind::Text, Ok(Draft::Parts(_))) => "date".into(),
        (ColumnKind::Text, _) if !numbers.is_empty() => "number".into(),
        (kind, _) => kind.name(),
    };
    let suggestion = match (kind, draft) {
        (ColumnKind::Unsupported(name), _) => format!("none: {name} is not read"),
        (_, Err(error)) => error.to_string(),
        (_, Ok(Draft::Refused(reason))) => format!("none: {reason}"),
        (kind, Ok(Draft::Values)) if kind.is_list() => {
            format!("{} tags, {:.1} a customer", all.len(), total as f64 / sketch.rows.max(1) as f64)
        }
        (_, Ok(Draft::Values)) if all.len() < 2 && sketch.nulls == 0 => "none: one value".into(),
        (_, Ok(Draft::Values)) if total > 20 && all.len() as u64 > total / 2 => {
            "id, or none: nearly all values differ".into()
        }
        (_, Ok(Draft::Values)) => format!("{} values", all.len()),
        (_, Ok(Draft::Bands(borders))) if total > 20 && (all.len() as u64 == total || many) => {
            format!("id, or {} bands: very many values", borders.len() + 1)
        }
        (_, Ok(Draft::Bands(borders))) => format!(
            "{} bands at {}",
            borders.len() + 1,
            borders.iter().map(f64::to_string).collect::<Vec<_>>().join(", ")
        ),
        (_, Ok(Draft::Parts(_))) => "dates, by year and month".into(),
    };
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts.truncate(MOST_SHOWN);
    ColumnSummary {
        name: input.name.clone(),
        kind: type_name,
        rows: sketch.rows,
        nulls: sketch.nulls,
        distinct: (!matches!(sketch.values, Values::TooMany | Values::Buckets { .. })).then(|| sketch.distinct()),
        entropy,
        evenness: if all.len() > 1 { entropy / (all.len() as f64).log2() } else { 0.0 },
        top: counts,
        least: numbers.first().map(|(v, _)| *v),
        largest: match &sketch.values {
            Values::Buckets { largest, .. } => Some(*largest),
            _ => numbers.last().map(|(v, _)| *v),
        },
        suggestion,
    }
}

/// The verdicts on a job's features.
fn judge(path: &Path, set: &[Override], json: bool) -> Result<(), Failure> {
    let job = Job::load(path, set).map_err(|error| Failure::new(FailureKind::Usage, &error))?;
    let (table, reading) = open(&job)?;
    let layout = Layout::threads(1).map_err(|error| Failure::new(FailureKind::Usage, &error))?;
    let progress = Progress::new(job.enumerate.max_level);
    let shared = Shared::new(1, Size(u64::MAX));
    let verdicts = on_workers(&layout, move |worker| {
        let mut loaded = dataflow::load(worker, &job, &table, &reading, &shared, &progress, |_| {})?;
        Ok(dataflow::screened(worker, &shared, &job, &mut loaded).0)
    })?;
    match json {
        true => print(&serde_json::to_string(&verdicts).expect("verdicts are JSON")),
        false => print(&verdict_table(&verdicts)),
    }
    Ok(())
}

pub fn verdict_table(verdicts: &[Verdict]) -> String {
    let mut text =
        sink::table(&["feature", "items", "missing", "rest", "entropy", "evenness", "influence", "verdict"], None);
    for v in verdicts {
        text.add_row(vec![
            Cell::new(visible(&v.feature)),
            right(v.items),
            right(format!("{:.1} %", 100.0 * v.null_share)),
            right(format!("{:.1} %", 100.0 * v.rest_share)),
            right(format!("{:.2}", v.entropy)),
            right(format!("{:.2}", v.evenness)),
            right(format!("{:.4}", v.influence)),
            Cell::new(if v.kept { v.reason.clone() } else { format!("left out: {}", visible(&v.reason)) }),
        ]);
    }
    text.to_string()
}

/// Checks a published run and says what was checked.
pub fn verify(run: &Path, json: bool) -> Result<(), Failure> {
    let report = sink::verify(run).map_err(|error| Failure::new(FailureKind::Input, &error))?;
    if json {
        let checks: Vec<_> =
            report.checks.iter().map(|c| serde_json::json!({ "name": c.name, "detail": c.detail })).collect();
        print(&serde_json::json!({ "run_id": report.run_id, "checks": checks }).to_string());
        return Ok(());
    }
    let lines: Vec<String> = report.checks.iter().map(|c| format!("ok  {}: {}", c.name, c.detail)).collect();
    print(&format!("run {}\n{}", report.run_id, lines.join("\n")));
    Ok(())
}

/// Tells what changed between two published runs.
pub fn diff(before: &Path, after: &Path, json: bool) -> Result<(), Failure> {
    let difference = sink::diff(before, after).map_err(|error| Failure::new(FailureKind::Input, &error))?;
    match json {
        true => print(&serde_json::to_string(&difference).expect("a difference is JSON")),
        false => print(&sink::difference(&difference)),
    }
    Ok(())
}

/// Explains a segment by a published run.
pub fn explain(run: &Path, segment: &str, json: bool) -> Result<(), Failure> {
    let explanation = sink::explain(run, segment).map_err(|error| {
        let kind = match &error {
            ExplainError::Segment(_) => FailureKind::Usage,
            ExplainError::Run(_) | ExplainError::Old { .. } => FailureKind::Input,
        };
        Failure::new(kind, &error)
    })?;
    match json {
        true => print(&serde_json::to_string(&explanation).expect("an explanation is JSON")),
        false => print(&sink::explained(&explanation)),
    }
    Ok(())
}

pub fn right(value: impl ToString) -> Cell {
    Cell::new(value.to_string()).set_alignment(CellAlignment::Right)
}

pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).expect("digits are ASCII")).collect();
    groups.join(",")
}

/// A value short enough for a table.
fn short(text: &str) -> String {
    let text = visible(text);
    if text.chars().count() <= 24 { text } else { text.chars().take(23).chain(['…']).collect() }
}
