//! Two periods compared, as a reader checks it: over raw rows, and against a table of the later period alone.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use serde_json::Value;

use crate::program::{Dice, Folder, digests, json, parquet, write_parquet};

/// One of these, each as often as its weight says.
fn of<'a>(dice: &mut Dice, from: &[(&'a str, u64)]) -> &'a str {
    let mut left = dice.roll(from.iter().map(|(_, weight)| weight).sum());
    let found = from.iter().find(|(_, weight)| {
        let here = left < *weight;
        left = left.wrapping_sub(*weight);
        here
    });
    found.expect("the roll is below the sum").0
}

struct Row {
    id: usize,
    month: &'static str,
    channel: &'static str,
    city: &'static str,
    tier: &'static str,
    bought: bool,
    spend: f64,
    visits: u32,
}

const HEADER: &str = "id,month,channel,city,tier,bought,spend,visits\n";

/// 12,000 customers in August, July and September; where `changed`, the shop of September has half the share it had and the gold
/// customers of Chengdu hardly buy any more.
fn rows(changed: bool) -> Vec<Row> {
    let mut dice = Dice(7);
    let mut rows = Vec::new();
    for month in ["2026-08", "2026-07", "2026-09"] {
        let late = changed && month == "2026-09";
        for id in 0..12_000 {
            let channel = of(&mut dice, &[("search", 50), ("shop", if late { 15 } else { 30 }), ("mail", 20)]);
            let city = of(&mut dice, &[("北京", 1), ("上海", 1), ("成都", 1), ("广州", 1)]);
            let tier = of(&mut dice, &[("gold", 20), ("silver", 30), ("plain", 50)]);
            let percent = match (channel, tier, city) {
                (_, "gold", "成都") if late => 1,
                ("shop", ..) => 25,
                _ => 10,
            };
            let bought = dice.roll(100) < percent;
            let spend = if bought { dice.roll(9000) as f64 / 100.0 } else { 0.0 };
            let visits = 1 + dice.roll(5) as u32;
            rows.push(Row { id, month, channel, city, tier, bought, spend, visits });
        }
    }
    rows
}

fn csv<'a>(rows: impl IntoIterator<Item = &'a Row>) -> String {
    let mut text = HEADER.to_owned();
    for r in rows {
        let bought = u8::from(r.bought);
        writeln!(text, "{},{},{},{},{},{bought},{},{}", r.id, r.month, r.channel, r.city, r.tier, r.spend, r.visits)
            .unwrap();
    }
    text
}

const COMPARE: &str = "[compare]\ncolumn = \"month\"\nbefore = \"2026-08\"\nafter = \"2026-09\"\n";
const RATE: &str = "column = \"bought\"\nkind = \"rate\"\n";

fn job(metric: &str, more: &str) -> String {
    format!(
        "[input]\npath = \"t.csv\"\nid = \"id\"\n[metric]\n{metric}[[secondary]]\nname = \"visits\"\ncolumn = \"visits\"\nkind = \"amount\"\n\
         [features]\ninclude = [\"channel\", \"city\", \"tier\"]\n[enumerate]\nmin_uv = 50\n[output]\ndir = \"out\"\n{more}"
    )
}

fn covers(segment: &str, row: &Row) -> bool {
    segment.split(" & ").all(|item| {
        let (feature, value) = item.split_once('=').unwrap();
        value
            == match feature {
                "channel" => row.channel,
                "city" => row.city,
                "tier" => row.tier,
                other => panic!("{other}"),
            }
    })
}

/// Customers, numerator and denominator of the mean of some rows.
#[derive(Clone, Copy, Default)]
struct Sums {
    uv: f64,
    num: f64,
    den: f64,
}

impl Sums {
    fn of<'a>(rows: impl IntoIterator<Item = &'a Row>, metric: &str) -> Sums {
        let mut sums = Sums::default();
        for row in rows {
            let (num, den) = match metric {
                "rate" => (f64::from(u8::from(row.bought)), 1.0),
                "amount" => (row.spend, 1.0),
                _ => (row.spend, f64::from(row.visits)),
            };
            sums = Sums { uv: sums.uv + 1.0, num: sums.num + num, den: sums.den + den };
        }
        sums
    }
}

