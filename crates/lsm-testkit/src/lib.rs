//! Tools for testing storage on the `lsm` engine's file system port.
//!
//! * [`comparators`], [`operators`]: plug-ins that bring mistakes to light.
//! * [`conformance`]: what every backend has to do, as one suite.
//! * [`crash`]: workloads, power cuts at every moment, and a judge of what is left.
//! * [`dice`]: chance that repeats.
//! * [`filters`]: compaction filters that remember what they said.
//! * [`laws`]: what a merge operator has to keep to.
//! * [`oracle`]: the whole history of a tree, and what a read has to see of it.
//! * [`ports`]: clock and chance that repeat.
//! * [`schedule`]: threads that run one at a time, in an order that repeats.
//! * [`sim`]: a backend that fails on order, and shows what a power loss at any moment may leave.
//! * [`universe`]: random lives of a tree, judged read by read.

pub mod comparators;
pub mod conformance;
pub mod crash;
pub mod dice;
pub mod filters;
pub mod laws;
pub mod operators;
pub mod oracle;
pub mod ports;
pub mod schedule;
pub mod sim;
pub mod universe;
