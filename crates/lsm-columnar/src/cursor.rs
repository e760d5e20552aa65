//! Walks over a payload of unknown origin and remembers where it stands, so that extents can be kept as positions.

use lsm_types::ByteReader;

use crate::{ColumnarError, Result};

/// A reader that names the structure and field in its errors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'p> {
    what: &'static str,
    len: usize,
    reader: ByteReader<'p>,
}

impl<'p> Cursor<'p> {
    pub(crate) const fn new(what: &'static str, payload: &'p [u8]) -> Self {
        Self { what, len: payload.len(), reader: ByteReader::new(payload) }
    }

    /// Bytes read so far.
    pub(crate) const fn at(&self) -> usize {
        self.len - self.reader.remaining()
    }

    pub(crate) const fn remaining(&self) -> usize {
        self.reader.remaining()
    }

    #[cold]
    pub(crate) const fn malformed(&self, field: &'static str) -> ColumnarError {
        ColumnarError::Malformed { what: self.what, field }
    }

    #[cold]
    pub(crate) const fn unsupported(&self, field: &'static str, value: u64) -> ColumnarError {
        ColumnarError::Unsupported { what: self.what, field, value }
    }

    pub(crate) fn take(&mut self, len: usize, field: &'static str) -> Result<&'p [u8]> {
        self.reader.take(len).map_err(|_| self.malformed(field))
    }

    /// Position of the next `len` bytes, which are skipped.
    pub(crate) fn skip(&mut self, len: usize, field: &'static str) -> Result<usize> {
        let at = self.at();
        self.take(len, field)?;
        Ok(at)
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8> {
        self.reader.u8().map_err(|_| self.malformed(field))
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16> {
        self.reader.u16().map_err(|_| self.malformed(field))
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32> {
        self.reader.u32().map_err(|_| self.malformed(field))
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64> {
        self.reader.u64().map_err(|_| self.malformed(field))
    }

    pub(crate) fn varint(&mut self, field: &'static str) -> Result<u64> {
        self.reader.varint().map_err(|_| self.malformed(field))
    }

    pub(crate) fn prefixed(&mut self, field: &'static str) -> Result<&'p [u8]> {
        self.reader.prefixed().map_err(|_| self.malformed(field))
    }

    /// Refuses bytes that belong to nothing.
    pub(crate) fn finish(self) -> Result<()> {
        if self.reader.is_empty() { Ok(()) } else { Err(self.malformed("length")) }
    }
}

/// Up to eight bytes at `at`, little-endian; what lies past the end is zero.
#[inline]
pub(crate) fn load_u64(payload: &[u8], at: usize) -> u64 {
    match payload.get(at..).and_then(<[u8]>::first_chunk) {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => load_short(payload, at),
    }
}

#[cold]
fn load_short(payload: &[u8], at: usize) -> u64 {
    let rest = payload.get(at..).unwrap_or_default();
    rest.iter().take(8).rev().fold(0, |raw, &byte| raw << 8 | u64::from(byte))
}