/// Contribution, mix, rate and excess, from the definition.
fn decomposed(own: [Sums; 2], base: [Sums; 2]) -> [f64; 4] {
    let [all0, all1] = base.map(|s| s.num / s.den);
    let reference = (all0 + all1) / 2.0;
    let [w0, w1] = [0, 1].map(|p| own[p].den / base[p].den);
    let means = own.map(|s| (s.den > 0.0).then(|| s.num / s.den));
    let [m0, m1] = [means[0].or(means[1]).unwrap(), means[1].or(means[0]).unwrap()];
    let (mix, rate) = ((w1 - w0) * ((m0 + m1) / 2.0 - reference), (w0 + w1) / 2.0 * (m1 - m0));
    [mix + rate, mix, rate, mix + rate - (w0 + w1) / 2.0 * (all1 - all0)]
}

fn near(found: f64, expected: f64, size: f64, what: &str) {
    assert!((found - expected).abs() <= 1e-10 * size.abs().max(1e-6), "{what}: {found}, expected {expected}");
}

const FIGURES: [&str; 4] = ["contribution", "mix", "rate", "excess"];

#[test]
fn every_figure_of_the_change_is_as_counted_over_raw_rows() {
    let all = rows(true);
    let periods = ["2026-08", "2026-09"].map(|month| all.iter().filter(|r| r.month == month).collect::<Vec<&Row>>());
    let metrics = [
        ("rate", RATE),
        ("amount", "column = \"spend\"\nkind = \"amount\"\n"),
        ("ratio", "column = \"spend\"\nkind = \"ratio\"\ndenominator = \"visits\"\n"),
    ];
    for (kind, metric) in metrics {
        let folder = Folder::new();
        folder.write("t.csv", csv(&all));
        let run = folder.publish(&job(metric, COMPARE), "-w 2");
        let sums = |covers: &dyn Fn(&Row) -> bool| {
            periods.each_ref().map(|rows| Sums::of(rows.iter().copied().filter(|row| covers(row)), kind))
        };
        let base = sums(&|_| true);
        let size = base[0].num / base[0].den;

        let table = parquet(run.join("change.parquet"));
        let names = table.column_by_name("segment").unwrap().as_string::<i32>();
        let int = |name: &str, row: usize| table.column_by_name(name).unwrap().as_primitive::<Int64Type>().value(row);
        let float = |name: &str, row: usize| {
            let column = table.column_by_name(name).unwrap_or_else(|| panic!("{name}"));
            let column = column.as_primitive::<Float64Type>();
            column.is_valid(row).then(|| column.value(row))
        };
        assert!(table.num_rows() > 50, "{}", table.num_rows());
        for row in 0..table.num_rows() {
            let name = names.value(row);
            let own = sums(&|r| covers(name, r));
            assert_eq!([int("before.uv", row), int("after.uv", row)], own.map(|s| s.uv as i64), "{name}");
            for (period, word) in ["before", "after"].into_iter().enumerate() {
                near(
                    float(&format!("{word}.metric_mean"), row).unwrap(),
                    own[period].num / own[period].den,
                    size,
                    name,
                );
                near(float(&format!("{word}.uv_share"), row).unwrap(), own[period].uv / base[period].uv, 1.0, name);
            }
            for (figure, expected) in FIGURES.iter().zip(decomposed(own, base)) {
                near(float(figure, row).unwrap(), expected, size, &format!("{name}: {figure}"));
            }
        }

        let change = json(run.join("change.json"));
        let whole = base[1].num / base[1].den - base[0].num / base[0].den;
        near(change["base"]["contribution"].as_f64().unwrap(), whole, size, "the whole change");
        let figures = |entry: &Value| FIGURES.map(|figure| entry[figure].as_f64().unwrap());
        // Each step has the customers that no step before it has.
        let steps: Vec<&str> =
            change["steps"].as_array().unwrap().iter().map(|s| s["segment"].as_str().unwrap()).collect();
        assert!(!steps.is_empty(), "{kind}");
        let mut total = 0.0;
        for (at, step) in change["steps"].as_array().unwrap().iter().enumerate() {
            let own = sums(&|r| covers(steps[at], r) && !steps[..at].iter().any(|before| covers(before, r)));
            assert_eq!(step["uv"], serde_json::json!(own.map(|s| s.uv as i64)), "{step}");
            for (found, expected) in figures(step).into_iter().zip(decomposed(own, base)) {
                near(found, expected, size, steps[at]);
            }
            total += figures(step)[0];
        }
        let rest = sums(&|r| !steps.iter().any(|step| covers(step, r)));
        assert_eq!(change["rest"]["uv"], serde_json::json!(rest.map(|s| s.uv as i64)));
        near(total + figures(&change["rest"])[0], whole, size, "steps and rest");
        let features = change["features"].as_array().unwrap();
        assert_eq!(features.len(), 3);
        for feature in features {
            let sum: f64 = feature["items"].as_array().unwrap().iter().map(|item| figures(item)[0]).sum();
            near(sum, whole, size, "the items of a feature");
            near(feature["mix"].as_f64().unwrap() + feature["rate"].as_f64().unwrap(), whole, size, "mix and rate");
        }
    }
}

