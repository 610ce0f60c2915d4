//! `plant` and `demo`: tables whose niches are known.

use std::path::Path;

use super::{PlantArgs, print, run};
use crate::cluster::Layout;
use crate::dataflow::{Failure, FailureKind};
use crate::job::Job;
use crate::planted::{self, Planting};

impl PlantArgs {
    fn planting(&self) -> Planting {
        Planting {
            customers: self.customers,
            features: self.features,
            cardinalities: self.cardinalities.clone(),
            niches: self.niches,
            seed: self.seed,
            language: self.language.into(),
        }
    }
}

/// Writes a table with known niches, and the truth beside it.
pub fn plant(file: &Path, args: &PlantArgs, json: bool) -> Result<(), Failure> {
    let truth = planted::plant(&args.planting(), file).map_err(|error| Failure::new(kind(&error), &error))?;
    let beside = planted::truth_path(file);
    match json {
        true => print(&serde_json::json!({ "table": file, "truth": beside, "niches": truth.niches.len() }).to_string()),
        false => print(&format!(
            "{} customers, {} niches\ntable: {}\ntruth: {}",
            truth.customers,
            truth.niches.len(),
            file.display(),
            beside.display()
        )),
    }
    Ok(())
}

fn kind(error: &planted::PlantError) -> FailureKind {
    match error {
        planted::PlantError::Range { .. } | planted::PlantError::NoRoom { .. } | planted::PlantError::Suffix { .. } => {
            FailureKind::Usage
        }
        _ => FailureKind::Resources,
    }
}

/// Plants a table, runs the whole job, and compares what was found with what was planted.
pub fn demo(dir: &Path, args: &PlantArgs, threads: usize, json: bool, bar: bool) -> Result<(), Failure> {
    let layout = Layout::threads(threads).map_err(|error| Failure::new(FailureKind::Usage, &error))?;
    let table = dir.join("customers.parquet");
    std::fs::create_dir_all(dir).map_err(|error| Failure::new(FailureKind::Resources, &error))?;
    let planting = args.planting();
    let truth = planted::plant(&planting, &table).map_err(|error| Failure::new(kind(&error), &error))?;
    let text = planting.job(&table, dir);
    let file = dir.join("job.toml");
    std::fs::write(&file, &text).map_err(|error| Failure::new(FailureKind::Resources, &error))?;
    let job = Job::parse(&text, &file, &[]).map_err(|error| Failure::new(FailureKind::Bug, &error))?;
    let summary = run::execute(job, &layout, super::memory(None), bar)?.expect("one process has the summary");
    let comparison = planted::compare(&truth, &summary.path).map_err(|error| Failure::new(FailureKind::Bug, &error))?;
    if !json {
        print(&format!("planted and found:\n{comparison}\n"));
    }
    run::tell(&summary, json);
    if !comparison.all_found() {
        let text =
            "not every planted niche came out as a highlight with exactly its customers; see the table above".into();
        return Err(Failure { kind: FailureKind::Bug, place: (usize::MAX, u64::MAX), text });
    }
    Ok(())
}
