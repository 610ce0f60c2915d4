//! Tables and jobs as people have them: each ends with the documented exit code and a message that names the culprit,
//! and the run that was published before stays as it is.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder, UInt64Array,
    new_null_array,
};
use arrow::datatypes::DataType;

use crate::program::{Dice, Ended, Folder, digests, json, parquet, write_parquet};

/// A folder where a run of a good table is published already.
pub struct Bench {
    pub folder: Folder,
}

impl Bench {
    pub fn new() -> Bench {
        let folder = Folder::new();
        folder.write("good.csv", csv(200, |_| {}));
        folder.write("job.toml", job("path = \"good.csv\"", RATE, ""));
        folder.nichemine("run job.toml -w 1").well();
        Bench { folder }
    }

    pub fn with_table(content: impl AsRef<[u8]>) -> Bench {
        let bench = Bench::new();
        bench.folder.write("t.csv", content);
        bench
    }

    pub fn with_parquet(batch: &RecordBatch) -> Bench {
        let bench = Bench::new();
        write_parquet(&bench.folder.path("t.parquet"), batch, 64);
        bench
    }

    pub fn run(&self, job: &str, arguments: &str) -> Ended {
        self.folder.write("job.toml", job);
        self.folder.nichemine(&format!("run job.toml {arguments}"))
    }

    /// Asserts that a job is refused and the earlier run untouched, by one worker and by several.
    #[track_caller]
    pub fn refused(&self, job: &str, code: i32, says: &[&str]) -> &Bench {
        self.refused_with(job, "", code, says)
    }

    #[track_caller]
    pub fn refused_with(&self, job: &str, arguments: &str, code: i32, says: &[&str]) -> &Bench {
        let before = digests(&self.folder.path("out"));
        for layout in ["-w 1", "-w 3"] {
            let ended = self.run(job, &format!("{layout} {arguments}")).refused(code, says);
            assert_eq!(ended.out, "");
            assert_eq!(digests(&self.folder.path("out")), before);
        }
        self
    }

    /// Asserts that a job is published; gives the folder of its run.
    #[track_caller]
    pub fn published(&self, job: &str) -> PathBuf {
        let run = self.folder.publish(job, "-w 2");
        self.folder.nichemine("verify out/latest").well();
        run
    }
}

pub const RATE: &str = "column = \"y\"\nkind = \"rate\"";
pub const AMOUNT: &str = "column = \"amount\"\nkind = \"amount\"";
pub const CSV: &str = "path = \"t.csv\"\nid = \"id\"";
pub const PARQUET: &str = "path = \"t.parquet\"\nid = \"id\"";

pub fn job(input: &str, metric: &str, rest: &str) -> String {
    format!("[input]\n{input}\n[metric]\n{metric}\n[output]\ndir = \"out\"\n{rest}")
}

/// `id,city,plan,amount,y`, each row as changed by `change`.
pub fn csv(rows: usize, change: impl Fn(&mut Row)) -> String {
    let mut dice = Dice(7);
    let mut text = String::from("id,city,plan,amount,y\n");
    for number in 0..rows {
        let mut row = Row {
            number,
            id: number.to_string(),
            city: ["Lyon", "Oslo", "Bonn"][dice.roll(3) as usize].into(),
            plan: ["a", "b"][dice.roll(2) as usize].into(),
            amount: format!("{}.{:02}", dice.roll(50), dice.roll(100)),
            y: if dice.roll(4) == 0 { "yes" } else { "no" }.into(),
        };
        change(&mut row);
        text.push_str(&[row.id, row.city, row.plan, row.amount, row.y].join(","));
        text.push('\n');
    }
    text
}

pub struct Row {
    pub number: usize,
    pub id: String,
    pub city: String,
    pub plan: String,
    pub amount: String,
    pub y: String,
}