#[test]
fn what_was_planted_explains_the_change_and_nothing_does_where_nothing_changed() {
    let folder = Folder::new();
    folder.write("t.csv", csv(&rows(true)));
    let run = folder.publish(&job(RATE, COMPARE), "");
    let change = json(run.join("change.json"));
    let steps: Vec<(&str, f64, f64)> = (change["steps"].as_array().unwrap().iter())
        .map(|s| (s["segment"].as_str().unwrap(), s["mix"].as_f64().unwrap(), s["rate"].as_f64().unwrap()))
        .collect();
    let found = |name: &str| steps.iter().find(|step| step.0 == name).unwrap_or_else(|| panic!("{name}: {steps:?}"));
    let (shop, gold) = (found("channel=shop"), found("city=成都 & tier=gold"));
    assert!(shop.1 < -0.01 && shop.1.abs() > 3.0 * shop.2.abs(), "fewer came to the shop: {steps:?}");
    assert!(gold.2 < -0.002 && gold.2.abs() > 3.0 * gold.1.abs(), "they buy less: {steps:?}");
    assert_eq!(change["features"][0]["feature"], "channel", "its shares moved most");
    for (language, words) in [("en", ["What changed", "everybody else"]), ("zh", ["变化归因", "其余客户"])] {
        let run = folder.publish(&job(RATE, COMPARE), &format!("--set output.language={language}"));
        let report = std::fs::read_to_string(run.join("report.html")).unwrap();
        words.iter().for_each(|words| assert!(report.contains(words), "{words}"));
        assert!(report.contains("city=成都 &amp; tier=gold") || report.contains("city=成都 &#38; tier=gold"));
    }
    folder.nichemine("verify out/latest").well();

    let folder = Folder::new();
    folder.write("t.csv", csv(&rows(false)));
    let change = json(folder.publish(&job(RATE, COMPARE), "").join("change.json"));
    assert_eq!(change["steps"], serde_json::json!([]), "the periods differ by chance alone");
    assert_eq!(change["rest"]["uv"], change["base"]["uv"]);
}

#[test]
fn all_else_is_as_if_the_table_had_the_later_period_alone() {
    let all = rows(true);
    let folder = Folder::new();
    folder.write("t.csv", csv(&all));
    let both = folder.publish(&job(RATE, COMPARE), "-w 2");
    let alone = Folder::new();
    alone.write("t.csv", csv(all.iter().filter(|r| r.month == "2026-09")));
    let alone = alone.publish(&job(RATE, ""), "-w 2");
    for file in ["segments.parquet", "sums.parquet", "highlights.parquet", "groups.json"] {
        assert_eq!(std::fs::read(both.join(file)).unwrap(), std::fs::read(alone.join(file)).unwrap(), "{file}");
    }
    // The earlier period has no part in where an amount is cut either.
    let cut = "column = \"spend\"\nkind = \"amount\"\nwinsorise = [0.0, 0.95]\n";
    let mut dear = rows(true);
    dear.iter_mut().filter(|r| r.month == "2026-08").for_each(|r| r.spend += 1000.0);
    folder.write("t.csv", csv(&dear));
    let later = Folder::new();
    later.write("t.csv", csv(dear.iter().filter(|r| r.month == "2026-09")));
    let [of_both, of_one] =
        [folder.publish(&job(cut, COMPARE), "-w 2"), later.publish(&job(cut, ""), "-w 2")].map(|run| {
            let manifest = json(run.join("manifest.json"));
            (digests(&run)["segments.parquet"].clone(), manifest["metrics"][0]["winsorised"].clone())
        });
    assert_eq!(of_both, of_one);

    let quality = json(both.join("quality.json"));
    let of = |key: &str| quality["rows"][key].as_u64();
    assert_eq!((of("read"), of("kept"), of("quarantined")), (Some(36_000), Some(24_000), Some(12_000)));
    assert_eq!((&quality["customers"], &quality["rejects"]["another period"]), (&12_000.into(), &12_000.into()));
    let features = [&both, &alone].map(|run| json(run.join("features.json"))["features"].clone());
    assert_eq!(features[0], features[1], "the customers of each item are those of the later period");
}

