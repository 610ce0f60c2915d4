//! What ends a run by agreement: an error of one worker, told to all, before or after a dataflow.

use serde::{Deserialize, Serialize};
use timely::worker::Worker;

use super::collective::{broadcast, gather};

/// Which exit code a failure ends the run with; see the contract of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FailureKind {
    /// A setting that does not fit the data: 2.
    Usage,
    /// Input unreadable or not as declared: 3.
    Input,
    /// The data quality gate: 4.
    Quality,
    /// Another run holds the output: 5.
    Taken,
    /// Memory or disk: 6.
    Resources,
    /// Our own fault: 1.
    Bug,
}

/// Why no run was published. The text holds the whole chain of causes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    pub kind: FailureKind,
    /// Orders the failures of several workers, so that all layouts report the same one: file and row.
    pub place: (usize, u64),
    pub text: String,
}

impl Failure {
    pub fn new(kind: FailureKind, error: &dyn std::error::Error) -> Failure {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Failure { kind, place: (usize::MAX, u64::MAX), text }
    }

    pub fn at(self, file: usize, row: u64) -> Failure {
        Failure { place: (file, row), ..self }
    }
}

/// Whether all workers succeeded; if not, all learn the failure that comes first in the table.
pub fn agree(worker: &mut Worker, failure: Option<Failure>) -> Result<(), Failure> {
    let failures = gather(worker, failure);
    let first = failures.into_iter().flatten().min_by(|a, b| (a.place, a).cmp(&(b.place, b)));
    let told = (worker.index() == 0).then_some(first);
    match broadcast(worker, told) {
        None => Ok(()),
        Some(failure) => Err(failure),
    }
}

/// Worker 0's decision, told to all.
pub fn decide<T>(worker: &mut Worker, decision: Option<Result<T, Failure>>) -> Result<T, Failure>
where
    T: timely::ExchangeData + Clone,
{
    // `Result` as serde writes it; a failure is as much a decision as a value.
    broadcast(worker, decision)
}
