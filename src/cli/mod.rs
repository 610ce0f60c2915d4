//! The command line: parse, run, print an error once, exit code.

mod assign;
mod demo;
mod inspect;
mod plan;
mod progress;
mod run;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::cluster::{self, Exit, Hosts, JOIN_TIMEOUT, Layout, Processes};
use crate::dataflow::{Failure, FailureKind};
use crate::job::{Job, Language, Override};
use crate::memory::Size;

/// Finds the few small groups of customers that move a business figure.
///
/// Exit codes: 0 published, or what was asked is done; 1 a bug; 2 command line or job file; 3 input missing, unreadable or not as
/// declared; 4 data quality gate; 5 another run holds the output; 6 not enough memory or disk; 7 a peer was lost or did not
/// join; 130 and 143 interrupted.
#[derive(Parser)]
#[command(name = "nichemine", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How log lines are written to stderr.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// `json`: one line on stdout that sums up what was done; everything else goes to stderr.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// Scan the table and publish a run.
    Run {
        #[command(flatten)]
        job: JobArgs,
        #[command(flatten)]
        layout: LayoutArgs,
    },
    /// Validate a job against the table's columns; nothing is run.
    Check {
        #[command(flatten)]
        job: JobArgs,
    },
    /// Say what a run would do: rows, features, candidates, memory, passes over the rows, effective settings.
    ///
    /// Reads the table once, to know its values, and counts nothing.
    Plan {
        #[command(flatten)]
        job: JobArgs,
        /// Worker threads of each process; the table is read with these here.
        #[arg(short = 'w', long, default_value_t = default_threads())]
        threads: usize,
        /// Plan for so many workers in all, in processes of --threads each. [default: one process]
        #[arg(long, value_name = "N")]
        workers: Option<u64>,
        /// Plan for a table of so many rows with the same values in the same shares, such as 1e9. [default: this table's]
        #[arg(long, value_name = "N", value_parser = rows)]
        rows: Option<u64>,
        /// Memory of a process, such as 8GiB. [default: what this machine or its container has available]
        #[arg(long, value_name = "SIZE")]
        memory: Option<Size>,
    },
    /// Describe the columns of a table, or judge the features of a job.
    Describe {
        /// A table (Parquet or CSV file, folder, glob) or a job file (.toml).
        target: String,
        /// With a CSV table: the byte between fields.
        #[arg(long, default_value_t = ',')]
        delimiter: char,
        /// With a table: a value that means missing, beside the empty field. May be given several times.
        #[arg(long)]
        null_value: Vec<String>,
        /// With a job: change a setting, as in `--set screen.off=true`.
        #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
        set: Vec<Override>,
    },
    /// Write a table with known niches, and the truth beside it.
    Plant {
        /// Ends in .parquet or .csv.
        file: PathBuf,
        #[command(flatten)]
        planting: PlantArgs,
    },
    /// Plant a table, run the whole job on it, compare with the truth, and say where the report is.
    Demo {
        /// Where the table and the run go.
        #[arg(long, default_value = "out/demo")]
        dir: PathBuf,
        #[command(flatten)]
        planting: PlantArgs,
        /// Worker threads.
        #[arg(short = 'w', long, default_value_t = default_threads())]
        threads: usize,
    },
    /// Check the files and row accounts of a published run.
    Verify {
        /// The folder of a run, such as out/bank/latest.
        run: PathBuf,
    },
    /// Tell what changed between two published runs: highlights gained and lost, groups, and which customers went where.
    Diff {
        /// The folder of the earlier run, such as out/bank/runs/20240229T123456Z-0123abcd.
        before: PathBuf,
        /// The folder of the later run, such as out/bank/latest.
        after: PathBuf,
    },
    /// Tell everything that a run says of a segment: its figures, each condition of the rule, and where it was folded.
    Explain {
        /// The folder of a run, such as out/bank/latest.
        run: PathBuf,
        /// The segment as the tables write it, such as "age=[20,30) & job=student", its items in any order.
        segment: String,
    },
    /// Put the customers of a table, such as new ones or another month's, into the groups of a published run.
    ///
    /// Reads the table once, with little memory however large it is. A customer goes to the group of the first segment that covers
    /// them, in the run's order (`assignment` of groups.json). Ids that occur twice are not looked for: each row is a customer.
    Assign(assign::AssignArgs),
    /// Print a completion script for a shell.
    Completions { shell: Shell },
    /// Print the man page.
    Man,
    /// Print the JSON Schema of the job file.
    Schema,
}

#[derive(Args)]
struct JobArgs {
    /// The job file.
    job: PathBuf,
    /// Change a setting, as in `--set enumerate.max_level=2`. May be given several times.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    set: Vec<Override>,
}

impl JobArgs {
    fn load(&self) -> Result<Job, Failure> {
        Job::load(&self.job, &self.set).map_err(|error| Failure::new(FailureKind::Usage, &error))
    }
}

#[derive(Args)]
struct LayoutArgs {
    /// Worker threads of each process.
    #[arg(short = 'w', long, default_value_t = default_threads())]
    threads: usize,
    /// Processes on this machine; the others are started, and ended, by this one.
    #[arg(long, default_value_t = 1)]
    processes: usize,
    /// One process a line, `host:port`; every one of them is started with this file and its own --process.
    #[arg(long, requires = "process", conflicts_with = "processes")]
    hostfile: Option<PathBuf>,
    /// With --hostfile: which line of it this process is, from 0.
    #[arg(long, requires = "hostfile")]
    process: Option<usize>,
    /// Memory that the processes on this machine may use together for all that grows with the table, such as 8GiB. What does
    /// not fit at once is counted in parts; what cannot fit is refused. [default: what the machine or its container has available]
    #[arg(long, value_name = "SIZE")]
    memory: Option<Size>,
    /// Seconds to wait for the other processes at the start.
    #[arg(long, default_value_t = JOIN_TIMEOUT.as_secs())]
    join_timeout: u64,
    #[arg(long, hide = true, requires = "child_of")]
    child_index: Option<usize>,
    #[arg(long, hide = true)]
    child_of: Option<usize>,
}

