//! The table to coded rows: each worker reads its share once, and all agree on what the values mean.

use std::path::Path;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};
use timely::worker::Worker;

use super::agree::{Failure, FailureKind, agree, decide};
use super::collective::gather;
use super::shared::Shared;
use super::unique::unique;
use super::winsorise::{Caps, winsorise};
use crate::audience::{CustomerIds, RowRuns};
use crate::encode::{
    Codebook, Coder, Draft, Feature, IdRef, Intake, LocalIds, LocalMetric, LocalNumbers, MetricColumn, Reading, Shard,
    Sketch, band_counts, feature, hash,
};
use crate::job::{Job, OneOrMany, PRIVACY_FLOOR, Scalar};
use crate::memory::{self, Size};
use crate::sink::{ColumnQuality, Quality, RejectedRow, RowAccounts};
use crate::source::{ErrorKind, Rejects, SourceError, Table};
use crate::stats::{MetricKind, Scale, VALIDATION};
use crate::telemetry::Progress;

/// A worker's coded rows, with what all workers agreed on.
pub struct Loaded {
    pub shard: Shard,
    /// Every feature that could be encoded; screening decides which are combined.
    pub codebook: Codebook,
    /// What groups are told by, a column aside of the shard each; what could not be encoded is in `untold`.
    pub by: Vec<Feature>,
    pub untold: Vec<(String, String)>,
    /// Included columns and features that could not be encoded, with the reason.
    pub refused: Vec<(String, String)>,
    /// One a metric, the primary one first.
    pub scales: Vec<Scale>,
    /// Of each metric, where it was cut.
    pub caps: Vec<Option<Caps>>,
    /// Where two periods are compared: the rows of both, the period in place of the part, with the primary metric alone.
    pub periods: Option<Shard>,
    /// The base: all customers of all workers, of the later period.
    pub customers: u64,
    /// Rows that are kept, of both periods.
    pub rows: u64,
    pub min_uv: u64,
    pub quality: Quality,
    /// Of each metric, values with more decimals than are kept. At worker 0.
    pub rounded: Vec<u64>,
    /// Missing values and distinct values of each feature that was read, by name.
    pub columns: Vec<ColumnQuality>,
    pub file_rows: Vec<u64>,
}

/// What one worker read.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Read {
    rows: u64,
    kept: u64,
    merged: u64,
    file_rows: Vec<u64>,
    rejects: Rejects,
    /// Left out by the job's own wish, so not bad.
    dropped: u64,
    /// Rows of the earlier period, and values of rows of neither.
    before: u64,
    other_periods: Vec<String>,
    sketches: Vec<Sketch>,
    /// Decimal places that each metric needs: numerator, denominator.
    decimals: Vec<[u8; 2]>,
    seen: Vec<Vec<String>>,
    positives: Vec<u64>,
}

/// What worker 0 makes of what all read.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Agreed {
    drafts: Vec<Draft>,
    scales: Vec<Scale>,
    customers: u64,
    file_rows: Vec<u64>,
    quality: Quality,
    columns: Vec<ColumnQuality>,
}

