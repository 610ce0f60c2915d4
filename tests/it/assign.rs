//! Customers of a table put into the groups of a published run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, Int64Array, Int64Builder, ListBuilder,
    RecordBatch, StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use nichemine::job::Language;
use nichemine::planted;
use serde_json::Value;

use crate::program::{Dice, Ended, Folder, json, parquet, planted, write_parquet};

/// Group and segment by id, as text.
pub type Members = BTreeMap<String, (i64, String)>;

pub fn text(column: &ArrayRef, row: usize) -> String {
    match column.data_type() {
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        _ => column.as_string::<i32>().value(row).to_owned(),
    }
}

pub fn member(batch: &RecordBatch, row: usize) -> (String, (i64, String)) {
    let group = batch.column(1).as_primitive::<Int32Type>().value(row);
    (text(batch.column(0), row), (i64::from(group), text(batch.column(2), row)))
}

/// The audience packages of a run.
pub fn packages(run: &Path) -> Members {
    let groups = json(run.join("groups.json"));
    let mut members = Members::new();
    for group in groups["groups"].as_array().unwrap() {
        let batch = parquet(run.join(group["audience"].as_str().unwrap()).join("part-0.parquet"));
        members.extend((0..batch.num_rows()).map(|row| member(&batch, row)));
    }
    members
}

/// An assigned file, in its order.
pub fn assigned(path: &Path) -> Vec<(String, (i64, String))> {
    let batch = parquet(path);
    (0..batch.num_rows()).map(|row| member(&batch, row)).collect()
}

/// The one line of JSON.
#[track_caller]
pub fn summary(ended: Ended) -> Value {
    let out = ended.well().out;
    assert_eq!(out.matches('\n').count(), 1, "{out}");
    serde_json::from_str(&out).unwrap()
}

/// Asserts that a table put into the groups of a run of the same rows gives the run's packages, by one thread and by several.
#[track_caller]
fn same_as_packages(folder: &Folder, run: &Path, table: &str) -> Value {
    let expected = packages(run);
    assert!(!expected.is_empty(), "a run without groups tests nothing");
    let mut all = Vec::new();
    for threads in [1, 2, 5] {
        let told = summary(folder.nichemine(&format!(
            "assign {} {table} -w {threads} --out a{threads}.parquet --output json",
            run.display()
        )));
        let path = folder.path(&format!("a{threads}.parquet"));
        let rows = assigned(&path);
        assert_eq!(rows.len(), expected.len(), "{told}");
        assert_eq!(rows.into_iter().collect::<Members>(), expected);
        assert_eq!(told["assigned"], expected.len());
        let mut told = told;
        told.as_object_mut().unwrap().remove("out");
        all.push((std::fs::read(path).unwrap(), told));
    }
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "the same bytes for any number of threads");
    all.remove(0).1
}

#[test]
fn own_table_of_a_run_gives_its_audience_packages() {
    let folder = Folder::new();
    for (table, language) in [("en.parquet", Language::En), ("en.csv", Language::En), ("zh.parquet", Language::Zh)] {
        let table = planted(table);
        let run = folder.publish(&planted::job(&table, Path::new("out"), language), "-w 2");
        let told = same_as_packages(&folder, &run, table.to_str().unwrap());
        assert_eq!((&told["rows_read"], &told["bad"]), (&60_000.into(), &0.into()));
        // Nothing changed, so what chance allows is more than what there is.
        assert!(told["psi"].as_f64().unwrap() < 1e-9 && told["psi_by_chance"].as_f64().unwrap() > 1e-4, "{told}");
        for group in told["groups"].as_array().unwrap() {
            assert_eq!(group["share"], group["base_share"], "{group}");
        }
    }
}

