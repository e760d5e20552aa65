//! Tests through the crate's door.
#![cfg(test)]

mod codec;
mod common;
mod golden;
mod replay;
mod restrict;
