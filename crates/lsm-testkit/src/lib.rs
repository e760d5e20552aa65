//! Tools for testing storage on the `lsm` engine's file system port.
//!
//! * [`conformance`]: what every backend has to do, as one suite.
//! * [`oracle`]: the whole history of a tree, and what a read has to see of it.
//! * [`sim`]: a backend that fails on order, and shows what a power loss at any moment may leave.

pub mod conformance;
pub mod oracle;
pub mod sim;