#[test]
fn rows_stand_for_customers_without_ids_over_all_files() {
    let folder = Folder::new();
    let table = parquet(planted("en.parquet"));
    let places: Vec<usize> = (1..table.num_columns()).collect();
    let table = table.project(&places).unwrap();
    std::fs::create_dir(folder.path("parts")).unwrap();
    write_parquet(&folder.path("parts/1.parquet"), &table.slice(0, 23_456), 5_000);
    write_parquet(&folder.path("parts/2.parquet"), &table.slice(23_456, 0), 8_000);
    write_parquet(&folder.path("parts/3.parquet"), &table.slice(23_456, 36_544), 9_000);
    let job = planted::job(Path::new("parts"), Path::new("out"), Language::En);
    let run = folder.publish(&job.replace("id = \"customer_id\"\n", ""), "-w 2");
    same_as_packages(&folder, &run, "parts");
    assert_eq!(parquet(folder.path("a1.parquet")).schema().field(0).name(), "row");
    let rows: Vec<i64> = assigned(&folder.path("a5.parquet")).iter().map(|(id, _)| id.parse().unwrap()).collect();
    assert!(rows.is_sorted() && *rows.last().unwrap() > 50_000);
}

const CITIES: [&str; 9] = ["上海", "北京", "Lyon", "Oslo", "a & b", "rare 1", "rare 2", "rare 3", "\"q"];
const TAGS: [&str; 6] = ["旅行", "运动", "travel", "a & b", "10", "rare"];

/// A table with every kind of column, as Parquet and, but for the lists, as CSV in two files, one of them compressed; some values are
/// missing.
fn random_table(folder: &Folder, seed: u64, rows: usize) {
    let mut dice = Dice(seed);
    let mut roll = |sides: u64| dice.roll(sides);
    let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
    let none = |roll: &mut dyn FnMut(u64) -> u64| roll(20) == 0;
    let city: Vec<Option<&str>> = (0..rows)
        .map(|_| {
            let at = if roll(40) == 0 { 5 + roll(3) } else { [0, 1, 2, 3, 4, 8][roll(6) as usize] };
            (!none(&mut roll)).then(|| CITIES[at as usize])
        })
        .collect();
    let plan: Vec<&str> = (0..rows).map(|_| ["a", "b", "007"][roll(3) as usize]).collect();
    let age: Vec<Option<i64>> = (0..rows).map(|_| (!none(&mut roll)).then(|| 18 + roll(60) as i64)).collect();
    let visits: Vec<i64> = (0..rows).map(|_| roll(4) as i64).collect();
    let score: Vec<Option<f64>> =
        (0..rows).map(|_| (!none(&mut roll)).then(|| roll(3_000) as f64 / 1_000.0 - 1.0)).collect();
    let pdays: Vec<i64> = (0..rows).map(|_| if roll(3) == 0 { -1 } else { roll(200) as i64 }).collect();
    let joined: Vec<i32> = (0..rows).map(|_| 19_700 + roll(400) as i32).collect();
    let seen: Vec<i64> = (0..rows).map(|_| 1_700_000_000_000 + 1000 * roll(200_000) as i64).collect();
    let member: Vec<Option<bool>> = (0..rows).map(|_| (roll(5) > 0).then(|| roll(3) == 0)).collect();
    let interests: Vec<Option<String>> = (0..rows)
        .map(|_| {
            let some: Vec<&str> =
                TAGS.into_iter().filter(|tag| roll(if *tag == "rare" { 900 } else { 4 }) == 0).collect();
            (!some.is_empty()).then(|| some.join(" |"))
        })
        .collect();
    let mut shops = ListBuilder::new(Int64Builder::new());
    for _ in 0..rows {
        shops.append_value((0..4).filter(|_| roll(3) == 0).map(Some).collect::<Vec<_>>());
    }
    let bought: Vec<i64> = (0..rows)
        .map(|row| {
            let often = (city[row] == Some("上海") && plan[row] == "b")
                || (age[row].is_some_and(|age| age > 70) && visits[row] == 3)
                || (age[row].is_none() && plan[row] == "007")
                || (interests[row].as_ref().is_some_and(|tags| tags.contains("旅行")) && member[row] == Some(true))
                || (joined[row] > 20_060 && score[row].is_some_and(|score| score > 1.5))
                || (pdays[row] > 150 && city[row] == Some("a & b"));
            i64::from(roll(100) < if often { 60 } else { 6 })
        })
        .collect();
    let shared = |array| -> ArrayRef { array };
    columns.push(("id", shared(Arc::new(Int64Array::from_iter_values((0..rows as i64).map(|id| 7 * id))))));
    columns.push(("城市", Arc::new(StringArray::from(city.clone()))));
    columns.push(("plan", Arc::new(StringArray::from(plan.clone()))));
    columns.push(("age", Arc::new(Int64Array::from(age.clone()))));
    columns.push(("visits", Arc::new(Int64Array::from(visits.clone()))));
    columns.push(("score", Arc::new(Float64Array::from(score.clone()))));
    columns.push(("pdays", Arc::new(Int64Array::from(pdays.clone()))));
    columns.push(("joined", Arc::new(Date32Array::from(joined.clone()))));
    columns.push(("seen", Arc::new(TimestampMillisecondArray::from(seen.clone()))));
    columns.push(("member", Arc::new(BooleanArray::from(member.clone()))));
    columns.push(("interests", Arc::new(StringArray::from(interests.clone()))));
    columns.push(("shops", Arc::new(shops.finish())));
    columns.push(("y", Arc::new(Int64Array::from(bought.clone()))));
    let batch = RecordBatch::try_from_iter_with_nullable(columns.iter().map(|(n, c)| (*n, Arc::clone(c), true)));
    write_parquet(&folder.path("t.parquet"), &batch.unwrap(), 999);

    let quoted =
        |text: &str| if text.contains('"') { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.into() };
    let header = "id,城市,plan,age,visits,score,pdays,joined,seen,member,interests,y\n";
    let line = |row: usize| {
        let or = |text: Option<String>| text.unwrap_or_default();
        let day = columns
            .iter()
            .find(|(name, _)| *name == "joined")
            .unwrap()
            .1
            .as_primitive::<arrow::datatypes::Date32Type>();
        let time = columns
            .iter()
            .find(|(name, _)| *name == "seen")
            .unwrap()
            .1
            .as_primitive::<arrow::datatypes::TimestampMillisecondType>();
        let cells = [
            (7 * row).to_string(),
            quoted(city[row].unwrap_or_default()),
            plan[row].into(),
            or(age[row].map(|v| v.to_string())),
            visits[row].to_string(),
            or(score[row].map(|v| v.to_string())),
            pdays[row].to_string(),
            day.value_as_date(row).unwrap().to_string(),
            time.value_as_datetime(row).unwrap().to_string(),
            or(member[row].map(|v| v.to_string())),
            or(interests[row].clone()),
            bought[row].to_string(),
        ];
        cells.join(",") + "\n"
    };
    let part = |rows: std::ops::Range<usize>| header.to_owned() + &rows.map(line).collect::<String>();
    folder.write("csv/1.csv", part(0..rows / 3));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, part(rows / 3..rows).as_bytes()).unwrap();
    folder.write("csv/2.csv.gz", gzip.finish().unwrap());
}

