//! Merging sorted entries, what a read sees of them, and which of them survive a compaction.
//!
//! Everything here works on [`lsm_types::EntryCursor`] and knows neither memtables nor tables:
//!
//! - [`Merge`] walks several cursors as one, in both directions;
//! - [`Visible`] walks what a read at some bound sees of a cursor, each key once; [`PointResolver`] answers the same
//!   question for a single key, and [`ChainResolver`] for a key with merge operands;
//! - [`Survivors`] walks what a flush or compaction has to write of a cursor, and reports the rest as dropped.
//!
//! `Visible` and the resolvers agree with `resolve` of the engine text, section 2.3; `Survivors` follows the decision
//! table of the compaction text, section 8.7. Range tombstones enter through [`Coverage`].
#![no_std]

extern crate alloc;

mod chain;
mod coverage;
mod error;
mod filter;
mod judge;
mod merge;
mod operands;
mod refill;
mod resolve;
mod retention;
mod source;
mod survivors;
mod tree;
mod visible;
mod window;

pub use coverage::{Coverage, NoCoverage};
pub use error::IterError;
pub use filter::{FilterStage, Unfiltered};
pub use merge::Merge;
pub use operands::{ChainResolver, Resolved};
pub use resolve::{Candidate, PointResolver};
pub use retention::{DropReason, DropSink, KeyContext, Retention};
pub use survivors::Survivors;
pub use visible::Visible;
