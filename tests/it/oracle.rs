//! Every segment of a small table, counted by its definition over the rows of the file, against `segments.parquet`.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, Float64Array, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};

use crate::program::{Dice, Folder, parquet};

const FEATURES: [&str; 7] = ["城市", "channel", "tier", "plan b", "twin", "rare", "flag"];
const MIN_UV: i64 = 10;

/// A table with rare values, Chinese names and values, missing values of two kinds, and a feature that repeats another.
fn table(rows: u64, seed: u64) -> String {
    let mut dice = Dice(seed);
    let mut text = String::from("id,城市,channel,tier,plan b,twin,rare,flag,bought,margin,orders,visits\n");
    for row in 0..rows {
        let mut pick = |values: &[&'static str]| {
            // The minimum of two rolls prefers the first values.
            let place = dice.roll(values.len() as u64).min(dice.roll(values.len() as u64));
            values[place as usize]
        };
        let city = pick(&["上海", "北京", "广州", "", "Köln", "成都"]);
        let channel = pick(&["app", "web", "store \"5\"", "a & b", "?", "phone"]);
        let tier = pick(&["1", "2", "3", "007", "4"]);
        let plan = pick(&["a=b", "c", "NULL", "-"]);
        let flag = pick(&["true", "false"]);
        let rare = format!("v{}", dice.roll(400).min(dice.roll(400)).min(dice.roll(400)));
        let likely = 2 + u64::from(city == "北京") * 3 + u64::from(channel == "web" && tier == "2") * 8;
        let bought = if dice.roll(20) < likely { "yes" } else { "no" };
        let cents = dice.roll(30_000) as i64 - 10_000 * i64::from(plan == "c");
        let margin = format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, cents.abs() / 100, cents.abs() % 100);
        let visits = dice.roll(6);
        let orders = if visits == 0 { 0 } else { dice.roll(visits + 1) };
        let fields = [city, channel, tier, plan, tier, &rare, flag, bought, &margin];
        let quoted: Vec<String> = fields.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect();
        text.push_str(&format!("c{row},{},{orders},{visits}\n", quoted.join(",")));
    }
    text
}

/// Customers of a segment, and sums of what the metric is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sums {
    uv: i64,
    above: i64,
    below: i64,
}

/// Everything that is true of the table: all conjunctions of 1 to 3 values by their text, and the whole table as "".
fn truth(csv: &str, of_row: impl Fn(&dyn Fn(&str) -> String) -> (i64, i64)) -> BTreeMap<String, Sums> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let headers = reader.headers().unwrap().clone();
    let mut sums: BTreeMap<String, Sums> = BTreeMap::new();
    for record in reader.records() {
        let record = record.unwrap();
        let field = |name: &str| record[headers.iter().position(|h| h == name).unwrap()].to_owned();
        let (above, below) = of_row(&field);
        let items: Vec<String> = FEATURES
            .iter()
            .map(|name| {
                let value = field(name);
                match value.as_str() {
                    "" | "?" => format!("{name}=(missing)"),
                    // Text that could be read as several items is quoted.
                    "a & b" => format!("{name}=\"a & b\""),
                    _ => format!("{name}={value}"),
                }
            })
            .collect();
        let mut add = |segment: String| {
            let sum = sums.entry(segment).or_default();
            *sum = Sums { uv: sum.uv + 1, above: sum.above + above, below: sum.below + below };
        };
        add(String::new());
        for a in 0..items.len() {
            add(items[a].clone());
            for b in a + 1..items.len() {
                add(format!("{} & {}", items[a], items[b]));
                for c in b + 1..items.len() {
                    add(format!("{} & {} & {}", items[a], items[b], items[c]));
                }
            }
        }
    }
    sums
}

fn floats<'a>(batch: &'a RecordBatch, name: &str) -> &'a Float64Array {
    batch.column_by_name(name).unwrap_or_else(|| panic!("{name}")).as_primitive::<Float64Type>()
}

/// Sums are exact; means and their differences are rounded a few times, in an order that is the program's own.
fn near(found: f64, expected: f64, magnitude: f64, what: &str) {
    assert!((found - expected).abs() <= 1e-12 * magnitude.max(expected.abs()), "{what}: {found} instead of {expected}");
}

