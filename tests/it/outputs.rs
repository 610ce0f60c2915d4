//! What the commands print, for people and for scripts.

use std::path::Path;

use nichemine::job::{Job, Language};
use nichemine::planted;

use crate::program::{Folder, digests, json, planted};

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("job.toml", planted::job(&planted("en.parquet"), Path::new("out"), Language::En));
    folder
}

/// The one line of stdout, as JSON.
#[track_caller]
fn line(out: &str) -> serde_json::Value {
    assert_eq!(out.matches('\n').count(), 1, "{out}");
    serde_json::from_str(out).unwrap()
}

#[test]
fn json_output_is_one_line_and_agrees_with_the_files() {
    let folder = folder();
    for layout in ["-w 2", "-w 1 --processes 2"] {
        let summary = line(&folder.nichemine(&format!("run job.toml --output json {layout}")).well().out);
        let run = folder.path(summary["path"].as_str().unwrap());
        let manifest = json(run.join("manifest.json"));
        assert_eq!(summary["run_id"], manifest["run_id"]);
        assert_eq!(run.canonicalize().unwrap(), folder.path("out/latest").canonicalize().unwrap());
        assert!(folder.path(summary["report"].as_str().unwrap()).is_file());
        assert_eq!(summary["rows_read"], 60_000);
        assert_eq!(summary["customers"], manifest["customers"]);
        assert_eq!(summary["groups"], manifest["groups"]);
    }
    let checked = line(&folder.nichemine("check job.toml --output json").well().out);
    assert_eq!((&checked["rows"], checked["features"].as_array().unwrap().len()), (&60_000.into(), 8));
    let verified = line(&folder.nichemine("verify out/latest --output json").well().out);
    assert_eq!(verified["checks"].as_array().unwrap().len(), 5);
    let planned = line(&folder.nichemine("plan job.toml --output json").well().out);
    assert_eq!((&planned["rows"], &planned["min_uv"]), (&60_000.into(), &60.into()));
    let described = line(&folder.nichemine("describe job.toml --output json").well().out);
    assert_eq!(described.as_array().unwrap().len(), 8);
    let columns =
        line(&folder.nichemine(&format!("describe {} --output json", planted("en.csv").display())).well().out);
    assert_eq!(columns.as_array().unwrap().len(), 12);
    let refused = folder.nichemine("run nothing.toml --output json");
    assert_eq!((refused.code, refused.out.as_str()), (Some(2), ""));
}

#[test]
fn run_tells_people_what_it_found_and_where_the_report_is() {
    let folder = folder();
    let told = folder.nichemine("run job.toml -w 2").well().out;
    let truth = planted::Truth::read(&planted("en.parquet")).unwrap();
    assert!(told.contains("Highlights") && told.contains("Target groups"), "{told}");
    assert!(told.contains(&truth.niches[0].segment), "{told}");
    let report = told.lines().last().unwrap().strip_prefix("report: ").unwrap();
    assert!(std::fs::read_to_string(folder.path(report)).unwrap().contains("<html"));
}

#[test]
fn log_lines_are_json_if_asked_for_and_name_every_stage() {
    let folder = folder();
    for layout in ["-w 2", "-w 1 --processes 2"] {
        let ended = folder.nichemine(&format!("run job.toml --log-format json {layout}")).well();
        let lines: Vec<serde_json::Value> = ended.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let stages: Vec<&str> = lines.iter().filter_map(|line| line["fields"]["stage"].as_str()).collect();
        assert_eq!(stages, ["source", "encode", "screen", "enumerate", "score", "highlight", "merge", "profile"]);
        assert_eq!(lines.last().unwrap()["fields"]["message"], "published");
    }
    let ended = folder.nichemine("run job.toml -w 1").well();
    assert!(ended.err.contains("INFO") && ended.err.contains("enumerate"), "{}", ended.err);
    assert!(!ended.err.contains('\u{1b}'), "colours are for terminals");
}

