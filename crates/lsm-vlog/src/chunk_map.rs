//! Where the frames of a large value lie (`docs/format/vlog.md`, section 3): payload of kind 35, the last frame of such a
//! value.
//!
//! | bytes  | field        | encoding                                                            |
//! |--------|--------------|---------------------------------------------------------------------|
//! | 0..4   | value length | u32 LE                                                              |
//! | 4..8   | reserved     | zero                                                                |
//! | 8..16  | key hash     | u64 LE, XXH3-64 of the key                                          |
//! | 16..   | ends         | u32 LE per chunk: first byte after its frame, from the first frame's |
//!
//! The length of a value tells how many chunks it has, and so how long its map is: the map is found from the end of what
//! a handle names, and each chunk from the map. A part of a value is read without the rest of it.

use alloc::vec::Vec;
use core::ops::Range;

use lsm_block::{BlockKind, FrameHeader, Handle};
use lsm_types::{ByteReader, KeyHash, MAX_VALUE_LEN, ValueHandle};

use crate::PayloadError;

const HEAD_LEN: usize = 16;
const CHUNK_LEN: u32 = ValueHandle::CHUNK_LEN;

/// Chunks of a value of `value_len` bytes.
const fn chunk_count(value_len: u32) -> usize {
    value_len.div_ceil(CHUNK_LEN) as usize
}

/// Where the frames of a large value lie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChunkMap {
    value_len: u32,
    key: KeyHash,
    ends: Vec<u32>,
}

impl ChunkMap {
    /// The map of a value of which no chunk is written yet.
    pub(crate) fn new(value_len: u32, key: KeyHash) -> Self {
        Self { value_len, key, ends: Vec::with_capacity(chunk_count(value_len)) }
    }

    /// Enters the next chunk, whose frame ends `end` bytes after the start of the first one.
    pub(crate) fn push(&mut self, end: u32) {
        self.ends.push(end);
    }

    /// Bytes of the payload for a value of `value_len` bytes.
    pub const fn encoded_len(value_len: u32) -> usize {
        HEAD_LEN + 4 * chunk_count(value_len)
    }

    /// Appends the payload to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.value_len.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.key.get().to_le_bytes());
        for end in &self.ends {
            out.extend_from_slice(&end.to_le_bytes());
        }
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`PayloadError::Field`] for anything that is not the map of a large value.
    pub fn decode(payload: &[u8]) -> Result<Self, PayloadError> {
        let mut fields = ByteReader::new(payload);
        let value_len = fields.u32()?;
        if value_len <= CHUNK_LEN || value_len as usize > MAX_VALUE_LEN {
            return Err(PayloadError::Field("value length"));
        }
        if fields.u32()? != 0 {
            return Err(PayloadError::Field("reserved"));
        }
        let key = KeyHash::from_raw(fields.u64()?);
        if payload.len() != Self::encoded_len(value_len) {
            return Err(PayloadError::Field("ends"));
        }
        let mut map = Self::new(value_len, key);
        let mut start = 0;
        for _ in 0..chunk_count(value_len) {
            let end = fields.u32()?;
            // A frame has a header and at least one byte, and no more than its kind may have.
            let len = end.checked_sub(start).ok_or(PayloadError::Field("ends"))?;
            if len as usize <= FrameHeader::LEN || len > BlockKind::VALUE_CHUNK.cap() {
                return Err(PayloadError::Field("ends"));
            }
            map.push(end);
            start = end;
        }
        Ok(map)
    }

    /// Bytes of the value.
    pub const fn value_len(&self) -> u32 {
        self.value_len
    }

    /// Hash of the value's key.
    pub const fn key(&self) -> KeyHash {
        self.key
    }

    /// How many chunks there are.
    pub const fn chunks(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of all chunks' frames.
    pub fn stored_len(&self) -> u32 {
        self.ends.last().copied().unwrap_or_default()
    }

    /// Where the frame of chunk `idx` lies when the first one lies at `offset`; `None` past the last chunk.
    pub fn handle(&self, idx: usize, offset: u64) -> Option<Handle> {
        let end = *self.ends.get(idx)?;
        let start = idx.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default();
        Some(Handle { offset: offset.checked_add(start.into())?, len: end.checked_sub(start)? })
    }

    /// Bytes of the value that chunk `idx` holds.
    pub fn part(&self, idx: usize) -> Range<u32> {
        let start = u32::try_from(idx).unwrap_or(u32::MAX).saturating_mul(CHUNK_LEN).min(self.value_len);
        start..start.saturating_add(CHUNK_LEN).min(self.value_len)
    }
}
