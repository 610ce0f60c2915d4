//! How many customers each group of one run has in common with each group of another.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rayon::prelude::*;

use super::VerifyError;
use super::packages::audience_folder;
use crate::audience::{Assigned, CustomerIds};
use crate::encode::{IdRef, hash};

/// Customers looked up at a time, so that the table of them takes at most 300 MB however many there are.
const AT_ONCE: usize = 1 << 23;
/// Rows of a file read at a time.
const BATCH: usize = 1 << 14;

/// Customers by the group they are in.
pub(super) enum Customers<'a> {
    /// Of this run, with the position of each customer's group.
    Here(&'a Assigned, &'a [u32]),
    /// Of a published run, with the ids of its groups.
    Published(&'a Path, &'a [u32]),
}

/// The customers that each group of a published run, known by id, has in common with each of `groups` groups of another run.
///
/// Customers are known by a 64-bit hash of their id, the same for a whole number and its text: of 100 million in either run, two who
/// are not the same are taken for the same with a chance of about one in two thousand. Those of the other run are held in a table, part
/// by part of the hashes, and the files are read once a part.
pub(super) fn in_common(
    run: &Path,
    ids: &[u32],
    other: &Customers,
    groups: usize,
) -> Result<Vec<Vec<i64>>, VerifyError> {
    let mut shared = vec![vec![0i64; groups]; ids.len()];
    let parts = (other.len()?.div_ceil(AT_ONCE)).next_power_of_two();
    let part = |key: u64| ((u128::from(key) * parts as u128) >> 64) as usize;
    for at in 0..parts {
        let mut group_of: hashbrown::HashMap<u64, u32, foldhash::fast::FixedState> = hashbrown::HashMap::default();
        group_of.reserve(other.len()? / parts);
        other.each(|key, group| {
            if part(key) == at {
                group_of.insert(key, group);
            }
        })?;
        shared.par_iter_mut().zip(ids).try_for_each(|(row, id)| {
            each(&file(run, *id), |key| {
                if let Some(&group) = group_of.get(&key) {
                    row[group as usize] += 1;
                }
            })
        })?;
    }
    Ok(shared)
}

fn file(run: &Path, group: u32) -> PathBuf {
    run.join(audience_folder(group)).join("part-0.parquet")
}

impl Customers<'_> {
    fn len(&self) -> Result<usize, VerifyError> {
        match self {
            Customers::Here(_, groups) => Ok(groups.len()),
            Customers::Published(run, ids) => {
                let rows = ids
                    .iter()
                    .map(|&id| open(&file(run, id)).map(|builder| builder.metadata().file_metadata().num_rows()));
                rows.sum::<Result<i64, VerifyError>>().map(|rows| rows as usize)
            }
        }
    }

    /// Each customer's hash with the position of their group.
    fn each(&self, mut take: impl FnMut(u64, u32)) -> Result<(), VerifyError> {
        match self {
            Customers::Here(assigned, groups) => {
                let int = |id: i64| hash(IdRef::Int(id), 0);
                match &assigned.ids {
                    CustomerIds::Row(ids) => {
                        ids.iter().zip(*groups).for_each(|(&id, &group)| take(int(id as i64), group))
                    }
                    CustomerIds::Runs(runs) => {
                        runs.iter().flatten().zip(*groups).for_each(|(id, &group)| take(int(id as i64), group));
                    }
                    CustomerIds::Int(ids) => ids.iter().zip(*groups).for_each(|(&id, &group)| take(int(id), group)),
                    CustomerIds::Text(ids) => {
                        ids.iter().zip(*groups).for_each(|(id, &group)| take(hash(IdRef::Text(id), 0), group));
                    }
                }
                Ok(())
            }
            Customers::Published(run, ids) => {
                (0..).zip(*ids).try_for_each(|(group, &id)| each(&file(run, id), |key| take(key, group)))
            }
        }
    }
}

fn malformed(path: &Path, message: impl ToString) -> VerifyError {
    VerifyError::Malformed { path: path.to_owned(), message: message.to_string() }
}

fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, VerifyError> {
    let file = File::open(path).map_err(|source| VerifyError::Read { path: path.to_owned(), source })?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| malformed(path, error))
}

/// The hash of every id of an audience file.
fn each(path: &Path, mut take: impl FnMut(u64)) -> Result<(), VerifyError> {
    let builder = open(path)?;
    let first = ProjectionMask::leaves(builder.parquet_schema(), [0]);
    let batches = builder.with_projection(first).with_batch_size(BATCH).build().map_err(|e| malformed(path, e))?;
    for batch in batches {
        let batch: RecordBatch = batch.map_err(|error| malformed(path, error))?;
        let ids = batch.column(0);
        if ids.null_count() > 0 {
            return Err(malformed(path, "a customer id is null"));
        }
        match ids.data_type() {
            DataType::Int64 => {
                ids.as_primitive::<Int64Type>().values().iter().for_each(|&id| take(hash(IdRef::Int(id), 0)));
            }
            DataType::Utf8 => {
                ids.as_string::<i32>().iter().flatten().for_each(|id| take(hash(IdRef::Text(id), 0)));
            }
            other => {
                return Err(malformed(
                    path,
                    format!("the first column is {other}, expected a customer id, Int64 or Utf8"),
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Publisher;
    use crate::sink::sample::Sample;

    #[test]
    fn customers_in_common_are_counted_by_pair_of_groups() {
        let sample = Sample::new();
        let dir = tempfile::tempdir().expect("a folder");
        let run = Publisher::lock(dir.path()).expect("free").publish(&sample.result()).expect("published").path;
        // The sample's first group has the customers below 40. Now those below 30 are in one group, those below 60 in another.
        let CustomerIds::Text(ids) = &sample.assigned.ids else { unreachable!() };
        let number = |id: &String| id.rsplit('-').next().and_then(|n| n.parse::<u32>().ok()).expect("a number");
        let mut now = sample.assigned.clone();
        let kept: Vec<usize> = (0..ids.len()).filter(|&at| number(&ids[at]) < 60).collect();
        now.ids = now.ids.at(&kept);
        let groups: Vec<u32> = kept.iter().map(|&at| u32::from(number(&ids[at]) >= 30)).collect();
        let shared = in_common(&run, &[1, 2], &Customers::Here(&now, &groups), 2).expect("readable");
        assert_eq!(shared, [[30, 10], [0, 20]]);
        let published = in_common(&run, &[1, 2], &Customers::Published(&run, &[2, 1]), 2).expect("readable");
        assert_eq!(published, [[0, 40], [50, 0]]);
        let error = in_common(&run, &[3], &Customers::Published(&run, &[1]), 1).expect_err("there is no group 3");
        assert!(error.to_string().contains("group=3"), "{error}");
    }

    #[test]
    fn a_number_is_the_same_customer_as_its_text() {
        let of = |ids| Assigned { ids, ..Assigned::default() };
        let keys = |assigned: &Assigned| {
            let mut keys = Vec::new();
            Customers::Here(assigned, &[0, 0]).each(|key, _| keys.push(key)).expect("in memory");
            keys
        };
        let [int, text] = [CustomerIds::Int(vec![7, 12]), CustomerIds::Text(vec!["7".into(), "12".into()])].map(of);
        assert_eq!(keys(&int), keys(&text));
        assert_ne!(keys(&int), keys(&of(CustomerIds::Row(vec![8, 12]))));
    }
}