/// Reads, checks and codes the table. All workers return the same failure, or none does. `read_all` is told once the rows of
/// all workers are read, and how many of them this worker kept.
pub fn load(
    worker: &mut Worker,
    job: &Job,
    table: &Table,
    reading: &Reading,
    shared: &Shared,
    progress: &Progress,
    read_all: impl FnOnce(usize),
) -> Result<Loaded, Failure> {
    let room = room(worker, table, reading, shared);
    agree(worker, room.err())?;
    let mut intake = Intake::new(job, reading, table);
    let mut scan = table.scan(&reading.columns, worker.index(), worker.peers());
    let mut failure = None;
    for (n, chunk) in (&mut scan).enumerate() {
        let pushed = match chunk {
            Ok(_) if n % CHUNKS_BETWEEN_LOOKS == 0 && memory::resident().is_some_and(|held| held > shared.memory()) => {
                Err(full(intake.rows(), shared))
            }
            Ok(chunk) => {
                progress.rows.fetch_add(chunk.rows.num_rows() as u64, Ordering::Relaxed);
                intake
                    .push(reading, &chunk)
                    .map_err(|bad| Failure::new(FailureKind::Quality, &bad).at(chunk.file, bad.row))
            }
            Err(error) => Err(source_failure(&error, table)),
        };
        if let Err(found) = pushed {
            failure = Some(found);
            break;
        }
    }
    agree(worker, failure)?;
    read_all(intake.rows());
    let (merged, failure) = unique(worker, job, &mut intake);
    agree(worker, failure)?;

    let mut rejects = scan.rejects().clone();
    rejects.merge(intake.rejects.clone());
    let read = Read {
        rows: scan.rows_read(),
        kept: intake.rows() as u64,
        merged,
        file_rows: scan.file_rows(),
        dropped: intake.dropped(reading),
        before: intake.periods.iter().flat_map(|p| &p.before).map(|&before| u64::from(before)).sum(),
        other_periods: intake.periods.iter().flat_map(|p| p.seen.clone()).collect(),
        rejects,
        sketches: intake.features.iter().map(Sketch::of).collect(),
        decimals: intake
            .metrics
            .iter()
            .map(|m| [m.num.decimals(), m.den.as_ref().map_or(0, LocalNumbers::decimals)])
            .collect(),
        seen: intake.metrics.iter().map(|m| m.seen.clone()).collect(),
        positives: intake.metrics.iter().map(positives).collect(),
    };
    drop(scan);
    let reads = gather(worker, read);
    let mut merged_sketches = Vec::new();
    let agreed = (worker.index() == 0).then(|| {
        let (agreed, sketches) = conclude(job, table, reading, reads)?;
        merged_sketches = sketches;
        Ok(agreed)
    });
    let agreed: Agreed = decide(worker, agreed)?;

    let bands: Vec<Vec<u64>> =
        intake.features.iter().zip(&agreed.drafts).map(|(feature, draft)| band_counts(feature, draft)).collect();
    let all_bands = gather(worker, bands);
    let min_uv = job.min_uv(agreed.customers);
    let features = (worker.index() == 0).then(|| {
        let features = reading.features.iter().enumerate().map(|(i, input)| {
            let mut bands = vec![0u64; all_bands[0][i].len()];
            all_bands.iter().for_each(|worker| bands.iter_mut().zip(&worker[i]).for_each(|(a, b)| *a += b));
            feature(input, &merged_sketches[i], &agreed.drafts[i], &bands, min_uv)
        });
        Ok(features.collect::<Vec<Result<Feature, String>>>())
    });
    let features: Vec<Result<Feature, String>> = decide(worker, features)?;

    let rows = intake.global_rows(&agreed.file_rows);
    let mut part = hold_out(&intake.ids, &rows, job.highlight.holdout, job.highlight.seed);
    let before = intake.periods.take().map(|periods| periods.before);
    if let Some(before) = &before {
        // Nothing is decided by the earlier period.
        part.iter_mut().zip(before).filter(|(_, before)| **before > 0).for_each(|(part, _)| *part = VALIDATION as u8);
    }
    let ids = match std::mem::replace(&mut intake.ids, LocalIds::None) {
        LocalIds::None => CustomerIds::Runs(rows),
        LocalIds::Int(ids) => CustomerIds::Int(ids),
        LocalIds::Text(ids) => CustomerIds::Text(ids.into_iter().map(String::from).collect()),
    };
    let mut rounded = Vec::new();
    let mut failure = None;
    let mut metrics = Vec::new();
    for ((local, input), scale) in
        std::mem::take(&mut intake.metrics).into_iter().zip(&reading.metrics).zip(&agreed.scales)
    {
        let name = |place: usize| table.columns()[reading.columns[place]].name.clone();
        let scaled = scale_metric(
            local,
            *scale,
            &input.setting,
            &name(input.column),
            &input.denominator.map(name).unwrap_or_default(),
        );
        match scaled {
            Ok((column, more)) => {
                rounded.push(more);
                metrics.push(column);
            }
            Err(found) => failure = Some(found),
        }
    }
    agree(worker, failure)?;
    let mut all = gather(worker, rounded).into_iter();
    let mut rounded: Vec<u64> = all.next().unwrap_or_default();
    all.for_each(|more| rounded.iter_mut().zip(more).for_each(|(all, own)| *all += own));
    let squares = gather(worker, metrics.iter().map(MetricColumn::squares).collect::<Vec<u128>>());
    let refused = (worker.index() == 0).then(|| sums_fit(&squares, reading, &agreed.scales));
    decide(worker, refused)?;
    let shares: Vec<Option<[f64; 2]>> = reading.metrics.iter().map(|input| input.winsorise).collect();
    let caps = winsorise(worker, &mut metrics, &part, &shares);

    let mut codebook = Codebook::default();
    let mut codes = Vec::new();
    let (mut refused, mut untold) = (reading.refused.clone(), Vec::new());
    let mut place_of = Vec::new();
    let locals = std::mem::take(&mut intake.features).into_iter();
    for (i, ((feature, mut local), input)) in features.into_iter().zip(locals).zip(&reading.features).enumerate() {
        place_of.push(feature.is_ok().then_some(codes.len()));
        match feature {
            Ok(feature) => {
                codes.push(Coder::of(&feature).take(&mut local));
                codebook.features.push(feature);
            }
            Err(reason) => {
                if reading.by.contains(&i) {
                    untold.push((input.name.clone(), reason.clone()));
                }
                if i < reading.combined {
                    refused.push((input.name.clone(), reason));
                }
            }
        }
    }
    let by: Vec<usize> = reading.by.iter().filter_map(|&i| place_of[i]).collect();
    let combined = place_of[..reading.combined].iter().flatten().count();
    let (mut shard, mut periods) = match before {
        None => (Shard::new(codes, part, metrics, ids), None),
        Some(before) => {
            let (shard, periods) = Shard::of_periods(codes, &before, &part, metrics, &ids);
            (shard, Some(periods))
        }
    };
    shard.set_aside(&by, combined);
    periods.iter_mut().for_each(|periods| periods.set_aside(&[], combined));
    let by = by.iter().map(|&place| codebook.features[place].clone()).collect();
    codebook.features.truncate(combined);
    Ok(Loaded {
        shard,
        by,
        untold,
        periods,
        rows: agreed.quality.rows.kept,
        codebook,
        refused,
        scales: agreed.scales,
        caps,
        customers: agreed.customers,
        min_uv,
        quality: Quality { rounded_values: rounded.iter().sum(), ..agreed.quality },
        rounded,
        columns: agreed.columns,
        file_rows: agreed.file_rows,
    })
}

