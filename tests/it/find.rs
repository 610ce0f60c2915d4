//! A table with known niches: what comes out is them, with exactly their customers.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use nichemine::job::Language;
use nichemine::planted::{self, Truth};

use crate::program::{Folder, json, parquet, planted};

fn run(folder: &Folder, table: &str, language: Language, arguments: &str) -> std::path::PathBuf {
    let table = planted(table);
    folder.publish(&planted::job(&table, Path::new("out"), language), arguments)
}

#[test]
fn every_planted_niche_is_a_highlight_with_exactly_its_customers() {
    for (table, language) in [("en.parquet", Language::En), ("zh.parquet", Language::Zh)] {
        let folder = Folder::new();
        let run = run(&folder, table, language, "-w 2");
        let truth = Truth::read(&planted(table)).unwrap();
        assert_eq!(truth.niches.len(), 6);
        let comparison = planted::compare(&truth, &run).unwrap();
        assert!(comparison.all_found(), "{comparison}");
        // And nothing that is no part of a niche is larger than the niches: they come first among segments of their direction.
        let highlights = parquet(run.join("highlights.parquet"));
        let segments = highlights.column_by_name("segment").unwrap().as_string::<i32>();
        let first = segments.value(0);
        let says_of_a_niche =
            |niche: &str| first.split(" & ").any(|item| niche.split(" & ").any(|other| other == item));
        assert!(truth.niches.iter().any(|niche| says_of_a_niche(&niche.segment)), "{first}");
    }
}

#[test]
fn keeping_what_may_be_a_highlight_finds_the_same_highlights_among_fewer_segments() {
    let folder = Folder::new();
    let table = planted("en.parquet");
    let publish = |keep: &str, more: &str| {
        let more = format!("-w 2 --set enumerate.min_uv=20 --set enumerate.keep={keep} {more}");
        let run = folder.publish(&planted::job(&table, Path::new("out"), Language::En), &more);
        folder.nichemine("verify out/latest").well();
        run
    };
    for (share, fewer) in [("0.0005", 1.0), ("0.01", 0.7)] {
        let impact = format!("--set highlight.min_impact_share={share}");
        let (all, kept) = (publish("all", &impact), publish("highlights", &impact));
        let [of_all, of_kept] = [&all, &kept].map(|run| {
            let batch = parquet(run.join("segments.parquet"));
            let column = |name: &str| batch.column_by_name(name).unwrap().clone();
            let (texts, uv, q) = (column("segment"), column("uv"), column("q"));
            let q = q.as_primitive::<Float64Type>();
            let row = |i: usize| (uv.as_primitive::<Int64Type>().value(i), (!q.is_null(i)).then(|| q.value(i)));
            let texts = texts.as_string::<i32>();
            (0..batch.num_rows()).map(|i| (texts.value(i).to_owned(), row(i))).collect::<BTreeMap<_, _>>()
        });
        let [kept_segments, all_segments] = [&of_kept, &of_all].map(BTreeMap::len);
        assert!((kept_segments as f64) < fewer * all_segments as f64, "{kept_segments} of {all_segments}");
        // The others count as tests that found nothing, so that no q is smaller than it would be.
        for (segment, (uv, q)) in &of_kept {
            let (all_uv, all_q) = of_all[segment];
            assert!(*uv == all_uv && *q >= all_q, "{segment}: {uv} and {q:?}, {all_uv} and {all_q:?} of all");
        }
        let [first, second] = [&all, &kept].map(|run| {
            let batch = parquet(run.join("highlights.parquet"));
            let texts = batch.column_by_name("segment").unwrap().as_string::<i32>().clone();
            texts.iter().flatten().map(str::to_owned).collect::<Vec<_>>()
        });
        assert!(!first.is_empty());
        assert_eq!(first, second, "{share}");
        // What is believed of an effect does not depend on what is listed, but by the segments below those that were left out.
        let [first, second] = [&all, &kept].map(|run| {
            let batch = parquet(run.join("highlights.parquet"));
            let lifts = batch.column_by_name("shrunken_lift").unwrap().as_primitive::<Float64Type>().clone();
            lifts.values().to_vec()
        });
        assert!(first.iter().zip(&second).all(|(a, b)| (a / b - 1.0).abs() < 0.01), "{first:?} {second:?}");
    }
}

