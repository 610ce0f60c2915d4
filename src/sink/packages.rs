//! Audience packages: one folder a group, with the customers' own ids.

use std::sync::Arc;

use arrow::array::{BooleanArray, Int32Array, Int64Array, StringArray};
use rayon::prelude::*;

use super::staging::Staging;
use super::tables::{Column, Texts, batch, schema, write_parquet};
use super::{RunResult, SinkError};
use crate::audience::CustomerIds;

/// Rows converted at a time.
const BATCH: usize = 1 << 16;

/// Where a group's customers are, below the run.
pub fn audience_folder(group: u32) -> String {
    format!("audience/group={group}")
}

/// One file a group, sorted by id (text by its bytes). The groups are written at the same time.
pub(super) fn write(staging: &Staging, result: &RunResult) -> Result<(), SinkError> {
    let assigned = result.assigned;
    let texts: Vec<String> = {
        let texts = Texts::of(result.codebook);
        result.highlights.iter().map(|h| texts.segment(h.segment)).collect()
    };
    let groups = &result.grouping.groups;
    let mut members: Vec<Vec<u32>> = vec![Vec::new(); groups.len()];
    for (customer, group) in assigned.group.iter().enumerate() {
        let position = groups.iter().position(|g| g.id == *group).expect("customers are assigned to groups that exist");
        members[position].push(u32::try_from(customer).expect("fewer than 4 billion customers are in groups"));
    }
    members.into_par_iter().zip(groups).try_for_each(|(mut members, group)| {
        match &assigned.ids {
            CustomerIds::Row(ids) => members.sort_unstable_by_key(|&c| ids[c as usize]),
            CustomerIds::Runs(runs) => members.sort_unstable_by_key(|&c| runs.at(c as usize)),
            CustomerIds::Int(ids) => members.sort_unstable_by_key(|&c| ids[c as usize]),
            CustomerIds::Text(ids) => {
                members.sort_unstable_by(|&a, &b| ids[a as usize].as_bytes().cmp(ids[b as usize].as_bytes()))
            }
        }
        let columns = |members: &[u32]| columns(result, &texts, group.id, members);
        let schema = schema(&columns(&[]));
        let batches = members.chunks(BATCH).map(|members| batch(&schema, columns(members)));
        staging.write(&format!("{}/part-0.parquet", audience_folder(group.id)), |out| {
            write_parquet(out, batches, schema.clone())
        })
    })
}

fn columns(result: &RunResult, texts: &[String], group: u32, members: &[u32]) -> Vec<Column> {
    let assigned = result.assigned;
    let members = members.iter().map(|&customer| customer as usize);
    let (name, ids): (_, arrow::array::ArrayRef) = match &assigned.ids {
        CustomerIds::Row(ids) => {
            ("row", Arc::new(Int64Array::from_iter_values(members.clone().map(|c| ids[c] as i64))))
        }
        CustomerIds::Runs(runs) => {
            ("row", Arc::new(Int64Array::from_iter_values(members.clone().map(|c| runs.at(c) as i64))))
        }
        CustomerIds::Int(ids) => {
            (result.id_column.unwrap_or("id"), Arc::new(Int64Array::from_iter_values(members.clone().map(|c| ids[c]))))
        }
        CustomerIds::Text(ids) => (
            result.id_column.unwrap_or("id"),
            Arc::new(StringArray::from_iter_values(members.clone().map(|c| &ids[c]))),
        ),
    };
    // The id keeps its name whatever it is, so that the file joins with the table.
    let beside = |own: &str| if own == name { format!("nichemine_{own}") } else { own.to_owned() };
    let segment = |customer: usize| texts[assigned.highlight[customer] as usize].as_str();
    vec![
        (name.to_owned(), ids),
        (beside("group"), Arc::new(Int32Array::from_value(group as i32, members.len()))),
        (beside("segment"), Arc::new(StringArray::from_iter_values(members.clone().map(segment)))),
        (beside("holdout"), Arc::new(members.map(|c| Some(assigned.holdout[c])).collect::<BooleanArray>())),
    ]
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
