//! The customers of any table to the groups of a published run, as they are read.

mod order;
mod stream;

use std::path::{Path, PathBuf};

use crate::encode::{BadRow, Feature, Reading, ReadingError};
use crate::job::{Job, JobError, Language, MergeOf, Override, PRIVACY_FLOOR, TableFormat, closest};
use crate::sink::{
    AssignedFile, AssignedOrder, Drift, Example, GroupDrift, SinkError, Standing, StandingError, ValueDrift, is_csv,
    stability,
};
use crate::source::{ColumnKind, SourceError, Table, format_of};

use order::Order;
use stream::{Account, Work, stream};

/// Values that are told of a feature.
const EXAMPLES: usize = 5;

/// What to assign, and where to.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// `DIR/latest` or `DIR/runs/<run id>`.
    pub run: &'a Path,
    pub table: &'a str,
    /// Settings of `[input]` that differ from the run's job.
    pub set: &'a [Override],
    pub threads: usize,
    pub out: &'a Path,
    /// Customers in no group are written too.
    pub all: bool,
}

/// Why no file was written; an earlier one is as it was.
#[derive(Debug, thiserror::Error)]
pub enum AssignError {
    #[error(transparent)]
    Standing(#[from] StandingError),
    #[error(transparent)]
    Job(#[from] JobError),
    #[error("--set {set}: {why}")]
    Set { set: String, why: &'static str },
    #[error("--out {out:?}: {why}")]
    Out { out: PathBuf, why: String },
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Reading(#[from] ReadingError),
    #[error("the table lacks {missing}, which the run asks for; {way}{}", hint.as_ref().map_or(String::new(), |hint| format!("; {hint}")))]
    Lacking { missing: String, way: String, hint: Option<String> },
    #[error(
        "features.{feature}: column {column:?} is text and no value of it is a number{example}; expected numbers, as in the run"
    )]
    Words { feature: String, column: String, example: String },
    #[error(transparent)]
    BadRow(BadRow),
    #[error("{0}")]
    Quality(String),
    #[error("{path:?} changed while it was read; nothing is written")]
    Changed { path: PathBuf },
    #[error("cannot start a thread; ask for fewer with --threads")]
    Thread {
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Sink(#[from] SinkError),
}

/// Puts the customers of a table into the groups of a run: each goes to the group of the first segment that covers him, in the run's
/// order. Ids that occur twice are not looked for: every usable row is a customer. Gives the run's language too.
pub fn assign(request: &Request) -> Result<(Drift, Language), AssignError> {
    let standing = Standing::read(request.run)?;
    let job = job(&standing.job, request)?;
    let table = Table::open(&job.input)?;
    let out = checked(request, &table)?;
    let segments: Vec<_> = standing.asked.iter().map(|(segment, _)| *segment).collect();
    let order = Order::new(&segments, &standing.codebook);
    let features: Vec<Feature> = order.features.iter().map(|&f| standing.codebook.feature(f).clone()).collect();
    lacking(&job, &table, &features)?;
    let reading = Reading::of_codebook(&job, &table, &features)?;
    let text = reading.id.is_some_and(|id| table.columns()[reading.columns[id]].kind == ColumnKind::Text);
    let written = AssignedOrder {
        segments: standing.groups.assignment.iter().map(|entry| entry.segment.clone()).collect(),
        groups: standing.asked.iter().map(|(_, group)| *group).collect(),
    };
    let work = Work {
        job: &job,
        table: &table,
        reading: &reading,
        features: &features,
        order: &order,
        asked: segments.len(),
        all: request.all,
        cells: job.merge.of == MergeOf::Cells,
    };
    let (file, account) = stream(&work, request.threads, |next| {
        AssignedFile::write(&out, job.input.id.as_deref(), text, &written, next)
    })?;
    let file = file??;
    if let Some(path) = table.changed_since_open() {
        return Err(AssignError::Changed { path });
    }
    let bad = account.rejects.total();
    if let Some(text) = account.rejects.beyond(&job.input, bad, account.read) {
        return Err(AssignError::Quality(text));
    }
    // A file of CSV says nothing of types, so that few rows without a number are values that are new.
    let typed = table.format() == TableFormat::Parquet;
    for (feature, strangers) in features.iter().zip(&account.strangers).filter(|_| typed) {
        if strangers.words && !strangers.numerals {
            let example = strangers.examples(1, 1).pop().map(|(value, _)| value);
            return Err(AssignError::Words {
                feature: feature.name.clone(),
                column: feature.column.clone(),
                example: example.map_or(String::new(), |value| format!(", as {value:?}")),
            });
        }
    }
    let drift = drift(&standing, &features, &account, &file, out);
    file.publish()?;
    Ok((drift, job.output.language))
}

/// The run's job, but for the table and the settings of `[input]` that were given.
fn job(own: &Job, request: &Request) -> Result<Job, AssignError> {
    for set in request.set {
        let why = match set.path() {
            [section, key] if section == "input" && key == "path" => "the table is the one that is named after the run",
            [section, ..] if section == "input" => continue,
            _ => "only settings of [input] can differ from the run's, as its groups are fixed",
        };
        return Err(AssignError::Set { set: set.to_string(), why });
    }
    let changed = Job::parse(&own.effective(), Path::new("manifest.json"), request.set)?;
    let mut spec = (*changed).clone();
    spec.input.path = request.table.to_owned();
    // What the run's table is written in says nothing of a table whose name tells.
    if !request.set.iter().any(|set| set.path()[1] == "format") && format_of(Path::new(request.table)).is_some() {
        spec.input.format = None;
    }
    Ok(Job::check(spec)?)
}

/// Refuses a table with all the columns that it lacks: one at a time would cost a try each.
fn lacking(job: &Job, table: &Table, features: &[Feature]) -> Result<(), AssignError> {
    let mut asked: Vec<(&str, String)> = Vec::new();
    asked.extend(job.input.id.iter().map(|id| (id.as_str(), "input.id".to_owned())));
    let id = asked.len();
    for feature in features {
        let setting = format!("features.{}", feature.name);
        match asked[id..].iter_mut().find(|(column, _)| *column == feature.column) {
            Some((_, settings)) => settings.push_str(&format!(", {setting}")),
            None => asked.push((&feature.column, setting)),
        }
    }
    let there = || table.columns().iter().map(|column| column.name.as_str());
    asked.retain(|(column, _)| there().all(|there| there != *column));
    if asked.is_empty() {
        return Ok(());
    }
    let told = |(column, setting): &(&str, String)| {
        let near = closest(column, there()).map_or(String::new(), |near| format!("; did you mean {near:?}?"));
        format!("column {column:?} ({setting}{near})")
    };
    let missing = asked.iter().map(told).collect::<Vec<_>>().join(", ");
    let mut ways = Vec::new();
    if asked.iter().any(|(_, setting)| setting == "input.id") {
        ways.push("--set input.id=COLUMN names the id of this table");
    }
    if asked.iter().any(|(_, setting)| setting != "input.id") {
        ways.push(match table.format() {
            TableFormat::Csv => {
                "give its columns the names that they had in the run, or give all names by --set 'input.csv.names=[...]'"
            }
            TableFormat::Parquet => "give its columns the names that they had in the run",
        });
    }
    Err(AssignError::Lacking { missing, way: ways.join("; "), hint: table.hint() })
}

/// Where the file goes, unless it would damage a run or the table.
fn checked(request: &Request, table: &Table) -> Result<PathBuf, AssignError> {
    let out = request.out;
    let refused = |why: String| AssignError::Out { out: out.to_owned(), why };
    let Some(name) = out.file_name() else { return Err(refused("expected the name of a file".into())) };
    if out.is_dir() {
        return Err(refused("it is a folder; expected the name of a file".into()));
    }
    if !is_csv(out) && !out.extension().is_some_and(|suffix| suffix.eq_ignore_ascii_case("parquet")) {
        return Err(refused("expected a name that ends in .parquet or .csv".into()));
    }
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = |source| SinkError::Write { path: out.to_owned(), source };
    let folder = folder.canonicalize().map_err(write)?;
    let is_run = |folder: &&Path| folder.join("_SUCCESS").is_file() && folder.join("manifest.json").is_file();
    if let Some(run) = folder.ancestors().find(is_run) {
        return Err(refused(format!("{run:?} is a published run, which holds nothing but its own files")));
    }
    if Path::new(request.table).canonicalize().is_ok_and(|table| table == folder) {
        return Err(refused("it would be read as a part of the table the next time; choose another folder".into()));
    }
    // A file is renamed over, never written through a link; but a link to the table is a mistake all the same.
    let places = [Some(folder.join(name)), out.canonicalize().ok()];
    let is_out = |path: PathBuf| places.iter().flatten().any(|place| *place == path);
    if table.files().iter().any(|file| file.path.canonicalize().is_ok_and(is_out)) {
        return Err(refused("it is a file of the table".into()));
    }
    Ok(out.to_owned())
}

fn drift(standing: &Standing, features: &[Feature], account: &Account, file: &AssignedFile, out: PathBuf) -> Drift {
    let customers = account.customers;
    let share = |n: u64| (customers > 0).then(|| n as f64 / customers as f64);
    let taken_by = |group: u32| {
        let own = standing.asked.iter().zip(&account.taken).filter(|((_, id), _)| *id == group);
        own.map(|(_, taken)| taken).sum::<u64>()
    };
    let base = u64::try_from(standing.groups.base.uv).unwrap_or(0);
    let of_base = |n: u64| if base > 0 { n as f64 / base as f64 } else { 0.0 };
    let groups: Vec<GroupDrift> = (standing.groups.groups.iter())
        .map(|group| {
            let (own, base_customers) = (taken_by(group.id), u64::try_from(group.measures.uv).unwrap_or(0));
            GroupDrift {
                id: group.id,
                name: group.name.clone(),
                customers: own,
                share: share(own),
                base_share: of_base(base_customers),
                base_customers,
            }
        })
        .collect();
    let assigned: u64 = groups.iter().map(|group| group.customers).sum();
    let base_none = base.saturating_sub(groups.iter().map(|group| group.base_customers).sum());
    let none = GroupDrift {
        id: 0,
        name: String::new(),
        customers: customers - assigned,
        share: share(customers - assigned),
        base_share: of_base(base_none),
        base_customers: base_none,
    };
    let counts = |of: &dyn Fn(&GroupDrift) -> u64| groups.iter().chain([&none]).map(of).collect::<Vec<u64>>();
    let (psi, psi_by_chance) = stability(&counts(&|g| g.customers), &counts(&|g| g.base_customers)).unzip();
    // A value that few customers have may say who they are.
    let least = if standing.job.enumerate.allow_small { 1 } else { PRIVACY_FLOOR };
    let values = features.iter().zip(&account.strangers).map(|(feature, strangers)| {
        let listed = feature.rest || feature.tags.is_some();
        let examples = strangers.examples(EXAMPLES, least).into_iter();
        ValueDrift {
            feature: feature.name.clone(),
            column: feature.column.clone(),
            missing: strangers.missing,
            other: if listed { strangers.others } else { 0 },
            unseen: if listed { 0 } else { strangers.others },
            examples: examples.map(|(value, customers)| Example { value, customers }).collect(),
        }
    });
    Drift {
        run_id: standing.manifest.run_id.clone(),
        out,
        bytes: file.bytes,
        sha256: file.sha256.clone(),
        written: file.customers,
        rows_read: account.read,
        bad: account.rejects.total(),
        rejects: account.rejects.by_reason.clone(),
        customers,
        assigned,
        values: values.collect(),
        groups,
        none,
        unseen_combinations: (standing.job.merge.of == MergeOf::Cells).then_some(account.combinations),
        psi,
        psi_by_chance,
    }
}