/// Chunks read between two looks at the memory held.
const CHUNKS_BETWEEN_LOOKS: usize = 16;

/// Whether the rows can be held at all, where the files say how many there are: each takes at least a byte a feature.
fn room(worker: &Worker, table: &Table, reading: &Reading, shared: &Shared) -> Result<(), Failure> {
    let Some(rows) = table.rows() else { return Ok(()) };
    let own = rows.div_ceil((worker.peers() / shared.threads()) as u64);
    let least = Size(own.saturating_mul(reading.features.len() as u64));
    if least <= shared.memory() {
        return Ok(());
    }
    Err(refused(format!("{own} rows of {} features take at least {least}", reading.features.len()), shared))
}

fn full(rows: usize, shared: &Shared) -> Failure {
    let held = memory::resident().unwrap_or(shared.memory());
    refused(format!("{held} are held when {rows} rows of this worker are read"), shared)
}

fn refused(what: String, shared: &Shared) -> Failure {
    let memory = shared.memory();
    let text = format!(
        "not enough memory to read the table: {what}, of {memory} for a process (--memory). Give more with --memory, spread the rows over more machines (--hostfile), or read less: features.exclude, features.include"
    );
    Failure { kind: FailureKind::Resources, place: (usize::MAX, u64::MAX), text }
}

fn source_failure(error: &SourceError, table: &Table) -> Failure {
    let kind = match error.kind() {
        ErrorKind::Input => FailureKind::Input,
        ErrorKind::Quality => FailureKind::Quality,
    };
    let failure = Failure::new(kind, error);
    let place = |path: &Path| table.files().iter().position(|f| f.path == *path).unwrap_or(usize::MAX);
    match error {
        SourceError::BadRow { path, row, .. } => failure.at(place(path), *row),
        // Behind the bad rows of the same file, which whoever reads it alone meets first.
        SourceError::OpenQuote { path, .. } | SourceError::LongRecord { path, .. } => failure.at(place(path), u64::MAX),
        _ => failure,
    }
}

fn positives(metric: &LocalMetric) -> u64 {
    match &metric.num {
        LocalNumbers::Bits(bits) => bits.iter().map(|&bit| u64::from(bit)).sum(),
        LocalNumbers::Ints { .. } | LocalNumbers::Floats(_) => 0,
    }
}