#[test]
fn the_change_does_not_depend_on_how_the_work_is_divided() {
    let folder = Folder::new();
    folder.write("t.csv", csv(&rows(true)));
    let mut first = None;
    for layout in ["-w 1", "-w 3", "--processes 2 -w 2"] {
        let mut files = digests(&folder.publish(&job(RATE, COMPARE), layout));
        files.retain(|name, _| !["manifest.json", "metrics.prom"].contains(&name.as_str()));
        assert!(files.contains_key("change.json") && files.contains_key("change.parquet"));
        assert_eq!(*first.get_or_insert_with(|| files.clone()), files, "{layout}");
    }
}

#[test]
fn a_period_is_a_value_several_or_a_pattern_of_text_numbers_or_dates() {
    let all = rows(true);
    let text = |of: fn(&Row) -> &'static str| -> ArrayRef {
        Arc::new(all.iter().map(|r| Some(of(r))).collect::<StringArray>())
    };
    let days = HashMap::from([("2026-07", 20_635), ("2026-08", 20_670), ("2026-09", 20_700)]);
    let numbers = |r: &Row| r.month.replace('-', "").parse::<i64>().unwrap();
    let noon = |r: &Row| days[r.month] as i64 * 86_400_000_000 + 43_200_000_000;
    let columns: [(&str, ArrayRef); 9] = [
        ("time", Arc::new(all.iter().map(|r| Some(noon(r))).collect::<TimestampMicrosecondArray>())),
        ("id", Arc::new(all.iter().map(|r| Some(r.id as i64)).collect::<Int64Array>())),
        ("text", text(|r| r.month)),
        ("number", Arc::new(all.iter().map(|r| Some(numbers(r))).collect::<Int64Array>())),
        ("float", Arc::new(all.iter().map(|r| Some(numbers(r) as f64)).collect::<Float64Array>())),
        ("date", Arc::new(all.iter().map(|r| Some(days[r.month])).collect::<Date32Array>())),
        ("channel", text(|r| r.channel)),
        ("city", text(|r| r.city)),
        ("bought", Arc::new(all.iter().map(|r| Some(i64::from(r.bought))).collect::<Int64Array>())),
    ];
    let folder = Folder::new();
    write_parquet(&folder.path("t.parquet"), &RecordBatch::try_from_iter(columns).unwrap(), 5000);
    let mut first = None;
    for (column, before, after) in [
        ("text", "\"2026-08\"", "[\"2026-09\", \"2026-10\"]"),
        ("text", "\"*-08\"", "\"2026-?9\""),
        ("number", "202608", "\"202609\""),
        ("float", "202608", "202609.0"),
        ("date", "\"2026-08-*\"", "\"2026-09-*\""),
        // The days that are in the table; 20,670 days after 1970-01-01.
        ("date", "\"2026-08-05\"", "\"2026-09-04\""),
        ("time", "\"2026-08-05\"", "\"2026-09-04 12:00:00\""),
    ] {
        let job = format!(
            "[input]\npath = \"t.parquet\"\nid = \"id\"\n[metric]\n{RATE}[features]\ninclude = [\"channel\", \"city\"]\n\
             [compare]\ncolumn = \"{column}\"\nbefore = {before}\nafter = {after}\n[output]\ndir = \"out\"\n"
        );
        let change = parquet(folder.publish(&job, "").join("change.parquet"));
        assert!(change.num_rows() > 10);
        assert_eq!(*first.get_or_insert_with(|| change.clone()), change, "{column}: {before}, {after}");
    }
}

