//! Times of whole jobs: the program is started anew for every run, and its manifest says what each part took.
//!
//! ```text
//! cargo bench --bench job -- [NAME | JOB.toml] [--repeat N] [--threads A,B,...] [--processes N] [--set KEY=VALUE]...
//! ```
//!
//! NAME is one of the cases in `benches/job/cases.rs`, `small` if none is given; its table is planted into
//! `target/bench-data` once. With several numbers of threads the layouts take turns, so that a change in what else the
//! machine does meets all of them. Printed for each layout:
//!
//! - median, 99th percentile and maximum of the seconds of each stage and of the whole job, over the runs;
//! - for each level what was counted and exchanged, its seconds, and rows times passes a second by the median;
//! - the same quantiles of the microseconds of counting a block, over all workers and runs;
//! - the largest resident memory;
//!
//! and how many times as fast each layout is as the first. All runs must have published the same bytes, and of a planted
//! table every niche must have been found, before any time is told; else the bench fails.
//!
//! Without `--bench`, as in `cargo test --benches`, or with `--test`, a tiny table is mined and no time is told.

#[path = "job/cases.rs"]
mod cases;
#[path = "job/measured.rs"]
mod measured;
#[path = "job/report.rs"]
mod report;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;
use nichemine::planted::{Truth, compare};

use cases::Case;
use measured::{Layout, Run};
use report::{grouped, report};

/// Times of whole jobs.
#[derive(Parser)]
#[command(name = "cargo bench --bench job --", max_term_width = 110)]
struct Arguments {
    /// A named case, or the path of a job file, which starts at the package's folder.
    #[arg(default_value = "small")]
    job: String,
    /// Runs of each layout.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,
    /// Worker threads of each process; several numbers are run in turns. Default: all cores.
    #[arg(long, value_delimiter = ',')]
    threads: Vec<usize>,
    #[arg(long, default_value_t = 1)]
    processes: usize,
    /// Change a setting of the job.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// What cargo says to a bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let asked = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    let done = match asked("--bench") && !asked("--test") {
        true => timed(&Arguments::parse()),
        false => tried(),
    };
    match done {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("error: {text}");
            ExitCode::FAILURE
        }
    }
}

/// A job to be run.
struct Work {
    job: PathBuf,
    settings: Vec<String>,
    /// Of a planted table.
    truth: Option<Truth>,
}

impl Work {
    /// A named case, with its table and its runs in `folder`.
    fn of(case: &Case, folder: &Path) -> Result<Work, String> {
        let failed = |error: std::io::Error| format!("cannot write to {}: {error}", folder.display());
        let table = case.table(folder).map_err(|error| error.to_string())?;
        let job = folder.join(format!("{}.toml", case.name));
        std::fs::write(&job, case.planting.job(&table, &folder.join("out").join(case.name))).map_err(failed)?;
        let truth = Truth::read(&table).map_err(|error| error.to_string())?;
        let mut settings: Vec<String> = case.settings.iter().map(|&setting| setting.into()).collect();
        // Tables of the size of these are not kept by the dozen.
        settings.push("output.keep_runs=1".into());
        Ok(Work { job, settings, truth: Some(truth) })
    }

    /// A job file of somebody's own, with its runs in `folder` instead of where it says.
    fn of_file(job: &Path, folder: &Path) -> Result<Work, String> {
        let name = job.file_stem().ok_or("a job file has a name")?.to_string_lossy().into_owned();
        let out = serde_json::Value::from(folder.join("out").join(name).to_string_lossy()).to_string();
        let settings = vec![format!("output.dir={out}"), "output.keep_runs=1".into()];
        Ok(Work { job: job.to_owned(), settings, truth: None })
    }

    /// The runs of each layout, which take turns; and what was checked of them.
    fn runs(&self, layouts: &[Layout], repeat: u64) -> Result<(Vec<Vec<Run>>, String), String> {
        let mut runs: Vec<Vec<Run>> = layouts.iter().map(|_| Vec::new()).collect();
        let mut checked = String::new();
        for turn in 0..repeat {
            for (layout, runs) in layouts.iter().zip(&mut runs) {
                let run = Run::of(&self.job, &self.settings, *layout)?;
                eprintln!("run {} of {repeat}: {}", turn + 1, run.manifest.layout);
                if checked.is_empty() {
                    checked = self.checked(&run)?;
                }
                runs.push(run);
            }
        }
        let first = &runs[0][0].manifest;
        // But for those with clock times in them, which are not in the list.
        match runs.iter().flatten().find(|run| run.manifest.files != first.files) {
            Some(other) => Err(format!("{} published other bytes than {}", other.manifest.layout, first.layout)),
            None => Ok((runs, checked)),
        }
    }

