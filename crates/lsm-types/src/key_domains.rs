//! Stretches of keys that are kept in files of their own.

use crate::Slice;

/// Contiguous domains of keys, such as days of a log: no table that is written holds keys of two of them, so that a
/// range delete over a domain removes whole files.
///
/// ```
/// use lsm_types::{KeyDomains, Slice};
///
/// /// Keys begin with the number of a day in two bytes.
/// struct Days;
///
/// impl KeyDomains for Days {
///     fn end_of(&self, key: &[u8]) -> Option<Slice> {
///         let day = u16::from_be_bytes(*key.first_chunk()?);
///         Some(day.checked_add(1)?.to_be_bytes().as_slice().into())
///     }
/// }
///
/// assert_eq!(Days.end_of(b"\0\x07 noon").as_deref(), Some(&b"\0\x08"[..]));
/// ```
pub trait KeyDomains: Send + Sync + 'static {
    /// First key after the domain of `key`, in the order of the tree; `None` when it is the last domain.
    ///
    /// An answer that is not after `key` counts as `None`.
    fn end_of(&self, key: &[u8]) -> Option<Slice>;
}