/// 200 rows with these further columns beside `id`, `city` and `y`.
pub fn batch(more: &[(&str, ArrayRef)]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..200));
    let cities: ArrayRef = Arc::new(StringArray::from_iter_values((0..200).map(|i| ["Lyon", "Oslo"][i % 2])));
    let y: ArrayRef = Arc::new(Int64Array::from_iter_values((0..200).map(|i| i64::from(i % 5 == 0))));
    let mut columns = vec![("id", ids), ("city", cities), ("y", y)];
    for (name, column) in more {
        columns.retain(|(other, _)| other != name);
        columns.push((name, Arc::clone(column)));
    }
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

pub fn quality(run: &std::path::Path) -> serde_json::Value {
    json(run.join("quality.json"))
}

fn notes(run: &std::path::Path) -> String {
    json(run.join("manifest.json"))["notes"].to_string()
}

fn verdict(run: &std::path::Path, feature: &str) -> serde_json::Value {
    let features = json(run.join("features.json"));
    let verdicts = features["verdicts"].as_array().unwrap().iter();
    verdicts.clone().find(|v| v["feature"] == feature).unwrap_or_else(|| panic!("{feature}: {features}")).clone()
}

#[test]
fn table_that_is_not_there_is_named() {
    let bench = Bench::new();
    std::fs::create_dir(bench.folder.path("empty")).unwrap();
    bench.folder.write("mixed/a.csv", "a\n1\n").write("mixed/b.parquet", "PAR1");
    bench
        .refused(&job("path = \"nothing.csv\"", RATE, ""), 3, &["input.path", "nothing.csv"])
        .refused(&job("path = \"empty\"", RATE, ""), 3, &["input.path", "empty", "holds no table", ".parquet"])
        .refused(&job("path = \"no/*.csv\"", RATE, ""), 3, &["input.path", "no/*.csv"])
        .refused(&job("path = \"mixed\"", RATE, ""), 3, &["a.csv", "b.parquet", "one format"])
        .refused(&job("path = \"job.toml\"", RATE, ""), 3, &["job.toml", "input.format"])
        .refused(&job("path = \"\"", RATE, ""), 2, &["input.path"]);
    bench.folder.nichemine("run nothing.toml").refused(2, &["nothing.toml"]);
    bench.folder.nichemine("verify out/nothing").refused(3, &["out/nothing"]);
    bench.folder.nichemine("describe nothing.csv").refused(3, &["nothing.csv"]);
}

#[test]
fn column_that_is_not_there_is_named_with_the_nearest_one() {
    let bench = Bench::with_table(csv(200, |_| {}));
    bench
        .refused(
            &job(CSV, "column = \"Y\"\nkind = \"rate\"", ""),
            3,
            &["metric.column", "\"Y\"", "did you mean \"y\"?"],
        )
        .refused(&job("path = \"t.csv\"\nid = \"idd\"", RATE, ""), 3, &["input.id", "\"idd\"", "did you mean \"id\"?"])
        .refused(
            &job(CSV, RATE, "[features]\nexclude = [\"cities\"]"),
            3,
            &["features.exclude", "did you mean \"city\"?"],
        )
        .refused(&job(CSV, RATE, "[features]\ninclude = [\"no_*\"]"), 3, &["features.include", "no_*"])
        .refused(&job(CSV, RATE, "[features.plans]\nmissing = \"mode\""), 3, &["features.plans", "\"plan\"?"])
        .refused(&job(CSV, RATE, "[features]\nexclude = [\"*\"]"), 3, &["no feature is left", "features.exclude"]);
}

