//! `assign`: the customers of a table into the groups of a published run.

use std::path::{Path, PathBuf};

use super::print;
use super::run::{sink_failure, source_failure};
use crate::assign::{self, AssignError, Request};
use crate::cluster;
use crate::dataflow::{Failure, FailureKind};
use crate::job::Override;
use crate::sink::AssignedFile;

#[derive(clap::Args)]
pub struct AssignArgs {
    /// The folder of a run, such as out/bank/latest.
    run: PathBuf,
    /// A table (Parquet or CSV file, folder, glob) with the columns that the run's groups ask for; the metric need not be there.
    table: String,
    /// The file to write, in Parquet, or in CSV where its name ends in .csv. It appears at the end, in the place of an earlier one.
    #[arg(long, value_name = "FILE", default_value = "assigned.parquet")]
    out: PathBuf,
    /// Write the customers in no group too, with null as their group.
    #[arg(long)]
    all: bool,
    /// How this table is read, where it differs from the run's, as in `--set input.csv.delimiter=";"`. May be given several times.
    #[arg(long = "set", value_name = "input.KEY=VALUE")]
    set: Vec<Override>,
    /// Threads that read.
    #[arg(short = 'w', long, default_value_t = super::default_threads())]
    threads: usize,
}

/// Assigns, and tells what came of it.
pub fn assign(args: &AssignArgs, json: bool) -> Result<(), Failure> {
    if args.threads == 0 {
        let text = "--threads 0: expected 1 or more".into();
        return Err(Failure { kind: FailureKind::Usage, place: (usize::MAX, u64::MAX), text });
    }
    let staged = AssignedFile::staged(&args.out);
    let cleanup = cluster::on_exit(move || drop(std::fs::remove_file(staged)));
    let request = Request {
        run: &args.run,
        table: &args.table,
        set: &args.set,
        threads: args.threads.min(MOST_THREADS),
        out: &args.out,
        all: args.all,
    };
    let (drift, language) = assign::assign(&request).map_err(|error| failure(&error, &args.out))?;
    cleanup.cancel();
    tracing::info!(rows = drift.rows_read, assigned = drift.assigned, "assigned");
    match json {
        true => print(&serde_json::to_string(&drift).expect("an account is JSON")),
        false => print(&drift.told(language, None)),
    }
    Ok(())
}

/// More would only wait for each other.
const MOST_THREADS: usize = 256;

fn failure(error: &AssignError, out: &Path) -> Failure {
    let kind = match error {
        AssignError::Job(_) | AssignError::Set { .. } | AssignError::Out { .. } => FailureKind::Usage,
        AssignError::Standing(_)
        | AssignError::Lacking { .. }
        | AssignError::Words { .. }
        | AssignError::Reading(_)
        | AssignError::Changed { .. } => FailureKind::Input,
        AssignError::BadRow(_) | AssignError::Quality(_) => FailureKind::Quality,
        AssignError::Thread { .. } => FailureKind::Resources,
        AssignError::Source(error) => return source_failure(error),
        AssignError::Sink(error) => {
            let failure = sink_failure(error);
            let text = format!("cannot write --out {out:?}: {}", cause(error));
            return Failure { text, ..failure };
        }
    };
    Failure::new(kind, error)
}

/// What the system says.
fn cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => cause(source),
        None => error.to_string(),
    }
}
