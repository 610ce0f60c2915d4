//! Highlights as a reader checks them: explained, ranked, each new, with the metrics beside the primary one.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use nichemine::job::Language;
use nichemine::planted;
use serde_json::Value;

use crate::program::{Folder, json, parquet, planted};

/// The planted table's job with another metric and further lines.
fn job(metric: &str, more: &str) -> String {
    let job = planted::job(&planted("en.csv"), Path::new("out"), Language::En);
    let plain = "column = \"converted\"\nkind = \"rate\"";
    assert!(job.contains(plain));
    // Neither metric is a feature.
    let job = job.replace("exclude = [", "exclude = [\"converted\", ");
    format!("{}\n{more}", job.replace(plain, metric))
}

fn texts(batch: &RecordBatch, name: &str) -> Vec<String> {
    batch.column_by_name(name).unwrap().as_string::<i32>().iter().map(|text| text.unwrap().to_owned()).collect()
}

fn floats(batch: &RecordBatch, name: &str) -> Vec<Option<f64>> {
    batch.column_by_name(name).unwrap_or_else(|| panic!("{name}")).as_primitive::<Float64Type>().iter().collect()
}

fn ints(batch: &RecordBatch, name: &str) -> Vec<i64> {
    batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().values().to_vec()
}

/// The rows of the planted table as text, by column.
fn rows() -> Vec<HashMap<String, String>> {
    let mut reader = csv::Reader::from_path(planted("en.csv")).unwrap();
    reader.deserialize().map(Result::unwrap).collect()
}

/// Whether a row has all items of a segment's text.
fn covers(segment: &str, row: &HashMap<String, String>) -> bool {
    segment.split(" & ").all(|item| {
        let (feature, label) = item.split_once('=').unwrap();
        let value = &row[feature];
        let number = || value.parse::<f64>().ok();
        match label {
            "(missing)" => value.is_empty(),
            _ if feature == "age" => match label.strip_prefix('[').and_then(|l| l.strip_suffix(')')) {
                Some(band) => {
                    let (low, high) = band.split_once(',').unwrap();
                    number().is_some_and(|v| v >= low.parse().unwrap() && v < high.parse().unwrap())
                }
                None => match (label.strip_prefix(">="), label.strip_prefix('<')) {
                    (Some(low), _) => number().is_some_and(|v| v >= low.parse().unwrap()),
                    (_, Some(high)) => number().is_some_and(|v| v < high.parse().unwrap()),
                    _ => panic!("{label}"),
                },
            },
            _ => value == label,
        }
    })
}

