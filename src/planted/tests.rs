use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::highlight::Direction;
use crate::job::Job;

const SMALL: Planting =
    Planting { customers: 20_000, features: 12, cardinalities: Vec::new(), niches: 8, seed: 1, language: Language::En };

/// The header and the rows of a Parquet file, every value as text and null as nothing.
fn read_parquet(path: &Path) -> (Vec<String>, Vec<Vec<String>>) {
    let file = std::fs::File::open(path).expect("the table");
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).expect("parquet");
    let header = builder.schema().fields().iter().map(|f| f.name().clone()).collect();
    let mut rows = Vec::new();
    for batch in builder.build().expect("a reader") {
        let batch = batch.expect("readable");
        let options = FormatOptions::default();
        let columns: Vec<ArrayFormatter> =
            batch.columns().iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options).expect("plain")).collect();
        rows.extend((0..batch.num_rows()).map(|row| columns.iter().map(|c| c.value(row).to_string()).collect()));
    }
    (header, rows)
}

/// Whether a row has an item, as a reader of the label understands it.
fn has(row: &[String], header: &[String], item: &str) -> bool {
    let (feature, wanted) = item.split_once('=').expect("feature=item");
    let value = &row[header.iter().position(|name| name == feature).expect("a column")];
    match wanted.strip_prefix('[').and_then(|band| band.strip_suffix(')')).and_then(|band| band.split_once(',')) {
        Some((low, high)) => {
            let number = |text: &str| text.parse::<f64>().expect("a number");
            number(low) <= number(value) && number(value) < number(high)
        }
        None => value == wanted,
    }
}

fn assert_truth_is_a_recount(planting: &Planting) -> Truth {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("t.parquet");
    let truth = plant(planting, &path).expect("planted");
    let beside = Truth::read(&path).expect("written beside");
    let counts = |truth: &Truth| -> Vec<(String, i64, i64, Direction)> {
        truth.niches.iter().map(|n| (n.segment.clone(), n.uv, n.metric_sum, n.direction)).collect()
    };
    assert_eq!(counts(&beside), counts(&truth));
    // The JSON reader may be off by a unit in the last place.
    assert!(beside.niches.iter().zip(&truth.niches).all(|(a, b)| (a.lift - b.lift).abs() < 1e-12));
    let (header, rows) = read_parquet(&path);
    assert_eq!(rows.len() as u64, planting.customers);
    let features = if planting.cardinalities.is_empty() { planting.features } else { planting.cardinalities.len() };
    assert_eq!((truth.features, header.len()), (features, features + 4));
    let metric = header.iter().position(|name| *name == truth.metric).expect("the metric");
    let yes = |row: &&Vec<String>| row[metric] == "1";
    assert!(rows.iter().all(|row| row[metric] == "1" || row[metric] == "0"));
    let mean = rows.iter().filter(yes).count() as f64 / rows.len() as f64;
    assert_eq!(truth.base_mean, mean);
    assert_eq!(truth.niches.len(), planting.niches);
    for niche in &truth.niches {
        let items: Vec<&str> = niche.segment.split(" & ").collect();
        let places: Vec<usize> = items
            .iter()
            .map(|item| {
                header.iter().position(|n| n == item.split_once('=').expect("feature=item").0).expect("a column")
            })
            .collect();
        assert!(places.is_sorted(), "table order: {niche:?}");
        let covered: Vec<&Vec<String>> =
            rows.iter().filter(|row| items.iter().all(|item| has(row, &header, item))).collect();
        assert_eq!(niche.uv, covered.len() as i64, "{niche:?}");
        assert_eq!(niche.metric_sum, covered.iter().filter(|row| yes(row)).count() as i64, "{niche:?}");
        let lift = niche.metric_sum as f64 / niche.uv as f64 / mean;
        assert!((niche.lift - lift).abs() < 1e-12, "two orders of division: {niche:?}");
        let share = niche.uv as f64 / rows.len() as f64;
        assert!((0.003..=0.03).contains(&share), "{niche:?}");
    }
    truth
}

#[test]
fn the_truth_is_what_a_recount_of_the_table_finds() {
    // More than one row group, and a short last one.
    let truth = assert_truth_is_a_recount(&Planting { customers: 150_001, ..SMALL });
    assert!((0.075..0.085).contains(&truth.base_mean), "{}", truth.base_mean);
    assert!(truth.niches.iter().any(|niche| niche.segment.contains("age=[30,40)")));
    for niche in &truth.niches {
        let expected = match niche.direction {
            Direction::Over => 2.6..6.6,
            Direction::Under => 0.15..0.42,
        };
        assert!(expected.contains(&niche.lift), "{niche:?}");
    }
    assert_eq!(truth.niches.iter().filter(|niche| niche.direction == Direction::Under).count(), 2);
}

