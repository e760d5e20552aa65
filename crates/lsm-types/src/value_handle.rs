//! Where a separated value lies: what an indirection has in place of the value (`docs/format/vlog.md`, section 6).
//!
//! | bytes  | field        | encoding                                                      |
//! |--------|--------------|---------------------------------------------------------------|
//! | 0..8   | value log    | u64 LE, number of the file                                    |
//! | 8..16  | offset       | u64 LE, first byte of the first frame                         |
//! | 16..20 | stored len   | u32 LE, bytes of all frames of the value                      |
//! | 20..24 | value len    | u32 LE, bytes of the value                                    |
//! | 24..28 | flags        | u32 LE: 0 chunked; others must be zero                        |

use crate::{ByteReader, CorruptionKind, ErrorKind, Fault, MAX_VALUE_LEN, VlogId, reader::ReadError};

const CHUNKED: u32 = 1 << 0;

/// Where a separated value lies. A handle that exists has lengths that a value can have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ValueHandle {
    /// The value log.
    pub file: VlogId,
    /// First byte of the value's first frame.
    pub offset: u64,
    /// Bytes of all frames of the value, which follow each other.
    pub stored_len: u32,
    /// Bytes of the value.
    pub value_len: u32,
}

/// Why the payload of an indirection is no handle.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HandleError {
    /// It has another length.
    #[error("a handle of {} bytes, not of {}", .found, ValueHandle::LEN)]
    Length {
        /// Bytes it has.
        found: usize,
    },
    /// It asks for what this version does not know.
    #[error("a handle with unknown flags {0:#x}")]
    Flags(u32),
    /// Its fields contradict each other, or no value can be like that.
    #[error("field `{0}` of a handle makes no sense")]
    Field(&'static str),
}

impl Fault for HandleError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Flags(_) => ErrorKind::UnsupportedFormat,
            Self::Length { .. } | Self::Field(_) => ErrorKind::Corruption(CorruptionKind::Decode),
        }
    }
}

impl ValueHandle {
    /// Bytes of a handle.
    pub const LEN: usize = 28;
    /// A longer value is stored in chunks of this many bytes, so that nobody needs memory for it twice.
    pub const CHUNK_LEN: u32 = 1 << 20;

    /// Whether the value is stored in chunks.
    pub const fn is_chunked(&self) -> bool {
        self.value_len > Self::CHUNK_LEN
    }

    /// The first byte after the value's frames; `None` when that passes 2^64.
    pub const fn end(&self) -> Option<u64> {
        self.offset.checked_add(self.stored_len as u64)
    }

    /// The handle's bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let (file, rest) = bytes.split_at_mut(8);
        let (offset, rest) = rest.split_at_mut(8);
        let (stored_len, rest) = rest.split_at_mut(4);
        let (value_len, flags) = rest.split_at_mut(4);
        file.copy_from_slice(&self.file.get().to_le_bytes());
        offset.copy_from_slice(&self.offset.to_le_bytes());
        stored_len.copy_from_slice(&self.stored_len.to_le_bytes());
        value_len.copy_from_slice(&self.value_len.to_le_bytes());
        flags.copy_from_slice(&(if self.is_chunked() { CHUNKED } else { 0 }).to_le_bytes());
        bytes
    }

    /// Reads the payload of an indirection. Whether the file holds such a value is the file's to say.
    ///
    /// # Errors
    /// [`HandleError`]; never a handle whose value could not be written.
    pub fn decode(bytes: &[u8]) -> Result<Self, HandleError> {
        if bytes.len() != Self::LEN {
            return Err(HandleError::Length { found: bytes.len() });
        }
        let short = |_: ReadError| HandleError::Length { found: bytes.len() };
        let mut fields = ByteReader::new(bytes);
        let file = VlogId::new(fields.u64().map_err(short)?);
        let offset = fields.u64().map_err(short)?;
        let (stored_len, value_len) = (fields.u32().map_err(short)?, fields.u32().map_err(short)?);
        let flags = fields.u32().map_err(short)?;
        if flags & !CHUNKED != 0 {
            return Err(HandleError::Flags(flags & !CHUNKED));
        }
        let handle = Self { file, offset, stored_len, value_len };
        if value_len as usize > MAX_VALUE_LEN {
            return Err(HandleError::Field("value length"));
        }
        if (flags & CHUNKED != 0) != handle.is_chunked() {
            return Err(HandleError::Field("flags"));
        }
        if handle.end().is_none() {
            return Err(HandleError::Field("offset"));
        }
        Ok(handle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(at: usize, bytes: &[u8], expected: HandleError) {
        let handle = ValueHandle { file: VlogId::new(7), offset: 512, stored_len: 60, value_len: 9 };
        let mut encoded = handle.encode();
        encoded[at..at + bytes.len()].copy_from_slice(bytes);
        assert_eq!(ValueHandle::decode(&encoded), Err(expected));
    }

    /// Proves D-73.
    #[test]
    fn what_no_writer_wrote_is_refused() {
        check(24, &[1], HandleError::Field("flags"));
        check(24, &[2], HandleError::Flags(2));
        check(27, &[0x80], HandleError::Flags(1 << 31));
        check(8, &[0xFF; 8], HandleError::Field("offset"));
        // 1 MiB is stored whole, one byte more is not, whatever the flag says.
        check(20, &[0, 0, 0x10, 0, 1], HandleError::Field("flags"));
        check(20, &[1, 0, 0x10, 0, 0], HandleError::Field("flags"));
        check(20, &[0xFF; 4], HandleError::Field("value length"));
        assert_eq!(ValueHandle::decode(&[0; 27]), Err(HandleError::Length { found: 27 }));
        assert_eq!(ValueHandle::decode(&[0; 29]), Err(HandleError::Length { found: 29 }));
    }

    proptest! {
        /// Proves D-73.
        #[test]
        fn handles_round_trip(
            file in any::<u64>(), offset in 0..u64::MAX / 2, stored_len in any::<u32>(), value_len in 0_u32..268_369_921,
        ) {
            let handle = ValueHandle { file: VlogId::new(file), offset, stored_len, value_len };
            prop_assert_eq!(ValueHandle::decode(&handle.encode()), Ok(handle));
        }

        #[test]
        fn accepted_bytes_are_canonical(bytes in prop::collection::vec(any::<u8>(), 28), flags in 0_u8..3) {
            let mut bytes = bytes;
            bytes[23..].copy_from_slice(&[0, flags, 0, 0, 0]);
            if let Ok(handle) = ValueHandle::decode(&bytes) {
                prop_assert_eq!(&handle.encode()[..], &bytes[..]);
            }
        }
    }
}