/// A job on such a table, which finds more than it should: many segments of all kinds.
fn random_job(table: &str, id: &str, exclude: &str) -> String {
    format!(
        r#"
        input = {{ path = "{table}"{id} }}
        metric = {{ column = "y", kind = "rate" }}
        output = {{ dir = "out" }}
        enumerate = {{ max_level = 2, min_uv = 40 }}
        screen = {{ off = true }}
        highlight = {{ holdout = 0.0, max_uv_share = 0.4, min_lift = 1.01, fdr = 0.3, min_gain = 1.0 }}
        merge = {{ groups = [2, 9] }}
        [features]
        exclude = ["id"{exclude}]
        [features.score]
        bin = {{ width = 0.5 }}
        [features.age]
        bin = {{ edges = [20, 30, 70] }}
        [features.pdays]
        null_values = ["-1"]
        [features.joined]
        part = "year_month"
        [features.weekday]
        column = "joined"
        part = "weekday"
        [features.seen]
        part = "hour"
        [features.member]
        missing = "mode"
        [features.interests]
        separator = "|"
        "#
    )
}

#[test]
fn own_table_with_every_kind_of_column_gives_the_packages_and_so_does_the_table_in_the_other_format() {
    let mut kinds = std::collections::BTreeSet::new();
    for seed in 1..=3 {
        let folder = Folder::new();
        random_table(&folder, seed, 5_000);
        let id = ", id = \"id\"";
        let publish = |table: &str, id: &str, exclude: &str| folder.publish(&random_job(table, id, exclude), "-w 2");
        let run = publish("t.parquet", id, "");
        same_as_packages(&folder, &run, "t.parquet");
        packages(&run).values().for_each(|(_, segment)| {
            kinds.extend(segment.split(" & ").filter_map(|item| Some(item.split_once('=')?.0.to_owned())));
        });
        let run = publish("csv", id, "");
        same_as_packages(&folder, &run, "csv");
        let run = publish("csv", "", "");
        same_as_packages(&folder, &run, "csv");
        // What is a number in one format is text in the other, and the same item.
        let run = publish("t.parquet", id, ", \"shops\"");
        same_as_packages(&folder, &run, "csv");
        let run = publish("csv", id, ", \"member\"");
        same_as_packages(&folder, &run, "t.parquet");
    }
    // Otherwise fewer kinds were tested than it looks.
    for kind in ["城市", "plan", "age", "visits", "score", "pdays", "joined", "member", "interests"] {
        assert!(kinds.contains(kind), "{kind} is in no group: {kinds:?}");
    }
}

