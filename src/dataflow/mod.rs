//! The stages, spread over workers: what crosses between them, and when it is complete.

mod agree;
mod alternatives;
mod cells;
mod change;
mod collective;
mod difference;
mod enumerate;
mod found;
mod groups;
mod load;
mod mix;
mod promise;
mod room;
mod rounds;
mod run;
mod screen;
mod shared;
mod target;
mod unique;
mod winsorise;

pub use agree::{Failure, FailureKind, agree, decide};
pub use collective::{broadcast, exchange, gather};
pub use enumerate::{Counted, Enumeration, Planned, enumerate, workers};
pub use load::{Loaded, load};
pub use room::Room;
pub use rounds::grow;
pub use run::{Outcome, run};
pub use screen::screened;
pub use shared::{Plan, Shared, Task};
pub use target::{Asked, Audience, MetricSums, Overlaps, Taken, assign, overlaps, taken};
pub use unique::unique;
pub use winsorise::{Caps, winsorise};
#[cfg(test)]
mod by_definition;
