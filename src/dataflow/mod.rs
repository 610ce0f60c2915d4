//! The stages, spread over workers: what crosses between them, and when it is complete.

mod collective;
mod difference;
mod enumerate;

pub use collective::{broadcast, exchange, gather};
pub use enumerate::{Answer, Counted, Enumeration, Progress, enumerate};
