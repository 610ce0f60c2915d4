//! A table to its customers' places in the order of a run: read by several threads, and given on in the order of the table.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::AssignError;
use super::order::Order;
use crate::encode::{Coded, Coding, Feature, Reading, Strangers};
use crate::job::Job;
use crate::sink::{AssignedRows, NO_PLACE};
use crate::source::{Chunk, Rejects, SourceError, Table};

/// Chunks that a thread may be ahead of the writer: two parts of a table in Parquet ([`Table::scan_in_order`]), so that all threads
/// read while one of them is being written.
const AHEAD: usize = 16;

/// What all threads share.
pub struct Work<'a> {
    pub job: &'a Job,
    pub table: &'a Table,
    pub reading: &'a Reading,
    /// Of the order's features, in the same order.
    pub features: &'a [Feature],
    pub order: &'a Order,
    /// Segments asked.
    pub asked: usize,
    /// Customers in no group are given on too.
    pub all: bool,
    /// The run divided everybody into cells.
    pub cells: bool,
}

/// What was read: adds up to the same however the rows were divided.
#[derive(Debug, Default)]
pub struct Account {
    pub read: u64,
    pub customers: u64,
    pub rejects: Rejects,
    /// Customers in no group though each value of theirs is one of the run's; counted of cells alone.
    pub combinations: u64,
    /// Customers by place.
    pub taken: Vec<u64>,
    /// By feature.
    pub strangers: Vec<Strangers>,
}

impl Account {
    fn merge(&mut self, other: Account) {
        self.read += other.read;
        self.customers += other.customers;
        self.rejects.merge(other.rejects);
        self.combinations += other.combinations;
        self.taken.resize(self.taken.len().max(other.taken.len()), 0);
        self.taken.iter_mut().zip(other.taken).for_each(|(all, own)| *all += own);
        self.strangers.resize(self.strangers.len().max(other.strangers.len()), Strangers::default());
        self.strangers.iter_mut().zip(other.strangers).for_each(|(all, own)| all.merge(own));
    }
}

/// File and row within it.
type Place = (usize, u64);

/// The rows of a chunk that are given on, or why there are none; with the place of the first.
type Piece = (Place, Result<AssignedRows, AssignError>);

/// Reads the table with so many threads. `write` is given what gives the rows in the order of the table, and the first failure in that
/// order; its own answer comes back with the account of what was read.
pub fn stream<T>(
    work: &Work,
    threads: usize,
    write: impl FnOnce(&mut dyn FnMut() -> Result<Option<AssignedRows>, AssignError>) -> T,
) -> Result<(T, Account), AssignError> {
    std::thread::scope(|scope| {
        let (mut ends, mut readers) = (Vec::with_capacity(threads), Vec::with_capacity(threads));
        for thread in 0..threads {
            let (send, end) = sync_channel(AHEAD);
            let reader = std::thread::Builder::new().name(format!("nichemine:assign-{thread}"));
            // What was started ends as nobody listens any more.
            let reader = reader.spawn_scoped(scope, move || work.share(thread, threads, &send));
            readers.push(reader.map_err(|source| AssignError::Thread { source })?);
            ends.push(end);
        }
        let mut merged = Merged { heads: ends.iter().map(|_| None).collect(), ends };
        let written = write(&mut || merged.next());
        drop(merged);
        let mut account = Account::default();
        for reader in readers {
            account.merge(reader.join().expect("a panic ends the program"));
        }
        Ok((written, account))
    })
}