/// A run on `t.csv`, with the segments that it asks for and their groups in order.
pub struct Known {
    pub folder: Folder,
    run: PathBuf,
    asked: Vec<(String, i64)>,
}

pub fn known(more_input: &str) -> Known {
    let folder = Folder::new();
    let mut dice = Dice(5);
    let mut csv = String::from("id,city,plan,age,y\n");
    for id in 0..6_000 {
        let city = ["Lyon", "Oslo", "Bonn", "Rome", "Graz", "Bern"][dice.roll(6) as usize];
        let (city, plan) = (if id < 3 { "tiny" } else { city }, ["a", "b", "c", "f"][dice.roll(4) as usize]);
        let age = 20 + dice.roll(60);
        let likely = match (city, plan, age) {
            ("Lyon", "b", _) => 70,
            (_, "c", 40..50) => 60,
            _ => 5,
        };
        csv.push_str(&format!("{id},{city},{plan},{age},{}\n", u8::from(dice.roll(100) < likely)));
    }
    folder.write("t.csv", csv);
    let job = format!(
        r#"
        input = {{ path = "t.csv", id = "id"{more_input} }}
        metric = {{ column = "y", kind = "rate" }}
        output = {{ dir = "out" }}
        enumerate = {{ max_level = 2, min_uv = 50 }}
        highlight = {{ max_uv_share = 0.1, min_lift = 2.0 }}
        merge = {{ groups = [2, 2] }}
        [features.age]
        bin = {{ edges = [40, 50] }}
        "#
    );
    let run = folder.publish(&job, "-w 1");
    let asked: Vec<(String, i64)> = (json(run.join("groups.json"))["assignment"].as_array().unwrap().iter())
        .map(|entry| (entry["segment"].as_str().unwrap().to_owned(), entry["group"].as_i64().unwrap()))
        .collect();
    let has = |segment: &str| asked.iter().any(|(asked, _)| asked == segment);
    assert!(has("city=Lyon & plan=b") && has("plan=c & age=[40,50)"), "{asked:?}");
    Known { folder, run, asked }
}

impl Known {
    /// Group and segment of a customer, by what the segments say.
    fn of(&self, city: &str, plan: &str, age: Option<f64>) -> Option<(i64, String)> {
        let holds = |item: &str| match item.split_once('=').unwrap() {
            ("city", name) => name == city,
            ("plan", name) => name == plan,
            ("age", band) => age.is_some_and(|age| match band {
                "<40" => age < 40.0,
                "[40,50)" => (40.0..50.0).contains(&age),
                ">=50" => age >= 50.0,
                _ => panic!("{band}"),
            }),
            _ => panic!("{item}"),
        };
        let (segment, group) = self.asked.iter().find(|(segment, _)| segment.split(" & ").all(holds))?;
        Some((*group, segment.clone()))
    }
}