/// Adds up what the workers read, and decides on bad rows, grouping of values and scales.
fn conclude(job: &Job, table: &Table, reading: &Reading, reads: Vec<Read>) -> Result<(Agreed, Vec<Sketch>), Failure> {
    let fail = |kind, text: String| Failure { kind, place: (usize::MAX, u64::MAX), text };
    let total = |of: &dyn Fn(&Read) -> u64| reads.iter().map(of).sum::<u64>();
    let mut rejects = Rejects::default();
    reads.iter().for_each(|read| rejects.merge(read.rejects.clone()));
    let rows = RowAccounts {
        read: total(&|r| r.rows),
        kept: total(&|r| r.kept),
        quarantined: rejects.total(),
        merged: total(&|r| r.merged),
    };
    assert!(rows.balanced(), "every row read is kept, quarantined or merged: {rows:?}");
    let bad = rows.quarantined - total(&|r| r.dropped);
    if let Some(text) = rejects.beyond(&job.input, bad, rows.read) {
        return Err(fail(FailureKind::Quality, text));
    }
    let before = total(&|r| r.before);
    if let Some(compare) = &job.compare {
        let least = if job.enumerate.allow_small { 1 } else { PRIVACY_FLOOR };
        let periods = [("before", &compare.before, before), ("after", &compare.after, rows.kept - before)];
        let few: Vec<_> = periods.into_iter().filter(|(_, _, rows)| *rows < least).collect();
        if !few.is_empty() && rows.read > 0 {
            let told = |(period, values, rows): &(&str, &OneOrMany, u64)| {
                let values: Vec<String> = values.values().iter().map(Scalar::text).collect();
                let customers =
                    if *rows == 0 { "no customer is".to_owned() } else { format!("fewer than {least} customers are") };
                format!("compare.{period} = {values:?}: {customers} left of it")
            };
            let few: Vec<String> = few.iter().map(told).collect();
            let mut seen: Vec<&String> = reads.iter().flat_map(|r| &r.other_periods).collect();
            seen.sort();
            seen.dedup();
            let others = if seen.is_empty() {
                "no row is of another period".to_owned()
            } else {
                format!("rows of neither period have {seen:?}")
            };
            let left_out =
                if rows.quarantined == 0 { String::new() } else { format!("; left out: {}", rejects.told()) };
            let text = format!("column {:?}: {}; {others}{left_out}", compare.column, few.join("; "));
            return Err(fail(FailureKind::Input, text));
        }
    }
    if rows.kept == 0 {
        let why = if rows.read == 0 {
            "the table has no rows".to_owned()
        } else {
            format!("none of {} rows is left ({})", rows.read, rejects.told())
        };
        return Err(fail(FailureKind::Quality, format!("no customers: {why}")));
    }
    let customers = rows.kept - before;
    for (i, input) in reading.metrics.iter().enumerate() {
        // A metric of plain noes alone is one, if of nobody.
        let known = |text: &str| ["0", "no", "false", "n", "f"].iter().any(|no| text.eq_ignore_ascii_case(no));
        let mut seen: Vec<&String> = reads.iter().flat_map(|r| &r.seen[i]).collect();
        seen.sort();
        seen.dedup();
        let yes: u64 = reads.iter().map(|r| r.positives[i]).sum();
        if input.kind == MetricKind::Rate && yes == 0 && seen.iter().any(|text| !known(text)) {
            let (setting, place) = (&input.setting, reading.columns[input.column]);
            let column = &table.columns()[place].name;
            return Err(fail(
                FailureKind::Input,
                format!(
                    "{setting}.positive: no value of column {column:?} means yes; values seen: {seen:?}; set {setting}.positive to the one that does, or to a list of several"
                ),
            ));
        }
    }
    let mut scales = Vec::new();
    for (i, input) in reading.metrics.iter().enumerate() {
        let most = |side: usize| reads.iter().map(|r| r.decimals[i][side]).max().unwrap_or(0);
        scales.push(Scale {
            decimals: input.decimals.unwrap_or(most(0)),
            den_decimals: if input.kind == MetricKind::Ratio { input.decimals.unwrap_or(most(1)) } else { 0 },
        });
    }
    let file_rows = reads[0].file_rows.clone();
    let mut by_feature: Vec<Option<Sketch>> = vec![None; reading.features.len()];
    for read in reads {
        for (merged, sketch) in by_feature.iter_mut().zip(read.sketches) {
            *merged = Some(match merged.take() {
                Some(sum) => sum.merge(sketch, job.screen.max_distinct),
                None => sketch,
            });
        }
    }
    let sketches: Vec<Sketch> =
        by_feature.into_iter().map(|s| s.expect("worker 0 read a share, if an empty one")).collect();
    let drafts = reading.features.iter().zip(&sketches).map(|(input, sketch)| {
        Draft::of(input, sketch, job.screen.max_distinct).map_err(|error| Failure::new(FailureKind::Usage, &error))
    });
    let columns: Vec<ColumnQuality> = reading
        .features
        .iter()
        .zip(&sketches)
        .map(|(input, sketch)| ColumnQuality {
            name: input.name.clone(),
            nulls: sketch.nulls,
            distinct: sketch.distinct(),
        })
        .collect();
    let samples = rejects.samples.into_iter().map(|sample| RejectedRow {
        file: sample.file,
        row: sample.row + 1,
        line: sample.line,
        column: sample.column,
        reason: sample.reason,
        value: Some(sample.value),
    });
    let quality = Quality {
        rows,
        customers,
        rejects: rejects.by_reason,
        samples: samples.collect(),
        columns: columns.clone(),
        rounded_values: 0,
    };
    let drafts = drafts.collect::<Result<Vec<Draft>, Failure>>()?;
    Ok((Agreed { drafts, scales, customers, file_rows, quality, columns }, sketches))
}