#[test]
fn a_comparison_that_cannot_be_made_is_told_why() {
    let folder = Folder::new();
    folder.write("t.csv", csv(&rows(false)));
    let run = |more: &str, set: &str| {
        folder.write("job.toml", job(RATE, more));
        folder.start_with(&["run", "job.toml", "--set", set]).end()
    };
    let fine = "output.keep_runs=1";
    run(&COMPARE.replace("2026-08", "2025-08"), fine).refused(
        3,
        &["compare.before = [\"2025-08\"]", "\"month\"", "rows of neither period have [\"2026-07\", \"2026-08\"]"],
    );
    run(&COMPARE.replace("2026-08", "2026-09"), fine).refused(2, &["compare.before = \"2026-09\"", "compare.after"]);
    run(&COMPARE.replace("2026-08", "*"), fine).refused(4, &["in both periods", "\"month\" is \"2026-09\""]);
    run(COMPARE, "enumerate.keep=highlights").refused(2, &["enumerate.keep = \"highlights\"", "[compare]"]);
    run(COMPARE, "compare.column=moth").refused(3, &["compare.column", "did you mean \"month\"?"]);
    run(COMPARE, "compare.top=101").refused(2, &["compare.top = 101", "0 to 100"]);
    run(COMPARE, "compare.before=[]").refused(2, &["compare.before = []"]);

    // Neither is found: both are told, as are the values that there are.
    run(&COMPARE.replace("2026-", "26-"), fine).refused(
        3,
        &["compare.before = [\"26-08\"]", "compare.after = [\"26-09\"]", "[\"2026-07\", \"2026-08\", \"2026-09\"]"],
    );
    // A period of so few is nobody's to tell of.
    let few: Vec<Row> = rows(false).into_iter().filter(|r| r.month != "2026-08" || r.id < 9).collect();
    folder.write("t.csv", csv(&few));
    run(COMPARE, fine).refused(3, &["compare.before", "fewer than 10 customers"]);

    // A customer may be in both periods, but not twice in one; without ids each row is one.
    let mut twice = rows(false);
    twice[24_005].id = 6;
    folder.write("t.csv", csv(&twice));
    run(COMPARE, fine).refused(4, &["customer id \"6\" stands in 2 rows of one period", "row 24006"]);
}

#[test]
fn few_customers_of_a_period_are_not_told() {
    // 60 customers came by letter, 4 of them in September: so few are in no figure, nor follow from what is told.
    let mut all = rows(true);
    let mut letters = 0;
    for row in all.iter_mut().filter(|r| r.month != "2026-07") {
        let most = if row.month == "2026-08" { 56 } else { 60 };
        if letters < most && row.channel == "mail" {
            row.channel = "letter";
            letters += 1;
        }
    }
    let folder = Folder::new();
    folder.write("t.csv", csv(&all));
    let run = folder.publish(&job(RATE, COMPARE), "");
    let table = parquet(run.join("change.parquet"));
    let names = table.column_by_name("segment").unwrap().as_string::<i32>();
    assert!(names.iter().flatten().all(|name| !name.contains("letter")));
    assert!(names.iter().flatten().any(|name| name.contains("mail")));
    let change = json(run.join("change.json"));
    let channel = change["features"].as_array().unwrap().iter().find(|f| f["feature"] == "channel").unwrap();
    let items: Vec<&str> = channel["items"].as_array().unwrap().iter().map(|i| i["item"].as_str().unwrap()).collect();
    // Alone they would be what the others leave of all, so another one is hidden with them, wherever it stands.
    assert_eq!(items.len(), 2, "{items:?}");
    assert!(channel["others"]["uv"][1].as_i64().unwrap() >= 10);
    let single = |name: &str| name.starts_with("channel=") && !name.contains('&');
    let singles: Vec<&str> = names.iter().flatten().filter(|name| single(name)).collect();
    assert_eq!(singles.len(), 2, "{singles:?}");
    let features = json(run.join("features.json"));
    let of_feature = features["features"].as_array().unwrap().iter().find(|f| f["name"] == "channel").unwrap();
    let uv: Vec<u64> = of_feature["uv"].as_array().unwrap().iter().map(|uv| uv.as_u64().unwrap()).collect();
    assert!(12_000 - uv.iter().sum::<u64>() >= 10 && uv.iter().filter(|uv| **uv == 0).count() == 2, "{uv:?}");
    assert!(table.column_by_name("step").unwrap().as_primitive::<Int32Type>().iter().flatten().count() > 0);
}