#[test]
fn values_that_the_run_never_saw_are_in_no_group_and_told() {
    let known = known("");
    let folder = &known.folder;
    // Neither the metric nor any other column; `tiny` was too rare to be an item, `d` was never seen, nobody's age was missing.
    let mut csv = String::from("age,id,plan,city\n");
    let mut expected = Vec::new();
    for id in 0..200 {
        let city = match id {
            0..10 => "tiny",
            10..20 => "Mars",
            _ => "Lyon",
        };
        let plan = match id {
            100..130 => "d",
            130..135 => "e",
            _ if id % 2 == 0 => "b",
            _ => "c",
        };
        let age = match id {
            150..170 => String::new(),
            170..180 => "-1e9".into(),
            180..190 => "1e9".into(),
            _ => "40".into(),
        };
        csv.push_str(&format!("{age},x{id},{plan},{city}\n"));
        expected.extend(known.of(city, plan, age.parse().ok()).map(|of| (format!("x{id}"), of)));
    }
    folder.write("new.csv", &csv);
    let told = summary(folder.nichemine("assign out/latest new.csv --output json"));
    assert_eq!(assigned(&folder.path("assigned.parquet")), expected, "in the order of the table");
    let values = |feature: &str| {
        let values = told["values"].as_array().unwrap();
        let of = values.iter().find(|v| v["feature"] == feature).unwrap();
        ["missing", "other", "unseen"].map(|count| of[count].as_u64().unwrap())
    };
    assert_eq!(values("city"), [0, 20, 0], "the run has rest, so it does not know what it saw");
    assert_eq!(values("plan"), [0, 0, 35]);
    assert_eq!(values("age"), [20, 0, 0], "numbers beyond all others are in the outermost bands");
    let examples = |values: &Value| {
        values.as_array().unwrap().iter().find(|v| v["feature"] == "plan").unwrap()["examples"].clone()
    };
    // Five customers are too few to tell their value.
    assert_eq!(examples(&told["values"]), serde_json::json!([{ "value": "d", "customers": 30 }]));
    let (n, none) = (expected.len(), 200 - expected.len());
    let counts = ["rows_read", "customers", "assigned", "written"].map(|count| told[count].as_u64().unwrap());
    assert_eq!(counts, [200, 200, n as u64, n as u64]);
    assert_eq!(told["none"]["customers"], none);
    assert!(told["psi"].as_f64().unwrap() > 0.5, "{told}");

    let all = summary(folder.nichemine("assign out/latest new.csv --all --out all.parquet --output json"));
    assert_eq!((&all["written"], &all["assigned"]), (&200.into(), &n.into()));
    let batch = parquet(folder.path("all.parquet"));
    let mut members = expected.into_iter().peekable();
    for row in 0..200 {
        let id = format!("x{row}");
        assert_eq!(text(batch.column(0), row), id);
        match members.next_if(|(member, _)| *member == id) {
            Some(expected) => assert_eq!(member(&batch, row), expected),
            None => assert!(batch.column(1).is_null(row) && batch.column(2).is_null(row), "{id}"),
        }
    }

    let text = folder.nichemine("assign out/latest new.csv").well().out;
    for part in ["in no group", "200 rows read", "d (30)", "assigned.parquet"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("e (5)"), "{text}");
}

