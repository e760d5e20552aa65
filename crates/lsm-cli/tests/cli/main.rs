//! The program, run as its users run it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it should be"
)]

mod checkpoint;
mod columns;
mod damage;
mod keys;
mod load;
mod open;
mod read;
mod space;
mod stop;
mod tool;
mod vlog;
