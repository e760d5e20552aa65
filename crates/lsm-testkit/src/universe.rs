//! Random lives of a tree, judged read by read against its whole history.
//!
//! ```text
//! seed -> axes (order, operator, sizes..) + operations -> world: subject beside model -> every form of read, compared
//!                                                             | a difference
//!                                                             v
//!                                      fewer operations, as long as there is a difference -> a test to paste
//! ```
//!
//! The tree is driven through [`Subject`], which also knows the forms of reads. What a read has to see comes from
//! [`crate::oracle`]. A life is plain data, so a life that failed can be kept as a test.

mod axes;
mod campaign;
mod model;
mod op;
mod shrink;
mod snapshot;
mod subject;
mod tally;
mod world;

pub use axes::{Axes, Folding, Keys, Weak};
pub use campaign::{Campaign, campaign, relive};
pub use op::Op;
pub use shrink::{Failure, replay};
pub use snapshot::{Seen, Snapshot};
pub use subject::{Life, Subject, Write};
pub use tally::Tally;
