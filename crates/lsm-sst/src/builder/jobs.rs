//! The port through which data blocks are compressed by somebody else than the writer of the table.
//!
//! Compressing a block depends on nothing but its payload and is most of the work of writing a table. Everything behind it
//! depends on the place of the block in its file: that stays with the writer, in order, so that the file is the
//! same whoever compressed what.

use alloc::{sync::Arc, vec::Vec};
use core::fmt::Debug;

use lsm_codec::{Compression, Encoder, Trial};

use crate::Result;

/// The payload of a data block on its way through [`BlockJobs`].
#[derive(Debug, Default)]
pub struct BlockJob {
    /// Shared with another job for the same block, sometimes.
    payload: Arc<Vec<u8>>,
    compression: Compression,
    /// Longer than what it holds, sometimes.
    stored: Vec<u8>,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, Default)]
enum Outcome {
    #[default]
    NotTried,
    /// So many bytes at the front of `stored` stand for the payload.
    Smaller(usize),
    NotSmaller,
}

/// Memory that a job keeps for the next one at most, in each of its two buffers, in bytes.
const KEPT_MAX: usize = 1 << 20;

impl BlockJob {
    /// Makes this the job to compress `payload`, and leaves an empty buffer there. What it was before is lost but for
    /// its memory.
    pub fn refill(&mut self, payload: &mut Vec<u8>, compression: Compression) {
        if let Some(own) = Arc::get_mut(&mut self.payload) {
            own.clear();
            core::mem::swap(own, payload);
        } else {
            self.payload = Arc::new(core::mem::take(payload)); // somebody still reads the one before
        }
        for buffer in [payload, &mut self.stored] {
            if buffer.capacity() > KEPT_MAX {
                *buffer = Vec::new();
            }
        }
        self.compression = compression;
        self.outcome = Outcome::NotTried;
    }

    /// Compresses the payload. An encoder that fails leaves the job as one that nobody tried: the writer then tries
    /// itself, and says what is wrong.
    pub fn run(&mut self, encoder: &mut Encoder) {
        self.outcome = match encoder.try_on(self.compression, &self.payload, &mut self.stored) {
            Ok(Some(len)) => Outcome::Smaller(len),
            Ok(None) => Outcome::NotSmaller,
            Err(_) => Outcome::NotTried,
        };
    }

    /// A job for the same block, which nobody has tried: for a writer who does not want to wait for this one.
    pub fn again(&self) -> Self {
        let Self { payload, compression, .. } = self;
        let (stored, outcome) = (Vec::new(), Outcome::NotTried);
        Self { payload: payload.clone(), compression: *compression, stored, outcome }
    }

    /// Bytes before compression.
    pub fn payload_len(&self) -> usize {
        self.payload.len()
    }

    /// Bytes of memory in use.
    pub fn memory_len(&self) -> usize {
        self.payload.capacity() + self.stored.capacity()
    }

    pub(super) fn payload(&self) -> &[u8] {
        &self.payload
    }

    pub(super) fn compression(&self) -> Compression {
        self.compression
    }

    pub(super) fn trial(&self) -> Trial<'_> {
        match self.outcome {
            Outcome::NotTried => Trial::NotMade,
            Outcome::Smaller(len) => self.stored.get(..len).map_or(Trial::NotMade, Trial::Smaller),
            Outcome::NotSmaller => Trial::NotSmaller,
        }
    }
}

/// A queue of blocks to compress. What is handed over first comes back first, whoever has worked on it, or nobody.
///
/// Dropping it gives up what is in the queue.
pub trait BlockJobs: Debug + Send {
    /// Whether there is somebody besides the writer. Asked before each block; otherwise the writer compresses it
    /// itself, as if there were no queue.
    ///
    /// * `payload_len`: bytes of the block.
    fn is_manned(&mut self, payload_len: usize) -> bool;

    /// Puts a block at the end of the queue, as [`BlockJob::refill`] takes it over.
    fn hand_over(&mut self, payload: &mut Vec<u8>, compression: Compression);

    /// Takes the block at the front out of the queue, into `job`, which is one that came out earlier or a fresh one. A
    /// block that nobody is through with comes back as it is; while somebody is at it, `encoder`, the
    /// writer's own, may run blocks further behind first.
    ///
    /// # Errors
    /// What ended the work on the block.
    fn take_back(&mut self, job: &mut BlockJob, encoder: &mut Encoder) -> Result<()>;

    /// Bytes of memory in use.
    fn memory_len(&self) -> usize;
}
