//! How groups divide by columns (`profile.by`), recounted over raw rows and the audience files.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use arrow::array::AsArray;
use serde_json::Value;

use crate::program::{Dice, Folder, answer, json, parquet};

struct Row {
    /// `region`, `tier` and `device` are features; all others are not.
    features: [&'static str; 3],
    channel: String,
    age: Option<u32>,
    day: &'static str,
    flag: bool,
    tags: Vec<&'static str>,
    bought: bool,
    spend: i64,
    visits: i64,
}

const CHANNELS: [&str; 6] = ["小程序", "应用商店（安卓）", "store", "phone", "(other)", "fax"];
const TAGS: [&str; 4] = ["travel", "运动", "food", "chess"];

fn rows(seed: u64) -> Vec<Row> {
    let mut dice = Dice(seed);
    let mut rows = Vec::new();
    for _ in 0..9_000 {
        let mut pick = |values: &[&'static str]| values[dice.roll(values.len() as u64) as usize];
        let features = [
            pick(&["east", "west", "north"]),
            pick(&["gold", "silver", "plain", "new"]),
            pick(&["ios", "android", "web", "tv"]),
        ];
        let [region, tier, device] = features;
        let niche = tier == "gold" && device == "tv" || region == "north" && device == "ios" && tier == "new";
        let likely = if niche {
            45
        } else if tier == "plain" && device == "web" {
            1
        } else {
            8
        };
        let skew = if niche { 2 } else { 5 };
        let channel = match dice.roll(400) {
            0 => format!("rare{}", dice.roll(3)),
            1..=12 => String::new(),
            // `fax` and `(other)` are used by few, `phone` by hardly any of the niches.
            13..=16 => "fax".into(),
            _ => CHANNELS[dice.roll(skew).min(dice.roll(5)) as usize].to_owned(),
        };
        let age = (dice.roll(50) > 0).then(|| 18 + dice.roll(60) as u32);
        let day = ["2026-01-03", "2026-01-31", "2026-02-14", "2026-03-01"][dice.roll(4).min(dice.roll(4)) as usize];
        let tags = TAGS.into_iter().filter(|_| dice.roll(9) < 2).collect();
        let bought = dice.roll(100) < likely;
        let visits = dice.roll(5) as i64;
        let spend = if bought { 50 + dice.roll(9_000) as i64 } else { 0 };
        rows.push(Row {
            features,
            channel,
            age,
            day,
            flag: dice.roll(3) == 0,
            tags,
            bought,
            spend,
            visits: visits + i64::from(bought),
        });
    }
    rows
}

fn csv(rows: &[Row]) -> String {
    let mut text = String::from("id,region,tier,device,channel,age,day,flag,tags,bought,spend,visits\n");
    for (id, r) in rows.iter().enumerate() {
        let age = r.age.map_or(String::new(), |age| age.to_string());
        let [region, tier, device] = r.features;
        let tags = r.tags.join("|");
        writeln!(
            text,
            "{id},{region},{tier},{device},{},{age},{},{},{tags},{},{}.{:02},{}",
            r.channel,
            r.day,
            r.flag,
            u8::from(r.bought),
            r.spend / 100,
            r.spend % 100,
            r.visits
        )
        .unwrap();
    }
    text
}

const BY: [&str; 6] = ["channel", "age", "day", "flag", "tags", "tier"];

fn job(metric: &str, language: &str) -> String {
    format!(
        "[input]\npath = \"t.csv\"\nid = \"id\"\n[metric]\n{metric}[features]\nexclude = [\"channel\", \"age\", \"day\", \"flag\", \"tags\", \"spend\", \"visits\", \"bought\"]\n\
         [features.age]\nbin = {{ edges = [30, 50] }}\n[features.tags]\nseparator = \"|\"\n[enumerate]\nmin_uv = 30\n[highlight]\nmax_uv_share = 0.3\nmin_impact_share = 0.0\n\
         [merge]\ngroups = [2, 6]\n[profile]\nby = {BY:?}\n[output]\ndir = \"out\"\nlanguage = \"{language}\"\n"
    )
}

const RATE: &str = "column = \"bought\"\nkind = \"rate\"\n";

/// Values of a column as `groups.json` calls them, before rare ones are told together.
fn values(row: &Row, column: &str) -> Vec<String> {
    let text = match column {
        "channel" if row.channel.is_empty() => "(missing)".to_owned(),
        // What is called like all others together is quoted.
        "channel" if row.channel == "(other)" => "\"(other)\"".to_owned(),
        "channel" => row.channel.clone(),
        "age" => match row.age {
            None => "(missing)".to_owned(),
            Some(age) => ["<30", "[30,50)", ">=50"][usize::from(age >= 30) + usize::from(age >= 50)].to_owned(),
        },
        "day" => row.day.to_owned(),
        "flag" => row.flag.to_string(),
        "tags" => return row.tags.iter().map(|tag| (*tag).to_owned()).collect(),
        "tier" => row.features[1].to_owned(),
        other => panic!("{other}"),
    };
    vec![text]
}

fn near(found: &Value, expected: f64, what: &str) {
    let found = found.as_f64().unwrap_or_else(|| panic!("{what}: {found}"));
    assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{what}: {found}, expected {expected}");
}

fn id_of(group: &Value) -> usize {
    group["id"].as_u64().unwrap() as usize
}

/// Customers and what their mean is made of.
#[derive(Clone, Copy, Default)]
struct Sums {
    uv: i64,
    num: f64,
    den: f64,
}

#[test]
fn every_figure_of_the_mix_is_as_counted_over_raw_rows() {
    let metrics = [
        ("rate", RATE),
        ("amount", "column = \"spend\"\nkind = \"amount\"\n"),
        ("ratio", "column = \"spend\"\nkind = \"ratio\"\ndenominator = \"visits\"\n"),
    ];
    let mut withheld = 0;
    for (seed, (kind, metric)) in (5..).zip(metrics) {
        let rows = rows(seed);
        let folder = Folder::new();
        folder.write("t.csv", csv(&rows));
        let run = folder.publish(&job(metric, "en"), "-w 2");
        let groups = json(run.join("groups.json"));
        let listed = groups["groups"].as_array().unwrap();
        assert!(listed.len() >= 2, "{kind}: {}", groups["reason"]);
        // 0 stands for no group.
        let mut group_of: HashMap<usize, usize> = HashMap::new();
        for group in listed {
            let audience = parquet(run.join(group["audience"].as_str().unwrap()).join("part-0.parquet"));
            let ids = audience.column_by_name("id").unwrap().as_string::<i32>();
            ids.iter().for_each(|id| assert!(group_of.insert(id.unwrap().parse().unwrap(), id_of(group)).is_none()));
        }
        for column in BY {
            let mut frequent: BTreeMap<String, i64> = BTreeMap::new();
            rows.iter().flat_map(|row| values(row, column)).for_each(|v| *frequent.entry(v).or_default() += 1);
            let exclusive = column != "tags";
            let called = |value: String| if frequent[&value] >= 30 || !exclusive { value } else { "(other)".into() };
            let mut cells: BTreeMap<(String, usize), Sums> = BTreeMap::new();
            let mut sizes = vec![0i64; listed.len() + 1];
            for (customer, row) in rows.iter().enumerate() {
                let set = group_of.get(&customer).copied().unwrap_or(0);
                sizes[set] += 1;
                let (num, den) = match kind {
                    "rate" => (f64::from(u8::from(row.bought)), 1.0),
                    "amount" => (row.spend as f64 / 100.0, 1.0),
                    _ => (row.spend as f64 / 100.0, row.visits as f64),
                };
                for value in values(row, column) {
                    let sums = cells.entry((called(value), set)).or_default();
                    *sums = Sums { uv: sums.uv + 1, num: sums.num + num, den: sums.den + den };
                }
            }
            let sums = |value: &str, set: usize| cells.get(&(value.to_owned(), set)).copied().unwrap_or_default();
            let all = |value: &str| {
                (0..sizes.len()).map(|set| sums(value, set)).fold(Sums::default(), |a, b| Sums {
                    uv: a.uv + b.uv,
                    num: a.num + b.num,
                    den: a.den + b.den,
                })
            };
            let base = groups["mix"][column].as_array().unwrap();
            let told: Vec<&str> = base.iter().map(|v| v["value"].as_str().unwrap()).collect();
            let mut expected: Vec<&str> = cells.keys().map(|(value, _)| value.as_str()).collect();
            expected.dedup();
            let mut sorted = told.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, expected, "{column}");
            let n = rows.len() as f64;
            let check = |entry: &Value, value: &str, set: usize| {
                let what = format!("{kind}: {column}={value}, set {set}");
                let (own, whole, size) = (sums(value, set), all(value), sizes[set] as f64);
                assert_eq!(entry["uv"], own.uv, "{what}");
                assert!(own.uv == 0 || own.uv >= 10, "{what}");
                let (share, of_base) = (own.uv as f64 / size, whole.uv as f64 / n);
                near(&entry["share"], share, &what);
                near(&entry["of_value"], own.uv as f64 / whole.uv as f64, &what);
                near(&entry["base_share"], of_base, &what);
                near(&entry["index"], share / of_base * 100.0, &what);
                let rest = (whole.uv - own.uv) as f64 / (n - size);
                let z = (share - rest) / (of_base * (1.0 - of_base) * (1.0 / size + 1.0 / (n - size))).sqrt();
                near(&entry["z"], z, &what);
                let q = entry["q"].as_f64().unwrap();
                // The exact test and the normal agree on what is far from chance, and from certainty.
                assert!(
                    (0.0..=1.0).contains(&q) && (z.abs() < 4.5 || q < 0.01) && (z.abs() > 1.0 || q > 0.05),
                    "{what}: {z} {q}"
                );
                match own.uv == 0 || own.den == 0.0 {
                    true => assert!(entry["metric_mean"].is_null(), "{what}"),
                    false => near(&entry["metric_mean"], own.num / own.den, &what),
                }
            };
            for entry in base {
                let value = entry["value"].as_str().unwrap();
                let whole = all(value);
                assert_eq!(entry["uv"], whole.uv, "{column}={value}");
                near(&entry["share"], whole.uv as f64 / n, value);
                near(&entry["metric_mean"], whole.num / whole.den, value);
                if !entry["nobody"].is_null() {
                    check(&entry["nobody"], value, 0);
                }
            }
            let mut hidden: BTreeMap<(&str, usize), i64> = BTreeMap::new();
            for (value, entry) in told.iter().zip(base).filter(|(_, entry)| entry["nobody"].is_null()) {
                assert!(entry["uv"].as_i64().unwrap() >= 10);
                hidden.insert((value, 0), sums(value, 0).uv);
            }
            for group in listed {
                let id = id_of(group);
                let own = group["mix"][column].as_array().unwrap();
                own.iter().for_each(|entry| check(entry, entry["value"].as_str().unwrap(), id));
                for value in told.iter().filter(|value| own.iter().all(|entry| entry["value"] != **value)) {
                    hidden.insert((value, id), sums(value, id).uv);
                }
            }
            withheld += hidden.len();
            // Neither a row nor a column gives away what is hidden of it.
            let safe = |hidden: Vec<i64>, line: i64| {
                let sum: i64 = hidden.iter().sum();
                assert!(hidden.is_empty() || sum == line || hidden.len() > 1 && sum >= 10, "{column}: {hidden:?}");
            };
            for value in &told {
                safe(hidden.iter().filter(|((v, _), _)| v == value).map(|(_, uv)| *uv).collect(), all(value).uv);
            }
            for set in (0..sizes.len()).filter(|_| exclusive) {
                safe(hidden.iter().filter(|((_, s), _)| *s == set).map(|(_, uv)| *uv).collect(), sizes[set]);
            }
            // Of a feature no more is told as an item of the profile.
            if column == "tier" {
                for group in listed {
                    let id = id_of(group);
                    for item in group["profile"].as_array().unwrap() {
                        let value = item["item"].as_str().unwrap().strip_prefix("tier=");
                        assert!(value.is_none_or(|value| !hidden.contains_key(&(value, id))), "{item}");
                    }
                }
            }
        }
    }
    assert!(withheld > 20, "{withheld}");
}

#[test]
fn the_mix_has_the_same_bytes_however_the_work_is_divided() {
    let folder = Folder::new();
    folder.write("t.csv", csv(&rows(11)));
    let expected = answer(&folder.publish(&job(RATE, "zh"), "-w 1"));
    for layout in ["-w 3", "-w 1 --processes 2"] {
        assert_eq!(answer(&folder.publish(&job(RATE, "zh"), layout)), expected, "{layout}");
    }
}

#[test]
fn columns_told_by_decide_nothing_and_are_shown_in_both_languages() {
    let folder = Folder::new();
    folder.write("t.csv", csv(&rows(11)));
    let of = |language: &str, by: &str| {
        let job = job(RATE, language).replace(&format!("by = {BY:?}"), by);
        let run = folder.publish(&job, "");
        let report = std::fs::read_to_string(run.join("report.html")).unwrap();
        (json(run.join("groups.json")), report, answer(&run))
    };
    let (with, english, files) = of("en", "by = [\"channel\", \"day\"]");
    let (without, plain, files_without) = of("en", "by = []");
    for file in ["segments.parquet", "highlights.csv", "features.json", "sums.parquet"] {
        assert_eq!(files[file], files_without[file], "{file}");
    }
    for (a, b) in with["groups"].as_array().unwrap().iter().zip(without["groups"].as_array().unwrap()) {
        assert_eq!((&a["name"], &a["uv"], &a["profile"]), (&b["name"], &b["uv"], &b["profile"]));
    }
    assert!(english.contains("Mix by column") && english.contains("应用商店（安卓）"));
    assert!(!plain.contains("Mix by column") && without["mix"].as_object().unwrap().is_empty());
    let (chinese, report, _) = of("zh", "by = [\"channel\", \"day\"]");
    assert!(report.contains("字段构成") && report.contains("未入任何人群") && !report.contains("Mix by column"));
    let described = chinese["groups"][0]["description"].as_str().unwrap();
    assert!(
        described.starts_with("该人群共 ")
            && (described.contains("主要特征：") || described.contains("满足以下"))
            && described.contains("大盘的"),
        "{described}"
    );
    assert!(!described.contains(", ") && !described.contains(" (") && !described.contains("  "), "{described}");
}

#[test]
fn a_column_that_cannot_be_told_by_is_an_error_that_names_it() {
    let folder = Folder::new();
    folder.write("t.csv", csv(&rows(1)));
    let with = |by: &str| job(RATE, "en").replace(&format!("by = {BY:?}"), &format!("by = {by}"));
    folder.write("job.toml", with("[\"chanel\"]"));
    folder.nichemine("check job.toml").refused(3, &["profile.by", "\"chanel\"", "did you mean", "channel"]);
    folder.write("job.toml", with("[\"tier\", \"id\"]"));
    folder.nichemine("check job.toml").refused(2, &["profile.by", "\"id\""]);
    folder.write("job.toml", with("[\"bought\"]"));
    folder.nichemine("check job.toml").refused(2, &["profile.by", "\"bought\""]);
    // Neither plan nor describe take a column for a feature that is told by alone.
    folder.write("job.toml", with("[\"channel\", \"age\"]"));
    let told = folder.nichemine("check job.toml").well().out;
    assert!(told.contains("3 features"), "{told}");
    let told = folder.nichemine("plan job.toml").well().out;
    assert!(told.contains("3 features are combined"), "{told}");
    let told = folder.nichemine("describe job.toml").well().out;
    assert!(told.contains("tier") && !told.contains("channel"), "{told}");
}

#[test]
fn a_column_with_too_many_values_is_a_note_and_not_the_end() {
    let folder = Folder::new();
    let mut text = String::from("id,a,name,y\n");
    for id in 0..2_000 {
        writeln!(text, "{id},v{},customer {id},{}", id % 20, u8::from(id % 20 == 3 && id % 3 > 0 || id % 11 == 0))
            .unwrap();
    }
    folder.write("t.csv", text);
    let job = "input = { path = \"t.csv\", id = \"id\" }\nmetric = { column = \"y\", kind = \"rate\" }\noutput.dir = \"out\"\n\
        features.exclude = [\"name\"]\nscreen.max_distinct = 500\nprofile.by = [\"name\", \"a\"]\n";
    let run = folder.publish(job, "-w 2");
    let notes = json(run.join("manifest.json"))["notes"].to_string();
    assert!(notes.contains("name") && notes.contains("500 distinct values"), "{notes}");
    let mix = &json(run.join("groups.json"))["mix"];
    assert!(mix["name"].is_null() && mix["a"].as_array().unwrap().len() == 20, "{mix}");
}
