//! `plan`: what a run would do and take, here or on other machines.

use serde::Serialize;

use super::inspect::{grouped, on_workers, right, verdict_table};
use super::run::open;
use super::{JobArgs, print};
use crate::cluster::Layout;
use crate::dataflow::{self, Failure, FailureKind, Shared};
use crate::encode::Shard;
use crate::enumerate::{LevelOutline, Limits, Shape, Workers, outline};
use crate::memory::Size;
use crate::screen::Verdict;
use crate::sink;
use crate::telemetry::Progress;

/// What is planned for.
pub struct Asked {
    /// Of each process; the table is read with these.
    pub threads: usize,
    /// Of all processes; absent: one process.
    pub workers: Option<u64>,
    /// Absent: those of the table.
    pub rows: Option<u64>,
    /// Of a process.
    pub memory: Size,
}

#[derive(Serialize)]
struct Plan {
    rows: u64,
    customers: u64,
    min_uv: u64,
    features: usize,
    workers: u64,
    processes: u64,
    memory: u64,
    /// Of all coded rows, then of those of a process.
    bytes_rows: u64,
    bytes_rows_process: u64,
    bytes_blocks_at_most: u64,
    /// Of counting.
    seconds: Option<f64>,
    /// Why a run would be refused, as far as can be told beforehand.
    refused: Option<String>,
    levels: Vec<LevelOutline>,
    verdicts: Vec<Verdict>,
    job: String,
}

/// Reads and screens the table, and says what the enumeration could come to.
pub fn plan(args: &JobArgs, asked: &Asked, json: bool) -> Result<(), Failure> {
    let usage = |text: String| Failure { kind: FailureKind::Usage, place: (usize::MAX, u64::MAX), text };
    let threads = asked.threads as u64;
    let all = asked.workers.unwrap_or(threads);
    if all == 0 || !all.is_multiple_of(threads.max(1)) {
        return Err(usage(format!("--workers {all}: expected a multiple of --threads, {threads} here")));
    }
    let workers = Workers { processes: all / threads, threads };
    let job = args.load()?;
    let effective = job.effective();
    let (table, reading) = open(&job)?;
    let layout = Layout::threads(asked.threads).map_err(|error| Failure::new(FailureKind::Usage, &error))?;
    let progress = Progress::new(job.enumerate.max_level);
    let shared = Shared::new(asked.threads, asked.memory);
    let (memory, rows) = (asked.memory, asked.rows);
    let planned = on_workers(&layout, move |worker| {
        let mut loaded = dataflow::load(worker, &job, &table, &reading, &shared, &progress, |_| {})?;
        let (verdicts, load) = dataflow::screened(worker, &shared, &job, &mut loaded);
        let held = loaded.shard.bytes() + loaded.periods.as_ref().map_or(0, Shard::bytes);
        let bytes: u64 = dataflow::gather(worker, held).into_iter().sum();
        let customers = rows.unwrap_or(loaded.customers);
        let times = customers as f64 / loaded.customers.max(1) as f64;
        let load = load.scaled(loaded.customers, customers, workers.processes);
        let mut shape = Shape::of(&loaded.codebook);
        shape.common.iter_mut().for_each(|common| *common = (*common as f64 * times) as u64);
        let bytes_rows = (bytes as f64 * times) as u64;
        let bytes_rows_process = bytes_rows.div_ceil(workers.processes);
        let min_uv = job.min_uv(customers);
        let left = dataflow::Room::beside(memory, Size(bytes_rows_process));
        let limits = Limits {
            customers,
            min_uv,
            max_level: job.enumerate.max_level,
            block_bytes: left.as_ref().map_or(u64::MAX, |room| room.blocks),
        };
        let levels = outline(&shape, &load, &limits, workers);
        Ok(Plan {
            rows: rows.unwrap_or(loaded.quality.rows.read),
            customers,
            min_uv,
            features: shape.features(),
            workers: all,
            processes: workers.processes,
            memory: memory.0,
            bytes_rows,
            bytes_rows_process,
            bytes_blocks_at_most: levels.iter().map(|l| l.block_bytes_at_most).max().unwrap_or(0),
            seconds: levels.iter().map(|l| l.seconds).sum(),
            refused: left.err().map(|failure| failure.text),
            levels,
            verdicts,
            job: String::new(),
        })
    })?;
    let plan = Plan { job: effective, ..planned };
    if json {
        print(&serde_json::to_string(&plan).expect("a plan is JSON"));
    } else {
        tell(&plan);
    }
    Ok(())
}

fn tell(plan: &Plan) {
    let heads = [
        "level",
        "feature sets",
        "candidates at most",
        "cells at most",
        "passes over the rows",
        "blocks at most",
        "in parts",
        "counting, s",
    ];
    let mut levels = sink::table(&heads, None);
    let spread = plan.processes > 1;
    let mut network = sink::table(&["level", "sent by a process at most", "cells a worker owns at most"], None);
    for level in &plan.levels {
        levels.add_row([
            right(level.level),
            right(grouped(level.feature_sets)),
            right(grouped(level.candidates_at_most)),
            right(grouped(level.cells_at_most)),
            right(
                level.covering_blocks.map_or("?".into(), |n| if n == 0 { "with the next".into() } else { grouped(n) }),
            ),
            right(Size(level.block_bytes_at_most)),
            right(grouped(level.memory_passes)),
            right(level.seconds.map_or("?".into(), |s| format!("{s:.2}"))),
        ]);
        network.add_row([
            right(level.level),
            right(Size(level.bytes_sent_at_most)),
            right(grouped(level.cells_owned_at_most)),
        ]);
    }
    let network = if spread { format!("\n\n{network}") } else { String::new() };
    let refused = plan.refused.as_ref().map_or(String::new(), |why| format!("\nA run would be refused: {why}"));
    print(&format!(
        "{} rows, {} customers; a segment needs {}; {} features are combined by {} worker(s) in {} process(es)\n\n{}\n\n{levels}{network}\n\
         Bounds as if every combination that can be frequent were; what proves rare is not counted on. Seconds are those of the \
         machine that the model was calibrated on.\n\
         memory: {} for the rows, {} of them in each process; at most {} there for the blocks of a level; {} may be used (--memory){refused}\n\n\
         effective settings:\n{}",
        grouped(plan.rows),
        grouped(plan.customers),
        grouped(plan.min_uv),
        plan.features,
        plan.workers,
        plan.processes,
        verdict_table(&plan.verdicts),
        Size(plan.bytes_rows),
        Size(plan.bytes_rows_process),
        Size(plan.bytes_blocks_at_most),
        Size(plan.memory),
        plan.job
    ));
}
