//! The whole base in groups, `merge.of = "cells"`, as a reader checks it over raw rows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use serde_json::Value;

use crate::program::{Dice, Folder, answer, json, parquet};

struct Row {
    city: &'static str,
    tier: &'static str,
    age: u64,
    bought: bool,
}

const CITIES: [&str; 6] = ["北京", "上海", "成都", "广州", "", "Zug"];
const TIERS: [&str; 3] = ["gold", "silver", "plain"];

/// 8,000 customers; few are in Zug, so that it is no item, and some in no city; the young of two cities and the gold ones buy more.
fn rows() -> Vec<Row> {
    let mut dice = Dice(11);
    let mut row = || {
        let city = match dice.roll(400) {
            0 => "Zug",
            roll if roll < 30 => "",
            roll => CITIES[roll as usize % 4],
        };
        let (tier, age) = (TIERS[dice.roll(3) as usize], 20 + dice.roll(50));
        let percent = match (city, tier, age) {
            ("北京" | "上海", _, ..30) => 40,
            (_, "gold", _) => 20,
            ("成都", ..) => 2,
            _ => 8,
        };
        Row { city, tier, age, bought: dice.roll(100) < percent }
    };
    (0..8000).map(|_| row()).collect()
}

fn table(rows: &[Row]) -> String {
    let mut text = "id,city,tier,age,tags,bought\n".to_owned();
    for (id, Row { city, tier, age, bought }) in rows.iter().enumerate() {
        writeln!(text, "{id},{city},{tier},{age},a|b,{}", u8::from(*bought)).unwrap();
    }
    text
}

fn folder(rows: &[Row]) -> Folder {
    let folder = Folder::new();
    folder.write("t.csv", table(rows));
    folder.write(
        "job.toml",
        "[input]\npath = \"t.csv\"\nid = \"id\"\n[metric]\ncolumn = \"bought\"\nkind = \"rate\"\n[features]\ninclude = [\"city\", \
         \"tier\", \"age\", \"tags\"]\n[features.age]\nbin = { edges = [30, 40, 50, 60] }\n[features.tags]\nkind = \"tags\"\n\
         [enumerate]\nmin_uv = 50\n[merge]\nof = \"cells\"\nkeep = \"nothing\"\n[output]\ndir = \"out\"\n",
    );
    folder
}

/// What the program calls the items of a customer, `(other)` where the value is too rare.
fn cell(row: &Row) -> String {
    let city = match row.city {
        "Zug" => "(other)",
        "" => "(missing)",
        city => city,
    };
    let age = match row.age {
        ..30 => "<30".to_owned(),
        60.. => ">=60".to_owned(),
        age => format!("[{},{})", age / 10 * 10, age / 10 * 10 + 10),
    };
    format!("city={city} & tier={} & age={age}", row.tier)
}

