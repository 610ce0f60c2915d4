//! Tables that write a run's columns otherwise, and files of another kind, with `assign`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};

use crate::assign::{Known, Members, assigned, known, member, packages, summary, text};
use crate::program::{Dice, Folder, parquet, write_parquet};

#[test]
fn the_ending_of_the_file_says_whether_it_is_csv() {
    let Known { folder, .. } = known("");
    folder.nichemine("assign out/latest t.csv --all --out a.csv").well();
    folder.nichemine("assign out/latest t.csv --all --out a.parquet").well();
    let batch = parquet(folder.path("a.parquet"));
    let mut reader = csv::Reader::from_path(folder.path("a.csv")).unwrap();
    assert_eq!(reader.headers().unwrap(), vec!["id", "group", "segment"]);
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), batch.num_rows());
    for (row, record) in rows.iter().enumerate() {
        match batch.column(1).is_null(row) {
            true => assert_eq!(record, vec![text(batch.column(0), row).as_str(), "", ""]),
            false => {
                let (id, (group, segment)) = member(&batch, row);
                assert_eq!(record, vec![id, group.to_string(), segment]);
            }
        }
    }
}

#[test]
fn a_boolean_is_what_the_run_spells_so_and_words_in_the_place_of_numbers_are_refused() {
    let folder = Folder::new();
    let mut dice = Dice(3);
    let (mut vip, mut visits, mut bought) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..6_000 {
        let own = (dice.roll(4) == 0, dice.roll(4) as i64);
        bought.push(dice.roll(100) < if own == (true, 3) { 60 } else { 5 });
        vip.push(own.0);
        visits.push(own.1);
    }
    let write = |name: &str, vip: ArrayRef, visits: ArrayRef| {
        let columns: [(&str, ArrayRef); 4] = [
            ("id", Arc::new(Int64Array::from_iter_values(0..6_000))),
            ("vip", vip),
            ("visits", visits),
            ("y", Arc::new(BooleanArray::from(bought.clone()))),
        ];
        write_parquet(&folder.path(name), &RecordBatch::try_from_iter(columns).unwrap(), 500);
    };
    let numbers = || Arc::new(Int64Array::from(visits.clone()));
    let spelled = StringArray::from_iter_values(vip.iter().map(|&vip| if vip { "True" } else { "False" }));
    write("t.parquet", Arc::new(spelled), numbers());
    let job = "input = { path = \"t.parquet\", id = \"id\" }\nmetric = { column = \"y\", kind = \"rate\" }\noutput.dir = \"out\"\n\
               merge.groups = [1, 3]\nhighlight.max_uv_share = 0.1\n";
    let run = folder.publish(job, "-w 1");
    let assign = |name: &str, visits: ArrayRef| {
        write(name, Arc::new(BooleanArray::from(vip.clone())), visits);
        folder.nichemine(&format!("assign out/latest {name} -w 2"))
    };
    let expected = packages(&run);
    assert!(expected.values().any(|(_, segment)| segment == "vip=True & visits=3"), "{expected:?}");
    assign("bool.parquet", numbers()).well();
    assert_eq!(assigned(&folder.path("assigned.parquet")).into_iter().collect::<Members>(), expected);
    let texts = |more: &str| Arc::new(StringArray::from_iter_values(visits.iter().map(|v| format!("{v}{more}"))));
    assign("text.parquet", texts("")).well();
    assert_eq!(assigned(&folder.path("assigned.parquet")).into_iter().collect::<Members>(), expected);
    let says =
        ["features.visits", "\"visits\" is text", "no value of it is a number, as \"", " times\"", "expected numbers"];
    assign("words.parquet", texts(" times")).refused(3, &says);
    assert_eq!(assigned(&folder.path("assigned.parquet")).into_iter().collect::<Members>(), expected);
    // Text in CSV has no type, and is a value that the run never saw.
    folder.write("words.csv", "id,vip,visits\n1,True,3 times\n2,TRUE,3\n");
    let told = summary(folder.nichemine("assign out/latest words.csv --output json"));
    assert_eq!(
        (&told["assigned"], &told["rows_read"]),
        (&0.into(), &2.into()),
        "text is spelled as in the run: {told}"
    );
}
