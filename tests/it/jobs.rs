//! The job files in `jobs/`: each is checked, and those that are quick run to the end on the tables they are written for.
//!
//! The public tables are not part of the repository. A job whose table is absent only has to be well formed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The level of the runs here, which is not the jobs' own: all together take a minute at that without optimisation.
const LEVEL: &str = "enumerate.max_level=2";

/// What the publishers of the tables say of them: customers with a metric, and the metric's mean to this many decimals.
const PUBLISHED: [(&str, u64, &str); 6] = [
    ("adult", 48_842, "0.2393"),
    ("bank-additional", 41_188, "0.11265"),
    ("bank-full", 45_211, "0.11698"),
    ("hotel-bookings", 119_390, "0.37042"),
    ("nycflights", 327_346, "6.895"),
    ("telco-churn", 7_043, "0.26537"),
];

/// The program, where the paths of the jobs start.
fn nichemine(arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_nichemine"));
    program.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn job_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs").join(format!("{name}.toml"))
}

/// Whether a job's table is there: the public ones' folder, so that a misspelt file is not taken for an absent table.
fn has_table(name: &str) -> bool {
    let job: toml::Table = std::fs::read_to_string(job_file(name)).unwrap().parse().unwrap();
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join(job["input"]["path"].as_str().unwrap());
    if name == "quickstart" { table.is_file() } else { table.parent().unwrap().is_dir() }
}

fn json(path: PathBuf) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Runs and verifies a job; what it published.
fn run(name: &str, dir: &Path, more: &[&str]) -> PathBuf {
    let (job, out) = (job_file(name), dir.join(name));
    let dir_setting = format!("output.dir={}", out.display());
    let mut arguments = vec!["run", job.to_str().unwrap(), "--set", &dir_setting, "--set", LEVEL];
    arguments.extend(more);
    let ran = nichemine(&arguments);
    assert_eq!(ran.status.code(), Some(0), "{name}: {}", said(&ran));
    let latest = out.join("latest");
    let verified = nichemine(&["verify", latest.to_str().unwrap()]);
    assert_eq!(verified.status.code(), Some(0), "{name}: {}", said(&verified));
    latest
}

/// Six to ten groups, or a run that says that it found too little for six.
fn assert_groups(name: &str, run: &Path) {
    let groups = json(run.join("groups.json"));
    let (n, reason) = (groups["groups"].as_array().unwrap().len(), groups["reason"].as_str().unwrap());
    assert!((6..=10).contains(&n) || n < 6 && reason.contains("few"), "{name}: {n} groups, {reason}");
}

#[test]
fn every_job_is_well_formed_and_fits_its_table() {
    let mut names: Vec<String> = (std::fs::read_dir(job_file("quickstart").parent().unwrap()).unwrap())
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert!(PUBLISHED.iter().all(|(name, ..)| names.iter().any(|n| n == name)), "{names:?}");
    for name in names {
        let checked = nichemine(&["check", job_file(&name).to_str().unwrap()]);
        // 2 is a job that is wrong whatever the table, 3 a table that is not there.
        let expected = if has_table(&name) { 0 } else { 3 };
        assert_eq!(checked.status.code(), Some(expected), "{name}: {}", said(&checked));
        let job: toml::Table = std::fs::read_to_string(job_file(&name)).unwrap().parse().unwrap();
        assert_eq!(job["output"]["dir"].as_str(), Some(format!("out/{name}").as_str()), "{name}");
    }
}

#[test]
fn public_tables_are_read_as_published_and_end_in_six_to_ten_groups() {
    let dir = tempfile::tempdir().unwrap();
    for (name, customers, mean) in PUBLISHED {
        if !has_table(name) {
            println!("skipped: {name}, its table is not here");
            continue;
        }
        let run = run(name, dir.path(), &[]);
        assert_eq!(json(run.join("manifest.json"))["customers"], customers, "{name}");
        let found = json(run.join("groups.json"))["base"]["metric_mean"].as_f64().unwrap();
        let decimals = mean.len() - mean.find('.').unwrap() - 1;
        assert_eq!(format!("{found:.decimals$}"), mean, "{name}");
        assert_groups(name, &run);
    }
}

#[test]
fn one_line_of_adult_is_no_person_and_a_second_such_line_would_end_the_run() {
    if !has_table("adult") {
        println!("skipped: adult, its table is not here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let rows = &json(run("adult", dir.path(), &[]).join("quality.json"))["rows"];
    assert_eq!((&rows["read"], &rows["quarantined"]), (&48_843.into(), &1.into()));
    let job = job_file("adult");
    let out = format!("output.dir={}", dir.path().join("strict").display());
    let strict = ["run", job.to_str().unwrap(), "--set", &out, "--set", LEVEL, "--set", "input.max_bad_rows=0"];
    let ran = nichemine(&strict);
    assert_eq!(ran.status.code(), Some(4), "{}", said(&ran));
}

/// Days since the last campaign, where -1 and 999 mean that there was none: as text of the CSV and as numbers of the
/// Parquet, the never-called are missing, and are as many as the publisher says.
#[test]
fn a_number_that_means_missing_is_missing_in_csv_and_in_parquet() {
    for (name, table, never) in
        [("bank-full", "bank-full", 36_954), ("bank-additional", "bank-additional-full", 39_673)]
    {
        if !has_table(name) {
            println!("skipped: {name}, its table is not here");
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        for kind in ["csv", "parquet"] {
            let path = format!("input.path=../shared/data/bank_marketing/{table}.{kind}");
            let run = run(name, dir.path(), &["--set", &path, "--set", "enumerate.max_level=1"]);
            let features = json(run.join("features.json"));
            let pdays = features["features"].as_array().unwrap().iter().find(|f| f["name"] == "pdays").unwrap();
            let at = pdays["items"].as_array().unwrap().iter().position(|item| item == "missing").unwrap();
            assert_eq!(pdays["uv"][at], never, "{table}.{kind}");
        }
    }
}

#[test]
fn the_first_job_runs_on_the_table_it_asks_to_plant() {
    let dir = tempfile::tempdir().unwrap();
    let table = dir.path().join("quickstart.parquet");
    let planted = nichemine(&["plant", table.to_str().unwrap()]);
    assert_eq!(planted.status.code(), Some(0), "{}", said(&planted));
    let path = format!("input.path={}", table.display());
    let run = run("quickstart", dir.path(), &["--set", &path]);
    assert_eq!(json(run.join("manifest.json"))["customers"], 200_000);
    assert_groups("quickstart", &run);
    // A niche of two items that the table was planted with comes out with exactly its customers.
    let truth = json(dir.path().join("quickstart.parquet.truth.json"));
    let niche = &truth["niches"][0];
    let found = std::fs::read_to_string(run.join("highlights.csv")).unwrap();
    let row = format!(",{},2,over,{},", niche["segment"].as_str().unwrap(), niche["uv"]);
    assert!(found.contains(&row), "{row}\n{found}");
}