#[test]
fn niches_have_their_sizes_in_small_narrow_wide_and_chinese_tables() {
    assert_truth_is_a_recount(&SMALL);
    assert_truth_is_a_recount(&Planting { features: 4, niches: 4, seed: 2, ..SMALL });
    assert_truth_is_a_recount(&Planting { features: 60, niches: 12, seed: 3, ..SMALL });
    let truth = assert_truth_is_a_recount(&Planting { language: Language::Zh, seed: 4, ..SMALL });
    assert_eq!(truth.metric, "是否转化");
    assert!(truth.niches.iter().any(|niche| niche.segment.contains("年龄=[30,40)")), "{truth:?}");
    assert!(truth.niches.iter().all(|niche| !niche.segment.contains("city")), "{truth:?}");
    let none = assert_truth_is_a_recount(&Planting { niches: 0, ..SMALL });
    assert!((0.07..0.09).contains(&none.base_mean), "{none:?}");
}

#[test]
fn every_seed_finds_room_for_niches_of_which_none_is_part_of_another() {
    for seed in 0..40 {
        let planting = Planting { seed, ..SMALL };
        let features = customers::features(planting.features, planting.language);
        let sample = customers::customers(&features, seed, 0..planting.customers);
        let plans = niche::choose(&features, &sample, planting.niches, seed).expect("room");
        for (i, a) in plans.niches.iter().enumerate() {
            assert!((2..=3).contains(&a.items.len()));
            for b in &plans.niches[i + 1..] {
                let shared = a.items.iter().filter(|item| b.items.contains(item)).count();
                assert!(shared <= 1, "{a:?} {b:?}");
                let both = (0..sample.ids.len()).filter(|&r| a.covers(&sample, r) && b.covers(&sample, r)).count();
                let of = |plan: &niche::Plan| (0..sample.ids.len()).filter(|&row| plan.covers(&sample, row)).count();
                assert!(both * 20 <= of(a).min(of(b)), "{a:?} {b:?}");
            }
        }
    }
}

#[test]
fn twenty_four_niches_leave_the_other_customers_near_the_base() {
    for features in [12, 40, 200] {
        let features = customers::features(features, Language::En);
        let sample = customers::customers(&features, 5, 0..20_000);
        let plans = niche::choose(&features, &sample, 24, 5).expect("room");
        // min_lift is 1.1: from 0.08 / 1.1 = 0.0727 down to half of the base nobody is called an under-performer by size alone.
        assert!((0.05..0.08).contains(&plans.elsewhere), "{}", plans.elsewhere);
    }
}

#[test]
fn the_same_settings_give_the_same_bytes_and_another_seed_gives_others() {
    let dir = tempfile::tempdir().expect("a folder");
    for suffix in ["parquet", "csv", "csv.gz"] {
        let bytes = |name: &str, seed: u64| {
            let path = dir.path().join(format!("{name}.{suffix}"));
            plant(&Planting { seed, ..SMALL }, &path).expect("planted");
            let read = |path: &Path| std::fs::read(path).expect("a file");
            (read(&path), read(&truth_path(&path)))
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
        let first = bytes("a", 1);
        assert!(first == pool.install(|| bytes("b", 1)), "{suffix}");
        let other = bytes("c", 2);
        assert!(first.0 != other.0 && first.1 != other.1, "{suffix}");
    }
    let left = std::fs::read_dir(dir.path()).expect("a folder").count();
    assert_eq!(left, 3 * 3 * 2, "no partial file stays");
}

#[test]
fn a_table_is_the_same_in_every_version_and_on_every_machine() {
    // Seen once and read over: a change here changes every table that somebody planted, and wants a good reason.
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("t.csv");
    plant(&SMALL, &path).expect("planted");
    let text = std::fs::read_to_string(&path).expect("text");
    let head: Vec<&str> = text.lines().take(3).collect();
    assert_eq!(
        head,
        [
            "customer_id,channel,age,city_tier,membership,device,gender,region,last_order,orders_band,coupon_use,\
             payment,app_version,converted,spend,visits",
            "10000000,store,73,tier 3,gold,android,,central,8 to 30 days,1 order,rarely,wallet,v9.2,0,448.97,1",
            "10000007,app,77,tier 5,diamond,android,female,east,8 to 30 days,2 to 3 orders,rarely,instalments,v9.2,\
             0,0.00,1",
        ]
    );
}

#[test]
fn csv_and_parquet_hold_the_same_rows() {
    let dir = tempfile::tempdir().expect("a folder");
    let at = |name: &str| dir.path().join(name);
    let planting = Planting { language: Language::Zh, ..SMALL };
    let truths = ["t.parquet", "t.csv", "t.csv.gz"].map(|name| plant(&planting, &at(name)).expect("planted"));
    assert!(truths[0] == truths[1] && truths[1] == truths[2]);
    let plain = std::fs::read(at("t.csv")).expect("a file");
    let mut unpacked = Vec::new();
    let packed = std::fs::File::open(at("t.csv.gz")).expect("a file");
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(packed), &mut unpacked).expect("gzip");
    assert!(plain == unpacked);

    let (header, rows) = read_parquet(&at("t.parquet"));
    let mut reader = csv::Reader::from_reader(plain.as_slice());
    assert_eq!(reader.headers().expect("a header").iter().collect::<Vec<_>>(), header);
    let records: Vec<csv::StringRecord> = reader.records().map(|r| r.expect("a row")).collect();
    assert_eq!(records.len(), rows.len());
    let spend = header.iter().position(|name| name == "消费金额").expect("a column");
    for (record, row) in records.iter().zip(&rows) {
        for (column, (text, value)) in record.iter().zip(row).enumerate() {
            // An amount is 12.50 in text and 12.5 as a number.
            let same = if column == spend { text.parse::<f64>() == value.parse::<f64>() } else { text == value };
            assert!(same, "{}: {text} and {value}", header[column]);
        }
    }
}

