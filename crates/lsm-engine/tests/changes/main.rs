//! Listing and following changes, and entries as they are stored.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test should fail where it fails")]

mod cases;
#[path = "../common/mod.rs"]
mod common;
mod model;
mod skipping;
mod versions;
#[path = "../common/wrap.rs"]
mod wrap;