#[test]
fn mistake_in_a_job_is_named_with_its_line_and_the_nearest_setting() {
    let bench = Bench::with_table(csv(200, |_| {}));
    let good = job(CSV, RATE, "");
    bench
        .refused(&job(CSV, RATE, "[enumerate]\nmax_levl = 2"), 2, &["job.toml", "line 10", "max_levl", "`max_level`"])
        .refused(&job(CSV, RATE, "[enumerat]\nmax_level = 2"), 2, &["line 9", "enumerat", "`enumerate`"])
        .refused(&job(CSV, RATE, "[features.city]\nbins = 3"), 2, &["bins", "did you mean"])
        .refused(&job(CSV, "column = \"y\"\nkind = \"rat\"", ""), 2, &["line 6", "rat", "`rate`"])
        .refused(&job(CSV, RATE, "[enumerate]\nmax_level = \"two\""), 2, &["line 10"])
        .refused(&job(CSV, RATE, "[enumerate]\nmax_level = "), 2, &["job.toml", "line 10"])
        .refused(&job(CSV, RATE, "[enumerate]\nmax_level = 9"), 2, &["enumerate.max_level = 9", "1 to 8"])
        .refused(&job(CSV, RATE, "[enumerate]\nmax_level = 0"), 2, &["enumerate.max_level = 0", "1 to 8"])
        .refused(&job(CSV, RATE, "[enumerate]\nmin_uv = 5"), 2, &["enumerate.min_uv = 5", "privacy", "allow_small"])
        .refused(&job(CSV, RATE, "[highlight]\nholdout = nan"), 2, &["highlight.holdout"])
        .refused(&job(CSV, RATE, "[screen]\nmin_entropy = nan"), 2, &["screen.min_entropy"])
        .refused(&job(CSV, RATE, "[merge]\ngroups = [10, 6]"), 2, &["merge.groups", "[fewest, most]"])
        .refused(&job(CSV, "column = \"y\"\nkind = \"ratio\"", ""), 2, &["metric.denominator"])
        .refused(
            &job("path = \"t.csv\"\ncsv = { delimiter = \";;\" }", RATE, ""),
            2,
            &["line 3", "\";;\"", "expected a character"],
        )
        .refused(
            &job("path = \"t.csv\"\ncsv = { delimiter = \"'\", quote = \"'\" }", RATE, ""),
            3,
            &["delimiter", "quote"],
        )
        .refused(
            &job(CSV, &format!("{RATE}\ndecimals = 2"), ""),
            2,
            &["metric.decimals = 2: expected", "none for a rate"],
        )
        .refused(&job("path = \"t.csv\"\ncsv = { encoding = \"gbk\" }", RATE, ""), 2, &["encoding", "iconv"])
        .refused(
            &job(CSV, RATE, &"[[secondary]]\nname = \"spend\"\ncolumn = \"amount\"\nkind = \"amount\"\n".repeat(2)),
            2,
            &["secondary[1].name = \"spend\"", "no other metric"],
        )
        .refused("", 2, &["job.toml", "input"])
        .refused_with(&good, "--set enumerate.max_levl=2", 2, &["--set", "max_levl", "`max_level`"])
        .refused_with(&good, "--set enumerate.max_level=deep", 2, &["--set", "enumerate.max_level=deep"])
        .refused_with(&good, "--set input.path.x=2", 2, &["--set", "path"])
        .refused_with(&good, "--set max_level=2", 2, &["max_level=2", "section.key=value"])
        .refused_with(&good, "--processes 0", 2, &["--processes"]);
    bench.folder.nichemine("run job.toml -w 0").refused(2, &["-w"]);
    bench.folder.nichemine("run job.toml --hostfile nothing.txt --process 0").refused(2, &["nothing.txt"]);
    bench.folder.nichemine("frobnicate").refused(2, &["frobnicate"]);
}

#[test]
fn line_with_too_few_or_too_many_fields_ends_the_run_or_is_counted() {
    let mut text = csv(1000, |_| {});
    text.insert_str(text.find("\n4,").unwrap() + 1, "too,few\n");
    text.push_str("a,b,c,d,e,too many\n");
    let bench = Bench::with_table(&text);
    // The header is line 1, id 0 is line 2.
    bench.refused(&job(CSV, RATE, ""), 4, &["t.csv", "line 6", "input.on_bad_row = \"quarantine\""]);
    let quarantine = |limit: &str| job(&format!("{CSV}\non_bad_row = \"quarantine\"\n{limit}"), RATE, "");
    let run = bench.published(&quarantine(""));
    let quality = quality(&run);
    assert_eq!(quality["rows"], serde_json::json!({"read": 1002, "kept": 1000, "quarantined": 2, "merged": 0}));
    let samples = [&quality["samples"][0], &quality["samples"][1]];
    assert_eq!(samples.map(|s| s["row"].as_u64()), [Some(5), Some(1002)]);
    assert_eq!(samples.map(|s| s["line"].as_u64()), [Some(6), Some(1003)]);
    assert_eq!(samples.map(|s| s["file"].as_str()), [Some("t.csv"); 2]);
    assert_eq!(json(run.join("manifest.json"))["rows"], quality["rows"]);
    bench.published(&quarantine("max_bad_rows = 2"));
    bench.refused(&quarantine("max_bad_rows = 1"), 4, &["2 bad rows", "input.max_bad_rows = 1", "ragged"]).refused(
        &quarantine("max_bad_share = 0.001"),
        4,
        &["2 of 1002", "input.max_bad_share = 0.001"],
    );
}

