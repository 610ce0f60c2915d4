//! Sets of tags, as text with separators and as lists: every segment against the definition, and what is refused.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Builder, Int64Array, LargeListBuilder, ListBuilder, RecordBatch, StringArray,
    StringBuilder, StructArray,
};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type};

use crate::program::{Dice, Folder, answer, json, parquet, write_parquet};

const TAGS: [&str; 7] = ["旅行", "运动", "travel", "finance", "a & b", "10", "rare"];
const MIN_UV: i64 = 20;

/// A customer: 0 to 6 distinct tags, 0 to 3 numbers, a city, whether they bought.
struct Customer {
    interests: Vec<&'static str>,
    shops: Vec<i64>,
    city: &'static str,
    bought: bool,
}

fn customers(count: usize) -> Vec<Customer> {
    let mut dice = Dice(20_260);
    let some = |dice: &mut Dice, of: u64, most: u64| -> Vec<u64> {
        let mut places: Vec<u64> = (0..dice.roll(most + 1)).map(|_| dice.roll(of).min(dice.roll(of))).collect();
        places.sort_unstable();
        places.dedup();
        places
    };
    (0..count)
        .map(|_| {
            let interests: Vec<&str> = some(&mut dice, 7, 6).into_iter().map(|i| TAGS[i as usize]).collect();
            let shops: Vec<i64> = some(&mut dice, 5, 3).into_iter().map(|i| 9 + i as i64).collect();
            let city = ["Paris", "Oslo", "上海"][dice.roll(3) as usize];
            let likely =
                2 + 9 * u64::from(interests.contains(&"旅行") && interests.contains(&"运动") && city == "上海");
            Customer { interests, shops, city, bought: dice.roll(20) < likely }
        })
        .collect()
}

/// `id,interests,city,bought` with a tag repeated, white space around some tags, and empty ones.
fn csv(customers: &[Customer]) -> String {
    let mut text = String::from("id,interests,city,bought\n");
    for (id, c) in customers.iter().enumerate() {
        let mut interests: Vec<String> = c.interests.iter().map(|tag| (*tag).to_owned()).collect();
        if id % 3 == 0 {
            interests.reverse();
            interests.extend(interests.first().map(|tag| format!(" {tag}\u{3000}")));
        }
        if id % 4 == 0 {
            interests.extend([String::new(), "?".into()]);
        }
        text.push_str(&format!("{id},{},{},{}\n", interests.join("|"), c.city, i32::from(c.bought)));
    }
    text
}

