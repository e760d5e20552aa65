//! Carrying out compaction plans: one driver, and one file per flavour.
//!
//! ```text
//! plan -> lease -> validate -> select flavour -> segments
//!      -> per segment: sources -> merge -> survivors, range tombstones -> writer -> staged tables
//!      -> sync -> install -> release
//! ```
//!
//! The driver ([`run_job`]) owns the lease, the cancel token, the staging area and the commit. A flavour
//! ([`CompactionFlavour`]) sees sources and writers. What changes the tree goes through the [`Installer`] port.

mod boundary;
mod bucket;
mod cancel;
mod checkpoints;
mod crew;
mod deletes;
mod driver;
mod error;
mod failpoint;
mod filter;
mod flavour;
mod in_flight;
mod inputs;
mod installer;
mod job;
mod lease;
mod lender;
mod limiter;
mod merge_on_read;
mod merging;
mod outside;
mod pool;
mod relocating;
mod relocation;
mod report;
mod split;
mod staging;
mod standard;
mod stoppable;
mod stream;
mod tight;
mod totals;
mod until;
mod values;
mod watch;

pub use boundary::SliceEnds;
pub use cancel::Cancel;
pub use deletes::Deletes;
pub use driver::{JobOutput, run_job};
pub use error::{ExecutorError, InstallError};
pub use failpoint::{Failpoints, MASK_POINTS, NoFailpoints, POINTS, RELOCATION_POINTS};
pub use filter::{FilterCounts, JobFilter, SegmentFilter};
pub use flavour::{Checkpoint, CompactionFlavour, FlavourRun, SegmentOutput, SegmentTask};
pub use in_flight::InFlight;
pub use inputs::JobInputs;
pub use installer::{EditExtras, InstallRequest, Installer, Placement};
pub use job::Job;
pub use lease::{BusyTables, Lease};
pub use limiter::{Pause, RateLimiter};
pub use merge_on_read::MergeOnRead;
pub use merging::OpenMerge;
pub use outside::{Outside, OutsideContainer};
pub use pool::{CompactionPool, Parallelism};
pub use relocating::Relocating;
pub use relocation::{OnCorruption, PickedLogs, Relocated, Relocation};
pub use report::{CompactionReport, Outcome, StageNanos};
pub use staging::StagingArea;
pub use standard::Standard;
pub use stoppable::Stoppable;
pub use stream::{DropCounts, StreamControl, write_survivors};
pub use tight::{SLICED_INPUTS_MAX, SliceRoom, Sliceable, Sliced, TightSpace};
pub use totals::{CompactionTotals, JobTotals, TotalsByReason};
pub use watch::{JobWatch, NoWatch, SegmentDone};