#[test]
fn row_that_is_left_out_is_named_by_its_number() {
    let text = csv(1000, |row| {
        if row.number == 500 {
            row.y = String::new();
        }
    });
    let bench = Bench::with_table(&text);
    // From 1, the header not counted.
    bench.refused(&job(CSV, RATE, ""), 4, &["t.csv", "row 501", "metric missing", "\"y\"", "metric.missing"]);
    let quality = quality(&bench.published(&job(&format!("{CSV}\non_bad_row = \"quarantine\""), RATE, "")));
    assert_eq!(quality["rejects"], serde_json::json!({"metric missing": 1}));
    assert_eq!((&quality["samples"][0]["row"], &quality["samples"][0]["column"]), (&501.into(), &"y".into()));
    assert_eq!(quality["samples"][0]["file"], "t.csv");
}

#[test]
fn table_without_rows_has_no_customers() {
    Bench::with_table(csv(0, |_| {})).refused(&job(CSV, RATE, ""), 4, &["no customers", "no rows"]);
    Bench::with_parquet(&batch(&[]).slice(0, 0)).refused(&job(PARQUET, RATE, ""), 4, &["no customers", "no rows"]);
    Bench::with_table("").refused(&job(CSV, RATE, ""), 3, &["t.csv", "empty"]);
    Bench::with_table("\n\n").refused(&job(CSV, RATE, ""), 3, &["t.csv"]);
}

#[test]
fn metric_that_says_nothing_is_published_with_a_note() {
    for (y, amount) in [("yes", "5"), ("no", "0")] {
        let bench = Bench::with_table(csv(300, |row| {
            row.y = y.into();
            row.amount = amount.into();
        }));
        for metric in [RATE, AMOUNT, "column = \"amount\"\nkind = \"ratio\"\ndenominator = \"amount\""] {
            let run = bench.published(&job(CSV, metric, ""));
            assert!(notes(&run).contains("same for every customer"), "{metric}: {}", notes(&run));
            assert_eq!(parquet(run.join("highlights.parquet")).num_rows(), 0);
        }
    }
}

#[test]
fn few_customers_are_published_with_a_note() {
    for rows in [1, 2, 9, 10] {
        let bench = Bench::with_table(csv(rows, |row| row.y = "yes".into()));
        let run = bench.published(&job(CSV, RATE, ""));
        assert_eq!(quality(&run)["customers"], rows);
        let segments = parquet(run.join("segments.parquet")).num_rows();
        assert!(segments == 0 || rows == 10, "{rows}: {segments}");
    }
    let bench = Bench::with_table(csv(40, |_| {}));
    let run = bench.published(&job(CSV, RATE, "[highlight]\nholdout = 0\n[enumerate]\nmin_uv = 1\nallow_small = true"));
    assert!(notes(&run).contains("highlight.holdout = 0") && notes(&run).contains("allow_small"), "{}", notes(&run));
}

