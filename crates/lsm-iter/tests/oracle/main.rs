//! The crate against naive models: a sorted vector, the full history of writes, and the decision table by name.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod filters;
mod folds;
mod history;
mod merge;
mod retention;
mod support;
mod survivors;
mod visible;
