//! The port through which values come that lie in other files than their keys.

use crate::{Result, Slice};

/// Fetches values that were moved out of tables.
pub trait SeparatedValues: Send + Sync {
    /// The value that an indirection of `key` leads to.
    ///
    /// * `handle`: what the entry holds in place of the value ([`crate::ValueHandle`]).
    ///
    /// # Errors
    /// When it leads nowhere, to another key, or to damaged bytes: never another value.
    fn fetch(&self, key: &[u8], handle: &[u8]) -> Result<Slice>;
}