#[test]
fn tables_that_lack_what_the_groups_ask_for_are_refused_by_column_and_feature() {
    let known = known("");
    let (folder, run) = (&known.folder, &known.run);
    let earlier = "as it was";
    folder.write("assigned.parquet", earlier).write("good.csv", "id,city,plan,age\n1,Lyon,b,40\n");
    let refused = |arguments: &str, code: i32, says: &[&str]| {
        for threads in [1, 3] {
            let ended = folder.nichemine(&format!("assign {arguments} -w {threads}")).refused(code, says);
            assert_eq!(ended.out, "");
            assert_eq!(std::fs::read_to_string(folder.path("assigned.parquet")).unwrap(), earlier);
        }
    };
    folder.write("no.csv", "id,city,plann,age\n1,Lyon,b,40\n");
    refused("out/latest no.csv", 3, &["features.plan", "\"plan\"", "did you mean \"plann\""]);
    folder.write("no_id.csv", "city,plan,age\nLyon,b,40\n");
    refused("out/latest no_id.csv", 3, &["input.id", "\"id\""]);
    folder.write("none.csv", "nr,citi,years\n1,Lyon,40\n");
    let all = ["\"id\" (input.id)", "\"city\" (features.city; did you mean \"citi\"?)", "\"plan\" (features.plan)"];
    let ways = ["\"age\" (features.age)", "--set input.id=", "input.csv.names"];
    refused("out/latest none.csv", 3, &[all, ways].concat());
    let ones: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
    let column = |name: &str, column: ArrayRef| {
        let good: [(&str, ArrayRef); 4] = [
            ("id", Arc::new(Int64Array::from(vec![1]))),
            ("city", Arc::new(StringArray::from(vec!["Lyon"]))),
            ("plan", Arc::new(StringArray::from(vec!["b"]))),
            ("age", Arc::new(Int64Array::from(vec![40]))),
        ];
        let of = good.into_iter().map(|(own, array)| (own, if own == name { Arc::clone(&column) } else { array }));
        write_parquet(&folder.path("t.parquet"), &RecordBatch::try_from_iter(of).unwrap(), 100);
    };
    column("age", Arc::clone(&ones));
    refused("out/latest t.parquet", 3, &["features.age", "\"age\" is bool", "numbers"]);
    column("city", Arc::new(Int64Array::from(vec![1])));
    refused("out/latest t.parquet", 3, &["features.city", "\"city\" is int", "text"]);
    column("none", ones);
    folder.nichemine("assign out/latest t.parquet --out good.parquet").well();
    assert_eq!(assigned(&folder.path("good.parquet")), [("1".to_owned(), known.of("Lyon", "b", Some(40.0)).unwrap())]);

    // What is wrong with a row is told by file, row, column and value, whoever reads it.
    let mut csv = String::from("id,city,plan,age\n");
    (0..40_000)
        .for_each(|id| csv.push_str(&format!("{id},Lyon,b,{}\n", if id % 9_000 == 8_999 { "forty" } else { "40" })));
    folder.write("bad.csv", csv);
    refused("out/latest bad.csv", 4, &["bad.csv", "row 9000", "\"age\"", "\"forty\"", "on_bad_row"]);
    folder.write("ragged.csv", "id,city,plan,age\n1,Lyon,b,40\n2,Lyon\n");
    refused("out/latest ragged.csv", 4, &["ragged.csv", "line 3"]);
    folder.write("cut.parquet", "PAR1");
    refused("out/latest cut.parquet", 3, &["cut.parquet"]);
    refused("out/latest nowhere.csv", 3, &["nowhere.csv"]);

    // Settings other than those of the table, and places where a file would do harm.
    refused("out/latest good.csv --set highlight.top=3", 2, &["highlight.top=3", "[input]"]);
    refused("out/latest good.csv --set input.path=t.csv", 2, &["input.path"]);
    refused("out/latest good.csv --set input.nothing=1", 2, &["input.nothing"]);
    refused("out/latest good.csv -w 0", 2, &[]);
    for out in ["out/latest/a.parquet", "out/latest/audience/group=1/part-0.parquet"] {
        refused(&format!("out/latest good.csv --out {out}"), 2, &["published run"]);
    }
    refused("out/latest good.csv --out good.csv", 2, &["a file of the table"]);
    refused("out/latest good.csv --out ./out/../good.csv", 2, &["a file of the table"]);
    refused("out/latest good.csv --out out", 2, &["folder"]);
    refused("out/latest good.csv --out a.txt", 2, &["a.txt", ".parquet or .csv"]);
    refused("out/latest good.csv --out no/such/folder/a.parquet", 3, &["--out"]);
    folder.write("part/1.csv", "id,city,plan,age\n1,Lyon,b,40\n");
    refused("out/latest part --out part/a.parquet", 2, &["part of the table"]);
    folder.nichemine("verify out/latest").well();

    // Runs that are none, or not as they were published.
    refused("out good.csv", 3, &["_SUCCESS", "did you mean \"out/latest\"?"]);
    refused("nowhere good.csv", 3, &["_SUCCESS"]);
    let whole = std::fs::read_to_string(run.join("groups.json")).unwrap();
    std::fs::write(run.join("groups.json"), whole.replace("plan=b", "plan=c")).unwrap();
    refused("out/latest good.csv", 3, &["groups.json", "sha256"]);
    std::fs::write(run.join("groups.json"), whole).unwrap();
    std::fs::remove_file(run.join("features.json")).unwrap();
    refused("out/latest good.csv", 3, &["features.json"]);
    let staged = std::fs::read_dir(folder.path(""))
        .unwrap()
        .filter(|f| f.as_ref().unwrap().file_name().to_str().unwrap().contains(".tmp"));
    assert_eq!(staged.count(), 0, "nothing staged is left");
}