/// Compares a run with the truth. `unit` is that of the sum, `below_unit` that of what it is divided by.
fn compare(batch: &RecordBatch, truth: &BTreeMap<String, Sums>, unit: f64) {
    let base = truth[""];
    let mean = |s: &Sums| s.above as f64 / unit / s.below as f64;
    let expected: BTreeMap<&String, &Sums> =
        truth.iter().filter(|(s, sum)| !s.is_empty() && sum.uv >= MIN_UV).collect();
    let segments = batch.column_by_name("segment").unwrap().as_string::<i32>();
    let mut found: Vec<&str> = segments.iter().map(Option::unwrap).collect();
    found.sort_unstable();
    assert_eq!(found, expected.keys().map(|s| s.as_str()).collect::<Vec<_>>());
    let levels = batch.column_by_name("level").unwrap().as_primitive::<Int32Type>();
    let uvs = batch.column_by_name("uv").unwrap().as_primitive::<Int64Type>();
    let m0 = mean(&base);
    for row in 0..batch.num_rows() {
        let segment = segments.value(row);
        let s = truth[segment];
        let at = |name: &str| floats(batch, name).value(row);
        let undefined = |name: &str| floats(batch, name).is_null(row);
        assert_eq!(uvs.value(row), s.uv, "{segment}");
        assert_eq!(
            levels.value(row) as usize,
            segment.replace("\"a & b\"", "").matches(" & ").count() + 1,
            "{segment}"
        );
        assert_eq!(at("metric_sum"), s.above as f64 / unit, "{segment}");
        near(at("uv_share"), s.uv as f64 / base.uv as f64, 0.0, segment);
        if s.below == 0 {
            // Nobody of the segment has anything to divide by: nothing can be said of its mean.
            assert_eq!((at("effect"), at("impact")), (0.0, 0.0), "{segment}");
            assert!(undefined("lift"), "{segment}");
            continue;
        }
        near(at("metric_mean"), mean(&s), 0.0, segment);
        near(at("effect"), mean(&s) - m0, m0.abs() + mean(&s).abs(), segment);
        let impact = s.below as f64 * (mean(&s) - m0);
        near(at("impact"), impact, s.below as f64 * (m0.abs() + mean(&s).abs()), segment);
        if m0 > 0.0 {
            near(at("lift"), mean(&s) / m0, 0.0, segment);
            near(at("metric_share"), s.above as f64 / base.above as f64, 0.0, segment);
        } else {
            assert!(undefined("lift") && undefined("metric_share"), "{segment}");
        }
    }
}

fn job(metric: &str) -> String {
    let include: Vec<String> = FEATURES.iter().map(|f| format!("{f:?}")).collect();
    format!(
        r#"
[input]
path = "table.csv"
id = "id"
csv = {{ null_values = ["?"] }}
[metric]
{metric}
[features]
include = [{}]
[features.tier]
kind = "category"
[features.twin]
kind = "category"
[screen]
off = true
[enumerate]
max_level = 3
min_uv = {MIN_UV}
[output]
dir = "out"
"#,
        include.join(", ")
    )
}

fn check(metric: &str, unit: f64, of_row: impl Fn(&dyn Fn(&str) -> String) -> (i64, i64)) {
    for (rows, seed, layout) in [(900, 1, "-w 1"), (2500, 2, "-w 2")] {
        let folder = Folder::new();
        let csv = table(rows, seed);
        folder.write("table.csv", &csv);
        let run = folder.publish(&job(metric), layout);
        let truth = truth(&csv, &of_row);
        assert!(truth.len() > 5000, "{}", truth.len());
        compare(&parquet(run.join("segments.parquet")), &truth, unit);
    }
}

#[test]
fn every_segment_of_a_rate_is_as_counted_by_hand() {
    check("column = \"bought\"\nkind = \"rate\"", 1.0, |field| (i64::from(field("bought") == "yes"), 1));
}

/// Hundredths of a number with two decimals.
fn cents(text: &str) -> i64 {
    text.replace('.', "").parse().unwrap()
}

#[test]
fn every_segment_of_an_amount_is_as_counted_by_hand() {
    check("column = \"margin\"\nkind = \"amount\"", 100.0, |field| (cents(&field("margin")), 1));
}

#[test]
fn amount_whose_mean_is_not_positive_has_no_lift() {
    let folder = Folder::new();
    let csv = table(900, 3);
    let csv: String = csv
        .lines()
        .enumerate()
        .map(|(i, line)| match i {
            0 => format!("{line},loss\n"),
            _ => format!("{line},-{}.{:02}\n", i % 17, i % 89),
        })
        .collect();
    folder.write("table.csv", &csv);
    let run = folder.publish(&job("column = \"loss\"\nkind = \"amount\""), "-w 1");
    let truth = truth(&csv, |field| (cents(&field("loss")), 1));
    assert!(truth[""].above < 0);
    compare(&parquet(run.join("segments.parquet")), &truth, 100.0);
}

#[test]
fn every_segment_of_a_ratio_is_as_counted_by_hand() {
    check("column = \"orders\"\nkind = \"ratio\"\ndenominator = \"visits\"", 1.0, |field| {
        (field("orders").parse().unwrap(), field("visits").parse().unwrap())
    });
}
