//! Tests through the crate's door, on a simulated disk.
#![cfg(test)]

mod beside;
mod common;
mod crash;
mod damage;
mod faults;
mod foreign;
mod lossy;
mod policy;