/// The text of every item of a customer, from the table itself. The age is in bands of 10.
fn items(table: &RecordBatch, row: usize) -> Vec<String> {
    let schema = table.schema();
    let named = schema.fields().iter().zip(table.columns());
    let item = |(field, column): (&std::sync::Arc<arrow::datatypes::Field>, &arrow::array::ArrayRef)| {
        let name = field.name();
        if name == "age" {
            let low = arrow::compute::cast(column, &arrow::datatypes::DataType::Int64).unwrap();
            let low = low.as_primitive::<Int64Type>().value(row) / 10 * 10;
            return format!("age=[{low},{})", low + 10);
        }
        match column.as_string_opt::<i32>() {
            Some(texts) if texts.is_null(row) => format!("{name}=(missing)"),
            Some(texts) => format!("{name}={}", texts.value(row)),
            None => String::new(),
        }
    };
    named.map(item).filter(|item| !item.is_empty()).collect()
}

#[test]
fn every_figure_of_a_group_follows_from_its_audience_file_and_the_table() {
    let folder = Folder::new();
    let run = run(&folder, "en.parquet", Language::En, "-w 2");
    let table = parquet(planted("en.parquet"));
    let ids = table.column_by_name("customer_id").unwrap().as_primitive::<Int64Type>();
    let rows: HashMap<i64, usize> = ids.values().iter().enumerate().map(|(row, &id)| (id, row)).collect();
    assert_eq!(rows.len(), 60_000);
    let converted =
        arrow::compute::cast(table.column_by_name("converted").unwrap(), &arrow::datatypes::DataType::Int64);
    let converted = converted.unwrap();
    let converted = converted.as_primitive::<Int64Type>();
    let base_mean = converted.values().iter().sum::<i64>() as f64 / 60_000.0;

    let highlights = parquet(run.join("highlights.parquet"));
    let column = |name: &str| highlights.column_by_name(name).unwrap();
    let validated = column("validated").as_boolean();
    let listed: BTreeMap<&str, bool> = (0..highlights.num_rows())
        .map(|row| (column("segment").as_string::<i32>().value(row), validated.value(row)))
        .collect();

    let groups = json(run.join("groups.json"));
    let groups = groups["groups"].as_array().unwrap();
    assert!((6..=10).contains(&groups.len()), "{}", groups.len());
    let mut seen: HashMap<i64, i64> = HashMap::new();
    for group in groups {
        let id = group["id"].as_i64().unwrap();
        let audience = parquet(run.join(format!("audience/group={id}/part-0.parquet")));
        let customers = audience.column_by_name("customer_id").unwrap().as_primitive::<Int64Type>();
        let numbers = audience.column_by_name("group").unwrap().as_primitive::<Int32Type>();
        let segments = audience.column_by_name("segment").unwrap().as_string::<i32>();
        let holdout = audience.column_by_name("holdout").unwrap().as_boolean();
        assert_eq!(group["uv"].as_i64().unwrap(), audience.num_rows() as i64);
        let mut sum = 0;
        let mut held = [0i64; 2];
        for row in 0..audience.num_rows() {
            let customer = customers.value(row);
            assert_eq!(i64::from(numbers.value(row)), id);
            assert_eq!(seen.insert(customer, id), None, "customer {customer} is in two groups");
            let place = rows[&customer];
            let segment = segments.value(row);
            assert_eq!(listed.get(segment), Some(&true), "{segment} is no highlight that held");
            assert!(group["segments"].as_array().unwrap().iter().any(|s| s == segment), "{segment}");
            let items = items(&table, place);
            segment
                .split(" & ")
                .for_each(|item| assert!(items.iter().any(|i| i == item), "customer {customer}: {item} of {items:?}"));
            sum += converted.value(place);
            if holdout.value(row) {
                held = [held[0] + 1, held[1] + converted.value(place)];
            }
        }
        let mean = sum as f64 / audience.num_rows() as f64;
        let near = |name: &str, expected: f64| {
            let found = group[name].as_f64().unwrap();
            // A few roundings; the sums themselves are whole numbers.
            assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{name}: {found}, not {expected}");
        };
        near("metric_sum", sum as f64);
        near("metric_mean", mean);
        near("lift", mean / base_mean);
        near("impact", audience.num_rows() as f64 * (mean - base_mean));
        near("uv_share", audience.num_rows() as f64 / 60_000.0);
        assert_eq!(group["validation"]["uv"].as_i64(), Some(held[0]));
        assert_eq!(group["validation"]["metric_sum"].as_f64(), Some(held[1] as f64));
    }
    // What a rule in short selects, and who of them is in the group.
    let meets = |segments: &serde_json::Value, items: &[String]| {
        let met = |segment: &str| segment.split(" & ").all(|item| items.iter().any(|i| i == item));
        segments.as_array().unwrap().iter().any(|segment| met(segment.as_str().unwrap()))
    };
    let all_items: Vec<Vec<String>> = (0..table.num_rows()).map(|row| items(&table, row)).collect();
    let mut shorter = 0;
    for group in groups {
        let rule = &group["rule"];
        let (mut selected, mut of_group) = (0i64, 0i64);
        for (row, items) in all_items.iter().enumerate().filter(|(_, items)| meets(&rule["segments"], items)) {
            assert!(meets(&group["segments"], items), "a rule has segments of its group");
            selected += 1;
            of_group += i64::from(seen.get(&ids.value(row)) == group["id"].as_i64().as_ref());
        }
        let close = |name: &str, expected: f64| {
            let found = rule[name].as_f64();
            assert!(found.is_none_or(|found| (found - expected).abs() < 1e-12), "{name}: {found:?}, not {expected}");
        };
        close("uv", selected as f64);
        close("precision", of_group as f64 / selected as f64);
        close("recall", of_group as f64 / group["uv"].as_f64().unwrap());
        shorter +=
            usize::from(rule["segments"].as_array().unwrap().len() < group["segments"].as_array().unwrap().len());
        assert!(rule["recall"].as_f64().is_none_or(|recall| recall > 0.5), "{rule}");
        let [low, high] = ["lift_low", "lift_high"].map(|end| group["interval"][end].as_f64().unwrap());
        let lift = group["lift"].as_f64().unwrap();
        assert!(low < lift && lift < high, "{low} {lift} {high}");
        // Held out are fewer: the interval is wider, around their own lift.
        let [low_held, high_held] =
            ["lift_low", "lift_high"].map(|end| group["validation_interval"][end].as_f64().unwrap());
        let held = group["validation"]["lift"].as_f64().unwrap();
        assert!(
            low_held < held && held < high_held && high_held - low_held > high - low,
            "{low_held} {held} {high_held}"
        );
    }
    assert!(groups.iter().any(|g| !g["rule"]["uv"].is_null()) && shorter <= groups.len());
    // The exact assignment: the first condition that a customer meets is that of the segment which put them there.
    let file = json(run.join("groups.json"));
    let of_sql: HashMap<&str, &str> = (0..highlights.num_rows())
        .map(|row| (column("sql").as_string::<i32>().value(row), column("segment").as_string::<i32>().value(row)))
        .collect();
    let whens: Vec<(Vec<&str>, i64)> = (file["assignment_sql"].as_str().unwrap().lines())
        .filter_map(|line| line.strip_prefix("WHEN ")?.rsplit_once(" THEN "))
        .map(|(sql, group)| (of_sql[sql].split(" & ").collect(), group.parse().unwrap()))
        .collect();
    assert_eq!(whens.len(), file["leaves"].as_array().unwrap().len());
    for (row, items) in all_items.iter().enumerate() {
        let met = whens.iter().find(|(segment, _)| segment.iter().all(|item| items.iter().any(|i| i == item)));
        assert_eq!(met.map(|(_, group)| group), seen.get(&ids.value(row)), "customer {}", ids.value(row));
    }
    // The choice that was made: variance between the groups and all others, and the smallest of them.
    let chosen = file["choices"].as_array().unwrap().iter().find(|choice| choice["chosen"] == true).unwrap();
    let mut sets: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
    for row in 0..table.num_rows() {
        let set = sets.entry(*seen.get(&ids.value(row)).unwrap_or(&0)).or_default();
        *set = (set.0 + 1.0, set.1 + converted.value(row) as f64);
    }
    let between: f64 = sets.values().map(|(uv, sum)| (sum - base_mean * uv).powi(2) / uv).sum();
    let explained = between / (60_000.0 * base_mean * (1.0 - base_mean));
    assert!((chosen["explained"].as_f64().unwrap() - explained).abs() < 1e-12);
    let smallest = sets.iter().filter(|(id, _)| **id > 0).map(|(_, (uv, _))| *uv).fold(f64::INFINITY, f64::min);
    assert_eq!(chosen["smallest"].as_f64(), Some(smallest));
    assert!((-1.0..=1.0).contains(&chosen["silhouette"].as_f64().unwrap()));

    // Whoever meets a segment of a group is in one.
    let of_groups: Vec<Vec<&str>> = groups
        .iter()
        .flat_map(|g| g["segments"].as_array().unwrap())
        .map(|segment| segment.as_str().unwrap().split(" & ").collect())
        .collect();
    for row in 0..table.num_rows() {
        let items = items(&table, row);
        let meets = of_groups.iter().any(|segment| segment.iter().all(|item| items.iter().any(|i| i == item)));
        assert_eq!(meets, seen.contains_key(&ids.value(row)), "customer {} {items:?}", ids.value(row));
    }
}

