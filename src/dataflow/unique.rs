//! Customers who stand in several rows, found across workers.
//!
//! Only 64-bit hashes of ids cross between workers, then the ids themselves of the few hashes that occur twice; so the
//! answer is exact and costs 8 bytes a row.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use timely::worker::Worker;

use super::agree::{Failure, FailureKind};
use super::collective::{broadcast, exchange, gather};
use crate::encode::{Intake, LocalFeature, LocalIds, Place};
use crate::job::{Job, OnDuplicateId};

/// A row whose id may be another row's too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Suspect {
    id: String,
    /// A customer may stand once in each of two periods.
    before: bool,
    /// What the row says in the column that orders rows, greater is later.
    order: Option<OrderKey>,
    /// All that the job reads of the row.
    content: String,
    file: usize,
    row: u64,
    /// Position among the worker's rows.
    position: usize,
}

/// Values of one column compare as themselves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum OrderKey {
    Missing,
    Int(i64),
    /// The bits of a float in the order of the numbers.
    Float(u64),
    Text(String),
}

/// Removes the rows that repeat a customer, as the job says; gives how many, or the first customer that it does not tolerate.
pub fn unique(worker: &mut Worker, job: &Job, intake: &mut Intake) -> (u64, Option<Failure>) {
    if matches!(intake.ids, LocalIds::None) {
        return (0, None);
    }
    let mut hashes = intake.ids.hashes();
    let before = intake.periods.as_ref().map(|periods| periods.before.clone());
    if let Some(before) = &before {
        hashes
            .iter_mut()
            .zip(before)
            .filter(|(_, before)| **before > 0)
            .for_each(|(hash, _)| *hash = hash.rotate_left(32));
    }
    let mut routed: Vec<Vec<u64>> = vec![Vec::new(); worker.peers()];
    for &hash in &hashes {
        routed[(hash % worker.peers() as u64) as usize].push(hash);
    }
    let mut mine: Vec<u64> =
        exchange(worker, routed.into_iter().enumerate().collect()).into_iter().flat_map(|(_, hashes)| hashes).collect();
    mine.sort_unstable();
    let mut repeated: Vec<u64> = mine.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    drop(mine);
    repeated.dedup();
    let mut repeated: Vec<u64> = {
        let all = gather(worker, repeated).into_iter().flatten().collect();
        let told = (worker.index() == 0).then_some(all);
        broadcast(worker, told)
    };
    if repeated.is_empty() {
        return (0, None);
    }
    repeated.sort_unstable();

    let mut outgoing = Vec::new();
    for (position, hash) in hashes.iter().enumerate() {
        if repeated.binary_search(hash).is_ok() {
            let (file, row) = intake.origin(position);
            let id = intake.ids.text(position);
            let order = intake.latest.as_ref().map(|latest| order_key(latest, position));
            let before = before.as_ref().is_some_and(|before| before[position] > 0);
            let suspect = Suspect { id, before, order, content: intake.content(position), file, row, position };
            outgoing.push(((hash % worker.peers() as u64) as usize, suspect));
        }
    }
    let mut by_id: BTreeMap<(String, bool), Vec<(usize, Suspect)>> = BTreeMap::new();
    for (sender, suspect) in exchange(worker, outgoing) {
        by_id.entry((suspect.id.clone(), suspect.before)).or_default().push((sender, suspect));
    }
    let mut losers = Vec::new();
    let mut failure: Option<Failure> = None;
    for ((id, _), mut rows) in by_id.into_iter().filter(|(_, rows)| rows.len() > 1) {
        rows.sort_by_key(|row| (row.1.file, row.1.row));
        match keep(job, &rows) {
            Ok(kept) => losers.extend(
                rows.iter().enumerate().filter(|(i, _)| *i != kept).map(|(_, (sender, row))| (*sender, row.position)),
            ),
            Err(remedy) => {
                let (first, second) = (&rows[0].1, &rows[1].1);
                let place = |s: &Suspect| format!("{:?} row {}", intake.file(s.file), s.row + 1);
                let period = if before.is_some() { " of one period" } else { "" };
                let text = format!(
                    "customer id {id:?} stands in {} rows{period}, first in {} and {}; UV needs one row a customer: {remedy}",
                    rows.len(),
                    place(first),
                    place(second),
                );
                let found = Failure { kind: FailureKind::Quality, place: (second.file, second.row), text };
                if failure.as_ref().is_none_or(|first| found.place < first.place) {
                    failure = Some(found);
                }
            }
        }
    }
    let mut mine: Vec<usize> = exchange(worker, losers).into_iter().map(|(_, position)| position).collect();
    mine.sort_unstable();
    if failure.is_none() {
        intake.remove(&mine);
    }
    (mine.len() as u64, failure)
}

/// Which of a customer's rows is kept, or what the job would have to say.
fn keep(job: &Job, rows: &[(usize, Suspect)]) -> Result<usize, &'static str> {
    let identical = |rows: &mut dyn Iterator<Item = &Suspect>| {
        let mut contents = rows.map(|row| &row.content);
        let first = contents.next();
        contents.all(|content| Some(content) == first)
    };
    match job.input.on_duplicate_id {
        OnDuplicateId::Fail => {
            Err("input.on_duplicate_id = \"merge_identical\" merges rows that agree, \"latest\" keeps the latest")
        }
        OnDuplicateId::MergeIdentical if identical(&mut rows.iter().map(|(_, row)| row)) => Ok(0),
        OnDuplicateId::MergeIdentical => {
            Err("they differ in a column that the job reads; input.on_duplicate_id = \"latest\" keeps the latest")
        }
        OnDuplicateId::Latest => {
            let latest = rows.iter().map(|(_, row)| &row.order).max().expect("several rows");
            let tied = || rows.iter().enumerate().filter(|(_, (_, row))| row.order == *latest);
            if identical(&mut tied().map(|(_, (_, row))| row)) {
                Ok(tied().next().expect("one is the latest").0)
            } else {
                Err("their input.latest_by is the same and they differ otherwise, so none is the latest")
            }
        }
    }
}

fn order_key(latest: &LocalFeature, position: usize) -> OrderKey {
    match latest.at(position) {
        // Tags have no order.
        Place::Missing | Place::Tags(_) => OrderKey::Missing,
        Place::Int(value) => OrderKey::Int(value),
        Place::Float(value) => {
            let bits = (value + 0.0).to_bits();
            OrderKey::Float(if bits >> 63 == 1 { !bits } else { bits | 1 << 63 })
        }
        Place::Text(text) => OrderKey::Text(text.to_owned()),
    }
}