/// The same with lists, and the numbers in a further one.
fn batch(customers: &[Customer]) -> RecordBatch {
    let mut interests = ListBuilder::new(StringBuilder::new());
    let mut shops = LargeListBuilder::new(Int32Builder::new());
    for (id, c) in customers.iter().enumerate() {
        match c.interests.is_empty() && id % 2 == 0 {
            true => interests.append_null(),
            false => interests.append_value(c.interests.iter().map(|tag| Some(*tag)).chain([None, Some("?")])),
        }
        shops.append_value(c.shops.iter().map(|&shop| Some(shop as i32)));
    }
    let columns: [(&str, ArrayRef); 5] = [
        ("id", Arc::new(Int64Array::from_iter_values(0..customers.len() as i64))),
        ("interests", Arc::new(interests.finish())),
        ("city", Arc::new(StringArray::from_iter_values(customers.iter().map(|c| c.city)))),
        ("shops", Arc::new(shops.finish())),
        ("bought", Arc::new(Int64Array::from_iter_values(customers.iter().map(|c| i64::from(c.bought))))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

fn job(path: &str, more: &str) -> String {
    format!(
        "[input]\npath = {path:?}\nid = \"id\"\ncsv = {{ null_values = [\"?\"] }}\n\
         [metric]\ncolumn = \"bought\"\nkind = \"rate\"\n{more}\n\
         [enumerate]\nmax_level = 3\nmin_uv = {MIN_UV}\n[highlight]\nmax_uv_share = 0.2\n[output]\ndir = \"out\"\n"
    )
}

/// Customers and buyers of every set of up to three items, by its text.
fn truth(customers: &[Customer], shops: bool) -> BTreeMap<String, (i64, i64)> {
    let mut found: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for c in customers {
        let mut tags: Vec<&str> = c.interests.clone();
        tags.sort_unstable();
        let quoted = |tag: &str| if tag == "a & b" { format!("{tag:?}") } else { tag.to_owned() };
        let mut items: Vec<String> = tags.into_iter().map(|tag| format!("interests={}", quoted(tag))).collect();
        items.push(format!("city={}", c.city));
        if shops {
            items.extend(c.shops.iter().map(|shop| format!("shops={shop}")));
        }
        for mask in (1u32..1 << items.len()).filter(|mask| mask.count_ones() <= 3) {
            let chosen: Vec<&str> =
                (0..items.len()).filter(|i| mask >> i & 1 == 1).map(|i| items[i].as_str()).collect();
            let sums = found.entry(chosen.join(" & ")).or_default();
            *sums = (sums.0 + 1, sums.1 + i64::from(c.bought));
        }
    }
    found.retain(|_, (uv, _)| *uv >= MIN_UV);
    found
}

fn segments(run: &Path) -> BTreeMap<String, (i64, i64)> {
    let batch = parquet(run.join("segments.parquet"));
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let (uv, sum) = (column("uv").as_primitive::<Int64Type>(), column("metric_sum").as_primitive::<Float64Type>());
    let texts = column("segment").as_string::<i32>();
    (0..batch.num_rows()).map(|i| (texts.value(i).to_owned(), (uv.value(i), sum.value(i) as i64))).collect()
}

#[test]
fn tags_of_text_and_of_lists_are_counted_by_their_definition() {
    let customers = customers(4000);
    let folder = Folder::new();
    folder.write("t.csv", csv(&customers));
    write_parquet(&folder.path("t.parquet"), &batch(&customers), 700);
    // The same in two files that hold their lists differently.
    let (first, second) = (batch(&customers).slice(0, 1500), batch(&customers).slice(1500, 2500));
    let large = DataType::LargeList(Arc::new(Field::new("element", DataType::LargeUtf8, true)));
    let cast = |column: &ArrayRef| match column.data_type() {
        DataType::List(_) => arrow::compute::cast(column, &large).unwrap(),
        _ => Arc::clone(column),
    };
    let names = second.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    let columns = names.into_iter().zip(second.columns()).map(|(name, column)| (name, cast(column), true));
    std::fs::create_dir(folder.path("two")).unwrap();
    write_parquet(&folder.path("two/a.parquet"), &first, 700);
    write_parquet(&folder.path("two/b.parquet"), &RecordBatch::try_from_iter_with_nullable(columns).unwrap(), 700);
    let separated = "[features.interests]\nseparator = \"|\"";
    for (path, more, shops) in [("t.csv", separated, false), ("t.parquet", "", true), ("two/*.parquet", "", true)] {
        let expected = truth(&customers, shops);
        assert!(expected.contains_key("interests=\"a & b\" & interests=旅行 & city=上海"));
        let run = folder.publish(&job(path, more), "-w 1");
        assert_eq!(segments(&run), expected, "{path}");
        folder.nichemine("verify out/latest").well();
        let one = answer(&run);
        for layout in ["-w 3", "--processes 2"] {
            assert_eq!(answer(&folder.publish(&job(path, more), layout)), one, "{path} {layout}");
        }
        // Who has none at all, and how the table holds them.
        let features = json(run.join("features.json"));
        let of =
            |list: &str, key: &str| features[list].as_array().unwrap().iter().find(|f| f[key] == "interests").cloned();
        let verdict = of("verdicts", "feature").unwrap();
        let none = customers.iter().filter(|c| c.interests.is_empty()).count() as f64 / 4000.0;
        assert_eq!((&verdict["kept"], verdict["null_share"].as_f64()), (&true.into(), Some(none)), "{verdict}");
        let source = &of("features", "name").unwrap()["tags"];
        match shops {
            true => assert_eq!(source, "list"),
            false => assert_eq!(source["text"]["separator"], "|"),
        }
        // The niche that the table has is found, and its rule asks for both of its tags.
        let highlights = std::fs::read_to_string(run.join("highlights.csv")).unwrap();
        assert!(highlights.contains("interests=旅行 & interests=运动 & city=上海"), "{highlights}");
        assert!(highlights.contains("'旅行' = ANY("), "{highlights}");
    }
}

#[test]
fn tags_take_part_in_everything_that_looks_at_a_table() {
    let customers = customers(600);
    let folder = Folder::new();
    write_parquet(&folder.path("t.parquet"), &batch(&customers), 200);
    let told = folder.nichemine("describe t.parquet").well().out;
    assert!(told.contains("list of text") && told.contains("list of int") && told.contains("8 tags, "), "{told}");
    folder.write("job.toml", job("t.parquet", ""));
    assert!(folder.nichemine("check job.toml").well().out.contains("3 features"));
    let plan = folder.nichemine("plan job.toml -w 2 --output json").well().out;
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    // Of two sets of tags and a city: each alone; tags twice or with another of the three; of the ten by threes all but those with the
    // city twice.
    let sets: Vec<_> = plan["levels"].as_array().unwrap().iter().map(|l| l["feature_sets"].as_u64().unwrap()).collect();
    assert_eq!(sets, [3, 5, 7]);
    let counted = folder.publish(&job("t.parquet", ""), "-w 1");
    let levels = json(counted.join("manifest.json"))["levels"].clone();
    // Level 1 counts the base's cell too.
    for (level, planned) in levels.as_array().unwrap().iter().zip(plan["levels"].as_array().unwrap()).skip(1) {
        assert!(planned["cells_at_most"].as_u64() >= level["cells"].as_u64(), "{planned} {level}");
        assert!(planned["candidates_at_most"].as_u64() >= level["kept"].as_u64(), "{planned} {level}");
    }
    let merged = "on_duplicate_id = \"merge_identical\"";
    // The same tags in another order are the same set.
    folder.write("d.csv", "id,interests,city,bought\n1,a|b,x,1\n1,b|a|b,x,1\n2,a,x,0\n");
    let job =
        job("d.csv", "[features.interests]\nkind = \"tags\"").replacen("[input]", &format!("[input]\n{merged}"), 1);
    let run = folder.publish(&job, "-w 2");
    assert_eq!(json(run.join("quality.json"))["rows"]["merged"], 1);
}

#[test]
fn settings_of_tags_that_make_no_sense_are_refused_by_name() {
    let folder = Folder::new();
    let customers = customers(100);
    write_parquet(&folder.path("t.parquet"), &batch(&customers), 100);
    folder.write("t.csv", csv(&customers));
    let refused = |path: &str, settings: &str, code: i32, says: &[&str]| {
        folder.write("job.toml", job(path, settings));
        folder.nichemine("run job.toml -w 2").refused(code, says);
    };
    let csv = |settings: &str, says: &[&str]| refused("t.csv", &format!("[features.interests]\n{settings}"), 2, says);
    csv("separator = \"\"", &["features.interests.separator = \"\"", "between two tags"]);
    csv("separator = \", \"", &["features.interests.separator = \", \"", "white space"]);
    csv("separator = \"|\"\nkind = \"category\"", &["features.interests.separator", "kind = \"tags\""]);
    csv("separator = \"|\"\nbin = { quantiles = 4 }", &["features.interests.separator", "bin"]);
    csv("kind = \"tags\"\nmissing = \"mode\"", &["features.interests.missing", "without tags"]);
    let on = |feature: &str, settings: &str, says: &[&str]| {
        refused("t.parquet", &format!("[features.{feature}]\n{settings}"), 3, says);
    };
    on("id", "separator = \"|\"", &["features.id.separator", "\"id\" is int", "expected text"]);
    on("shops", "separator = \"|\"", &["features.shops.separator", "list of int", "expected text"]);
    on("id", "kind = \"tags\"", &["features.id.kind", "\"id\" is int", "text or a list"]);
    on("shops", "kind = \"category\"", &["features.shops.kind", "list of int"]);
    on("shops", "bin = { quantiles = 4 }", &["features.shops", "list of int", "expected numbers"]);
    on("interests", "missing = \"mode\"", &["features.interests.missing", "list of text"]);
    folder.write("job.toml", job("t.parquet", "").replace("\"bought\"", "\"shops\""));
    folder.nichemine("run job.toml").refused(3, &["metric.column", "list of int"]);
}

#[test]
fn lists_that_are_no_tags_and_tags_without_end_are_left_out_with_the_reason() {
    let folder = Folder::new();
    let rows = 300;
    let customers = customers(rows);
    let ints: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
    let parts: ArrayRef =
        Arc::new(StructArray::from(vec![(Arc::new(Field::new("n", DataType::Int64, true)), Arc::clone(&ints))]));
    let offsets = arrow::buffer::OffsetBuffer::from_lengths(std::iter::repeat_n(1, rows));
    let item = Arc::new(Field::new("item", parts.data_type().clone(), true));
    let structs: ArrayRef = Arc::new(arrow::array::ListArray::new(item, offsets, parts, None));
    let mut ids = ListBuilder::new(StringBuilder::new());
    let mut nobody = ListBuilder::new(StringBuilder::new());
    (0..rows).for_each(|i| {
        ids.append_value([Some(format!("a{i}")), Some(format!("b{i}"))]);
        nobody.append(true);
    });
    let mut columns: Vec<(String, ArrayRef)> = batch(&customers)
        .schema()
        .fields()
        .iter()
        .zip(batch(&customers).columns())
        .map(|(field, column)| (field.name().clone(), Arc::clone(column)))
        .collect();
    columns.push(("structs".into(), structs));
    columns.push(("ids".into(), Arc::new(ids.finish())));
    columns.push(("nobody".into(), Arc::new(nobody.finish())));
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap();
    write_parquet(&folder.path("t.parquet"), &batch, 100);
    let run = folder.publish(&job("t.parquet", "[screen]\nmax_distinct = 500"), "-w 2");
    let features = json(run.join("features.json"));
    let reason = |feature: &str| {
        let verdict =
            features["verdicts"].as_array().unwrap().iter().find(|v| v["feature"] == feature).unwrap().clone();
        assert_eq!(verdict["kept"], false, "{verdict}");
        verdict["reason"].as_str().unwrap().to_owned()
    };
    assert!(
        reason("structs").contains("Struct") && reason("structs").contains("lists of text"),
        "{}",
        reason("structs")
    );
    assert!(reason("ids").contains("screen.max_distinct"), "{}", reason("ids"));
    assert!(reason("nobody").contains("no value is frequent enough"), "{}", reason("nobody"));
}