#[test]
fn columns_are_those_of_a_shop() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("t.parquet");
    plant(&Planting { features: 15, ..SMALL }, &path).expect("planted");
    let (header, rows) = read_parquet(&path);
    assert_eq!(
        header.join(" "),
        "customer_id channel age city_tier membership device gender region last_order orders_band coupon_use payment \
         app_version trait_13 trait_14 trait_15 converted spend visits"
    );
    let distinct: BTreeMap<&str, BTreeSet<&str>> = header
        .iter()
        .enumerate()
        .map(|(i, name)| (name.as_str(), rows.iter().map(|r| r[i].as_str()).collect()))
        .collect();
    let cardinality = |name: &str| distinct[name].len();
    assert_eq!(cardinality("customer_id"), rows.len());
    assert_eq!(cardinality("age"), 73, "18 to 90");
    assert_eq!((distinct["age"].first(), distinct["age"].last()), (Some(&"18"), Some(&"90")));
    let texts = ["channel", "city_tier", "membership", "device", "region", "last_order", "orders_band", "coupon_use"];
    assert_eq!(texts.map(cardinality), [7, 6, 6, 4, 7, 5, 5, 4]);
    // 3 + 3 * place % 8 at the places 12, 13 and 14.
    assert_eq!(["trait_13", "trait_14", "trait_15"].map(cardinality), [7, 10, 5]);
    assert_eq!(distinct["gender"].iter().copied().collect::<Vec<_>>(), ["", "female", "male"]);
    let column = |name: &str| header.iter().position(|n| n == name).expect("a column");
    let ids: Vec<i64> = rows.iter().map(|r| r[0].parse().expect("an integer")).collect();
    assert!(ids.windows(2).any(|pair| pair[1] - pair[0] != 7) && ids.windows(2).all(|pair| pair[1] > pair[0]));
    let spend: Vec<f64> = rows.iter().map(|r| r[column("spend")].parse().expect("a number")).collect();
    assert!(spend.iter().all(|v| (v * 100.0).round() / 100.0 == *v));
    let refunds = spend.iter().filter(|v| **v < 0.0).count();
    assert!((200..800).contains(&refunds), "{refunds}");
    assert!(rows.iter().all(|r| r[column("visits")].parse::<i64>().expect("an integer") >= 1));
    let nulls = rows.iter().filter(|r| r[column("gender")].is_empty()).count();
    assert!((400..800).contains(&nulls), "{nulls}");
    assert!(!rows.iter().any(|r| (0..16).any(|c| c != column("gender") && r[c].is_empty())));
}