#[test]
fn an_explanation_says_of_every_segment_what_the_tables_say() {
    let metrics = [
        ("column = \"converted\"\nkind = \"rate\"", ""),
        ("column = \"spend\"\nkind = \"amount\"\nwinsorise = [0.0, 0.999]", "[highlight]\nmin_lift = 1.05\ntop = 5\n"),
        (
            "column = \"spend\"\nkind = \"ratio\"\ndenominator = \"visits\"\nmissing = \"zero\"",
            "[highlight]\nholdout = 0\n",
        ),
    ];
    for (metric, more) in metrics {
        let folder = Folder::new();
        let run = folder.publish(&job(metric, more), "-w 2");
        let (segments, highlights) = (parquet(run.join("segments.parquet")), parquet(run.join("highlights.parquet")));
        let (names, status) = (texts(&segments, "segment"), texts(&segments, "status"));
        let (q, uv) = (floats(&segments, "q"), ints(&segments, "uv"));
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        let mut counted: BTreeMap<&str, u64> = BTreeMap::new();
        for row in 0..segments.num_rows() {
            *counted.entry(&status[row]).or_default() += 1;
            let seen = seen.entry(&status[row]).or_default();
            *seen += 1;
            if *seen > 3 {
                continue;
            }
            // Written backwards it is the same segment.
            let asked: Vec<&str> = names[row].split(" & ").collect::<Vec<_>>().into_iter().rev().collect();
            let told = folder.start_with(&["explain", "out/latest", &asked.join("&"), "--output", "json"]).end().well();
            let told: Value = serde_json::from_str(&told.out).unwrap();
            assert_eq!(
                (&told["segment"], &told["status"]),
                (&names[row].as_str().into(), &status[row].as_str().into())
            );
            assert_eq!((told["whole"]["uv"].as_i64(), told["q"].as_f64()), (Some(uv[row]), q[row]), "{told}");
            let conditions = told["conditions"].as_array().unwrap();
            assert_eq!(conditions.len(), 7, "{told}");
            let failed = conditions.iter().find(|c| c["met"] == false).map(|c| c["condition"].as_str().unwrap());
            let expected = Some(status[row].as_str()).filter(|s| !["highlight", "folded", "top"].contains(s));
            assert_eq!(failed, expected, "{told}");
            let ranked = texts(&highlights, "segment");
            match status[row].as_str() {
                "highlight" => {
                    let rank = 1 + ranked.iter().position(|s| *s == names[row]).unwrap();
                    assert_eq!(told["highlight"], serde_json::json!([rank, names[row]]));
                    let at = |name: &str| floats(&highlights, name)[rank - 1];
                    let near = |a: &Value, b: Option<f64>| match (a.as_f64(), b) {
                        (Some(a), Some(b)) => (a - b).abs() <= 1e-12 * b.abs(),
                        (a, b) => a.is_none() && b.is_none(),
                    };
                    assert!(near(&told["shrunken_lift"], at("shrunken_lift")), "{told}");
                    assert!(near(&told["validation"]["lift"], at("validation_lift")), "{told}");
                    assert!(near(&told["whole"]["impact"], at("impact")), "{told}");
                }
                "folded" => {
                    let under = told["highlight"][1].as_str().unwrap();
                    assert!(ranked.iter().any(|s| s == under) && under != names[row], "{told}");
                }
                _ => assert!(told["highlight"].is_null(), "{told}"),
            }
            let words = folder.start_with(&["explain", "out/latest", &names[row]]).end().well().out;
            assert!(words.starts_with(&names[row]) && words.contains("SQL: "), "{words}");
        }
        assert!(seen.len() >= 5, "{seen:?}");
        // The funnel counts what the table says of each segment.
        let manifest = json(run.join("manifest.json"));
        for entry in manifest["highlights"]["rejected"].as_array().unwrap() {
            let status = entry[0].as_str().unwrap();
            let beyond = if status == "top" { 0 } else { entry[1].as_u64().unwrap() };
            assert_eq!(counted.get(status).copied().unwrap_or(0).max(beyond), entry[1].as_u64().unwrap(), "{status}");
        }
        assert_eq!(counted.get("folded").copied().unwrap_or(0), manifest["highlights"]["folded"].as_u64().unwrap());
        assert_eq!(counted["highlight"], manifest["highlights"]["highlights"].as_u64().unwrap());
    }
}

#[test]
fn a_segment_that_cannot_be_explained_is_told_why() {
    let folder = Folder::new();
    let rate = "column = \"converted\"\nkind = \"rate\"";
    folder.publish(
        &job(rate, "[features.constant]\ncolumn = \"customer_id\"\nbin = { edges = [1] }\n"),
        "-w 2 --set enumerate.max_level=2",
    );
    let explain = |segment: &str| folder.start_with(&["explain", "out/latest", segment]).end();
    explain("chanel=app").refused(2, &["chanel", "did you mean \"channel\""]);
    explain("channel=ap").refused(2, &["no item \"ap\"", "did you mean \"app\"", "store"]);
    explain("channel=app & channel=store").refused(2, &["one item of feature \"channel\""]);
    explain("channel").refused(2, &["feature=item"]);
    explain("").refused(2, &["feature=item"]);
    explain("constant=1").refused(2, &["constant", "not combined"]);
    let deep = explain("channel=app & membership=gold & device=android").well().out;
    assert!(deep.contains("max_level is 2"), "{deep}");
    folder.nichemine("explain out channel=app").refused(3, &["not a published run"]);
}

