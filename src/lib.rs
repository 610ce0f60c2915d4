//! nichemine finds the few small groups of customers that move a business figure.
//!
//! The modules stand in the order in which data passes through them.

#![deny(unsafe_code)]

pub mod segment;
pub mod stats;
pub mod block;
pub mod audience;
pub mod memory;
pub mod simd;

pub mod job;

pub mod source;
pub mod encode;
pub mod screen;
pub mod enumerate;
pub mod score;
pub mod highlight;
pub mod change;
pub mod merge;
pub mod profile;
pub mod alternatives;
pub mod mix;
pub mod sink;
pub mod assign;

pub mod dataflow;
pub mod cluster;
pub mod telemetry;

pub mod planted;

pub mod cli;
