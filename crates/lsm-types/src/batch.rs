//! The stable binary form of a batch of writes (`docs/format/batch.md`): what a log keeps and what is sent to a replica.
//!
//! ```text
//! batch := version u8 = 1 | count varint | op * count
//! op    := kind u8 | flags u8 = 0 | fields
//!
//! kind  operation      fields
//! 0     put            key_len varint | value_len varint | key | value
//! 1     remove         key_len varint | key
//! 2     remove weak    key_len varint | key
//! 3     merge          key_len varint | operand_len varint | key | operand
//! 8     remove range   lower bound | upper bound
//! 9     remove prefix  len varint | prefix
//!
//! bound := 0 (open) | 1 (included) key_len varint, key | 2 (excluded) key_len varint, key
//! ```
//!
//! Numbers are not in it: a record that carries a batch says which number the first operation has. Varints are
//! canonical and nothing follows the last operation, so a batch has one encoding.

use alloc::vec::Vec;
use core::{iter::FusedIterator, ops::Bound};

use crate::{
    ByteReader, CorruptionKind, ErrorKind, Fault, Kind, MAX_ENTRY_LEN, MAX_KEY_LEN, MAX_VALUE_LEN,
    reader::ReadError, varint,
};

/// The version of the form that is written; others are refused.
pub const VERSION: u8 = 1;

const REMOVE_RANGE: u8 = 8;
const REMOVE_PREFIX: u8 = 9;
/// Kind, flags, and the shortest fields.
const OP_LEN_MIN: usize = 4;

/// One operation of a batch, borrowed.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchOp<'a> {
    /// The key gets this value.
    Put {
        /// The key.
        key: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
    /// The key is deleted.
    Remove {
        /// The key.
        key: &'a [u8],
    },
    /// The key is deleted together with the one put below.
    RemoveWeak {
        /// The key.
        key: &'a [u8],
    },
    /// The key gets an operand for the merge operator.
    Merge {
        /// The key.
        key: &'a [u8],
        /// The operand.
        operand: &'a [u8],
    },
    /// All keys between two bounds are deleted.
    RemoveRange {
        /// Lower bound, in the order of the tree.
        lower: Bound<&'a [u8]>,
        /// Upper bound.
        upper: Bound<&'a [u8]>,
    },
    /// All keys that start with this are deleted.
    RemovePrefix {
        /// The prefix; never empty.
        prefix: &'a [u8],
    },
}

/// Why bytes are not a batch.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BatchError {
    /// The bytes end too early, or a length is malformed.
    #[error("a batch is cut off or malformed: {0}")]
    Read(#[from] ReadError),
    /// Written by a version that this one does not know.
    #[error("a batch has version {found}; {VERSION} is known")]
    Version {
        /// The version found.
        found: u8,
    },
    /// An operation that this version does not know.
    #[error("an operation of a batch has kind {kind} and flags {flags:#x}")]
    Operation {
        /// Its kind.
        kind: u8,
        /// Its flags; none are known.
        flags: u8,
    },
    /// A bound that is neither open nor a key.
    #[error("a bound of a range has kind {kind}")]
    BoundKind {
        /// Its kind.
        kind: u8,
    },
    /// A key, a prefix, a value or both together have a length that none may have.
    #[error("a key of {key_len} bytes with a value of {value_len} passes the limits")]
    Limits {
        /// Length of the key or prefix.
        key_len: usize,
        /// Length of the value.
        value_len: usize,
    },
    /// Something follows the last operation.
    #[error("{len} bytes follow the last operation of a batch")]
    Trailing {
        /// How many bytes.
        len: usize,
    },
}

impl Fault for BatchError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Version { .. } | Self::Operation { .. } => ErrorKind::UnsupportedFormat,
            _ => ErrorKind::Corruption(CorruptionKind::Decode),
        }
    }
}

/// Appends a batch of `ops` to `out`; they keep to the limits of keys and values.
pub fn encode<'a>(ops: impl ExactSizeIterator<Item = BatchOp<'a>>, out: &mut Vec<u8>) {
    out.push(VERSION);
    varint::encode(ops.len() as u64, out);
    ops.for_each(|op| op.encode(out));
}