#[test]
fn what_a_highlight_adds_is_what_no_better_one_of_its_direction_covers() {
    let folder = Folder::new();
    let rate = "column = \"converted\"\nkind = \"rate\"";
    let run = folder.publish(&job(rate, "[highlight]\nmax_overlap = 1.0\nmin_gain = 1.0\n"), "-w 2");
    let highlights = parquet(run.join("highlights.parquet"));
    let (names, direction) = (texts(&highlights, "segment"), texts(&highlights, "direction"));
    let uv = ints(&highlights, "uv");
    let added_uv = highlights.column_by_name("added_uv").unwrap().as_primitive::<Int64Type>().clone();
    let added_impact = floats(&highlights, "added_impact");
    let in_direction = highlights.column_by_name("direction_rank").unwrap().as_primitive::<Int32Type>().clone();
    let rows = rows();
    let mean = rows.iter().filter(|row| row["converted"] == "1").count() as f64 / rows.len() as f64;
    let mut covered: HashMap<&str, HashSet<usize>> = HashMap::new();
    let mut ranks: HashMap<&str, i32> = HashMap::new();
    let mut overlaps = 0;
    for (i, name) in names.iter().enumerate() {
        let all: Vec<usize> = (0..rows.len()).filter(|&row| covers(name, &rows[row])).collect();
        assert_eq!(all.len() as i64, uv[i], "{name}");
        let covered = covered.entry(&direction[i]).or_default();
        let fresh: Vec<usize> = all.into_iter().filter(|&row| covered.insert(row)).collect();
        *ranks.entry(&direction[i]).or_default() += 1;
        assert_eq!(in_direction.value(i), ranks[direction[i].as_str()]);
        let few = |customers: i64| (1..10).contains(&customers);
        let told = !few(fresh.len() as i64) && !few(uv[i] - fresh.len() as i64);
        assert_eq!(told, added_uv.is_valid(i), "{name}");
        if !told {
            continue;
        }
        assert_eq!(fresh.len() as i64, added_uv.value(i), "{name}");
        let yes = fresh.iter().filter(|&&row| rows[row]["converted"] == "1").count() as f64;
        let impact = yes - mean * fresh.len() as f64;
        assert!((added_impact[i].unwrap() - impact).abs() < 1e-9, "{name}: {impact} and {:?}", added_impact[i]);
        overlaps += usize::from(fresh.len() as i64 != uv[i]);
    }
    assert!(overlaps > 0, "some overlap");
}

