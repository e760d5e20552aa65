//! What a frame of a value holds (`docs/format/vlog.md`, section 2): payload of kind 32, and of the first of the frames
//! of kind 33 that a large value is cut into.
//!
//! | bytes    | field      | encoding                                                     |
//! |----------|------------|--------------------------------------------------------------|
//! | 0..8     | seqno      | u64 LE, that of the entry when the value was written         |
//! | 8..10    | key length | u16 LE, not 0                                                |
//! | 10..     | key        |                                                              |
//! | ..       | value      | the rest; the first part of it in a chunk                    |
//!
//! The key is there so that a handle that leads to the wrong value is found out. The number only informs: entries may
//! get another one while their values stay where they are.

use alloc::vec::Vec;

use lsm_block::{BlockKind, FileIdentity};
use lsm_types::{ByteReader, CorruptionKind, ErrorKind, MAX_KEY_LEN, SeqNo, Slice, reader::ReadError};

use crate::VlogError;

/// Version of every payload encoding this crate writes.
pub(crate) const ENCODING: u8 = 1;

/// A payload that a decoder refuses.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PayloadError {
    /// A field contradicts the others, or what every value log holds.
    #[error("field `{0}` makes no sense")]
    Field(&'static str),
    /// Something this version must understand and does not.
    #[error("{part} {found} is not known to this version")]
    Unsupported {
        /// What is not known.
        part: &'static str,
        /// Its number.
        found: u64,
    },
}

impl PayloadError {
    /// Row of the one table of kinds.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Field(_) => ErrorKind::Corruption(CorruptionKind::Decode),
            Self::Unsupported { .. } => ErrorKind::UnsupportedFormat,
        }
    }

    /// The same with its place.
    pub(crate) fn at(self, identity: &FileIdentity, offset: u64, kind: BlockKind) -> VlogError {
        VlogError::Payload { at: identity.at(offset), kind, source: self }
    }
}

impl From<ReadError> for PayloadError {
    fn from(_: ReadError) -> Self {
        Self::Field("length")
    }
}

/// A value, or the first part of a large one, with its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ValuePayload {
    /// Number of the entry when the value was written.
    pub seqno: SeqNo,
    /// The user key.
    pub key: Slice,
    /// The value, or its first part, sharing the frame's buffer.
    pub value: Slice,
}

impl ValuePayload {
    /// Bytes before the key.
    const HEAD_LEN: usize = 10;
    /// Bytes that stand before a value, at most.
    pub(crate) const LEAD_MAX: u32 = 10 + 65_535;

    /// Appends what stands before the value. The key has a legal length.
    pub(crate) fn encode_lead(seqno: SeqNo, key: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&seqno.get().to_le_bytes());
        out.extend_from_slice(&u16::try_from(key.len()).unwrap_or(u16::MAX).to_le_bytes());
        out.extend_from_slice(key);
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`PayloadError::Field`].
    pub fn decode(payload: &Slice) -> Result<Self, PayloadError> {
        let mut fields = ByteReader::new(payload);
        let seqno = SeqNo::new(fields.u64()?).filter(|seqno| seqno.is_write());
        let seqno = seqno.ok_or(PayloadError::Field("seqno"))?;
        let key_len = usize::from(fields.u16()?);
        if key_len == 0 {
            return Err(PayloadError::Field("key length"));
        }
        fields.take(key_len)?;
        let key = payload.slice(Self::HEAD_LEN..Self::HEAD_LEN + key_len);
        Ok(Self { seqno, key, value: payload.slice(Self::HEAD_LEN + key_len..) })
    }
}

const _: () = assert!(ValuePayload::LEAD_MAX as usize == ValuePayload::HEAD_LEN + MAX_KEY_LEN);