#[test]
fn run_goes_on_when_nobody_reads_what_it_says() {
    let folder = folder();
    for layout in ["1", "2"] {
        let mut run = std::process::Command::new(env!("CARGO_BIN_EXE_nichemine"));
        run.args(["run", "job.toml", "-w", "1", "--processes", layout]).current_dir(folder.path(""));
        let mut run = run.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
        drop((run.stdout.take(), run.stderr.take()));
        assert_eq!(run.wait().unwrap().code(), Some(0));
        folder.nichemine("verify out/latest").well();
    }
    let runs = digests(&folder.path("out/runs")).into_keys().filter(|name| name.ends_with("_SUCCESS")).count();
    assert_eq!(runs, 2);
}

#[test]
fn verify_notices_a_flipped_bit_in_every_file() {
    let folder = folder();
    let run = folder.publish(&std::fs::read_to_string(folder.path("job.toml")).unwrap(), "-w 2");
    let told = folder.nichemine("verify out/latest").well().out;
    assert_eq!(told.matches("ok  ").count(), 5, "{told}");
    for name in digests(&run).into_keys() {
        // These three are not listed with a checksum: a listing cannot hold its own.
        if ["manifest.json", "metrics.prom", "_SUCCESS"].contains(&name.as_str()) {
            continue;
        }
        let good = std::fs::read(run.join(&name)).unwrap();
        let mut bad = good.clone();
        bad[good.len() / 3] ^= 4;
        std::fs::write(run.join(&name), bad).unwrap();
        folder.nichemine("verify out/latest").refused(3, &[&name]);
        std::fs::write(run.join(&name), good).unwrap();
    }
    std::fs::write(run.join("more.txt"), "x").unwrap();
    folder.nichemine("verify out/latest").refused(3, &["more.txt"]);
    std::fs::remove_file(run.join("more.txt")).unwrap();
    std::fs::remove_file(run.join("_SUCCESS")).unwrap();
    folder.nichemine("verify out/latest").refused(3, &["_SUCCESS"]);
}