#[test]
fn what_is_wrong_with_rows_of_other_periods_is_nobodys_concern() {
    let all = rows(true);
    let folder = Folder::new();
    folder.write("t.csv", csv(&all));
    let good = folder.publish(&job(RATE, COMPARE), "");
    // July's rows have no id, a metric that is none and a secondary metric that is no number; they come in between.
    let bad: String = csv(&all)
        .lines()
        .map(|line| match line.contains("2026-07") {
            true => ",2026-07,shop,北京,gold,ja,x,y\n".to_owned(),
            false => format!("{line}\n"),
        })
        .collect();
    folder.write("t.csv", bad);
    let run = folder.publish(&job(RATE, COMPARE), "");
    for file in ["change.parquet", "change.json", "segments.parquet", "highlights.parquet", "quality.json"] {
        assert_eq!(std::fs::read(run.join(file)).unwrap(), std::fs::read(good.join(file)).unwrap(), "{file}");
    }
    assert_eq!(json(run.join("quality.json"))["samples"], serde_json::json!([]), "they are counted, and not shown");
}

#[test]
fn a_feature_that_follows_from_the_period_is_told_and_so_is_a_mean_that_is_not_defined() {
    let notes = |run: &std::path::Path| json(run.join("manifest.json"))["notes"].to_string();
    let folder = Folder::new();
    let mut all = rows(true);
    // The week of the order, as a table has it beside the month.
    all.iter_mut().filter(|r| r.month == "2026-09").for_each(|r| r.city = "week 36");
    folder.write("t.csv", csv(&all));
    let run = folder.publish(&job(RATE, COMPARE), "");
    let told = notes(&run);
    assert!(told.contains("city") && told.contains("follows from the period") && !told.contains("tier"), "{told}");

    let mut all = rows(true);
    all.iter_mut().filter(|r| r.month == "2026-08").for_each(|r| r.visits = 0);
    folder.write("t.csv", csv(&all));
    let ratio = "column = \"spend\"\nkind = \"ratio\"\ndenominator = \"visits\"\n";
    let run = folder.publish(&job(ratio, COMPARE), "");
    assert!(notes(&run).contains("not defined") && !run.join("change.json").exists());
    folder.nichemine("verify out/latest").well();
}

#[test]
fn one_great_change_lets_no_others_in() {
    // Half as many of one channel come, and nothing else happens; twelve features have nothing to do with it.
    let mut dice = Dice(3);
    let mut text = "month,channel,a,b,c,d,e,f,bought\n".to_owned();
    for month in ["2026-08", "2026-09"] {
        let shop = if month == "2026-08" { 30 } else { 15 };
        for _ in 0..40_000 {
            let channel = of(&mut dice, &[("search", 50), ("shop", shop), ("mail", 20)]);
            let bought = dice.roll(100) < if channel == "shop" { 25 } else { 10 };
            write!(text, "{month},{channel}").unwrap();
            (0..6).for_each(|_| write!(text, ",v{}", dice.roll(4)).unwrap());
            writeln!(text, ",{}", u8::from(bought)).unwrap();
        }
    }
    let folder = Folder::new();
    folder.write("t.csv", text);
    let job = format!("[input]\npath = \"t.csv\"\n[metric]\n{RATE}[output]\ndir = \"out\"\n{COMPARE}");
    let change = json(folder.publish(&job, "").join("change.json"));
    let steps: Vec<&str> = change["steps"].as_array().unwrap().iter().map(|s| s["segment"].as_str().unwrap()).collect();
    assert_eq!(steps, ["channel=shop"], "of {} segments", change["tested"]);
}
