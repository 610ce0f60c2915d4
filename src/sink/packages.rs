//! Audience packages: one folder a group, with the customers' own ids.

use std::sync::Arc;

use arrow::array::{BooleanArray, DictionaryArray, Int32Array, Int64Array, StringArray};
use arrow::datatypes::Int32Type;
use parquet::basic::Encoding;
use parquet::file::properties::{EnabledStatistics, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use rayon::prelude::*;

use super::columns::{Column, write_parquet};
use super::staging::Staging;
use super::tables::Texts;
use super::{RunResult, SinkError};
use crate::audience::CustomerIds;

/// Where a group's customers are, below the run.
pub fn audience_folder(group: u32) -> String {
    format!("audience/group={group}")
}

/// One file a group, sorted by id (text by its bytes). The groups are written at the same time.
pub(super) fn write(staging: &Staging, result: &RunResult) -> Result<(), SinkError> {
    let assigned = result.assigned;
    let texts: Vec<String> = {
        let texts = Texts::of(result.codebook);
        let highlights = result.highlights.iter().map(|h| &h.segment);
        highlights.chain(&result.grouping.carried).map(|segment| texts.segment(*segment)).collect()
    };
    let groups = &result.grouping.groups;
    let mut position = vec![usize::MAX; groups.iter().map(|group| group.id as usize + 1).max().unwrap_or(0)];
    groups.iter().enumerate().for_each(|(at, group)| position[group.id as usize] = at);
    assert!(u32::try_from(assigned.group.len()).is_ok(), "fewer than 4 billion customers are in groups");
    let mut members: Vec<Vec<u32>> = vec![Vec::new(); groups.len()];
    for (customer, &group) in (0u32..).zip(&assigned.group) {
        members[position[group as usize]].push(customer);
    }
    members.into_par_iter().zip(groups).try_for_each(|(mut members, group)| {
        // Nearly sorted where the table is, which a stable sort makes use of.
        match &assigned.ids {
            CustomerIds::Row(ids) => members.sort_by_key(|&c| ids[c as usize]),
            CustomerIds::Runs(runs) => members.sort_by_key(|&c| runs.at(c as usize)),
            CustomerIds::Int(ids) => members.sort_by_key(|&c| ids[c as usize]),
            CustomerIds::Text(ids) => {
                members.sort_by(|&a, &b| ids[a as usize].as_bytes().cmp(ids[b as usize].as_bytes()))
            }
        }
        let columns = columns(result, &texts, group.id);
        // Ids occur once, so a dictionary of them is work for nothing; whole numbers that are sorted differ little. The
        // smallest and largest segment would help no reader, and each row would be compared with both.
        let tune = |properties: WriterPropertiesBuilder| {
            let id = ColumnPath::from(columns[0].name());
            let properties = match &assigned.ids {
                CustomerIds::Text(_) => properties,
                _ => properties.set_column_encoding(id.clone(), Encoding::DELTA_BINARY_PACKED),
            };
            properties
                .set_column_dictionary_enabled(id, false)
                .set_column_statistics_enabled(ColumnPath::from(columns[2].name()), EnabledStatistics::None)
        };
        staging.write(&format!("{}/part-0.parquet", audience_folder(group.id)), |out| {
            write_parquet(out, &members, &columns, tune)
        })
    })
}

/// Of the customers at these places.
fn columns<'a>(result: &'a RunResult, texts: &'a [String], group: u32) -> Vec<Column<'a, u32>> {
    let assigned = result.assigned;
    let name = match &assigned.ids {
        CustomerIds::Row(_) | CustomerIds::Runs(_) => "row",
        CustomerIds::Int(_) | CustomerIds::Text(_) => result.id_column.unwrap_or("id"),
    };
    let ids = match &assigned.ids {
        CustomerIds::Row(ids) => ints(name, |c| ids[c] as i64),
        CustomerIds::Runs(runs) => ints(name, |c| runs.at(c) as i64),
        CustomerIds::Int(ids) => ints(name, |c| ids[c]),
        CustomerIds::Text(ids) => Column::new(name, |members: &[u32]| {
            StringArray::from_iter_values(members.iter().map(|&c| &ids[c as usize]))
        }),
    };
    // The id keeps its name whatever it is, so that the file joins with the table.
    let beside = |own: &str| if own == name { format!("nichemine_{own}") } else { own.to_owned() };
    // Each text once, and which one it is for each customer.
    let all = Arc::new(StringArray::from_iter_values(texts));
    let segment = move |members: &[u32]| {
        let keys = members.iter().map(|&c| assigned.highlight[c as usize] as i32);
        DictionaryArray::<Int32Type>::new(Int32Array::from_iter_values(keys), all.clone())
    };
    let holdout =
        |members: &[u32]| members.iter().map(|&c| Some(assigned.holdout[c as usize])).collect::<BooleanArray>();
    vec![
        ids,
        Column::new(&beside("group"), move |members: &[u32]| Int32Array::from_value(group as i32, members.len())),
        Column::new(&beside("segment"), segment),
        Column::new(&beside("holdout"), holdout),
    ]
}

fn ints<'a>(name: &str, of: impl Fn(usize) -> i64 + Sync + 'a) -> Column<'a, u32> {
    Column::new(name, move |members: &[u32]| Int64Array::from_iter_values(members.iter().map(|&c| of(c as usize))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::sample::Sample;
    use arrow::array::{AsArray, RecordBatch};
    use arrow::datatypes::{Int32Type, Int64Type};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    fn written(sample: &Sample, group: u32) -> RecordBatch {
        let dir = tempfile::tempdir().expect("a folder");
        let staging = Staging::new(dir.path().join("run")).expect("a folder");
        write(&staging, &sample.result()).expect("written");
        let path = staging.root.join(audience_folder(group)).join("part-0.parquet");
        let builder = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).expect("a file"));
        builder.expect("parquet").build().expect("a reader").next().expect("a batch").expect("readable")
    }

    #[test]
    fn customers_are_listed_under_their_own_ids_in_byte_order() {
        let batch = written(&Sample::new(), 1);
        assert_eq!(batch.schema().field(0).name(), "客户号");
        let ids: Vec<&str> = batch.column(0).as_string::<i32>().iter().flatten().collect();
        assert_eq!(ids.len(), 40);
        assert!(ids.windows(2).all(|pair| pair[0].as_bytes() < pair[1].as_bytes()), "{ids:?}");
        assert_eq!(ids[0], "=客户-0", "as in the input, not mended for a spreadsheet");
        assert_eq!(batch.column(1).as_primitive::<Int32Type>().value(0), 1);
        assert_eq!(batch.column(2).as_string::<i32>().value(0), "职业=退休 & 渠道==cmd()");
        assert_eq!(batch.column(3).as_boolean().true_count(), 12);
    }

    #[test]
    fn rows_without_an_id_column_are_known_by_their_number() {
        let mut sample = Sample::new();
        sample.assigned.ids = CustomerIds::Row((0..90).rev().collect());
        sample.id_column = None;
        let batch = written(&sample, 2);
        assert_eq!(batch.schema().field(0).name(), "row");
        assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(0), 40);
    }

    #[test]
    fn an_id_column_called_segment_keeps_its_name() {
        let mut sample = Sample::new();
        sample.id_column = Some("segment");
        let names: Vec<String> =
            written(&sample, 1).schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["segment", "group", "nichemine_segment", "holdout"]);
    }
}
