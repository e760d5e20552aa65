//! Bounded reading of hostile bytes: every access is checked, no count is believed before its bytes are there.

use crate::varint;

/// Why bytes could not be read.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadError {
    /// The bytes end too early.
    #[error("{need} bytes wanted, {have} left")]
    Truncated {
        /// Bytes wanted.
        need: usize,
        /// Bytes left.
        have: usize,
    },
    /// A varint runs over ten bytes, over 64 bits, or is longer than its value needs.
    #[error("malformed varint")]
    Varint,
}

/// Reads little-endian fields from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub struct ByteReader<'a> {
    rest: &'a [u8],
}

impl<'a> ByteReader<'a> {
    /// A reader over `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Bytes not read yet.
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Whether everything was read.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], ReadError> {
        let Some((head, rest)) = self.rest.split_at_checked(len) else {
            return Err(ReadError::Truncated { need: len, have: self.rest.len() });
        };
        self.rest = rest;
        Ok(head)
    }

    /// All bytes left.
    pub fn take_rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let Some((head, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(ReadError::Truncated { need: N, have: self.rest.len() });
        };
        self.rest = rest;
        Ok(*head)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, ReadError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self) -> Result<u16, ReadError> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self) -> Result<u32, ReadError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self) -> Result<u64, ReadError> {
        self.array().map(u64::from_le_bytes)
    }

    /// An unsigned LEB128 varint.
    pub fn varint(&mut self) -> Result<u64, ReadError> {
        let (value, len) = varint::decode(self.rest)?;
        self.take(len)?;
        Ok(value)
    }

    /// A varint length followed by that many bytes.
    pub fn prefixed(&mut self) -> Result<&'a [u8], ReadError> {
        let len = self.varint()?;
        let need = usize::try_from(len).unwrap_or(usize::MAX);
        self.take(need)
    }

    /// A varint count of items that take at least `min_item_len` bytes each; refused when they cannot be there, so
    /// the count may be used for an allocation.
    pub fn count(&mut self, min_item_len: usize) -> Result<usize, ReadError> {
        let count = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        let need = count.saturating_mul(min_item_len.max(1));
        if need > self.rest.len() {
            return Err(ReadError::Truncated { need, have: self.rest.len() });
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves F-30.
    #[test]
    fn counts_are_bounded_by_the_bytes_present() {
        let mut bytes = alloc::vec::Vec::new();
        varint::encode(u64::MAX, &mut bytes);
        assert!(ByteReader::new(&bytes).count(1).is_err());
        assert!(ByteReader::new(&bytes).prefixed().is_err());
        assert_eq!(ByteReader::new(&[2, 7, 7]).count(1), Ok(2));
        assert!(ByteReader::new(&[2, 7, 7]).count(2).is_err());
    }

    #[test]
    fn fields_come_in_order() {
        let mut reader = ByteReader::new(&[1, 2, 0, 3, 0, 0, 0, 9]);
        assert_eq!((reader.u8(), reader.u16(), reader.u32()), (Ok(1), Ok(2), Ok(3)));
        assert_eq!(reader.u64(), Err(ReadError::Truncated { need: 8, have: 1 }));
        assert_eq!(reader.take_rest(), &[9]);
        assert!(reader.is_empty());
    }
}