#[test]
fn the_table_may_be_written_otherwise_and_bad_rows_follow_the_job() {
    let Known { folder, .. } = known(", on_bad_row = \"quarantine\", max_bad_rows = 2");
    let mut csv = String::from("客户;city;plan;age\n");
    (0..50).for_each(|id| csv.push_str(&format!("{id};Lyon;b;40\n")));
    csv.push_str("50;Lyon\n51;Lyon;b;forty\n");
    folder.write("other.txt", &csv);
    let changed = "--set input.csv.delimiter=';' --set input.id=客户";
    let assign = |more: &str| {
        let line = format!("assign out/latest other.txt {more} --output json");
        let arguments: Vec<String> = line.split_whitespace().map(|part| part.replace('\'', "\"")).collect();
        folder.start_with(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).end()
    };
    let told = summary(assign(changed));
    assert_eq!((&told["rows_read"], &told["bad"], &told["assigned"]), (&52.into(), &2.into(), &50.into()));
    assert_eq!(told["rejects"], serde_json::json!({ "feature not a number": 1, "ragged line": 1 }));
    assert_eq!(parquet(folder.path("assigned.parquet")).schema().field(0).name(), "客户");
    let before = std::fs::read(folder.path("assigned.parquet")).unwrap();
    assign(&format!("{changed} --set input.max_bad_rows=1")).refused(4, &["max_bad_rows = 1", "ragged line: 1"]);
    assign(&format!("{changed} --set input.on_bad_row=fail")).refused(4, &["line 52"]);
    assert_eq!(std::fs::read(folder.path("assigned.parquet")).unwrap(), before);
    // A table without rows has no customers, and that is no error: a day without new ones.
    folder.write("empty.csv", "id,city,plan,age\n");
    let told = summary(folder.nichemine("assign out/latest empty.csv --output json"));
    assert_eq!((&told["written"], &told["psi"], &told["none"]["share"]), (&0.into(), &Value::Null, &Value::Null));
    assert_eq!(parquet(folder.path("assigned.parquet")).num_rows(), 0);
}

#[test]
fn a_run_without_groups_assigns_nobody_and_one_of_an_earlier_build_says_so() {
    let folder = Folder::new();
    let csv: String = (0..500).map(|id| format!("{id},{},{}\n", ["a", "b"][id % 2], id / 2 % 2)).collect();
    folder.write("t.csv", format!("id,plan,y\n{csv}"));
    let job = "input = { path = \"t.csv\", id = \"id\" }\nmetric = { column = \"y\", kind = \"rate\" }\noutput.dir = \"out\"\n";
    folder.publish(job, "-w 1");
    let told = summary(folder.nichemine("assign out/latest t.csv --all --output json"));
    assert_eq!((&told["assigned"], &told["written"], &told["psi"]), (&0.into(), &500.into(), &0.0.into()));

    let Known { folder, run, .. } = known("");
    let mut groups = json(run.join("groups.json"));
    groups.as_object_mut().unwrap().remove("assignment");
    let text = serde_json::to_string(&groups).unwrap();
    std::fs::write(run.join("groups.json"), &text).unwrap();
    let mut manifest = json(run.join("manifest.json"));
    let entry = manifest["files"].as_array_mut().unwrap().iter_mut().find(|f| f["path"] == "groups.json").unwrap();
    entry["bytes"] = text.len().into();
    use sha2::{Digest, Sha256};
    entry["sha256"] = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
    std::fs::write(run.join("manifest.json"), manifest.to_string()).unwrap();
    folder.nichemine("verify out/latest").well();
    folder.nichemine("assign out/latest t.csv").refused(3, &["assignment", "earlier build"]);
}
