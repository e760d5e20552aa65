//! Atomics, from the language or from the model checker: the one place that knows which.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{
    AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{
    AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};

/// Lets the other side run before a read is tried again; only the model checker needs to be told.
#[cfg(not(loom))]
pub(crate) fn retry() {
    core::hint::spin_loop();
}

#[cfg(loom)]
pub(crate) fn retry() {
    loom::thread::yield_now();
}

/// Bits of an offset inside its chunk. The model checker tracks every atomic, so its directory is short.
pub(crate) const CHUNK_BITS: u32 = if cfg!(loom) { 30 } else { 22 };
