//! Drives a store through workloads on a simulated disk, cuts the power at every moment, and judges what is left.
//!
//! A [`Subject`] tells how to open a store, what its operations do, and what they promise. [`Run`] carries a workload
//! out and writes down which contents a crash at each point may leave. [`check_run`] makes every image of the
//! run, opens it, and holds it against that list; [`campaign`] does so for workload after workload on all processors.
//!
//! What an image has to satisfy:
//!
//! * it opens as any healthy store does, and reads as the state at some boundary that is not older than what was
//!   acknowledged as durable and not newer than what was begun;
//! * the store's own check finds nothing, and no name that was given to a file before the crash is given again after;
//! * now and then: a crash while the image is being recovered changes nothing about what is found, and the store goes
//!   on, closes, and opens again.
//!
//! The judge knows nothing about how a store works. That it catches what it should is shown by stores that are wrong
//! on purpose, in this crate's tests, under the same strategy.

mod campaign;
mod check;
mod run;
mod subject;
mod violation;

pub use campaign::{Campaign, Tally, campaign};
pub use check::{Counts, Effort, check_run};
pub use run::{Record, Run};
pub use subject::{Failed, OpKind, Subject};
pub use violation::Violation;