fn scale_metric(
    local: LocalMetric,
    scale: Scale,
    setting: &str,
    column: &str,
    den_column: &str,
) -> Result<(MetricColumn, u64), Failure> {
    let failed = |error| Failure::new(FailureKind::Quality, &error);
    if let LocalNumbers::Bits(bits) = local.num {
        return Ok((MetricColumn::Rate(bits), 0));
    }
    let (num, rounded) = local.num.scaled(scale.decimals, setting, column).map_err(failed)?;
    match local.den {
        None => Ok((MetricColumn::Amount(num), rounded)),
        Some(den) => {
            let (den, more) = den.scaled(scale.den_decimals, setting, den_column).map_err(failed)?;
            Ok((MetricColumn::Ratio { num, den }, rounded + more))
        }
    }
}

/// Whether the sums of squares of each metric can be held and written, over all customers.
fn sums_fit(squares: &[Vec<u128>], reading: &Reading, scales: &[Scale]) -> Result<(), Failure> {
    for (i, (input, scale)) in reading.metrics.iter().zip(scales).enumerate() {
        let total = squares.iter().fold(0u128, |sum, worker| sum.saturating_add(worker[i]));
        if total >= MOST_SQUARES {
            let (setting, decimals) = (&input.setting, scale.decimals.max(scale.den_decimals));
            let remedy = match decimals {
                0 => "its values are too large for exact sums; divide the column by a power of ten".to_owned(),
                _ => format!("set {setting}.decimals below {decimals}"),
            };
            let text = format!(
                "{setting}: the squares of {:?}, with {decimals} decimals, add up to more than 38 digits over all customers; {remedy}",
                input.name
            );
            return Err(Failure { kind: FailureKind::Quality, place: (usize::MAX, u64::MAX), text });
        }
    }
    Ok(())
}

/// What 38 digits hold: less than 128 bits, and what a decimal column of Parquet has at the most.
const MOST_SQUARES: u128 = 10u128.pow(38);

/// 1 for the customers held out: those whose seeded hash falls below the share. Row numbers stand in for absent ids.
fn hold_out(ids: &LocalIds, rows: &RowRuns, share: f64, seed: u64) -> Vec<u8> {
    // The duplicates are found by the hash of seed 0; another seed keeps the split independent of who owns an id.
    let seed = seed ^ 0x9e37_79b9_7f4a_7c15;
    let held = |id: IdRef| u8::from(((hash(id, seed) >> 11) as f64) < share * (1u64 << 53) as f64);
    match ids {
        LocalIds::None => {
            let mut part = Vec::with_capacity(rows.len());
            rows.iter().for_each(|run| part.extend(run.map(|row| held(IdRef::Int(row as i64)))));
            part
        }
        LocalIds::Int(ids) => ids.iter().map(|&id| held(IdRef::Int(id))).collect(),
        LocalIds::Text(ids) => ids.iter().map(|id| held(IdRef::Text(id))).collect(),
    }
}
