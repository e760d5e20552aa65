//! Decoders that are used again.

use std::sync::Arc;

use lsm_codec::Decoder;
use parking_lot::Mutex;

/// Decoders kept at most.
const KEPT: usize = 16;

/// A handful of decoders with their contexts, for whoever reads a block from disk next.
#[derive(Clone, Default)]
pub struct DecoderPool {
    idle: Arc<Mutex<Vec<Decoder>>>,
}

impl DecoderPool {
    /// An empty pool.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `work` with a decoder.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Decoder) -> T) -> T {
        let idle = self.idle.lock().pop();
        let mut decoder = idle.unwrap_or_default();
        let outcome = work(&mut decoder);
        let mut idle = self.idle.lock();
        if idle.len() < KEPT {
            idle.push(decoder);
        }
        outcome
    }
}

impl std::fmt::Debug for DecoderPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DecoderPool({} idle)", self.idle.lock().len())
    }
}