impl<'a> BatchOp<'a> {
    fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Put { key, value } => encode_entry(Kind::Put, key, Some(value), out),
            Self::Remove { key } => encode_entry(Kind::Tombstone, key, None, out),
            Self::RemoveWeak { key } => encode_entry(Kind::WeakTombstone, key, None, out),
            Self::Merge { key, operand } => encode_entry(Kind::MergeOperand, key, Some(operand), out),
            Self::RemoveRange { lower, upper } => {
                out.extend([REMOVE_RANGE, 0]);
                encode_bound(lower, out);
                encode_bound(upper, out);
            }
            Self::RemovePrefix { prefix } => {
                out.extend([REMOVE_PREFIX, 0]);
                varint::encode_prefixed(prefix, out);
            }
        }
    }

    fn decode(reader: &mut ByteReader<'a>) -> Result<Self, BatchError> {
        let (kind, flags) = (reader.u8()?, reader.u8()?);
        let unknown = BatchError::Operation { kind, flags };
        if flags != 0 {
            return Err(unknown);
        }
        match kind {
            REMOVE_RANGE => {
                let lower = decode_bound(reader)?;
                Ok(Self::RemoveRange { lower, upper: decode_bound(reader)? })
            }
            REMOVE_PREFIX => Ok(Self::RemovePrefix { prefix: decode_key(reader)? }),
            tag => match Kind::from_tag(tag) {
                Some(Kind::Put) => decode_pair(reader).map(|(key, value)| Self::Put { key, value }),
                Some(Kind::MergeOperand) => {
                    decode_pair(reader).map(|(key, operand)| Self::Merge { key, operand })
                }
                Some(Kind::Tombstone) => decode_key(reader).map(|key| Self::Remove { key }),
                Some(Kind::WeakTombstone) => decode_key(reader).map(|key| Self::RemoveWeak { key }),
                _ => Err(unknown),
            },
        }
    }
}

fn encode_entry(kind: Kind, key: &[u8], value: Option<&[u8]>, out: &mut Vec<u8>) {
    out.extend([kind.tag(), 0]);
    varint::encode(key.len() as u64, out);
    if let Some(value) = value {
        varint::encode(value.len() as u64, out);
    }
    out.extend_from_slice(key);
    out.extend_from_slice(value.unwrap_or_default());
}

fn encode_bound(bound: Bound<&[u8]>, out: &mut Vec<u8>) {
    let (kind, key) = match bound {
        Bound::Unbounded => return out.push(0),
        Bound::Included(key) => (1, key),
        Bound::Excluded(key) => (2, key),
    };
    out.push(kind);
    varint::encode_prefixed(key, out);
}

fn decode_bound<'a>(reader: &mut ByteReader<'a>) -> Result<Bound<&'a [u8]>, BatchError> {
    match reader.u8()? {
        0 => Ok(Bound::Unbounded),
        1 => decode_key(reader).map(Bound::Included),
        2 => decode_key(reader).map(Bound::Excluded),
        kind => Err(BatchError::BoundKind { kind }),
    }
}

fn decode_key<'a>(reader: &mut ByteReader<'a>) -> Result<&'a [u8], BatchError> {
    let key = reader.prefixed()?;
    check(key.len(), 0)?;
    Ok(key)
}

fn decode_pair<'a>(reader: &mut ByteReader<'a>) -> Result<(&'a [u8], &'a [u8]), BatchError> {
    let mut len = || reader.varint().map(|len| usize::try_from(len).unwrap_or(usize::MAX));
    let (key_len, value_len) = (len()?, len()?);
    check(key_len, value_len)?;
    Ok((reader.take(key_len)?, reader.take(value_len)?))
}

fn check(key_len: usize, value_len: usize) -> Result<(), BatchError> {
    let within = (1..=MAX_KEY_LEN).contains(&key_len) && value_len <= MAX_VALUE_LEN;
    if within && key_len + value_len <= MAX_ENTRY_LEN {
        return Ok(());
    }
    Err(BatchError::Limits { key_len, value_len })
}

/// An encoded batch that was checked from end to end; reading it allocates nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedBatch<'a> {
    ops: &'a [u8],
    len: usize,
}

impl<'a> EncodedBatch<'a> {
    /// Checks that `bytes` are one whole batch.
    ///
    /// # Errors
    /// What is wrong with the first operation that is; `Trailing` when something follows the last one.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let mut reader = ByteReader::new(bytes);
        match reader.u8()? {
            VERSION => {}
            found => return Err(BatchError::Version { found }),
        }
        let len = reader.count(OP_LEN_MIN)?;
        let batch = Self { ops: reader.take_rest(), len };
        let mut reader = ByteReader::new(batch.ops);
        for _ in 0..len {
            BatchOp::decode(&mut reader)?;
        }
        if reader.is_empty() { Ok(batch) } else { Err(BatchError::Trailing { len: reader.remaining() }) }
    }

    /// Number of operations.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no operations.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The operations, in order.
    pub fn iter(&self) -> BatchOps<'a> {
        BatchOps { rest: ByteReader::new(self.ops), left: self.len }
    }
}