#[test]
fn feature_that_says_nothing_is_left_out_with_the_reason() {
    let mut lists = ListBuilder::new(StringBuilder::new());
    (0..200).for_each(|_| lists.append(true));
    let bench = Bench::with_parquet(&batch(&[
        ("nothing", new_null_array(&DataType::Utf8, 200)),
        ("null", new_null_array(&DataType::Null, 200)),
        ("no_number", new_null_array(&DataType::Float64, 200)),
        ("same", Arc::new(StringArray::from_iter_values((0..200).map(|_| "x")))),
        ("all_differ", Arc::new(StringArray::from_iter_values((0..200).map(|i| format!("v{i}"))))),
        ("list", Arc::new(lists.finish())),
    ]));
    let run = bench.published(&job(PARQUET, RATE, ""));
    for feature in ["nothing", "null", "no_number", "same", "all_differ", "list"] {
        let verdict = verdict(&run, feature);
        assert_eq!(verdict["kept"], false, "{verdict}");
        assert_ne!(verdict["reason"], "", "{verdict}");
    }
    assert_eq!(verdict(&run, "city")["kept"], true);
    bench.published(&job(PARQUET, RATE, "[screen]\noff = true"));
    // Nothing but such features.
    let run = bench.published(&job(PARQUET, RATE, "[features]\nexclude = [\"city\"]"));
    assert!(notes(&run).contains("No feature is worth combining"), "{}", notes(&run));
}

#[test]
fn metric_that_is_not_a_number_ends_the_run_or_is_counted_as_the_job_says() {
    let amounts = |bad: f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values((0..200).map(|i| if i == 123 { bad } else { i as f64 })))
    };
    let with = |missing: &str| job(PARQUET, &format!("{AMOUNT}\nmissing = \"{missing}\""), "");
    let bench = Bench::with_parquet(&batch(&[("amount", amounts(f64::NAN))]));
    bench.refused(&with("fail"), 4, &["t.parquet", "row 124", "\"amount\"", "NaN", "metric.missing = \"drop\""]);
    let rows = |run: PathBuf| quality(&run)["rows"].to_string();
    assert_eq!(rows(bench.published(&with("drop"))), r#"{"kept":199,"merged":0,"quarantined":1,"read":200}"#);
    let run = bench.published(&with("zero"));
    assert_eq!(rows(run.clone()), r#"{"kept":200,"merged":0,"quarantined":0,"read":200}"#);
    // 0 + 1 + ... + 199 without 123.
    assert_eq!(json(run.join("groups.json"))["base"]["metric_sum"], 19_777.0);

    for infinite in [f64::INFINITY, f64::NEG_INFINITY] {
        let bench = Bench::with_parquet(&batch(&[("amount", amounts(infinite))]));
        let says = ["row 124", "\"amount\"", "inf", "metric.kind"];
        bench.refused(&with("fail"), 4, &says).refused(&with("drop"), 4, &says).refused(&with("zero"), 4, &says);
        let run = bench.published(&job(&format!("{PARQUET}\non_bad_row = \"quarantine\""), AMOUNT, ""));
        assert_eq!(rows(run), r#"{"kept":199,"merged":0,"quarantined":1,"read":200}"#);
    }
    let bench = Bench::with_parquet(&batch(&[("amount", amounts(1e300))]));
    bench.refused(&with("fail"), 4, &["metric", "\"amount\"", "64 bits"]);
    let large: ArrayRef =
        Arc::new(UInt64Array::from_iter_values((0..200).map(|i| if i == 123 { u64::MAX } else { i })));
    let bench = Bench::with_parquet(&batch(&[("amount", large)]));
    bench.refused(&with("fail"), 4, &["row 124", "\"amount\"", "2^63"]);
}

#[test]
fn whole_number_that_no_feature_can_have_is_a_bad_row_and_not_missing() {
    let least = i64::MIN.to_string();
    let signed = |bad: i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter(
            (0..200).map(|i| Some(if i == 123 { bad } else { i / 2 % 4 }).filter(|_| i != 7)),
        ))
    };
    let unsigned: ArrayRef =
        Arc::new(UInt64Array::from_iter_values((0..200).map(|i| if i == 123 { u64::MAX } else { i / 2 % 4 })));
    let cells = "[enumerate]\nmin_uv = 10\n[merge]\nof = \"cells\"\nby = [\"city\", \"x\"]\n";
    let with = |input: &str, rest: &str| job(&format!("{PARQUET}\n{input}"), RATE, &format!("{cells}{rest}"));
    let rows = |run: &std::path::Path| quality(run)["rows"].to_string();
    for (bad, says) in [(signed(i64::MIN), least.as_str()), (unsigned, "18446744073709551615")] {
        let bench = Bench::with_parquet(&batch(&[("x", bad)]));
        bench.refused(
            &with("", ""),
            4,
            &["t.parquet", "row 124", "feature out of range", "\"x\"", says, "features.x.null_values"],
        );
        let run = bench.published(&with("on_bad_row = \"quarantine\"", ""));
        assert_eq!(rows(&run), r#"{"kept":199,"merged":0,"quarantined":1,"read":200}"#);
        assert_eq!(quality(&run)["rejects"], serde_json::json!({ "feature out of range": 1 }));
        assert_eq!(quality(&run)["samples"][0]["value"], says);
        // Missing where the job says so.
        let run = bench.published(&with("", &format!("[features.x]\nnull_values = [\"{says}\"]\n")));
        assert_eq!(rows(&run), r#"{"kept":200,"merged":0,"quarantined":0,"read":200}"#);
    }
    // All others are numbers, and other tables are read alike.
    let bench = Bench::with_parquet(&batch(&[("x", signed(i64::MIN + 1))]));
    bench.published(&with("", ""));
    write_parquet(&bench.folder.path("other.parquet"), &batch(&[("x", signed(i64::MIN))]), 50);
    let assign = |more: &str| bench.folder.nichemine(&format!("assign out/latest other.parquet --output json {more}"));
    assign("").refused(4, &["row 124", "feature out of range", "\"x\"", &least]);
    let told = assign("--set input.on_bad_row=quarantine").well().out;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["bad"], &told["rejects"]["feature out of range"]), (&1.into(), &1.into()));
}