    /// Whether what was planted was found, as far as a segment needs no more customers than a niche has.
    fn checked(&self, run: &Run) -> Result<String, String> {
        let Some(truth) = &self.truth else { return Ok("no truth to compare with".into()) };
        let least = run.manifest.privacy.min_uv;
        let large = truth.niches.iter().filter(|niche| niche.uv as u64 >= least).cloned().collect();
        let comparison =
            compare(&Truth { niches: large, ..truth.clone() }, &run.folder).map_err(|error| error.to_string())?;
        match comparison.all_found() {
            true => Ok(format!(
                "{} of {} planted niches have at least {} customers, and all of them were found",
                comparison.niches.len(),
                truth.niches.len(),
                grouped(least)
            )),
            false => Err(format!("not every planted niche was found:\n{comparison}")),
        }
    }
}

fn timed(arguments: &Arguments) -> Result<String, String> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is a folder of the target folder");
    let folder = target.join("bench-data");
    let mut work = match (cases::named(&arguments.job), arguments.job.ends_with(".toml")) {
        (Some(case), _) => Work::of(&case, &folder)?,
        (None, true) => Work::of_file(Path::new(&arguments.job), &folder)?,
        (None, false) => {
            return Err(format!(
                "{:?} is no job file, which ends in .toml, and no case: {}",
                arguments.job,
                cases::NAMED
            ));
        }
    };
    work.settings.extend(arguments.set.iter().cloned());
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let threads = if arguments.threads.is_empty() { vec![cores] } else { arguments.threads.clone() };
    let layouts: Vec<Layout> =
        threads.into_iter().map(|threads| Layout { threads, processes: arguments.processes }).collect();

    let before = load();
    let (runs, checked) = work.runs(&layouts, arguments.repeat)?;
    let manifest = &runs[0][0].manifest;
    let kept: u64 = manifest.levels.iter().map(|level| level.kept).sum();
    Ok(format!(
        "# {}\n\n{} rows, {} customers, a segment needs {}; {} segments, {} highlights, {} groups.\n\
         Runs of each layout: {}, layouts: {}, all with the same bytes; {checked}.\n\
         {}, {cores} cores, load {before} before and {} after, commit {}.\n{}",
        arguments.job,
        grouped(manifest.rows.read),
        grouped(manifest.customers),
        grouped(manifest.privacy.min_uv),
        grouped(kept),
        grouped(manifest.highlights.highlights),
        manifest.groups,
        arguments.repeat,
        layouts.len(),
        processor(),
        load(),
        commit(),
        report(&runs),
    ))
}

/// That everything works, on a table so small that its times mean nothing.
fn tried() -> Result<String, String> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).map_err(|error| error.to_string())?;
    let case = cases::tiny();
    let work = Work::of(&case, folder.path())?;
    let layouts = [1, 2].map(|threads| Layout { threads, processes: 1 });
    let (runs, checked) = work.runs(&layouts, 1)?;
    let text = report(&runs);
    for part in ["## 1 process of 2 threads", "| whole job", "| blocks of level", "Peak memory", "## Scaling"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let again = case.table(folder.path()).map_err(|error| error.to_string())?;
    assert!(again.is_file(), "the table that was planted is used again");
    Ok(format!("job: {}, {checked}; not timed", case.name))
}

/// The processor's name, as Linux tells it.
fn processor() -> String {
    let facts = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = facts.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or("unknown processor".into(), |(_, name)| name.trim().to_owned())
}

/// How many programs wanted to run in the last minute.
fn load() -> String {
    let loads = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    loads.split(' ').next().filter(|load| !load.is_empty()).unwrap_or("unknown").to_owned()
}

fn commit() -> String {
    let said = Command::new("git").args(["describe", "--always", "--dirty", "--exclude", "*"]).output();
    let said = said.ok().filter(|said| said.status.success()).and_then(|said| String::from_utf8(said.stdout).ok());
    said.map_or("unknown".into(), |id| id.trim().to_owned())
}
