//! Immutable, cheaply cloned bytes.

use alloc::{string::String, vec::Vec};
use core::{borrow::Borrow, fmt, ops::Deref, ops::RangeBounds};

use bytes::Bytes;

/// Immutable, cheaply cloned bytes; converts to and from [`Bytes`] for nothing.
///
/// A sub-slice shares, and keeps alive, the buffer it came from: see [`Slice::compact`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Slice(Bytes);

impl Slice {
    /// No bytes.
    pub const fn empty() -> Self {
        Self(Bytes::new())
    }

    /// Bytes that live as long as the program.
    pub const fn from_static(bytes: &'static [u8]) -> Self {
        Self(Bytes::from_static(bytes))
    }

    /// A copy of `bytes`.
    pub fn copy_from(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }

    /// A sub-slice sharing the same allocation.
    ///
    /// # Panics
    /// When `range` lies outside the slice, as for `[u8]`.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        Self(self.0.slice(range))
    }

    /// A copy that no longer keeps a larger buffer alive.
    pub fn compact(&self) -> Self {
        Self::copy_from(&self.0)
    }

    /// The bytes in the shape of the `bytes` crate.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl AsRef<[u8]> for Slice {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Deref for Slice {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Slice {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl From<Bytes> for Slice {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<Slice> for Bytes {
    fn from(slice: Slice) -> Self {
        slice.0
    }
}

impl From<Vec<u8>> for Slice {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Bytes::from(bytes))
    }
}

impl From<String> for Slice {
    fn from(text: String) -> Self {
        Self(Bytes::from(text))
    }
}

impl From<&[u8]> for Slice {
    fn from(bytes: &[u8]) -> Self {
        Self::copy_from(bytes)
    }
}

impl From<&str> for Slice {
    fn from(text: &str) -> Self {
        Self::copy_from(text.as_bytes())
    }
}

impl<const N: usize> From<[u8; N]> for Slice {
    fn from(bytes: [u8; N]) -> Self {
        Self::copy_from(&bytes)
    }
}

impl<const N: usize> From<&[u8; N]> for Slice {
    fn from(bytes: &[u8; N]) -> Self {
        Self::copy_from(bytes)
    }
}

impl PartialEq<[u8]> for Slice {
    fn eq(&self, other: &[u8]) -> bool {
        self.0 == other
    }
}

impl PartialEq<&[u8]> for Slice {
    fn eq(&self, other: &&[u8]) -> bool {
        self.0 == *other
    }
}

impl<const N: usize> PartialEq<&[u8; N]> for Slice {
    fn eq(&self, other: &&[u8; N]) -> bool {
        self.0 == other.as_slice()
    }
}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves E-156.
    #[test]
    fn converts_both_ways_and_compact_detaches() {
        let bytes = Bytes::from_static(b"hello world");
        let slice = Slice::from(bytes.clone());
        assert_eq!(Bytes::from(slice.clone()).as_ptr(), bytes.as_ptr());
        let part = slice.slice(6..);
        assert_eq!(part, b"world");
        assert_eq!(part.as_ptr(), bytes[6..].as_ptr());
        let detached = part.compact();
        assert_ne!(detached.as_ptr(), part.as_ptr());
        assert_eq!(detached, part);
    }
}