#[test]
fn text_in_an_amount_is_quoted_with_its_row() {
    for bad in ["n/a", "1,5", "€5", "0x10", "inf", "1e999"] {
        let bench = Bench::with_table(csv(200, |row| {
            if row.number == 77 {
                row.amount = format!("\"{bad}\"");
            }
        }));
        let says = if bad == "1e999" { "inf" } else { bad };
        bench.refused(&job(CSV, AMOUNT, ""), 4, &["t.csv", "row 78", "\"amount\"", says, "metric.kind"]);
        bench.published(&job(&format!("{CSV}\non_bad_row = \"quarantine\""), AMOUNT, ""));
    }
    Bench::with_table(csv(200, |_| {}))
        .refused(&job(CSV, "column = \"city\"\nkind = \"amount\"", ""), 4, &["\"city\"", "metric.kind"])
        .refused(&job(CSV, RATE, "[features.city]\nbin = { width = 10 }"), 4, &["\"city\"", "row 1", "features.city"])
        .refused(&job(CSV, RATE, "[features.city]\nkind = \"date\""), 4, &["\"city\"", "row 1", "features.city"]);
}

#[test]
fn rate_that_is_never_yes_lists_the_values_seen() {
    let bench = Bench::with_table(csv(200, |row| row.y = ["churned", "active"][row.number % 2].into()));
    bench.refused(&job(CSV, RATE, ""), 3, &["metric.positive", "column \"y\"", "\"active\", \"churned\""]);
    bench.folder.write("t.csv", csv(200, |row| row.y = ["active", "no"][row.number % 2].into()));
    bench.refused(&job(CSV, RATE, ""), 3, &["values seen: [\"active\", \"no\"]"]);
    bench.folder.write("t.csv", csv(200, |row| row.y = ["churned", "active"][row.number % 2].into()));
    let run = bench.published(&job(CSV, "column = \"y\"\nkind = \"rate\"\npositive = \"churned\"", ""));
    assert_eq!(json(run.join("groups.json"))["base"]["metric_sum"], 100.0);
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values((0..200).map(|i| 1 + i % 2)));
    let bench = Bench::with_parquet(&batch(&[("y", numbers)]));
    bench.refused(
        &job(PARQUET, "column = \"y\"\nkind = \"rate\"\npositive = 3", ""),
        3,
        &["metric.positive", "1", "2"],
    );
}

