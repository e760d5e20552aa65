//! Threads for the segments of jobs, and for the blocks of their writers.

use std::sync::Arc;

use lsm_types::Spawner;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::lender::Lender;

/// How the segments of a job are shared out.
#[derive(Clone, Default)]
pub struct Parallelism {
    /// Helps the thread of the job. Without one the segments follow each other.
    pub pool: Option<Arc<dyn Spawner>>,
    /// Most threads that work on one job at a time, its own included: one for each segment, and one that compresses
    /// blocks for a segment while there are fewer of these. 0 and 1 are one.
    pub threads: usize,
    /// Bytes of input per segment that make a split worth while.
    pub segment_min_bytes: u64,
}

impl Parallelism {
    /// Number of segments for inputs of `bytes`.
    pub(crate) fn segments(&self, bytes: u64) -> usize {
        let worth = bytes / self.segment_min_bytes.max(1);
        if self.pool.is_none() {
            1
        } else {
            usize::try_from(worth).unwrap_or(usize::MAX).clamp(1, self.threads.max(1))
        }
    }

    /// Who lends the writers of so many segments a thread that they leave.
    pub(crate) fn lender(&self, segments: usize) -> Option<Arc<Lender>> {
        let pool = self.pool.as_ref().filter(|_| self.threads > 1)?;
        Some(Lender::new(pool.clone(), self.threads, segments))
    }
}

impl std::fmt::Debug for Parallelism {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parallelism")
            .field("threads", &self.threads)
            .field("segment_min_bytes", &self.segment_min_bytes)
            .finish_non_exhaustive()
    }
}

/// A fixed number of threads that take tasks over: one pool for all jobs of a process, or of a database.
pub struct CompactionPool {
    threads: ThreadPool,
}

impl CompactionPool {
    /// A pool of so many threads, at least one; `None` when the system has none to give.
    pub fn new(threads: usize) -> Option<Self> {
        let builder = ThreadPoolBuilder::new().num_threads(threads.max(1));
        let built = builder.thread_name(|number| format!("lsm-compact-{number}")).build();
        match built {
            Ok(threads) => Some(Self { threads }),
            Err(error) => {
                tracing::warn!(%error, "no threads for compactions; their segments follow each other");
                None
            }
        }
    }
}

impl Spawner for CompactionPool {
    fn spawn(&self, task: Box<dyn FnOnce() + Send>) {
        self.threads.spawn(task);
    }
}

impl std::fmt::Debug for CompactionPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompactionPool").field("threads", &self.threads.current_num_threads()).finish()
    }
}