impl<'a> IntoIterator for &EncodedBatch<'a> {
    type Item = BatchOp<'a>;
    type IntoIter = BatchOps<'a>;

    fn into_iter(self) -> BatchOps<'a> {
        self.iter()
    }
}

/// The operations of an encoded batch.
#[derive(Clone, Debug)]
pub struct BatchOps<'a> {
    rest: ByteReader<'a>,
    left: usize,
}

impl<'a> Iterator for BatchOps<'a> {
    type Item = BatchOp<'a>;

    fn next(&mut self) -> Option<BatchOp<'a>> {
        self.left = self.left.checked_sub(1)?;
        let op = BatchOp::decode(&mut self.rest);
        debug_assert!(op.is_ok(), "the bytes were checked when the batch was decoded");
        op.ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for BatchOps<'_> {}
impl FusedIterator for BatchOps<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ops() -> [BatchOp<'static>; 7] {
        [
            BatchOp::Put { key: b"k", value: b"value" },
            BatchOp::Put { key: b"e", value: b"" },
            BatchOp::Remove { key: b"ab" },
            BatchOp::RemoveWeak { key: b"w" },
            BatchOp::Merge { key: b"m", operand: b"+1" },
            BatchOp::RemoveRange { lower: Bound::Excluded(b"a"), upper: Bound::Unbounded },
            BatchOp::RemovePrefix { prefix: b"\xFF\xFF" },
        ]
    }

    /// Proves E-21: the form is stable, byte for byte.
    #[test]
    fn the_form_is_this_one() {
        let mut bytes = Vec::new();
        encode(ops().into_iter(), &mut bytes);
        let mut expected = alloc::vec![1, 7];
        for op in [
            &b"\x00\x00\x01\x05kvalue"[..],
            b"\x00\x00\x01\x00e",
            b"\x01\x00\x02ab",
            b"\x02\x00\x01w",
            b"\x03\x00\x01\x02m+1",
            b"\x08\x00\x02\x01a\x00",
            b"\x09\x00\x02\xFF\xFF",
        ] {
            expected.extend_from_slice(op);
        }
        assert_eq!(bytes, expected);
        let batch = EncodedBatch::decode(&bytes).unwrap();
        assert_eq!((batch.len(), batch.is_empty()), (7, false));
        assert!(batch.iter().eq(ops()));
    }

    #[track_caller]
    fn refuse(bytes: &[u8], error: BatchError) {
        assert_eq!(EncodedBatch::decode(bytes), Err(error));
    }

    #[test]
    fn what_is_not_a_batch_is_refused() {
        refuse(b"\x02\x00", BatchError::Version { found: 2 });
        refuse(b"\x01\x00x", BatchError::Trailing { len: 1 });
        refuse(b"\x01\x01\x04\x00\x01\x00a", BatchError::Operation { kind: 4, flags: 0 });
        refuse(b"\x01\x01\x00\x01\x01\x00a", BatchError::Operation { kind: 0, flags: 1 });
        refuse(b"\x01\x01\x00\x00\x00\x01a", BatchError::Limits { key_len: 0, value_len: 1 });
        refuse(b"\x01\x01\x09\x00\x00\x00", BatchError::Limits { key_len: 0, value_len: 0 });
        refuse(b"\x01\x01\x08\x00\x03\x00", BatchError::BoundKind { kind: 3 });
        for bytes in [&b""[..], b"\x01", b"\x01\x01", b"\x01\xFF\xFF\x03\x00\x00\x01\x00a", b"\x01\x81\x00"] {
            assert!(matches!(EncodedBatch::decode(bytes), Err(BatchError::Read(_))), "{bytes:?}");
        }
        let mut huge = alloc::vec![1, 1, 0, 0];
        varint::encode(u64::MAX, &mut huge);
        varint::encode(u64::MAX, &mut huge);
        assert!(matches!(EncodedBatch::decode(&huge), Err(BatchError::Limits { .. })));
    }

    proptest! {
        /// Proves E-21: what is accepted is the one encoding of what it says, and a damaged batch never panics.
        #[test]
        fn accepted_bytes_are_canonical(at in 0..64_usize, byte: u8, cut in 0..80_usize) {
            let mut bytes = Vec::new();
            encode(ops().into_iter(), &mut bytes);
            if let Some(slot) = bytes.get_mut(at) {
                *slot = byte;
            }
            bytes.truncate(cut);
            if let Ok(batch) = EncodedBatch::decode(&bytes) {
                let mut again = Vec::new();
                encode(batch.iter(), &mut again);
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
