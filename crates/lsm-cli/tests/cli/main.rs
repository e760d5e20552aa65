//! The program, run as its users run it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::case_sensitive_file_extension_comparisons,
    clippy::unnecessary_debug_formatting,
    clippy::items_after_statements,
    reason = "a test should fail where it fails"
)]

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it should be"
)]

mod damage;
mod load;
mod open;
mod read;
mod stop;
mod tool;