#[test]
fn schema_has_every_section_of_a_job() {
    let folder = folder();
    let schema: serde_json::Value = serde_json::from_str(&folder.nichemine("schema").well().out).unwrap();
    let sections = schema["properties"].as_object().unwrap();
    let expected = [
        "compare",
        "enumerate",
        "features",
        "highlight",
        "input",
        "merge",
        "metric",
        "output",
        "profile",
        "screen",
        "secondary",
    ];
    assert_eq!(sections.keys().map(String::as_str).collect::<Vec<_>>(), expected);
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn completions_and_the_man_page_know_every_command() {
    let folder = folder();
    for command in ["completions bash", "completions zsh", "completions fish", "man"] {
        let text = folder.nichemine(command).well().out;
        for name in ["run", "check", "plan", "describe", "plant", "demo", "assign", "verify", "completions", "schema"] {
            assert!(text.contains(name), "{command}: {name}");
        }
    }
    for command in ["man", "help run"] {
        assert!(!folder.nichemine(command).well().out.contains("child-index"), "{command} shows what is hidden");
    }
    let help = folder.nichemine("--help").well().out;
    assert!(help.contains("Exit codes: 0 published"), "{help}");
}

#[test]
fn plan_says_what_a_run_would_do_and_its_settings_are_a_job() {
    let folder = folder();
    for (table, language) in [("en.parquet", Language::En), ("en.csv", Language::En), ("zh.parquet", Language::Zh)] {
        folder.write("job.toml", planted::job(&planted(table), Path::new("out"), language));
        let told = folder.nichemine("plan job.toml -w 2 --set enumerate.max_level=2").well().out;
        assert!(told.contains("60,000 rows, 60,000 customers; a segment needs 60; 8 features"), "{told}");
        let (_, settings) = told.split_once("effective settings:\n").unwrap();
        let job = Job::parse(settings, Path::new("printed.toml"), &[]).unwrap();
        assert_eq!((job.enumerate.max_level, job.enumerate.min_share), (2, 0.001));
        let read = Job::load(&folder.path("job.toml"), &["enumerate.max_level=2".parse().unwrap()]).unwrap();
        assert_eq!(job, read);
    }
    assert!(!folder.path("out").exists(), "nothing is run");
}

#[test]
fn table_is_described_by_column() {
    let folder = folder();
    let zh = planted("zh.parquet");
    let columns: Vec<String> = {
        let batch = crate::program::parquet(&zh);
        batch.schema().fields().iter().map(|field| field.name().clone()).collect()
    };
    let told = folder.nichemine(&format!("describe {}", zh.display())).well().out;
    columns.iter().for_each(|name| assert!(told.contains(name), "{name}: {told}"));
    assert!(told.contains("60,000 rows"), "{told}");

    folder.write("t.csv", "编号;城市;年龄\n1;上海;30\n2;;41\n3;?;52\n4;北京;\n");
    let told = folder.start_with(&["describe", "t.csv", "--delimiter", ";", "--null-value", "?", "--output", "json"]);
    let columns = line(&told.end().well().out);
    assert_eq!(
        (&columns[1]["name"], &columns[1]["nulls"], &columns[1]["distinct"]),
        (&"城市".into(), &2.into(), &2.into())
    );
    assert_eq!((&columns[2]["nulls"], &columns[2]["rows"]), (&1.into(), &4.into()));
    let told = folder.nichemine("describe t.csv").well().out;
    assert!(told.contains("hint") && told.contains("\";\""), "{told}");
    let told = folder.nichemine("describe job.toml").well().out;
    assert!(told.contains("verdict") && told.contains("channel"), "{told}");
}

#[test]
fn planted_table_is_checked_run_and_verified_as_the_help_says() {
    let folder = Folder::new();
    folder.nichemine("plant t.csv.gz --customers 20000 --features 6 --niches 3").well();
    assert!(folder.path("t.csv.gz.truth.json").is_file());
    folder.nichemine("describe t.csv.gz").well();
    folder.nichemine("plant t.json").refused(2, &["t.json", ".parquet"]);
    folder.nichemine("plant t.parquet --customers 5").refused(2, &["customers = 5"]);
    folder.write("file", "").nichemine("plant file/t.parquet --customers 20000").refused(6, &["file/t.parquet"]);
    let told = folder.nichemine("demo --dir d --customers 30000 --features 6 --niches 3 -w 2").well().out;
    assert!(told.contains("3 of 3 niches found") && told.contains("report: "), "{told}");
    folder.nichemine("verify d/latest").well();
    folder.nichemine("check d/job.toml").well();
}

#[test]
fn notes_name_the_column_that_was_rounded_and_a_matrix_larger_than_asked_for_and_diff_has_each_unit() {
    let folder = Folder::new();
    let mut csv = String::from("id,city,plan,y,spend\n");
    let mut dice = crate::program::Dice(4);
    for id in 0..8_000 {
        let (city, plan) = (dice.roll(12), dice.roll(12));
        let likely = if city == plan { 60 } else { 5 };
        csv.push_str(&format!(
            "{id},c{city},p{plan},{},0.12345678{}\n",
            u8::from(dice.roll(100) < likely),
            dice.roll(9)
        ));
    }
    folder.write("t.csv", csv);
    let job = "input = { path = \"t.csv\", id = \"id\" }\nmetric = { column = \"y\", kind = \"rate\", unit = \"orders\" }\n\
               output.dir = \"out\"\nmerge.distance = \"items\"\nmerge.max_matrix = 2\n[[secondary]]\nname = \"Spend\"\n\
               column = \"spend\"\nkind = \"amount\"\n";
    let run = folder.publish(job, "-w 2");
    let notes = json(run.join("manifest.json"))["notes"].to_string();
    assert!(
        notes.contains(
            "8000 values of \\\"spend\\\" have more than 6 decimals and were rounded (secondary[0].decimals)"
        ),
        "{notes}"
    );
    assert!(notes.contains("more than merge.max_matrix allows (2)"), "{notes}");
    let told = folder.nichemine("explain out/latest city=c1&plan=p1").well().out;
    assert!(told.contains("Spend: mean 0.123,"), "{told}");

    folder.publish(&job.replace("\"orders\"", "\"sales\"").replace("\"items\"", "\"profile\""), "-w 2");
    let runs: Vec<_> = std::fs::read_dir(folder.path("out/runs")).unwrap().map(|run| run.unwrap().path()).collect();
    let before = runs.iter().find(|path| **path != folder.path("out/latest").canonicalize().unwrap()).unwrap();
    let told = folder.nichemine(&format!("diff {} out/latest", before.display())).well().out;
    assert!(told.contains("The metric's unit is \"orders\" before and \"sales\" after"), "{told}");
}