impl Work<'_> {
    /// One thread's part.
    fn share(&self, thread: usize, threads: usize, send: &SyncSender<Piece>) -> Account {
        let mut scan = self.table.scan_in_order(&self.reading.columns, thread, threads);
        let mut coding = Coding::new(self.job, self.table, self.reading, self.features);
        let mut account = Account { taken: vec![0; self.asked], ..Account::default() };
        while let Some(chunk) = scan.next() {
            let piece = match chunk {
                Ok(chunk) => {
                    // Every thread goes through all files, so it knows how many rows those behind it have.
                    let before = scan.file_rows()[..chunk.file].iter().sum();
                    self.piece(&chunk, before, &mut coding, &mut account)
                }
                Err(error) => (self.place_of(&error), Err(AssignError::Source(error))),
            };
            let last = piece.1.is_err();
            if send.send(piece).is_err() || last {
                break;
            }
        }
        account.read = scan.rows_read();
        account.rejects = scan.rejects().clone();
        account.rejects.merge(std::mem::take(&mut coding.rejects));
        account.strangers = coding.strangers();
        account
    }

    /// The rows of a chunk, where the files before have so many.
    fn piece(&self, chunk: &Chunk, before: u64, coding: &mut Coding, account: &mut Account) -> Piece {
        let coded = match coding.code(chunk, before) {
            Ok(coded) => coded,
            Err(bad) => return ((chunk.file, bad.row), Err(AssignError::BadRow(bad))),
        };
        let known = self.cells.then(|| self.known(&coded));
        let places = self.order.places(coded.codes, coded.rows);
        if let Some(known) = known {
            let new = places.iter().zip(known).filter(|(place, known)| **place == NO_PLACE && *known);
            account.combinations += new.count() as u64;
        }
        account.customers += coded.rows as u64;
        let taken = places.iter().filter(|place| **place != NO_PLACE);
        taken.for_each(|&place| account.taken[place as usize] += 1);
        let rows = AssignedRows { ids: coded.ids, places };
        ((chunk.file, chunk.row_number(0)), Ok(if self.all { rows } else { rows.in_groups() }))
    }

    /// Of each row whether of every feature its value is one that the run had, be it among those too rare for an item.
    fn known(&self, coded: &Coded) -> Vec<bool> {
        let mut known = vec![true; coded.rows];
        for (feature, codes) in self.features.iter().zip(&coded.codes) {
            let cardinality = feature.cardinality();
            known.iter_mut().enumerate().for_each(|(row, known)| *known &= usize::from(codes.at(row)) < cardinality);
        }
        known
    }

    /// Where a table cannot be read: behind the rows of the file, as of a file that is damaged it is not known which.
    fn place_of(&self, error: &SourceError) -> Place {
        let (path, row) = match error {
            SourceError::BadRow { path, row, .. } => (path, *row),
            SourceError::OpenQuote { path, .. }
            | SourceError::LongRecord { path, .. }
            | SourceError::Damaged { path, .. }
            | SourceError::RowCount { path, .. }
            | SourceError::Encoding { path, .. }
            | SourceError::Read { path, .. } => (path, u64::MAX),
            _ => return (usize::MAX, u64::MAX),
        };
        let file = self.table.files().iter().position(|file| file.path == *path);
        file.map_or((usize::MAX, u64::MAX), |file| (file, row))
    }
}

/// The pieces of all threads in the order of the table. Each thread's are in that order, and every row is one thread's.
struct Merged {
    ends: Vec<Receiver<Piece>>,
    /// The next piece of each thread; none where it is not there yet, or there is no more.
    heads: Vec<Option<Piece>>,
}

impl Merged {
    fn next(&mut self) -> Result<Option<AssignedRows>, AssignError> {
        for (head, end) in self.heads.iter_mut().zip(&self.ends) {
            if head.is_none() {
                *head = end.recv().ok();
            }
        }
        let first = (0..self.heads.len()).filter_map(|i| Some((self.heads[i].as_ref()?.0, i))).min();
        let piece = first.and_then(|(_, i)| self.heads[i].take());
        piece.map(|(_, rows)| rows).transpose()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn pieces_of_several_threads_come_in_the_order_of_the_table_and_so_does_a_failure() {
        let piece = |file: usize, row: u64, bad: bool| -> Piece {
            let ids: ArrayRef = Arc::new(Int64Array::from_iter_values([100 * file as i64 + row as i64]));
            let rows = AssignedRows { ids, places: vec![0] };
            ((file, row), if bad { Err(AssignError::Quality(format!("{file}/{row}"))) } else { Ok(rows) })
        };
        let given = |pieces: Vec<Vec<Piece>>| {
            let mut ends = Vec::new();
            for pieces in pieces {
                let (send, end) = sync_channel(8);
                pieces.into_iter().for_each(|piece| send.send(piece).expect("room"));
                ends.push(end);
            }
            let mut merged = Merged { heads: ends.iter().map(|_| None).collect(), ends };
            let mut given = Vec::new();
            loop {
                match merged.next() {
                    Ok(Some(rows)) => given.push(rows.ids.as_primitive::<Int64Type>().value(0).to_string()),
                    Ok(None) => return given,
                    Err(error) => {
                        given.push(error.to_string());
                        return given;
                    }
                }
            }
        };
        let all = given(vec![
            vec![piece(0, 0, false), piece(0, 7, false), piece(2, 0, false)],
            vec![],
            vec![piece(0, 3, false), piece(1, 0, false), piece(1, 9, false)],
        ]);
        assert_eq!(all, ["0", "3", "7", "100", "109", "200"]);
        let failed =
            given(vec![vec![piece(0, 0, false), piece(1, 5, true)], vec![piece(0, 3, false), piece(1, 0, true)]]);
        assert_eq!(failed, ["0", "3", "1/0"]);
    }
}
