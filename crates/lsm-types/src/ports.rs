//! Small ports through which time and chance enter.

use crate::UnixNanos;

/// Where time comes from. Nothing about correctness may depend on it.
pub trait Clock: Send + Sync + 'static {
    /// Wall-clock time; may jump in either direction.
    fn now(&self) -> UnixNanos;

    /// Nanoseconds since some fixed moment; never goes back.
    fn monotonic_nanos(&self) -> u64;
}

/// Where randomness comes from: identities and salts.
pub trait Random: Send + Sync + 'static {
    /// Fills `out` with bytes that an adversary cannot foresee.
    fn fill(&self, out: &mut [u8]);
}
