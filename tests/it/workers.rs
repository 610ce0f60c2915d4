//! The same table and job give the same bytes, however the work and the table are divided.

use std::path::Path;
use std::sync::Arc;

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;
use nichemine::job::Language;
use nichemine::planted;

use crate::program::{Dice, Folder, answer, digests, parquet, planted, write_parquet};

fn job(table: &Path) -> String {
    planted::job(table, Path::new("out"), Language::En)
}

#[test]
fn answer_does_not_depend_on_how_the_work_is_divided() {
    let folder = Folder::new();
    // Row groups that no number of workers divides evenly.
    write_parquet(&folder.path("table.parquet"), &parquet(planted("en.parquet")), 7_001);
    let job = job(Path::new("table.parquet"));
    let expected = answer(&folder.publish(&job, "-w 1"));
    assert!(expected.len() > 10, "{expected:?}");
    for layout in ["-w 2", "-w 4", "-w 1 --processes 2", "-w 1 --processes 3", "-w 2 --processes 2"] {
        assert_eq!(answer(&folder.publish(&job, layout)), expected, "{layout}");
    }
}

#[test]
fn answer_does_not_depend_on_the_order_of_the_rows_or_on_the_files_they_are_in() {
    let table = parquet(planted("en.parquet"));
    let folder = Folder::new();
    write_parquet(&folder.path("table.parquet"), &table, 50_000);
    // The report names the files of the table.
    let answer = |table: &str, layout: &str| {
        // Other files are another table, whose groups would be compared with those of the first.
        let layout = format!("{layout} --set merge.keep=nothing");
        let mut files = answer(&folder.publish(&job(Path::new(table)), &layout));
        assert!(files.remove("report.html").is_some());
        files
    };
    let expected = answer("table.parquet", "-w 1");

    let mut order: Vec<u32> = (0..table.num_rows() as u32).collect();
    let mut dice = Dice(3);
    (1..order.len()).rev().for_each(|i| order.swap(i, dice.roll(i as u64 + 1) as usize));
    let shuffled = take_record_batch(&table, &UInt32Array::from(order)).unwrap();
    std::fs::create_dir(folder.path("parts")).unwrap();
    let mut from = 0;
    for (name, rows) in [("b.parquet", 1), ("a.parquet", 41_000), ("c.parquet", 18_999)] {
        write_parquet(&folder.path("parts").join(name), &shuffled.slice(from, rows), 9_000);
        from += rows;
    }
    for layout in ["-w 1", "-w 3"] {
        assert_eq!(answer("parts", layout), expected, "{layout}");
    }
}

#[test]
fn table_is_the_same_as_csv_and_as_parquet() {
    let folder = Folder::new();
    let of = |table: &str, layout: &str| digests(&folder.publish(&job(&planted(table)), layout));
    let [expected, found] = [of("en.parquet", "-w 2"), of("en.csv", "-w 3")];
    for file in ["segments.parquet", "highlights.csv"] {
        assert_eq!(found[file], expected[file], "{file}");
    }
}

#[test]
fn rows_without_an_id_are_numbered_the_same_in_all_layouts() {
    let folder = Folder::new();
    let table = parquet(planted("en.parquet"));
    let places: Vec<usize> = (1..table.num_columns()).collect();
    let table = RecordBatch::try_new(
        Arc::new(table.schema().project(&places).unwrap()),
        table.project(&places).unwrap().columns().to_vec(),
    )
    .unwrap();
    std::fs::create_dir(folder.path("parts")).unwrap();
    write_parquet(&folder.path("parts/1.parquet"), &table.slice(0, 23_456), 5_000);
    write_parquet(&folder.path("parts/2.parquet"), &table.slice(23_456, 36_544), 8_000);
    let job = job(Path::new("parts")).replace("id = \"customer_id\"\n", "");
    let expected = answer(&folder.publish(&job, "-w 1"));
    for layout in ["-w 3", "-w 1 --processes 2"] {
        assert_eq!(answer(&folder.publish(&job, layout)), expected, "{layout}");
    }
}

#[test]
fn message_about_bad_rows_does_not_depend_on_how_the_work_is_divided() {
    let folder = Folder::new();
    let mut text = String::from("id,a,y\n");
    for row in 0..60_000 {
        text.push_str(&format!("{row},v{},{}\n", row % 7, if row % 20_000 == 9_999 { "" } else { "1" }));
    }
    folder.write("t.csv", text).write(
        "job.toml",
        "input = { path = \"t.csv\", id = \"id\" }\nmetric = { column = \"y\", kind = \"rate\" }\noutput.dir = \"out\"\n",
    );
    let expected = folder.nichemine("run job.toml -w 1").refused(4, &["t.csv", "metric missing"]).err;
    for layout in ["-w 3", "-w 1 --processes 2"] {
        assert_eq!(folder.nichemine(&format!("run job.toml {layout}")).refused(4, &[]).err, expected, "{layout}");
    }
}

#[test]
fn rows_that_are_left_out_or_merged_are_the_same_in_all_layouts() {
    let folder = Folder::new();
    let mut dice = Dice(21);
    for file in 0..3 {
        let mut text = String::from("id,城市,plan,y\n");
        for row in 0..7_000 {
            let id = file * 7_000 + row;
            let (city, plan) = (["上海", "北京", "\"Lyon\nVaise\""][dice.roll(3) as usize], dice.roll(4));
            let y = u8::from(dice.roll(if plan == 1 { 2 } else { 9 }) == 0);
            match dice.roll(200) {
                0 => text.push_str("ragged\n"),
                1 => text.push_str(&format!("{id},{city},{plan},\n")),
                2 => text.push_str(&format!(",{city},{plan},{y}\n")),
                // The same customer again, here or in a later file, without a difference.
                3 => text.push_str("0,上海,1,1\n"),
                _ if id == 0 => text.push_str("0,上海,1,1\n"),
                _ => text.push_str(&format!("{id},{city},{plan},{y}\n")),
            }
        }
        folder.write(&format!("parts/{file}.csv"), text);
    }
    let job = r#"
        metric = { column = "y", kind = "rate" }
        output = { dir = "out" }
        [input]
        path = "parts"
        id = "id"
        on_bad_row = "quarantine"
        max_bad_share = 0.1
        on_duplicate_id = "merge_identical"
    "#;
    let first = folder.publish(job, "-w 1");
    let expected = answer(&first);
    let quality = crate::program::json(first.join("quality.json"));
    let of = |name: &str| quality["rows"][name].as_u64().unwrap();
    assert_eq!(of("read"), 21_000);
    assert_eq!(of("kept") + of("quarantined") + of("merged"), 21_000);
    assert!(of("merged") > 50 && of("quarantined") > 200, "{quality}");
    let reasons: u64 = quality["rejects"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(reasons, of("quarantined"));
    for layout in ["-w 2", "-w 5", "-w 2 --processes 2"] {
        assert_eq!(answer(&folder.publish(job, layout)), expected, "{layout}");
    }
}
