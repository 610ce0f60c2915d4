//! Groups from run to run: which keep their ids, what became of the others, and who went where.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::program::{Folder, answer, digests, json};

/// A city with its customers and how many of a hundred of them buy.
type City = (&'static str, usize, usize);

const CITIES: [City; 8] = [
    ("上海", 400, 70),
    ("成都", 410, 66),
    ("广州", 420, 62),
    ("杭州", 430, 58),
    ("苏州", 440, 54),
    ("武汉", 450, 50),
    ("南京", 460, 46),
    ("西安", 470, 42),
];

/// Customers by city, each with an id of its own from run to run; the others live where 8 of a hundred buy.
#[derive(Clone)]
struct Table {
    /// City, number within it when the table was made, and how many of a hundred of the city buy.
    rows: Vec<(String, &'static str, usize, usize)>,
}

impl Table {
    fn of(cities: &[City]) -> Table {
        let others = ["东城", "西城", "南城", "北城", "中城", "新城", "老城", "外城", "内城", "上城"]
            .map(|name| (name, 1600, 8));
        let mut rows = Vec::new();
        for &(city, customers, percent) in cities.iter().chain(&others) {
            rows.extend((0..customers).map(|n| (format!("{city}-{n}"), city, n, percent)));
        }
        Table { rows }
    }

    /// The first customers of a city move to another, and do as people do there.
    fn moved(mut self, from: &str, to: &'static str, customers: usize) -> Table {
        let percent = self.rows.iter().find(|row| row.1 == to).map_or(8, |row| row.3);
        self.rows.iter_mut().filter(|row| row.1 == from).take(customers).for_each(|row| (row.1, row.3) = (to, percent));
        self
    }

    fn csv(&self) -> String {
        let mut text = String::from("id,card,city,tier,bought\n");
        for (id, city, n, percent) in &self.rows {
            writeln!(text, "{id},card {id},{city},t{},{}", n % 3, u8::from(n * 37 % 100 < *percent)).unwrap();
        }
        text
    }
}

fn job(more: &str) -> String {
    format!(
        "[input]\npath = \"t.csv\"\nid = \"id\"\n[metric]\ncolumn = \"bought\"\nkind = \"rate\"\n[features]\ninclude = [\"city\", \"tier\"]\n\
         [enumerate]\nmax_level = 1\n[screen]\noff = true\n[merge]\ngroups = [1, 10]\n[output]\ndir = \"out\"\n{more}"
    )
}

/// A folder in which runs follow each other.
struct Runs(Folder);

impl Runs {
    fn new() -> Runs {
        Runs(Folder::new())
    }

    #[track_caller]
    fn run(&self, table: &Table, arguments: &str) -> PathBuf {
        self.0.write("t.csv", table.csv());
        self.0.publish(&job(""), arguments)
    }
}

/// Every city a group of its own.
const APART: &str = "--set merge.groups=[8,8]";

/// Id, name and status of each group.
fn groups(run: &Path) -> Vec<(u64, String, Option<String>)> {
    let groups = json(run.join("groups.json"));
    let of = |group: &Value| {
        let status = group["status"].as_str().map(str::to_owned);
        (group["id"].as_u64().unwrap(), group["name"].as_str().unwrap().to_owned(), status)
    };
    groups["groups"].as_array().unwrap().iter().map(of).collect()
}

fn id_of(run: &Path, city: &str) -> u64 {
    let name = format!("city={city}");
    groups(run).into_iter().find(|group| group.1 == name).unwrap_or_else(|| panic!("{name} in {:?}", groups(run))).0
}

fn migration(run: &Path) -> Value {
    json(run.join("migration.json"))
}

/// Customers who went from one group to another; null where that is not told.
fn cell(migration: &Value, from: Option<u64>, to: u64) -> Value {
    let rows = migration["matrix"].as_array().unwrap();
    let row = rows.iter().find(|row| row["from"].as_u64() == from).unwrap();
    let cells = row["to"].as_array().unwrap();
    cells.iter().find(|cell| cell["group"] == to).unwrap()["customers"].clone()
}

#[test]
fn groups_keep_their_ids_and_names_when_customers_come_and_go() {
    let runs = Runs::new();
    let first = runs.run(&Table::of(&CITIES), APART);
    assert_eq!(groups(&first).iter().map(|group| group.0).collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
    assert!(groups(&first).iter().all(|group| group.2.is_none()), "there was no run before");
    assert!(!first.join("migration.json").exists());

    // 成都 has fewer customers and 西安 many more, so that the order by impact is another one.
    let mut cities = CITIES;
    (cities[1].1, cities[7].1) = (300, 800);
    let table = Table::of(&cities).moved("上海", "广州", 50);
    let second = runs.run(&table, APART);
    for (city, ..) in CITIES {
        assert_eq!(id_of(&second, city), id_of(&first, city), "{city}");
    }
    let ids: Vec<u64> = groups(&second).iter().map(|group| group.0).collect();
    assert!(!ids.is_sorted(), "{ids:?} are in the order of impact");
    assert!(groups(&second).iter().all(|group| group.2.as_deref() == Some("kept")));
    let told = migration(&second);
    let [shanghai, chengdu, canton, xian] = ["上海", "成都", "广州", "西安"].map(|city| id_of(&first, city));
    assert_eq!(cell(&told, Some(shanghai), shanghai), 350);
    assert_eq!(cell(&told, Some(shanghai), canton), 50);
    assert_eq!(cell(&told, Some(chengdu), chengdu), 300);
    let row = told["matrix"].as_array().unwrap().iter().find(|row| row["from"] == chengdu).unwrap();
    assert_eq!(row["gone"], 110);
    assert_eq!(cell(&told, None, xian), 330);
    // All of the 3,480 but the 50 who moved and the 110 who left.
    assert_eq!(told["stayed"], 3320);
    runs.0.nichemine("verify out/latest").well();

    let report = std::fs::read_to_string(second.join("report.html")).unwrap();
    assert!(report.contains("Since the previous run") && report.contains("(95.4%) are in the same one"), "{report}");
    assert!(!report.contains(told["previous"]["run_id"].as_str().unwrap()), "no clock times");
    let told = runs.0.nichemine(&format!("run job.toml {APART}")).well().out;
    assert!(told.contains("kept"), "{told}");
}

#[test]
fn a_run_again_has_the_same_bytes_in_every_layout_and_its_predecessor_never_expires() {
    let runs = Runs::new();
    let keep = format!("{APART} --set output.keep_runs=2");
    let first = runs.run(&Table::of(&CITIES), &keep);
    let again = runs.run(&Table::of(&CITIES), &keep);
    assert_eq!(answer(&again), answer(&first), "the first is no predecessor of its own table");
    let table = Table::of(&CITIES).moved("上海", "广州", 60).moved("苏州", "东城", 30);
    let expected = answer(&runs.run(&table, &keep));
    assert!(expected.contains_key("migration.json"));
    for layout in ["-w 1", "-w 3", "-w 1 --processes 3", "-w 2 --processes 2", "-w 2"] {
        assert_eq!(answer(&runs.run(&table, &format!("{keep} {layout}"))), expected, "{layout}");
    }
    let left = || std::fs::read_dir(runs.0.path("out/runs")).unwrap().count();
    assert_eq!(left(), 3, "two, and the one that both are compared with");
    let other = runs.run(&table, &format!("{keep} --set output.language=zh"));
    assert_eq!(answer(&other)["migration.json"], expected["migration.json"], "another language is no other run");
    let report = std::fs::read_to_string(other.join("report.html")).unwrap();
    for part in ["与上次运行相比", "仍在原人群", "客户迁移矩阵", "city=上海"] {
        assert!(report.contains(part), "{part}");
    }
    // Somebody removes the run that it was compared with: the ids are those of the run again.
    let previous = json(other.join("manifest.json"))["previous"].as_str().unwrap().to_owned();
    std::fs::remove_dir_all(runs.0.path("out/runs").join(previous)).unwrap();
    let without = runs.run(&table, &keep);
    assert_eq!(groups(&without), groups(&other));
    assert_eq!(migration(&without)["stayed_share"], 1.0);
}

#[test]
fn groups_that_are_new_or_gone_are_told_and_no_number_is_given_twice() {
    let runs = Runs::new();
    let first = runs.run(&Table::of(&CITIES), "--set merge.groups=[8,10]");
    let gone = id_of(&first, "武汉");
    // In 武汉 people buy as often as all do, 深圳 is there for the first time.
    let mut cities = CITIES.to_vec();
    cities[5].2 = 16;
    cities.push(("深圳", 450, 75));
    let second = runs.run(&Table::of(&cities), "--set merge.groups=[8,10]");
    let new = groups(&second).into_iter().find(|group| group.1 == "city=深圳").unwrap();
    assert_eq!((new.0, new.2.as_deref()), (9, Some("new")), "{:?}", groups(&second));
    assert!(!groups(&second).iter().any(|group| group.0 == gone));
    let told = migration(&second);
    let vanished = told["vanished"].as_array().unwrap();
    assert_eq!((vanished.len(), &vanished[0]["id"], &vanished[0]["gone"]), (1, &gone.into(), &450.into()));
    let report = std::fs::read_to_string(second.join("report.html")).unwrap();
    assert!(report.contains("Group 9 (city=深圳) is new: 450 customers."), "{report}");
    assert!(report.contains("is no more: 450 are in no group, or no customers any more."), "{report}");
    for (city, ..) in CITIES.iter().filter(|city| city.0 != "武汉") {
        assert_eq!(id_of(&second, city), id_of(&first, city), "{city}");
    }
    // 武汉 comes back: it is a new group, as its customers were in none.
    cities[5].2 = 50;
    let third = runs.run(&Table::of(&cities), "--set merge.groups=[8,10]");
    assert_eq!(id_of(&third, "武汉"), 10);
    assert_eq!(json(third.join("groups.json"))["next_id"], 11);
}

#[test]
fn groups_that_split_or_join_are_told() {
    let runs = Runs::new();
    let table = Table::of(&CITIES);
    let few = runs.run(&table, "--set merge.groups=[3,3]");
    let many = runs.run(&table, APART);
    let of = |run: &Path, status: &str| {
        groups(run)
            .into_iter()
            .filter(|group| group.2.as_deref() == Some(status))
            .map(|group| group.0)
            .collect::<Vec<_>>()
    };
    // Each of the three has a largest part, which is it, or none that is large enough.
    let (kept, split) = (of(&many, "kept"), of(&many, "split"));
    assert_eq!(kept.len() + split.len(), 8);
    assert!(split.len() >= 5 && split.iter().all(|id| *id > 3), "{split:?}");
    for group in json(many.join("groups.json"))["groups"].as_array().unwrap() {
        let was = &group["was"].as_array().unwrap()[..];
        assert_eq!((was.len(), &was[0]["customers"]), (1, &group["uv"]), "all of it was in one group");
    }
    let report = std::fs::read_to_string(many.join("report.html")).unwrap();
    assert!(report.contains("split off: 100% of its customers were in group"), "{report}");

    let joined = runs.run(&table, "--set merge.groups=[3,3] --set merge.keep=\"ids\"");
    let names = |run: &Path| groups(run).into_iter().map(|group| group.1).collect::<Vec<_>>();
    let joins = of(&joined, "joined");
    assert!(!joins.is_empty(), "{:?}", groups(&joined));
    assert_eq!(names(&joined).len(), names(&few).len());
    let told = migration(&joined);
    let one = told["groups"].as_array().unwrap().iter().find(|group| group["id"] == joins[0]).unwrap();
    assert!(one["was"].as_array().unwrap().iter().filter(|was| was["most"] == true).count() >= 2);
    let report = std::fs::read_to_string(joined.join("report.html")).unwrap();
    assert!(report.contains("has most of the customers of several groups"));
    // One that took others in keeps its number, and not the name that said less than it is.
    let former = groups(&many);
    let own = groups(&joined).into_iter().filter(|group| joins.contains(&group.0));
    let renamed: Vec<(String, String)> =
        own.filter_map(|(id, name, _)| Some((name, former.iter().find(|group| group.0 == id)?.1.clone()))).collect();
    assert!(!renamed.is_empty(), "{former:?} {:?}", groups(&joined));
    for (name, was) in renamed {
        assert!(name != was && report.contains(&format!("(was: {was})")), "{name} {was}");
    }
}

#[test]
fn fewer_than_ten_customers_who_went_are_not_told_and_do_not_follow() {
    let runs = Runs::new();
    let first = runs.run(&Table::of(&CITIES), APART);
    let table = Table::of(&CITIES).moved("上海", "广州", 4).moved("苏州", "南京", 12);
    let second = runs.run(&table, APART);
    let [a, b, c, d] = ["上海", "广州", "苏州", "南京"].map(|city| id_of(&first, city));
    let told = migration(&second);
    assert_eq!(cell(&told, Some(a), b), Value::Null);
    assert_eq!(cell(&told, Some(c), d), 12);
    // 400 were in the first and 424 are in the second: neither what stayed nor who came may be told with them.
    let row = told["matrix"].as_array().unwrap().iter().find(|row| row["from"] == a).unwrap();
    let shown: i64 = row["to"].as_array().unwrap().iter().filter_map(|cell| cell["customers"].as_i64()).sum();
    let hidden = 400 - shown - row["gone"].as_i64().unwrap_or(0);
    assert!(hidden >= 10, "{row}");
    assert!(told["stayed"].is_null() || cell(&told, Some(a), a) == 396);
    let pages = ["report.html", "groups.json", "migration.json"]
        .map(|name| std::fs::read_to_string(second.join(name)).unwrap());
    assert!(pages[0].contains("fewer than 10 customers"));
    for page in &pages[1..] {
        assert!(!page.contains("\"customers\": 4,") && !page.contains("\"customers\": 4\n"), "{page}");
    }
    let lifted = runs.run(&table, &format!("{APART} --set enumerate.allow_small=true"));
    // Compared with the run before it, of the same table, in which nobody moved.
    assert_eq!(migration(&lifted)["stayed_share"], 1.0);
}

/// What a run notes, in `manifest.json` and in the report.
fn notes(run: &Path) -> Vec<String> {
    let notes = json(run.join("manifest.json"))["notes"].clone();
    serde_json::from_value(notes).unwrap()
}

#[test]
fn a_run_before_that_cannot_be_compared_is_a_note_and_no_failure() {
    let runs = Runs::new();
    let first = runs.run(&Table::of(&CITIES), APART);
    let table = Table::of(&CITIES).moved("上海", "广州", 40);
    let damage = |run: &Path, name: &str| {
        let good = std::fs::read(run.join(name)).unwrap();
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 1;
        // That has no checksum of its own: what is still JSON is believed.
        if name == "manifest.json" {
            bad.truncate(good.len() / 2);
        }
        std::fs::write(run.join(name), bad).unwrap();
        good
    };
    for name in ["audience/group=3/part-0.parquet", "groups.json", "features.json", "manifest.json"] {
        let good = damage(&first, name);
        let run = runs.run(&table, APART);
        assert!(
            notes(&run).iter().any(|note| note.contains("cannot be read") && note.contains(name)),
            "{name}: {:?}",
            notes(&run)
        );
        assert!(!run.join("migration.json").exists());
        let ids: Vec<u64> = groups(&run).iter().map(|group| group.0).collect();
        assert!(ids.iter().all(|id| *id > 8), "{name}: {ids:?}, as 1 to 8 were given");
        std::fs::remove_dir_all(&run).unwrap();
        std::fs::write(first.join(name), good).unwrap();
    }
    let run = runs.run(&table, &format!("{APART} --set input.id=card"));
    assert!(notes(&run).iter().any(|note| note.contains("known by \"id\"")), "{:?}", notes(&run));
    std::fs::remove_dir_all(&run).unwrap();

    runs.0.write("t.csv", table.csv());
    let no_id = job("").replace("id = \"id\"\n", "");
    let run = runs.0.publish(&no_id, APART);
    assert!(notes(&run).iter().any(|note| note.contains("their rows")), "{:?}", notes(&run));
    runs.0.write("t.csv", Table::of(&CITIES).csv());
    let run = runs.0.publish(&no_id, APART);
    assert!(notes(&run).iter().any(|note| note.contains("without input.id")), "{:?}", notes(&run));
    assert!(!run.join("migration.json").exists());
    assert!(
        groups(&run).iter().all(|group| (9..=16).contains(&group.0)),
        "those of the run before it, which has the same segments"
    );
    let run = runs.0.publish(&no_id, "--set merge.groups=[3,3]");
    assert!(run.join("migration.json").exists(), "rows of one table are the same customers");
}

#[test]
fn nothing_is_kept_where_nothing_is_to_be() {
    let runs = Runs::new();
    runs.run(&Table::of(&CITIES), APART);
    let mut cities = CITIES;
    cities.reverse();
    cities[0].1 = 900;
    let run = runs.run(&Table::of(&cities), &format!("{APART} --set merge.keep=\"nothing\""));
    assert_eq!(groups(&run).iter().map(|group| group.0).collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
    assert!(!run.join("migration.json").exists());
}

#[test]
fn no_number_is_given_twice_after_runs_that_keep_nothing() {
    let runs = Runs::new();
    runs.run(&Table::of(&CITIES), APART);
    let mut later = Table::of(&CITIES);
    later.rows.iter_mut().for_each(|row| row.0 = format!("later-{}", row.0));
    let ids = "--set merge.keep=\"ids\"";
    let run = runs.run(&later, &format!("{APART} {ids}"));
    assert!(groups(&run).iter().all(|group| (9..=16).contains(&group.0)), "nobody is in both");
    let next = |run: &Path| json(run.join("groups.json"))["next_id"].clone();
    assert_eq!(next(&run), 17);
    let run = runs.run(&Table::of(&CITIES), &format!("{APART} --set merge.keep=\"nothing\""));
    assert_eq!((groups(&run)[0].0, next(&run)), (1, 17.into()));
    let run = runs.run(&later, &format!("{APART} {ids} --set merge.linkage=ward"));
    assert!(groups(&run).iter().all(|group| group.0 >= 17), "{:?}", groups(&run));
}

#[test]
fn a_day_without_groups_is_passed_over() {
    let runs = Runs::new();
    let first = runs.run(&Table::of(&CITIES), APART);
    let mut nobody = Table::of(&CITIES);
    nobody.rows.iter_mut().for_each(|row| row.3 = 0);
    assert!(groups(&runs.run(&nobody, APART)).is_empty());
    let third = runs.run(&Table::of(&CITIES).moved("上海", "广州", 40), APART);
    let named = |run: &Path| groups(run).into_iter().map(|group| (group.0, group.1)).collect::<Vec<_>>();
    assert_eq!(named(&third).len(), named(&first).len());
    assert!(named(&third).iter().all(|group| named(&first).contains(group)), "{:?}", named(&third));
    assert_eq!(migration(&third)["previous"]["run_id"], json(first.join("manifest.json"))["run_id"]);
}

#[test]
fn a_folder_of_a_group_that_nobody_made_is_no_number_to_count_on_from() {
    let runs = Runs::new();
    let first = runs.run(&Table::of(&CITIES), APART);
    std::fs::create_dir(first.join("audience/group=4294967295")).unwrap();
    std::fs::write(first.join("manifest.json"), "{").unwrap();
    let second = runs.run(&Table::of(&CITIES).moved("上海", "广州", 40), APART);
    assert!(groups(&second).iter().all(|group| (9..=16).contains(&group.0)), "{:?}", groups(&second));
}

#[test]
fn a_number_that_nobody_gave_is_a_note_and_no_number_to_count_on_from() {
    let runs = Runs::new();
    for (name, forged) in [("\"next_id\": 9", "\"next_id\": 4294967295"), ("\"id\": 8", "\"id\": 4294967294")] {
        let run = runs.run(&Table::of(&CITIES), APART);
        let text = std::fs::read_to_string(run.join("groups.json")).unwrap();
        assert_eq!(text.matches(&format!("{name},")).count(), 1);
        let mut manifest = std::fs::read_to_string(run.join("manifest.json")).unwrap();
        let digest = digests(&run)["groups.json"].clone();
        let bytes = format!("\"bytes\": {}", text.len());
        std::fs::write(run.join("groups.json"), text.replace(&format!("{name},"), &format!("{forged},"))).unwrap();
        let more = text.len() + forged.len() - name.len();
        let at = manifest.find(&digest).unwrap();
        let end = at + digest.len();
        let entry = manifest[..at].rfind('{').unwrap()..end + manifest[end..].find('}').unwrap();
        let mended = manifest[entry.clone()]
            .replace(&digest, &digests(&run)["groups.json"])
            .replace(&bytes, &format!("\"bytes\": {more}"));
        manifest.replace_range(entry, &mended);
        std::fs::write(run.join("manifest.json"), manifest).unwrap();
        let later = runs.run(&Table::of(&CITIES).moved("上海", "广州", 40), APART);
        assert!(groups(&later).iter().all(|group| (9..=16).contains(&group.0)), "{:?}", groups(&later));
        assert!(
            notes(&later).iter().any(|note| note.contains("a number of a group is not below")),
            "{:?}",
            notes(&later)
        );
        std::fs::remove_dir_all(runs.0.path("out")).unwrap();
    }
}

#[test]
fn groups_are_made_of_what_they_were_made_of_while_that_stands() {
    let runs = Runs::new();
    let first = runs.run(&Table::of(&CITIES), "--set merge.groups=[3,5]");
    // What was nearest to what by its lift is another now, and the tree with it.
    let mut cities = CITIES;
    for (place, percent) in [44, 66, 48, 58, 54, 50, 62, 70].into_iter().enumerate() {
        cities[place].2 = percent;
    }
    let of = |run: &Path| -> Vec<(u64, Vec<String>)> {
        let document = json(run.join("groups.json"));
        let group = |group: &Value| {
            let mut segments: Vec<String> = serde_json::from_value(group["segments"].clone()).unwrap();
            segments.sort();
            (group["id"].as_u64().unwrap(), segments)
        };
        let mut groups: Vec<_> = document["groups"].as_array().unwrap().iter().map(group).collect();
        groups.sort();
        groups
    };
    let second = runs.run(&Table::of(&cities), "--set merge.groups=[3,5]");
    let document = json(second.join("groups.json"));
    let reason = document["reason"].as_str().unwrap();
    assert!(document["kept"].is_object(), "{reason}");
    assert_eq!(of(&second), of(&first), "{reason}");
    assert!(
        reason.contains("groups as in the previous run, of 8 highlights that were in them and 0 that were not"),
        "{reason}"
    );
    assert!(document["choices"].as_array().unwrap().iter().all(|choice| choice["chosen"] == false));
    assert_eq!(migration(&second)["stayed_share"], 1.0);
    // Another question is answered afresh, though the ids stay where they fit.
    let other = runs.run(&Table::of(&cities), "--set merge.groups=[3,5] --set merge.linkage=ward");
    assert!(json(other.join("groups.json"))["kept"].is_null());
    let afresh = runs.run(&Table::of(&cities), "--set merge.groups=[3,5] --set merge.keep=\"ids\"");
    assert_ne!(of(&afresh), of(&first), "made afresh they would be others");
}

#[test]
fn groups_of_other_customers_are_the_same_while_they_are_made_of_the_same() {
    let runs = Runs::new();
    let first = runs.run(&Table::of(&CITIES), APART);
    let mut table = Table::of(&CITIES);
    table.rows.reverse();
    table.rows.iter_mut().for_each(|row| row.0 = format!("later-{}", row.0));
    let second = runs.run(&table, APART);
    let named = |run: &Path| groups(run).into_iter().map(|group| (group.0, group.1)).collect::<Vec<_>>();
    assert_eq!(named(&second), named(&first));
    let told = migration(&second);
    assert_eq!(
        (&told["stayed"], &told["groups"][0]["status"], &told["matrix"][0]["gone"]),
        (&0.into(), &"kept".into(), &400.into())
    );
    let afresh = runs.run(&table, &format!("{APART} --set merge.keep=\"ids\""));
    let again = runs.run(&Table::of(&CITIES), &format!("{APART} --set merge.keep=\"ids\""));
    assert!(groups(&afresh).iter().all(|group| group.0 <= 8), "the same table");
    assert!(groups(&again).iter().all(|group| group.0 > 8 && group.2.as_deref() == Some("new")), "nobody is in both");
}

#[test]
fn a_name_stays_while_it_is_true_although_a_new_one_would_be_another() {
    let runs = Runs::new();
    let three = "--set merge.groups=[3,3]";
    let first = runs.run(&Table::of(&CITIES), three);
    // Those that were the largest of their groups are the smallest.
    let mut cities = CITIES;
    for (place, city) in cities.iter_mut().enumerate() {
        city.1 = [470, 460, 450, 440, 430, 420, 410, 400][place];
    }
    let second = runs.run(&Table::of(&cities), three);
    let names = |run: &Path| groups(run).into_iter().map(|group| (group.0, group.1)).collect::<BTreeMap<_, _>>();
    assert_eq!(names(&second), names(&first));
    let renamed = |run: &Path| {
        let document = json(run.join("groups.json"));
        let groups = document["groups"].as_array().unwrap();
        groups.iter().filter(|group| group["typical"].is_string() && group["name"] != group["typical"]).count()
    };
    assert!(renamed(&second) > 0);
    // Not in the midst of another language.
    let third = runs.run(&Table::of(&cities).moved("上海", "广州", 20), &format!("{three} --set output.language=zh"));
    assert_eq!(renamed(&third), 0);
    assert!(names(&third).keys().eq(names(&first).keys()));
}

#[test]
fn a_group_of_cells_is_the_same_one_above_the_mean_and_below() {
    let runs = Runs::new();
    let percents = |middle: usize| {
        let names = ["东", "西", "南", "北", "中", "新", "老", "外", "内"];
        let of = |(place, name): (usize, &'static str)| {
            let percent = [5, middle, 15][place / 3];
            (0..1000).map(move |n| (format!("{name}-{n}"), name, n, percent))
        };
        Table { rows: names.into_iter().enumerate().flat_map(of).collect() }
    };
    let cells = "--set merge.of=cells --set merge.by=[\"city\"] --set merge.groups=[3,3]";
    let of = |run: &Path| -> Vec<(u64, String, String)> {
        let document = json(run.join("groups.json"));
        let group = |group: &Value| {
            let direction = group["direction"].as_str().unwrap().to_owned();
            let mut segments: Vec<&str> =
                group["segments"].as_array().unwrap().iter().map(|segment| segment.as_str().unwrap()).collect();
            segments.sort_unstable();
            (group["id"].as_u64().unwrap(), segments.join(", "), direction)
        };
        let mut all: Vec<_> = document["groups"].as_array().unwrap().iter().map(group).collect();
        all.sort();
        all
    };
    let (above, below) = (of(&runs.run(&percents(11), cells)), of(&runs.run(&percents(9), cells)));
    let parts = |groups: &[(u64, String, String)]| {
        groups.iter().map(|(id, segments, _)| (*id, segments.clone())).collect::<Vec<_>>()
    };
    assert_eq!(parts(&above), parts(&below));
    let turned = above.iter().zip(&below).filter(|(a, b)| a.2 != b.2).count();
    assert_eq!(turned, 1, "{above:?} {below:?}");
}

#[test]
fn two_runs_are_told_apart() {
    let runs = Runs::new();
    let first = runs.run(&Table::of(&CITIES), APART);
    let mut cities = CITIES.to_vec();
    cities[5].2 = 16;
    cities.push(("深圳", 450, 75));
    let second = runs.run(&Table::of(&cities).moved("上海", "广州", 50), APART);
    let arguments = ["diff", first.to_str().unwrap(), second.to_str().unwrap()];
    let before = digests(&runs.0.path("out"));
    let told = runs.0.start_with(&arguments).end().well().out;
    for part in [
        "Highlights gained: 1",
        "city=深圳",
        "Highlights lost: 1",
        "city=武汉",
        "Highlights of both runs: 7",
        "is no more",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    let told = runs.0.start_with(&[&arguments[..], &["--output", "json"]].concat()).end().well().out;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&told["gained"][0]["segment"], &told["lost"][0]["segment"]),
        (&"city=深圳".into(), &"city=武汉".into())
    );
    assert_eq!(told["before"]["customers"], 19_480);
    let [shanghai, canton] = ["上海", "广州"].map(|city| id_of(&first, city));
    assert_eq!(cell(&told["migration"], Some(shanghai), canton), 50);
    let same = told["migration"]["groups"].as_array().unwrap().iter().filter(|group| !group["same"].is_null());
    assert!(same.clone().count() == 7 && same.into_iter().all(|group| group["same"] == group["id"]));
    assert_eq!(told["migration"]["matrix"], migration(&second)["matrix"], "as the run itself says");
    assert_eq!(digests(&runs.0.path("out")), before, "nothing is written");

    let itself = runs.0.start_with(&["diff", arguments[1], arguments[1]]).end().well().out;
    assert!(itself.contains("same table") && itself.contains("Highlights gained: 0"), "{itself}");
    runs.0.start_with(&["diff", arguments[1], "out"]).end().refused(3, &["_SUCCESS", "out"]);
    std::fs::write(first.join("groups.json"), "{}").unwrap();
    runs.0.start_with(&arguments).end().refused(3, &["groups.json"]);
}