#[test]
fn every_customer_is_in_the_one_group_of_their_cell_and_every_figure_is_as_counted() {
    let rows = rows();
    let folder = folder(&rows);
    folder.nichemine("run job.toml").well();
    let run = folder.path("out/latest");
    let groups = json(run.join("groups.json"));
    let mut group_of = vec![0i64; rows.len()];
    let mut cells: BTreeMap<String, i64> = BTreeMap::new();
    for group in groups["groups"].as_array().unwrap() {
        let id = group["id"].as_i64().unwrap();
        let audience = parquet(run.join(format!("audience/group={id}/part-0.parquet")));
        let ids = arrow::compute::cast(audience.column(0), &DataType::Int64).unwrap();
        let ids = ids.as_primitive::<Int64Type>();
        let segments = arrow::compute::cast(audience.column(2), &DataType::Utf8).unwrap();
        assert!(audience.column(1).as_primitive::<Int32Type>().values().iter().all(|&own| i64::from(own) == id));
        for (customer, segment) in ids.values().iter().zip(segments.as_string::<i32>()) {
            let row = &rows[*customer as usize];
            assert_eq!(segment, Some(cell(row).as_str()));
            assert_eq!(std::mem::replace(&mut group_of[*customer as usize], id), 0, "nobody is in two groups");
            assert_eq!(*cells.entry(cell(row)).or_insert(id), id, "a cell is in one group");
        }
        let own = || rows.iter().zip(&group_of).filter(|(_, of)| **of == id).map(|(row, _)| row);
        let (uv, bought) = (own().count(), own().filter(|row| row.bought).count());
        assert_eq!(group["uv"].as_u64(), Some(uv as u64));
        assert!((group["metric_mean"].as_f64().unwrap() - bought as f64 / uv as f64).abs() < 1e-12);
        // The rule in short, over the raw rows.
        let conditions: Vec<&str> =
            group["rule"]["segments"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
        let meets = |row: &Row| {
            let cell = cell(row);
            let items: BTreeSet<&str> = cell.split(" & ").collect();
            conditions.iter().any(|condition| condition.split(" & ").all(|item| items.contains(item)))
        };
        let selected = rows.iter().filter(|row| meets(row)).count();
        let hit = own().filter(|row| meets(row)).count();
        if let Some(uv) = group["rule"]["uv"].as_u64() {
            assert_eq!(uv, selected as u64);
            let share = |name: &str| group["rule"][name].as_f64().unwrap();
            assert!((share("precision") - hit as f64 / selected as f64).abs() < 1e-12);
            assert!((share("recall") - hit as f64 / own().count() as f64).abs() < 1e-12);
        }
    }
    assert!(group_of.iter().all(|&group| group > 0), "nobody is left out");
    assert!((6..=10).contains(&groups["groups"].as_array().unwrap().len()));
    let listed: BTreeSet<&str> =
        groups["leaves"].as_array().unwrap().iter().map(|leaf| leaf.as_str().unwrap()).collect();
    assert_eq!(listed, cells.keys().map(String::as_str).collect());
    let manifest = json(run.join("manifest.json"));
    assert_eq!(manifest["assigned"], 8000);
    // What the validation part shows has no part in the groups: the cells of either sum up to the base.
    let total: f64 = groups["groups"].as_array().unwrap().iter().map(|group| group["impact"].as_f64().unwrap()).sum();
    assert!(total.abs() < 1e-6, "impacts of a partition sum to zero: {total}");
    folder.nichemine("verify out/latest").well();

    // The same customers put into the groups as another table's would be; and one whose combination nobody had, who is in none.
    let mut text = std::fs::read_to_string(folder.path("t.csv")).unwrap();
    text.push_str("8000,,unheard of,25,a,0\n");
    // Few are in Zug, so that not all of their combinations are there.
    let mut zug = TIERS.iter().flat_map(|&tier| [25, 35, 45, 55, 65].map(|age| (tier, age)));
    let of_zug = |(tier, age)| Row { city: "Zug", tier, age, bought: false };
    let (tier, age) = zug.find(|&new| !cells.contains_key(&cell(&of_zug(new)))).expect("one that nobody has");
    text.push_str(&format!("8001,Zug,{tier},{age},a,0\n"));
    let arguments = "assign out/latest more.csv --out assigned.parquet --all";
    let told = folder.write("more.csv", text).nichemine(arguments).well().out;
    assert!(told.contains("1 of those in no group have a combination of values that nobody had in the run"), "{told}");
    let assigned = parquet(folder.path("assigned.parquet"));
    let own = assigned.column_by_name("group").unwrap().as_primitive::<Int32Type>();
    assert_eq!((own.len(), own.is_null(8000), own.is_null(8001)), (8002, true, true));
    assert!((0..8000).all(|i| i64::from(own.value(i)) == group_of[i]));
}

#[test]
fn cells_are_as_far_apart_as_their_items_and_their_shrunken_means_on_the_discovery_part() {
    let rows = rows();
    let folder = folder(&rows);
    folder.nichemine("run job.toml").well();
    let run = folder.path("out/latest");
    let groups = json(run.join("groups.json"));
    // Customers and buyers of the discovery part, by cell.
    let mut cells: BTreeMap<String, [f64; 2]> = BTreeMap::new();
    for group in groups["groups"].as_array().unwrap() {
        let audience = parquet(run.join(format!("audience/group={}/part-0.parquet", group["id"])));
        let ids = arrow::compute::cast(audience.column(0), &DataType::Int64).unwrap();
        let held_out = audience.column_by_name("holdout").unwrap().as_boolean();
        for (id, held_out) in ids.as_primitive::<Int64Type>().values().iter().zip(held_out) {
            let row = &rows[*id as usize];
            let own = cells.entry(cell(row)).or_default();
            if held_out == Some(false) {
                *own = [own[0] + 1.0, own[1] + f64::from(row.bought)];
            }
        }
    }
    let [uv, bought] = cells.values().fold([0.0; 2], |all, own| [all[0] + own[0], all[1] + own[1]]);
    let mean = bought / uv;
    // Method of moments: the variance of the cells' true means, and of a customer's.
    let there: Vec<[f64; 2]> = cells.values().copied().filter(|own| own[0] > 0.0).collect();
    let spread: f64 = there.iter().map(|[n, sum]| n * (sum / n - mean).powi(2)).sum();
    let variance = mean * (1.0 - mean) * uv / (uv - 1.0);
    let squares: f64 = there.iter().map(|[n, _]| n * n).sum();
    let between = (spread - (there.len() as f64 - 1.0) * variance) / (uv - squares / uv);
    let added = variance / between;
    assert!((5.0..500.0).contains(&added), "neither as counted nor all alike: {added}");
    let position =
        |[n, sum]: [f64; 2]| if n == 0.0 { 0.0 } else { ((sum + added * mean) / (n + added) / mean).log(4.0) };
    let features = json(run.join("features.json"));
    let kept = features["verdicts"].as_array().unwrap().iter().filter(|verdict| verdict["kept"] == true);
    let influences: BTreeMap<&str, f64> =
        kept.map(|verdict| (verdict["feature"].as_str().unwrap(), verdict["influence"].as_f64().unwrap())).collect();
    let all: f64 = influences.values().sum();
    let leaves: Vec<&str> = groups["leaves"].as_array().unwrap().iter().map(|leaf| leaf.as_str().unwrap()).collect();
    let mut seen = 0;
    for merge in groups["merges"].as_array().unwrap() {
        let [left, right] = ["left", "right"].map(|side| leaves.get(merge[side].as_u64().unwrap() as usize));
        let (Some(left), Some(right)) = (left, right) else { continue };
        let items: BTreeSet<&str> = left.split(" & ").collect();
        let other = right.split(" & ").filter(|item| !items.contains(item)).map(|item| item.split('=').next().unwrap());
        let apart: f64 = other.map(|feature| influences[feature] / all).sum();
        let metric = position(cells[*left]) - position(cells[*right]);
        let expected = (0.75 * apart + 0.25 * metric * metric).sqrt();
        assert!(
            (merge["distance"].as_f64().unwrap() - expected).abs() < 1e-9,
            "{left} and {right}: {merge}, not {expected}"
        );
        seen += 1;
    }
    assert!(seen > 10, "merges of two cells: {seen}");
}

#[test]
fn groups_of_cells_do_not_depend_on_workers_processes_or_rounds() {
    let folder = folder(&rows());
    for linkage in ["smallest_first", "ward", "average", "complete"] {
        let linkage = format!("merge.linkage={linkage}");
        let mut all = Vec::new();
        for more in [
            &["-w", "1"][..],
            &["-w", "3"],
            &["-w", "1", "--set", "merge.max_matrix=5"],
            &["-w", "2", "--set", "merge.max_matrix=5"],
            &["-w", "1", "--processes", "2", "--set", "merge.max_matrix=5"],
        ] {
            let args = [&["run", "job.toml", "--set", linkage.as_str()], more].concat();
            folder.start_with(&args).end().well();
            all.push((answer(&folder.path("out/latest")), json(folder.path("out/latest/groups.json"))));
        }
        assert_eq!(all[0].0, all[1].0, "{linkage}");
        assert_eq!(all[2].0, all[3].0, "{linkage}");
        assert_eq!(all[2].0, all[4].0, "{linkage}");
        // From a matrix and in rounds heights differ in their rounding, and so does the order of merges at one height; groups do not.
        let heights = |groups: &Value| -> Vec<f64> {
            groups["merges"].as_array().unwrap().iter().map(|merge| merge["distance"].as_f64().unwrap()).collect()
        };
        let (matrix, rounds) = (heights(&all[0].1), heights(&all[2].1));
        assert!(matrix.len() > 50 && matrix.len() == rounds.len());
        assert!(matrix.iter().zip(&rounds).all(|(a, b)| (a - b).abs() <= 1e-9 * a), "{linkage}");
        assert_eq!(all[0].1["groups"], all[2].1["groups"], "{linkage}");
    }
}

#[test]
fn cells_stay_in_their_groups_while_a_few_customers_change() {
    let mut rows = rows();
    let folder = folder(&rows);
    let keep = "--set merge.keep=groups";
    folder.nichemine(&format!("run job.toml {keep}")).well();
    let groups_of = |rows: &[Row]| -> Vec<i64> {
        let mut group_of = vec![0i64; rows.len()];
        let run = folder.path("out/latest");
        for group in json(run.join("groups.json"))["groups"].as_array().unwrap() {
            let id = group["id"].as_i64().unwrap();
            let audience = parquet(run.join(format!("audience/group={id}/part-0.parquet")));
            let ids = arrow::compute::cast(audience.column(0), &DataType::Int64).unwrap();
            ids.as_primitive::<Int64Type>().values().iter().for_each(|&customer| group_of[customer as usize] = id);
        }
        group_of
    };
    let first = groups_of(&rows);
    // One in fifty is another customer.
    let mut dice = Dice(5);
    let before: Vec<String> = rows.iter().map(cell).collect();
    for row in rows.iter_mut() {
        if dice.roll(50) > 0 {
            continue;
        }
        let city = CITIES[if dice.roll(20) == 0 { 5 } else { dice.roll(5) as usize }];
        *row = Row { city, tier: TIERS[dice.roll(3) as usize], age: 20 + dice.roll(50), bought: dice.roll(2) == 0 };
    }
    folder.write("t.csv", table(&rows));
    folder.nichemine(&format!("run job.toml {keep}")).well();
    let second = groups_of(&rows);
    let document = json(folder.path("out/latest/groups.json"));
    let reason = document["reason"].as_str().unwrap();
    assert!(document["kept"].is_object() && reason.contains("groups as in the previous run"), "{reason}");
    for i in 0..rows.len() {
        assert!(second[i] > 0, "nobody is left out");
        assert!(
            cell(&rows[i]) != before[i] || second[i] == first[i],
            "{}: from {} to {}",
            before[i],
            first[i],
            second[i]
        );
    }
    let told = json(folder.path("out/latest/migration.json"));
    assert!(told["stayed_share"].as_f64().is_none_or(|stayed| stayed > 0.97), "{told}");
    // Made afresh they are others.
    folder.nichemine("run job.toml --set merge.keep=ids --set merge.linkage=ward").well();
    assert!(json(folder.path("out/latest/groups.json"))["kept"].is_null());
}

#[test]
fn cells_are_of_the_features_of_the_day_before_and_groups_stay_while_others_are_hardly_better() {
    let mut rows = rows();
    let folder = folder(&rows);
    let run = |table: String, keep: &str| {
        folder.write("t.csv", table);
        folder
            .nichemine(&format!(
                "run job.toml --set merge.max_cells=20 --set merge.groups=[5,5] --set merge.keep={keep}"
            ))
            .well();
        json(folder.path("out/latest/groups.json"))
    };
    let features = |document: &Value| -> Vec<String> {
        let first = document["leaves"][0].as_str().unwrap();
        first.split(" & ").map(|item| item.split('=').next().unwrap().to_owned()).collect()
    };
    let first = run(table(&rows), "groups");
    assert_eq!(features(&first), ["tier", "age"]);
    // More of one city buy from now on, and a few of those in their forties.
    let mut dice = Dice(3);
    rows.iter_mut().for_each(|row| {
        row.bought |= row.city == "广州" && dice.roll(100) < 30
            || row.tier == "silver" && (40..50).contains(&row.age) && dice.roll(100) < 10
    });
    let second = run(table(&rows), "groups");
    let reason = second["reason"].as_str().unwrap();
    assert!(second["kept"].is_object(), "{reason}");
    assert_eq!(features(&second), features(&first));
    let explained: Vec<f64> = reason.split(" %").filter_map(|part| part.rsplit(' ').next()?.parse().ok()).collect();
    assert!(explained[0] < explained[1] && explained[1] < 1.5 * explained[0], "{reason}");
    assert_eq!(features(&run(table(&rows), "ids")), ["city", "tier"]);
}

#[test]
fn no_group_of_cells_is_of_fewer_customers_than_may_be_told_of() {
    let mut rows: Vec<Row> = rows().into_iter().filter(|row| row.city != "Zug").collect();
    for (at, row) in rows.iter_mut().enumerate() {
        let (city, percent) = [("北京", 5), ("上海", 15)][at % 2];
        (row.city, row.bought) = (city, at / 2 % 100 < percent);
    }
    for row in &mut rows[..6] {
        (row.city, row.bought) = ("Zug", true);
    }
    let folder = folder(&rows);
    let run = |arguments: &str| {
        folder
            .nichemine(&format!("run job.toml --set merge.by=[\"city\"] --set merge.groups=[3,3] {arguments}"))
            .well();
        let document = json(folder.path("out/latest/groups.json"));
        let uv = |group: &Value| group["uv"].as_i64().unwrap();
        let uv: BTreeSet<i64> = document["groups"].as_array().unwrap().iter().map(uv).collect();
        (uv, document["reason"].as_str().unwrap().to_owned())
    };
    let (uv, reason) = run("");
    assert!(uv.len() == 2 && uv.iter().sum::<i64>() == rows.len() as i64, "{uv:?}");
    assert!(reason.ends_with("1 of fewer than 10 customers joined the nearest (privacy floor)"), "{reason}");
    let (uv, reason) = run("--set enumerate.allow_small=true");
    assert!(uv.contains(&6) && !reason.contains("privacy floor"), "{uv:?} {reason}");
}

#[test]
fn counts_of_a_few_customers_do_not_follow_from_the_merges_of_cells() {
    let folder = folder(&rows());
    let merges = |arguments: &str| {
        folder.nichemine(&format!("run job.toml {arguments}")).well();
        json(folder.path("out/latest/groups.json"))["merges"].as_array().unwrap().clone()
    };
    assert!(merges("").iter().all(|merge| merge["uv"].is_null() && merge["distance"].is_f64()));
    assert!(merges("--set enumerate.allow_small=true").iter().all(|merge| merge["uv"].is_i64()));
}

#[test]
fn without_a_feature_to_divide_by_there_are_no_groups_and_the_reason_says_why() {
    let folder = folder(&rows());
    folder.nichemine("run job.toml --set merge.max_cells=1").well();
    let document = json(folder.path("out/latest/groups.json"));
    assert_eq!(document["groups"].as_array().unwrap().len(), 0);
    assert!(document["reason"].as_str().unwrap().starts_with("no feature is left to divide the customers by"));
    folder.nichemine("verify out/latest").well();
}

#[test]
fn what_cannot_make_cells_is_said_with_the_setting() {
    let folder = folder(&rows());
    let run = |settings: &[&str]| {
        let sets = settings.iter().flat_map(|setting| ["--set", setting]);
        folder.start_with(&["run", "job.toml"].into_iter().chain(sets).collect::<Vec<_>>()).end()
    };
    run(&["merge.by=[\"city\", \"city\"]"]).refused(2, &["merge.by", "each once"]);
    run(&["merge.by=[\"city\"]", "merge.of=highlights"]).refused(2, &["merge.by", "merge.of = \"cells\""]);
    run(&["merge.distance=overlap"]).refused(2, &["merge.distance", "cells share no customers"]);
    run(&["merge.max_cells=20", "merge.by=[\"city\", \"tier\", \"age\"]"])
        .refused(2, &["combinations that customers have", "merge.max_cells allows 20", "merge.by"]);
    run(&["merge.by=[\"age\", \"city\"]", "screen.min_entropy=2.28"])
        .refused(2, &["merge.by = \"city\"", "left out by screening", "features that are left: ", "\"age\""]);
    run(&["merge.by=[\"city\", \"tier\"]", "features.exclude=[\"ti*\"]"]).refused(2, &["features.exclude (\"ti*\")"]);
    assert!(!folder.path("out/latest").exists(), "nothing was published");
    run(&["merge.by=[\"age\", \"city\"]"]).well();
    let leaves = json(folder.path("out/latest/groups.json"))["leaves"].as_array().unwrap().len();
    assert!((20..=30).contains(&leaves), "5 ages in 5 or 6 cities: {leaves}");
}

#[test]
fn what_can_make_no_cells_of_any_table_is_refused_before_anything_is_read() {
    let folder = folder(&rows());
    let more = "[[secondary]]\nname = \"n\"\ncolumn = \"age\"\nkind = \"amount\"\n[features]\ninclude = [\"city\", \"tags\"]\n\
                exclude = [\"ti*\"]\n";
    let job = std::fs::read_to_string(folder.path("job.toml")).unwrap();
    let (before, after) = job.split_once("[features]").unwrap();
    let (_, after) = after.split_once("[features.tags]").unwrap();
    folder.write("few.toml", format!("{before}{more}[features.tags]{after}"));
    for (name, says) in [
        ("citi", "no such column"),
        ("id", "this is the id (input.id)"),
        ("bought", "this is the metric"),
        ("age", "carried along (secondary[0])"),
        ("tier", "features.exclude (\"ti*\")"),
        ("tags", "is of tags"),
    ] {
        for command in ["check", "plan", "run"] {
            let by = format!("merge.by=[\"city\", \"{name}\"]");
            let ended = folder.start_with(&[command, "few.toml", "--set", &by]).end();
            let ended = ended
                .refused(2, &[&format!("merge.by = \"{name}\": "), says, "expected features of this job: \"city\""]);
            assert_eq!(ended.err.contains("did you mean \"city\"?"), name == "citi", "{}", ended.err);
            assert!(!ended.err.contains("enumerate"), "nothing was counted: {}", ended.err);
        }
    }
    folder.start_with(&["check", "few.toml", "--set", "merge.by=[\"city\"]"]).end().well();
}
