//! Memory: planned for any table and machines, kept to, and refused with what would help.

use std::path::Path;

use nichemine::job::Language;
use nichemine::planted;

use crate::program::{Folder, answer, planted};

fn job() -> String {
    planted::job(&planted("en.parquet"), Path::new("out"), Language::En)
}

#[test]
fn run_that_cannot_fit_is_refused_and_leaves_the_earlier_one_alone() {
    let folder = Folder::new();
    let earlier = answer(&folder.publish(&job(), "-w 1"));
    let helps = ["--memory", "--hostfile", "features.exclude"];
    for layout in ["-w 2", "-w 1 --processes 2"] {
        folder.nichemine(&format!("run job.toml --memory 1MiB {layout}")).refused(6, &helps);
        assert_eq!(answer(&folder.path("out/latest")), earlier, "{layout}");
    }
    folder.nichemine("run job.toml --memory 12apples").refused(2, &["12apples", "8GiB"]);
}

#[test]
fn more_memory_than_is_needed_changes_nothing() {
    let folder = Folder::new();
    let expected = answer(&folder.publish(&job(), "-w 1"));
    for memory in ["2GiB", "4TiB"] {
        assert_eq!(answer(&folder.publish(&job(), &format!("-w 2 --memory {memory}"))), expected, "{memory}");
    }
}

#[test]
fn plan_is_for_the_table_and_machines_that_are_asked_for() {
    let folder = Folder::new();
    folder.write("job.toml", job());
    let plan = |arguments: &str| -> serde_json::Value {
        let ended = folder.nichemine(&format!("plan job.toml -w 2 --output json {arguments}")).well();
        serde_json::from_str(&ended.out).unwrap()
    };
    let (here, there) = (plan("--memory 8GiB"), plan("--memory 8GiB --rows 1e9 --workers 64"));
    assert_eq!((&here["processes"], &here["customers"]), (&1.into(), &60_000.into()));
    assert_eq!((&there["processes"], &there["customers"]), (&32.into(), &1_000_000_000u64.into()));
    // A coded row takes as much there; 32 processes share them.
    let number = |plan: &serde_json::Value, name: &str| plan[name].as_u64().unwrap() as f64;
    assert!((number(&there, "bytes_rows") / number(&here, "bytes_rows") / (1e9 / 6e4) - 1.0).abs() < 0.01);
    assert!((number(&there, "bytes_rows") / number(&there, "bytes_rows_process") / 32.0 - 1.0).abs() < 0.01);
    for (a, b) in here["levels"].as_array().unwrap().iter().zip(there["levels"].as_array().unwrap()) {
        assert_eq!(a["cells_at_most"], b["cells_at_most"], "blocks do not grow with the rows");
        assert_eq!(a["bytes_sent_at_most"], 0, "one process sends nothing");
        assert!(b["bytes_sent_at_most"].as_u64() > Some(0));
    }
    assert!(there["seconds"].as_f64() > here["seconds"].as_f64());
    assert!(here["refused"].is_null() && there["refused"].is_null());
    assert!(plan("--rows 1e12 --memory 8GiB")["refused"].as_str().is_some_and(|why| why.contains("--memory")));
    folder.nichemine("plan job.toml -w 2 --workers 3").refused(2, &["--workers 3", "--threads"]);
}