#[test]
fn customer_in_two_rows_is_named_merged_or_replaced_as_the_job_says() {
    let duplicate = |row: &mut Row| {
        if row.number == 150 {
            *row = Row {
                number: 150,
                id: "49".into(),
                city: "Lyon".into(),
                plan: "a".into(),
                amount: "3.00".into(),
                y: "yes".into(),
            };
        }
    };
    let same = csv(200, |row| {
        if row.number == 49 {
            row.number = 150;
        }
        duplicate(row);
    });
    let with = |text: &str| job(&format!("{CSV}\n{text}"), RATE, "");
    let bench = Bench::with_table(&same);
    let says = ["customer id \"49\"", "t.csv", "row 50", "row 151", "input.on_duplicate_id"];
    bench.refused(&with(""), 4, &says);
    let run = bench.published(&with("on_duplicate_id = \"merge_identical\""));
    assert_eq!(quality(&run)["rows"].to_string(), r#"{"kept":199,"merged":1,"quarantined":0,"read":200}"#);

    let bench = Bench::with_table(csv(200, duplicate));
    bench.refused(&with("on_duplicate_id = \"merge_identical\""), 4, &["customer id \"49\"", "differ", "latest"]);
    let latest = "on_duplicate_id = \"latest\"\nlatest_by = \"amount\"";
    let run = bench.published(&with(latest));
    assert_eq!(quality(&run)["rows"].to_string(), r#"{"kept":199,"merged":1,"quarantined":0,"read":200}"#);
    bench.refused(&with("on_duplicate_id = \"latest\""), 2, &["input.latest_by"]).refused(
        &with("on_duplicate_id = \"latest\"\nlatest_by = \"date\""),
        3,
        &["input.latest_by", "\"date\""],
    );
}

#[test]
fn latest_row_of_a_customer_is_the_one_with_the_latest_date() {
    // Customer i has a row of each of three days, in an order of its own; only the last day's says yes, for even ones.
    let mut text = String::from("id,city,day,y\n");
    for turn in 0..3 {
        for i in 0..120 {
            let day = (i + turn) % 3;
            let city = ["Lyon", "Oslo"][i % 2];
            text.push_str(&format!("{i},{city},2026-0{}-28,{}\n", day + 1, u8::from(day == 2 && i % 2 == 0)));
        }
    }
    let bench = Bench::with_table(text);
    let run = bench.published(&job(
        &format!("{CSV}\non_duplicate_id = \"latest\"\nlatest_by = \"day\""),
        RATE,
        "[features]\ninclude = [\"city\"]",
    ));
    assert_eq!(quality(&run)["rows"].to_string(), r#"{"kept":120,"merged":240,"quarantined":0,"read":360}"#);
    assert_eq!(json(run.join("groups.json"))["base"]["metric_sum"], 60.0);
}

#[test]
fn row_without_an_id_ends_the_run_or_is_counted() {
    for blank in ["", "  "] {
        let bench = Bench::with_table(csv(200, |row| {
            if row.number == 20 {
                row.id = blank.into();
            }
        }));
        bench.refused(&job(CSV, RATE, ""), 4, &["t.csv", "row 21", "customer id missing", "\"id\""]);
        let run = bench.published(&job(&format!("{CSV}\non_bad_row = \"quarantine\""), RATE, ""));
        assert_eq!(quality(&run)["rejects"], serde_json::json!({"customer id missing": 1}));
    }
    let half: ArrayRef = Arc::new(Float64Array::from_iter_values((0..200).map(|i| i as f64 / 2.0)));
    Bench::with_parquet(&batch(&[("id", half)])).refused(&job(PARQUET, RATE, ""), 4, &["\"id\"", "0.5", "row 2"]);
    let mut ids: Vec<i64> = (0..200).collect();
    (ids[0], ids[1]) = (i64::MIN, i64::MAX);
    Bench::with_parquet(&batch(&[("id", Arc::new(Int64Array::from(ids)) as ArrayRef)]))
        .published(&job(PARQUET, RATE, ""));
}

#[test]
fn table_with_hundreds_of_features_is_no_different() {
    let mut dice = Dice(4);
    let names: Vec<String> = (0..300).map(|i| format!("f{i}")).collect();
    let mut text = format!("id,{},y\n", names.join(","));
    for row in 0..60 {
        let values: Vec<String> = names.iter().map(|_| dice.roll(3).to_string()).collect();
        text.push_str(&format!("{row},{},{}\n", values.join(","), dice.roll(2)));
    }
    let bench = Bench::with_table(text);
    let run = bench.published(&job(CSV, RATE, "[screen]\noff = true\n[enumerate]\nmax_level = 1"));
    assert_eq!(json(run.join("features.json"))["features"].as_array().unwrap().len(), 300);
}

#[test]
fn names_and_values_are_only_text_wherever_they_go() {
    let names = ["a=b & c", "=cmd()", "</script><script>alert(1)</script>", "\u{1b}[31mred", "quo\"te", "新 客户"];
    let values = ["</script><script>alert(1)</script>", "say \"hi\" & 'bye'", "line\nbreak", "=cmd()|' /C calc'!A0"];
    let mut dice = Dice(12);
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["id"].iter().chain(&names).chain(&["y"])).unwrap();
    for row in 0..3000 {
        let mut record = vec![format!("=id{row}")];
        record.extend(names.iter().map(|_| values[dice.roll(4) as usize].to_owned()));
        let likely = if record[1] == values[0] && record[3] == values[3] { 9 } else { 1 };
        record.push(u8::from(dice.roll(10) < likely).to_string());
        writer.write_record(&record).unwrap();
    }
    let bench = Bench::with_table(writer.into_inner().unwrap());
    let run = bench.published(&job(CSV, RATE, "[highlight]\nmax_uv_share = 0.2"));
    assert!(parquet(run.join("highlights.parquet")).num_rows() > 0);
    assert_ne!(json(run.join("groups.json"))["groups"], serde_json::json!([]));
    let html = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(!html.contains("<script>alert(1)"), "a value is markup");
    assert!(!html.contains('\u{1b}'), "a control character is shown as it is");
    let table = std::fs::read_to_string(run.join("highlights.csv")).unwrap();
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    for record in reader.records() {
        for field in &record.unwrap() {
            let negative = field.starts_with('-') && field.parse::<f64>().is_ok();
            assert!(negative || !field.starts_with(['=', '+', '-', '@', '\t', '\r']), "{field} is a formula");
        }
    }
    let ended = bench.run(&job(CSV, RATE, "[highlight]\nmax_uv_share = 0.2"), "-w 1").well();
    assert!(!ended.out.contains('\u{1b}') && !ended.err.contains('\u{1b}'), "{}", ended.out);
    let described = bench.folder.nichemine("describe t.csv").well();
    assert!(!described.out.contains('\u{1b}'), "{}", described.out);
    let audience = parquet(run.join("audience/group=1/part-0.parquet"));
    let ids = arrow::array::AsArray::as_string::<i32>(audience.column(0));
    assert!(ids.value(0).starts_with("=id"), "ids are as in the table");
}

#[test]
fn long_and_strange_values_are_values() {
    let long = "x".repeat(1 << 20);
    let bench = Bench::with_table(csv(200, |row| {
        row.city = match row.number % 4 {
            0 => long.clone(),
            1 => "\u{0}".into(),
            2 => "\u{202e}right to left".into(),
            _ => "👩‍👩‍👧‍👦".into(),
        };
    }));
    let run = bench.published(&job(CSV, RATE, ""));
    assert_eq!(verdict(&run, "city")["items"], 4);
    bench.folder.nichemine("describe t.csv").well();
}