#[test]
fn secondary_metrics_are_carried_along_and_a_guarded_one_is_watched() {
    let folder = Folder::new();
    let secondary = "[[secondary]]\nname = \"basket\"\ncolumn = \"spend\"\nkind = \"amount\"\nguard = \"higher_is_better\"\n\
                     [[secondary]]\nname = \"traffic\"\ncolumn = \"visits\"\nkind = \"amount\"\nguard = \"lower_is_better\"\n";
    let run = folder.publish(&job("column = \"converted\"\nkind = \"rate\"", secondary), "-w 2");
    let rows = rows();
    let mean = |segment: Option<&str>, column: &str| {
        let own = rows.iter().filter(|row| segment.is_none_or(|segment| covers(segment, row)));
        let values: Vec<f64> = own.map(|row| row[column].parse().unwrap()).collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    let mut harmed = [0, 0];
    for (file, step) in [("highlights.parquet", 1), ("segments.parquet", 397)] {
        let table = parquet(run.join(file));
        let names = texts(&table, "segment");
        for (metric, column) in [("basket", "spend"), ("traffic", "visits")] {
            let base = mean(None, column);
            let of = |what: &str| floats(&table, &format!("{metric}.{what}"));
            let (means, lifts, effects) = (of("metric_mean"), of("lift"), of("effect"));
            for i in (0..names.len()).step_by(step) {
                let own = mean(Some(&names[i]), column);
                assert!((means[i].unwrap() / own - 1.0).abs() < 1e-9, "{}: {own} and {:?}", names[i], means[i]);
                assert!(
                    (lifts[i].unwrap() - own / base).abs() < 1e-9 && (effects[i].unwrap() - own + base).abs() < 1e-9
                );
            }
        }
        if file == "highlights.parquet" {
            let harms = table.column_by_name("harms").unwrap().as_list::<i32>();
            for (i, name) in names.iter().enumerate() {
                let named = harms.value(i);
                let named: Vec<&str> = named.as_string::<i32>().iter().flatten().collect();
                let bad = [
                    floats(&table, "basket.effect_high")[i].is_some_and(|high| high < 0.0),
                    floats(&table, "traffic.effect_low")[i].is_some_and(|low| low > 0.0),
                ];
                assert_eq!(["basket", "traffic"].map(|name| named.contains(&name)), bad, "{name}");
                harmed.iter_mut().zip(bad).for_each(|(count, bad)| *count += usize::from(bad));
            }
        }
    }
    assert!(harmed.iter().sum::<usize>() > 0, "some segment harms one of them: {harmed:?}");
    let report = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(report.contains("⚠ basket below average") || report.contains("⚠ traffic above average"));
}

#[test]
fn an_amount_is_cut_at_the_quantiles_asked_for_and_the_run_says_where() {
    let folder = Folder::new();
    let amount = "column = \"spend\"\nkind = \"amount\"\nwinsorise = [0.0, 0.99]";
    let run = folder.publish(&job(amount, "[highlight]\nholdout = 0\n"), "-w 2");
    let mut cents: Vec<i64> = rows().iter().map(|row| row["spend"].replace('.', "").parse().unwrap()).collect();
    cents.sort_unstable();
    let high = cents[(0.99 * cents.len() as f64).ceil() as usize - 1];
    let above = cents.iter().filter(|&&v| v > high).count();
    assert!(above > 100);
    let manifest = json(run.join("manifest.json"));
    assert_eq!(manifest["metrics"][0]["winsorised"], serde_json::json!([null, high as f64 / 100.0]));
    let note = format!("count as {}, {above} customers", high as f64 / 100.0);
    assert!(manifest["notes"].to_string().contains(&note), "{}", manifest["notes"]);
    assert!(std::fs::read_to_string(run.join("report.html")).unwrap().contains(&note));
    let groups = json(run.join("groups.json"));
    let total: i64 = cents.iter().map(|&v| v.min(high)).sum();
    assert_eq!(groups["base"]["metric_sum"].as_f64(), Some(total as f64 / 100.0));
    // The split of customers decides which of them the quantile is taken of, whatever the workers.
    let cap = |arguments: &str| {
        json(folder.publish(&job(amount, ""), arguments).join("manifest.json"))["metrics"][0]["winsorised"].clone()
    };
    assert_eq!(cap("-w 1"), cap("-w 2 --processes 2"));
    folder.write("job.toml", job("column = \"converted\"\nkind = \"rate\"\nwinsorise = [0.0, 0.99]", ""));
    folder.nichemine("check job.toml").refused(2, &["metric.winsorise", "amount"]);
    folder.write("job.toml", job("column = \"spend\"\nkind = \"amount\"\nwinsorise = [0.9, 0.1]", ""));
    folder.nichemine("check job.toml").refused(2, &["metric.winsorise", "increasing"]);
}

#[test]
fn the_ranking_is_by_the_figure_asked_for() {
    let folder = Folder::new();
    let rate = "column = \"converted\"\nkind = \"rate\"";
    // With nothing held out, what is ranked by is what is written.
    let ranked = |more: &str| {
        let run = folder.publish(
            &job(rate, &format!("[highlight]\nholdout = 0\ndiverse = 1000\n{more}")),
            "-w 2 --set enumerate.allow_small=true",
        );
        parquet(run.join("highlights.parquet"))
    };
    let figure = |table: &RecordBatch, by: &str| -> Vec<f64> {
        let column = |name: &str| floats(table, name).into_iter().map(Option::unwrap).collect::<Vec<_>>();
        let added: Vec<f64> =
            column("added_impact").iter().zip(column("impact")).map(|(a, all)| (a / all).clamp(0.0, 1.0)).collect();
        let own: Vec<f64> = match by {
            "impact" => column("impact").iter().map(|v| v.abs()).collect(),
            "lift" => column("shrunken_lift").iter().map(|v| v.ln().abs()).collect(),
            "impact_per_customer" => column("effect").iter().map(|v| v.abs()).collect(),
            _ => column("expected_profit"),
        };
        own.iter().zip(added).map(|(own, share)| if *own > 0.0 { own * share } else { *own }).collect()
    };
    let mut first = HashSet::new();
    for by in ["impact", "lift", "impact_per_customer", "profit"] {
        let table = ranked(&format!("rank_by = {by:?}\nvalue_per_unit = 40.0\ncost_per_customer = 2.5\n"));
        let figures = figure(&table, by);
        assert!(figures.len() > 5, "{by}");
        for (i, pair) in figures.windows(2).enumerate() {
            assert!(pair[0] >= pair[1] * (1.0 - 1e-9) - 1e-9, "{by}, rank {}: {pair:?}", i + 1);
        }
        first.insert(texts(&table, "segment")[..5].to_vec());
    }
    assert!(first.len() >= 3, "different figures, different lists: {first:?}");
    folder.write("job.toml", job(rate, "[highlight]\nrank_by = \"profit\"\n"));
    folder.nichemine("check job.toml").refused(2, &["highlight.value_per_unit", "profit"]);
}

#[test]
fn the_stricter_adjustment_is_the_same_but_for_its_factor() {
    let folder = Folder::new();
    let q = |adjust: &str| {
        let rate = "column = \"converted\"\nkind = \"rate\"";
        let run = folder.publish(&job(rate, &format!("[highlight]\nadjust = {adjust:?}\n")), "-w 2");
        floats(&parquet(run.join("segments.parquet")), "q")
    };
    let (plain, strict) = (q("benjamini_hochberg"), q("benjamini_yekutieli"));
    let tested = plain.iter().flatten().count();
    let harmonic: f64 = (1..=tested).map(|i| 1.0 / i as f64).sum();
    assert!(tested > 1000);
    for (a, b) in plain.iter().zip(&strict).filter_map(|(a, b)| Some(((*a)?, (*b)?))) {
        assert!((b - (a * harmonic).min(1.0)).abs() <= 1e-9 * b, "{a} and {b}");
    }
}

#[test]
fn few_customers_are_not_told_by_what_a_segment_leaves_either() {
    let folder = Folder::new();
    // Of 2,000, 4 have no b=1 and 300 no c=1; of the 60 with a=2 few are in the validation part.
    let line = |i: usize| {
        format!(
            "{i},{},{},{},{}\n",
            i % 7 + 2 * usize::from(i < 60),
            usize::from(i >= 4),
            usize::from(i >= 300),
            i % 3 / 2
        )
    };
    let csv: String = (0..2000).map(line).collect();
    folder.write("t.csv", format!("id,a,b,c,y\n{csv}"));
    let job = "[input]\npath = \"t.csv\"\nid = \"id\"\n[metric]\ncolumn = \"y\"\nkind = \"rate\"\n[screen]\noff = true\n\
               [enumerate]\nmin_uv = 10\nmax_level = 2\n[output]\ndir = \"out\"\n";
    let run = folder.publish(job, "-w 1");
    let names = texts(&parquet(run.join("segments.parquet")), "segment");
    assert!(!names.contains(&"b=1".to_owned()) && names.contains(&"c=1".to_owned()), "{names:?}");
    assert_eq!(json(run.join("manifest.json"))["privacy"]["withheld"], 1);
    let told = folder.start_with(&["explain", "out/latest", "b=1"]).end().well().out;
    assert!(told.contains("privacy floor"), "{told}");
    // Exact sums of a part are there only where both parts have enough.
    let sums = parquet(run.join("sums.parquet"));
    assert_eq!(sums.num_rows(), names.len() + 1);
    let part = |name: &str| sums.column_by_name(name).unwrap().as_primitive::<Int64Type>().clone();
    let (found, held) = (part("discovery.uv"), part("validation.uv"));
    let whole = ints(&parquet(run.join("segments.parquet")), "uv");
    let mut withheld = 0;
    for row in 0..sums.num_rows() {
        assert_eq!(found.is_null(row), held.is_null(row));
        if found.is_null(row) {
            assert!(part("discovery.metric.sum").is_null(row) && part("validation.metric.sum").is_null(row));
            withheld += 1;
            continue;
        }
        assert!([found.value(row), held.value(row)].iter().all(|&uv| uv == 0 || uv >= 10));
        let all = if row == 0 { 2000 } else { whole[row - 1] };
        assert_eq!(found.value(row) + held.value(row), all);
    }
    assert!(withheld > 0);
    let lifted = folder.publish(&job.replace("min_uv = 10", "min_uv = 10\nallow_small = true"), "-w 1");
    assert!(texts(&parquet(lifted.join("segments.parquet")), "segment").contains(&"b=1".to_owned()));
    assert_eq!(json(lifted.join("manifest.json"))["privacy"]["withheld"], 0);
}

/// A table of 1,000 customers with a value that 995 of them have, and one of 12.
fn lopsided() -> String {
    let line = |i: usize| {
        let x = if i < 995 { "x" } else { "y" };
        let a = if i < 12 { "few" } else { ["a", "b", "c"][i % 3] };
        let z = if i % 60 == 7 { "few" } else { "z" };
        format!("{i},{x},{a},{},{z},{}\n", i % 4, i % 5 / 4)
    };
    format!("id,x,a,b,z,y\n{}", (0..1000).map(line).collect::<String>())
}

const LOPSIDED: &str = "[input]\npath = \"t.csv\"\nid = \"id\"\n[metric]\ncolumn = \"y\"\nkind = \"rate\"\n[screen]\noff = true\n\
                        [enumerate]\nmin_uv = 10\n[output]\ndir = \"out\"\n";

#[test]
fn every_listed_segment_of_a_lopsided_table_is_explained_with_the_figures_of_the_table() {
    let folder = Folder::new();
    folder.write("t.csv", lopsided());
    let run = folder.publish(LOPSIDED, "-w 2");
    let segments = parquet(run.join("segments.parquet"));
    let (names, lift, impact) = (texts(&segments, "segment"), floats(&segments, "lift"), floats(&segments, "impact"));
    assert!(!names.contains(&"x=x".to_owned()) && names.iter().any(|name| name.starts_with("x=x & ")), "{names:?}");
    let mut withheld = 0;
    for (i, name) in names.iter().enumerate() {
        let told = folder.start_with(&["explain", "out/latest", name, "--output", "json"]).end().well();
        let told: Value = serde_json::from_str(&told.out).unwrap();
        assert_eq!((told["whole"]["lift"].as_f64(), told["whole"]["impact"].as_f64()), (lift[i], impact[i]), "{name}");
        let conditions = told["conditions"].as_array().unwrap();
        assert!(conditions.iter().any(|c| c["condition"] == "fdr"), "{told}");
        // Without the simpler segment, which is not told, nothing is said of a gain over it.
        let gain = conditions.iter().any(|c| c["condition"] == "gain");
        assert!(!(gain && name.starts_with("x=x & ") && told["level"] == 2), "{told}");
        withheld += usize::from(told["discovery"].is_null());
    }
    assert!(withheld > 0);
    // What a segment leaves of either part is told by its row and the base's.
    let sums = parquet(run.join("sums.parquet"));
    for part in ["discovery.uv", "validation.uv"] {
        let uv = sums.column_by_name(part).unwrap().as_primitive::<Int64Type>();
        let leaves_17 = 1 + names.iter().position(|name| name == "z=z").unwrap();
        assert!(uv.is_null(leaves_17), "fewer than 10 of the 17 are in one of the parts");
        for row in (1..sums.num_rows()).filter(|&row| !uv.is_null(row)) {
            assert!(!(1..10).contains(&(uv.value(0) - uv.value(row))), "{part} of row {row}");
        }
    }
}

#[test]
fn damaged_runs_are_told_as_such_and_earlier_ones_can_be_read() {
    let folder = Folder::new();
    folder.write("t.csv", lopsided());
    let run = folder.publish(LOPSIDED, "-w 1");
    let explain = || folder.start_with(&["explain", "out/latest", "a=few"]).end();
    explain().well();
    for name in ["sums.parquet", "segments.parquet", "highlights.parquet"] {
        let whole = std::fs::read(run.join(name)).unwrap();
        std::fs::write(run.join(name), &whole[..whole.len() / 2]).unwrap();
        explain().refused(3, &[name, "bytes"]);
        std::fs::remove_file(run.join(name)).unwrap();
        explain().refused(3, &[name, "missing"]);
        std::fs::write(run.join(name), whole).unwrap();
    }
    let manifest = std::fs::read_to_string(run.join("manifest.json")).unwrap();
    let mut other: Value = serde_json::from_str(&manifest).unwrap();
    other["metrics"][0]["kind"] = "amount".into();
    std::fs::write(run.join("manifest.json"), other.to_string()).unwrap();
    explain().refused(3, &["metrics"]);
    // As it was before there were exact sums.
    let mut other: Value = serde_json::from_str(&manifest).unwrap();
    for key in ["metrics", "prior"] {
        other.as_object_mut().unwrap().remove(key);
    }
    other["privacy"].as_object_mut().unwrap().remove("withheld");
    other["files"].as_array_mut().unwrap().retain(|file| file["path"] != "sums.parquet");
    std::fs::write(run.join("manifest.json"), other.to_string()).unwrap();
    std::fs::remove_file(run.join("sums.parquet")).unwrap();
    explain().refused(3, &["no sums.parquet", "earlier"]);
    folder.nichemine("verify out/latest").well();
}

#[test]
fn a_run_with_few_customers_in_a_part_tells_nothing_of_them() {
    let folder = Folder::new();
    let csv: String = (0..25).map(|i| format!("{i},x,{}\n", i % 2)).collect();
    folder.write("t.csv", format!("id,a,y\n{csv}"));
    let run = folder.publish(LOPSIDED, "-w 1");
    folder.start_with(&["explain", "out/latest", "a=x"]).end().well();
    let sums = parquet(run.join("sums.parquet"));
    assert!(sums.column_by_name("validation.uv").unwrap().is_null(0), "7 of 25 are held out");
    assert!(json(run.join("groups.json"))["base_validation"].is_null());
    // A niche of 24, of whom fewer than 10 are held out.
    let line =
        |i: usize| format!("{i},{},{}\n", if i < 24 { "v" } else { "w" }, usize::from(i < 24 || i.is_multiple_of(50)));
    folder.write("t.csv", format!("id,a,y\n{}", (0..600).map(line).collect::<String>()));
    let run = folder.publish(LOPSIDED, "-w 1");
    let highlights = parquet(run.join("highlights.parquet"));
    assert_eq!((texts(&highlights, "segment"), ints(&highlights, "uv")), (vec!["a=v".to_owned()], vec![24]));
    for column in ["validation_uv", "validation_mean", "validation_lift", "validation_p"] {
        assert!(highlights.column_by_name(column).unwrap().is_null(0), "{column}");
    }
    assert!(highlights.column_by_name("validated").unwrap().is_valid(0), "it was checked all the same");
    // What a highlight adds to others, and what it shares with them, are numbers of customers too.
    let planted =
        folder.publish(&job("column = \"spend\"\nkind = \"amount\"", "[highlight]\nmin_lift = 1.05\n"), "-w 2");
    let highlights = parquet(planted.join("highlights.parquet"));
    let added = highlights.column_by_name("added_uv").unwrap().as_primitive::<Int64Type>().clone();
    let uv = ints(&highlights, "uv");
    for i in (0..uv.len()).filter(|&i| !added.is_null(i)) {
        let (new, shared) = (added.value(i), uv[i] - added.value(i));
        assert!((new == 0 || new >= 10) && (shared == 0 || shared >= 10), "{new} and {shared}");
    }
    for group in json(planted.join("groups.json"))["groups"].as_array().unwrap() {
        let (all, held) = (group["uv"].as_i64().unwrap(), group["validation"]["uv"].as_i64());
        assert!(held.is_none_or(|held| (held == 0 || held >= 10) && (all == held || all - held >= 10)), "{group}");
    }
}

#[test]
fn sums_beyond_what_can_be_held_are_refused_with_the_setting_that_helps() {
    let folder = Folder::new();
    let rows = |value: &str| (0..40).map(|i| format!("{i},{},{value}\n", i % 3)).collect::<String>();
    let job = LOPSIDED.replace("kind = \"rate\"", "kind = \"amount\"");
    for (value, decimals, says) in [
        ("4000000000000000000", "", "power of ten"),
        ("4000000000000.25", "decimals = 6\n", "set metric.decimals below 6"),
    ] {
        folder.write("t.csv", format!("id,a,y\n{}", rows(value)));
        folder.write("job.toml", job.replace("[screen]", &format!("{decimals}[screen]")));
        for layout in ["-w 1", "-w 2", "-w 1 --processes 2"] {
            folder.nichemine(&format!("run job.toml {layout}")).refused(4, &["squares", "38 digits", says]);
        }
    }
    folder.write("t.csv", format!("id,a,y\n{}", rows("1000000000000000000")));
    folder.write("job.toml", &job);
    let run = folder.publish(&job, "-w 2");
    assert_eq!(parquet(run.join("sums.parquet")).num_rows(), 4);
    folder.write("job.toml", format!("{job}[[secondary]]\nname = \"metric\"\ncolumn = \"y\"\nkind = \"amount\"\n"));
    folder.nichemine("check job.toml").refused(2, &["secondary[0].name", "metric"]);
}