impl LayoutArgs {
    fn layout(&self) -> Result<Layout, Failure> {
        let usage = |error| Failure::new(FailureKind::Usage, &error);
        let arguments = || std::env::args_os().skip(1).collect::<Vec<OsString>>();
        let processes = match (self.child_index, self.child_of, &self.hostfile, self.process) {
            (Some(index), Some(count), _, _) => Processes::Child { index, count },
            (_, _, Some(file), Some(index)) => Processes::Hosts(Hosts::read(file, index).map_err(usage)?),
            _ if self.processes == 1 => Processes::One,
            _ => Processes::Children { count: self.processes, arguments: arguments() },
        };
        let layout = Layout::new(self.threads, processes).map_err(usage)?;
        Ok(layout.joining_within(Duration::from_secs(self.join_timeout)))
    }

    /// What this process may use: an even share where there are others beside it.
    fn memory(&self, layout: &Layout) -> Size {
        let beside = match layout.processes() {
            Processes::Hosts(_) => 1,
            _ => layout.process_count() as u64,
        };
        Size(memory(self.memory).0 / beside)
    }
}

/// What was asked for, or what there is.
fn memory(asked: Option<Size>) -> Size {
    asked.or_else(crate::memory::available).unwrap_or(Size(u64::MAX))
}

/// A number of rows, perhaps written as 1e9.
fn rows(text: &str) -> Result<u64, String> {
    let number = text.parse::<f64>().ok().filter(|n| n.fract() == 0.0 && (1.0..=1e15).contains(n));
    number.map(|n| n as u64).ok_or_else(|| "expected a whole number from 1 to 1e15".into())
}

#[derive(Args)]
struct PlantArgs {
    /// Rows, one a customer.
    #[arg(long, default_value_t = 200_000)]
    customers: u64,
    /// Columns to combine.
    #[arg(long, default_value_t = 12)]
    features: usize,
    /// Number of items of each feature, in place of the features of a shop: 4 to 200 numbers from 2 to 60000.
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', conflicts_with = "features")]
    cardinalities: Vec<usize>,
    #[arg(long, default_value_t = 8)]
    niches: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Of the columns' names and values, and of the report.
    #[arg(long, value_enum, default_value_t = LanguageArg::En)]
    language: LanguageArg,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LanguageArg {
    En,
    Zh,
}

impl From<LanguageArg> for Language {
    fn from(language: LanguageArg) -> Language {
        match language {
            LanguageArg::En => Language::En,
            LanguageArg::Zh => Language::Zh,
        }
    }
}

/// All cores of the machine, at most 64.
fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get().min(64))
}

/// Runs the program; does not return to its caller unless all went well.
pub fn main() -> Exit {
    let cli = Cli::parse();
    cluster::install_panic_hook(crate::source::is_decoding);
    if let Err(error) = cluster::install_signal_handler() {
        cluster::leave(Exit::Bug, Some(&format!("cannot watch for signals: {error}")));
    }
    let on_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    progress::start_logging(cli.log_format == LogFormat::Json, on_terminal);
    let json = cli.output == Output::Json;
    let done = match cli.command {
        Command::Run { job, layout } => run::run(&job, &layout, json, on_terminal && cli.log_format == LogFormat::Text),
        Command::Check { job } => inspect::check(&job, json),
        Command::Plan { job, threads, workers, rows, memory } => {
            let asked = plan::Asked { threads, workers, rows, memory: self::memory(memory) };
            plan::plan(&job, &asked, json)
        }
        Command::Describe { target, delimiter, null_value, set } => {
            inspect::describe(&target, delimiter, null_value, &set, json)
        }
        Command::Plant { file, planting } => demo::plant(&file, &planting, json),
        Command::Demo { dir, planting, threads } => demo::demo(&dir, &planting, threads, json, on_terminal),
        Command::Explain { run, segment } => inspect::explain(&run, &segment, json),
        Command::Assign(args) => assign::assign(&args, json),
        Command::Diff { before, after } => inspect::diff(&before, &after, json),
        Command::Verify { run } => inspect::verify(&run, json),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "nichemine", &mut std::io::stdout());
            Ok(())
        }
        Command::Man => clap_mangen::Man::new(Cli::command())
            .render(&mut std::io::stdout())
            .map_err(|error| Failure::new(FailureKind::Resources, &error)),
        Command::Schema => {
            let schema = schemars::schema_for!(crate::job::JobSpec);
            print(&serde_json::to_string_pretty(&schema).expect("a schema is JSON"));
            Ok(())
        }
    };
    match done {
        Ok(()) => Exit::Published,
        Err(failure) => cluster::leave(exit(failure.kind), Some(&crate::sink::visible(&failure.text))),
    }
}

fn exit(kind: FailureKind) -> Exit {
    match kind {
        FailureKind::Bug => Exit::Bug,
        FailureKind::Usage => Exit::Usage,
        FailureKind::Input => Exit::Input,
        FailureKind::Quality => Exit::Quality,
        FailureKind::Taken => Exit::Taken,
        FailureKind::Resources => Exit::Resources,
    }
}

/// A line, or several, on stdout. A reader that has gone away, as in `| head`, is not an error.
fn print(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}