#[test]
fn other_linkages_and_distances_share_out_the_same_customers_among_other_groups() {
    let folder = Folder::new();
    let job = planted::job(&planted("en.parquet"), Path::new("out"), Language::En);
    let mut groupings = std::collections::BTreeSet::new();
    let mut assigned = None;
    for settings in [
        "merge.linkage=\"smallest_first\"",
        "merge.linkage=\"ward\"",
        "merge.linkage=\"average\"",
        "merge.linkage=\"complete\"",
        "merge.distance=\"overlap\"",
        "merge.distance=\"items\"",
        "merge.distance={profile=0.5,overlap=0.3,items=0.2}",
    ] {
        let run = folder.publish(&job, &format!("-w 2 --set merge.groups=[2,3] --set {settings}"));
        let (groups, manifest) = (json(run.join("groups.json")), json(run.join("manifest.json")));
        let number = groups["groups"].as_array().unwrap().len();
        assert!((2..=3).contains(&number), "{settings}: {number}");
        // Customers go to highlights before these are merged.
        assert_eq!(*assigned.get_or_insert_with(|| manifest["assigned"].clone()), manifest["assigned"]);
        groupings.insert(groups["merges"].to_string());
        let again = folder.publish(&job, &format!("--processes 2 --set merge.groups=[2,3] --set {settings}"));
        assert_eq!(json(again.join("groups.json")), groups, "{settings}");
    }
    assert!(groupings.len() >= 5, "{}", groupings.len());
    // The smallest of two groups is larger than that of three, and of either there are enough here.
    let chosen = |set: &str| {
        let run = folder.publish(&job, &format!("--set merge.groups=[2,5] --set merge.min_group_share={set}"));
        let groups = json(run.join("groups.json"));
        let choices = groups["choices"].as_array().unwrap().clone();
        let chosen = choices.iter().find(|choice| choice["chosen"] == true).unwrap()["smallest"].as_i64().unwrap();
        (choices.iter().map(|choice| choice["smallest"].as_i64().unwrap()).max().unwrap(), chosen)
    };
    let (largest, free) = chosen("0");
    assert!(free < largest, "{free} of {largest}");
    // Of 60,000 customers: only the number of groups with the largest smallest group will do.
    assert_eq!(chosen(&format!("{}", largest as f64 / 60_000.0)), (largest, largest));
    let refused =
        |set: &str, says: &[&str]| drop(folder.nichemine(&format!("run job.toml --set {set}")).refused(2, says));
    folder.write("job.toml", &job);
    refused("merge.distance={profile=0,overlap=0}", &["merge.distance", "not all 0"]);
    refused("merge.distance=\"customers\"", &["merge.distance"]);
    folder.write("job.toml", format!("{job}\n[merge]\nlinkage = \"ward\"\n"));
    refused("merge.distance=\"items\"", &["merge.distance", "ward", "profile"]);
}

#[test]
fn shuffled_metric_has_no_highlight_that_holds() {
    let folder = Folder::new();
    let mut dice = crate::program::Dice(5);
    let mut rows = String::from("a,b,c,d,bought\n");
    for _ in 0..6000 {
        let row: Vec<String> = (0..4).map(|_| format!("v{}", dice.roll(5))).collect();
        rows.push_str(&format!("{},{}\n", row.join(","), u8::from(dice.roll(10) == 0)));
    }
    folder.write("t.csv", rows);
    let run = folder.publish(
        "input.path = \"t.csv\"\nmetric = { column = \"bought\", kind = \"rate\" }\noutput.dir = \"out\"\n",
        "-w 1",
    );
    let highlights = parquet(run.join("highlights.parquet"));
    let validated = highlights.column_by_name("validated").unwrap().as_boolean();
    assert_eq!(validated.true_count(), 0);
    assert_eq!(json(run.join("groups.json"))["groups"], serde_json::json!([]));
}