#[test]
fn features_have_as_many_items_as_were_asked_for() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("t.parquet");
    let cardinalities = vec![2, 9, 4, 300, 7, 5];
    let planting = Planting { customers: 60_000, cardinalities: cardinalities.clone(), niches: 4, ..SMALL };
    plant(&planting, &path).expect("planted");
    let (header, rows) = read_parquet(&path);
    assert_eq!(header.join(" "), "customer_id f00 f01 f02 f03 f04 f05 converted spend visits");
    let items = |column: usize| rows.iter().map(|row| row[column].as_str()).collect::<BTreeSet<&str>>();
    assert_eq!((1..=6).map(|column| items(column).len()).collect::<Vec<_>>(), cardinalities);
    assert_eq!(items(1), BTreeSet::from(["v0", "v1"]));
    assert!(items(4).contains("v299"));
    let of = |column: usize, item: &str| rows.iter().filter(|row| row[column] == item).count();
    assert!(
        of(4, "v0") > 10 * of(4, "v99"),
        "a hundredth of the first by Zipf's law, and tastes differ by 2.7 at most"
    );
    let text = planting.job(&path, Path::new("out"));
    let job = Job::parse(&text, Path::new("job.toml"), &[]).expect("a job");
    assert!(job.features.by_name.is_empty(), "there is no age to be banded");
}

#[test]
fn niches_have_their_sizes_among_features_of_any_cardinality() {
    assert_truth_is_a_recount(&Planting { cardinalities: vec![2, 9, 4, 300, 7, 5], niches: 4, ..SMALL });
    assert_truth_is_a_recount(&Planting { cardinalities: vec![60_000, 8, 6, 7, 5], niches: 4, seed: 2, ..SMALL });
    assert_truth_is_a_recount(&Planting { cardinalities: vec![6; 30], language: Language::Zh, ..SMALL });
}

#[test]
fn features_are_skewed_and_hang_together() {
    let features = customers::features(12, Language::En);
    let sample = customers::customers(&features, 1, 0..100_000);
    for (place, codes) in sample.codes.iter().enumerate().filter(|&(place, _)| !features[place].is_age) {
        let of = |code: usize| codes.iter().filter(|&&c| usize::from(c) == code).count();
        assert!(of(0) > of(features[place].items.len() - 1), "{}", features[place].name);
    }
    // Pearson's chi squared of channel and city tier: 30 degrees of freedom, so above 60 once in a thousand by chance.
    let mut cells = [[0f64; 6]; 7];
    sample.codes[0].iter().zip(&sample.codes[2]).for_each(|(&a, &b)| cells[usize::from(a)][usize::from(b)] += 1.0);
    let row = |a: usize| cells[a].iter().sum::<f64>();
    let column = |b: usize| cells.iter().map(|r| r[b]).sum::<f64>();
    let chi: f64 = (0..42)
        .map(|i| {
            let expected = row(i / 6) * column(i % 6) / 100_000.0;
            (cells[i / 6][i % 6] - expected).powi(2) / expected
        })
        .sum();
    assert!(chi > 60.0, "{chi}");
}

#[test]
fn a_setting_out_of_range_is_named_with_its_range() {
    let refused = |planting: Planting, path: &str| plant(&planting, Path::new(path)).expect_err("refused").to_string();
    let path = "never.parquet";
    assert_eq!(
        refused(Planting { customers: 19_999, ..SMALL }, path),
        "customers = 19999: expected 20000 to 1000000000"
    );
    assert_eq!(refused(Planting { features: 3, ..SMALL }, path), "features = 3: expected 4 to 200");
    assert_eq!(refused(Planting { features: 201, ..SMALL }, path), "features = 201: expected 4 to 200");
    assert_eq!(refused(Planting { niches: 25, ..SMALL }, path), "niches = 25: expected 0 to 24");
    let of = |cardinalities: Vec<usize>| Planting { cardinalities, features: 0, ..SMALL };
    assert_eq!(refused(of(vec![5; 3]), path), "features in cardinalities = 3: expected 4 to 200");
    assert_eq!(refused(of(vec![5; 201]), path), "features in cardinalities = 201: expected 4 to 200");
    for (items, shown) in [(1, "1"), (60_001, "60001")] {
        let expected = format!("items in cardinalities = {shown}: expected 2 to 60000 for each feature");
        assert_eq!(refused(of(vec![5, 5, items, 5]), path), expected);
    }
    for name in ["t.json", ".parquet", "t"] {
        assert_eq!(refused(SMALL, name), format!("{name:?}: expected a name that ends in .parquet, .csv or .csv.gz"));
    }
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("file");
    std::fs::write(&file, "x").expect("written");
    assert!(matches!(plant(&SMALL, &file.join("t.csv")), Err(PlantError::Write { .. })));
}

#[test]
fn niches_without_room_are_an_error_that_says_how_many_there_is_room_for() {
    // Channel and age alone: at most 7 x 5 pairs, most of them too large or too small.
    let features = customers::features(2, Language::En);
    let sample = customers::customers(&features, 1, 0..20_000);
    let placed = niche::choose(&features, &sample, 24, 1).err().expect("no room");
    assert!(placed < 24, "{placed}");
    let error = PlantError::NoRoom { niches: 24, placed, customers: 20_000, features: 2 };
    assert_eq!(
        error.to_string(),
        format!(
            "only {placed} of niches = 24 have room among customers = 20000 with features = 2; ask for fewer niches or more features"
        )
    );
}

