//! Named places at which a test makes a job fail.

use crate::ExecutorError;

/// The places, in the order in which a job passes them. `segment.entry` is passed before the first entry and then
/// every 1,024. Before `install.after` a failure leaves the tree as it was; there the change is durable and visible.
pub const POINTS: [&str; 8] = [
    "plan.done",
    "lease.taken",
    "segment.entry",
    "segment.seal",
    "sync.file",
    "sync.dir",
    "install.before",
    "install.after",
];

/// Places that only a job that copies values passes, once for each batch of entries that has some: before they are read,
/// and before they are written; and once for each segment, before the copies are synced.
pub const RELOCATION_POINTS: [&str; 3] = ["relocate.read", "relocate.copy", "relocate.seal"];

/// Places that only a job that looks for dead rows passes: before each block or partition of the index that it reads, and
/// before each delete vector that it writes.
pub const MASK_POINTS: [&str; 2] = ["mask.search", "mask.write"];

/// What happens at a named place. The default does nothing.
pub trait Failpoints: Send + Sync {
    /// Called at `point`; an error fails the job there, as a panic does.
    fn hit(&self, point: &'static str) -> Result<(), ExecutorError> {
        let _ = point;
        Ok(())
    }
}

/// Nothing ever fails on purpose.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFailpoints;

impl Failpoints for NoFailpoints {}
