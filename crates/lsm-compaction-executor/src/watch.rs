//! Being told how a job gets on.

use crate::Sliced;

/// A segment that is written, and not yet part of the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SegmentDone {
    /// Tables of it.
    pub tables: usize,
    /// Bytes of their files and of its value logs.
    pub bytes: u64,
    /// Entries in them.
    pub entries: u64,
}

/// Looks on. Segments and slices are told on the thread of the job, while it holds no lock; must not panic.
pub trait JobWatch: Send + Sync {
    /// So many stored bytes of the inputs are read next. Told before each block, on the thread that reads it.
    fn read(&self, bytes: u64) {
        let _ = bytes;
    }

    /// A segment is written.
    fn segment(&self, done: SegmentDone) {
        let _ = done;
    }

    /// A slice is durable and visible.
    fn slice(&self, sliced: Sliced) {
        let _ = sliced;
    }
}

/// Nobody looks on.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoWatch;

impl JobWatch for NoWatch {}
