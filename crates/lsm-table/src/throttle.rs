//! The port through which work in the background asks before it reads or writes.

use lsm_types::Result;

/// Asked by a reader or writer of tables before each block it reads, and before each piece it writes.
pub trait Throttle: Send + Sync {
    /// Returns when so many stored bytes may pass, or with what ended the wait.
    fn pass(&self, bytes: u64) -> Result<()>;
}