#[test]
fn the_quickstart_job_is_the_job_of_a_planted_table() {
    let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/jobs/quickstart.toml"));
    let text = job(Path::new("data/quickstart.parquet"), Path::new("out/quickstart"), Language::En);
    assert_eq!(Job::load(file, &[]).expect("a job"), Job::parse(&text, file, &[]).expect("a job"));
    let text = job(Path::new("a \"b\"\\c.csv"), Path::new("中文"), Language::Zh);
    let chinese = Job::parse(&text, file, &[]).expect("a job");
    assert_eq!(chinese.input.path, "a \"b\"\\c.csv");
    assert_eq!(chinese.output.dir, Path::new("中文"));
    assert_eq!(chinese.metric.column, "是否转化");
    assert!(chinese.features.by_name.contains_key("年龄"));
}

/// A run's highlights: rank, segment, customers, direction, folds.
fn write_highlights(run: &Path, rows: &[(i32, &str, i64, &str, &[&str])]) {
    let mut folds = ListBuilder::new(StringBuilder::new());
    for (_, _, _, _, folded) in rows {
        folded.iter().for_each(|text| folds.values().append_value(text));
        folds.append(true);
    }
    let columns: [(&str, ArrayRef); 5] = [
        ("rank", Arc::new(rows.iter().map(|r| Some(r.0)).collect::<Int32Array>())),
        ("segment", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.1)))),
        ("direction", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.3)))),
        ("uv", Arc::new(rows.iter().map(|r| Some(r.2)).collect::<Int64Array>())),
        ("folds", Arc::new(folds.finish())),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let file = std::fs::File::create(run.join("highlights.parquet")).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("written");
}

#[test]
fn a_run_is_compared_with_what_was_planted() {
    let niche =
        |segment: &str, uv, direction| Niche { segment: segment.into(), uv, metric_sum: 9, lift: 4.0, direction };
    let truth = Truth {
        customers: 20_000,
        features: 4,
        seed: 1,
        metric: "converted".into(),
        base_mean: 0.08,
        niches: vec![
            niche("a=1 & b=1", 100, Direction::Over),
            niche("a=2 & b=1", 200, Direction::Over),
            niche("a=3 & b=1", 300, Direction::Under),
            niche("a=4 & b=1", 400, Direction::Under),
            niche("a=5 & b=1", 500, Direction::Over),
        ],
    };
    let run = tempfile::tempdir().expect("a folder");
    assert!(matches!(compare(&truth, run.path()), Err(CompareError::Read { .. })));
    write_highlights(
        run.path(),
        &[
            (1, "a=2 & b=1", 199, "over", &[]),
            (2, "a=1 & b=1", 100, "over", &["x=1"]),
            (3, "c=1", 350, "under", &["x=2", "a=3 & b=1"]),
            (4, "a=4 & b=1", 400, "over", &[]),
        ],
    );
    let comparison = compare(&truth, run.path()).expect("compared");
    let findings: Vec<Finding> = comparison.niches.iter().map(|n| n.finding.clone()).collect();
    assert_eq!(
        findings,
        [
            Finding::Highlight { rank: 2 },
            Finding::Differs { rank: 1, uv: 199, direction: "over".into() },
            Finding::Folded { rank: 3, under: "c=1".into() },
            Finding::Differs { rank: 4, uv: 400, direction: "over".into() },
            Finding::Missing,
        ]
    );
    assert!(!comparison.all_found());
    let shown = comparison.to_string();
    for text in ["a=1 & b=1", "found, rank 2", "folded under rank 3, c=1", "missing", "1 of 5 niches"] {
        assert!(shown.contains(text), "{text} in\n{shown}");
    }
    let found = Truth { niches: truth.niches[..1].to_vec(), ..truth };
    assert!(compare(&found, run.path()).expect("compared").all_found());

    let path = run.path().join("highlights.parquet");
    std::fs::write(&path, "no parquet").expect("written");
    assert!(matches!(compare(&found, run.path()), Err(CompareError::Table { .. })));
    let other =
        RecordBatch::try_from_iter([("rank", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]).expect("a batch");
    let file = std::fs::File::create(&path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, other.schema(), None).expect("a writer");
    writer.write(&other).expect("written");
    writer.close().expect("written");
    let error = compare(&found, run.path()).expect_err("no segments");
    assert!(error.to_string().contains("no column \"segment\""), "{error}");
}
