//! Where every so-manieth value begins (`docs/format/vlog.md`, section 4): payload of kind 34. A long file can be cut into
//! parts with it, and walked from the middle; no read needs it.
//!
//! | bytes | field    | encoding                                            |
//! |-------|----------|-----------------------------------------------------|
//! | 0..4  | every    | u32 LE, not 0                                       |
//! | 4..8  | reserved | zero                                                |
//! | 8..16 | values   | u64 LE, all in the file                             |
//! | 16..  | offsets  | u64 LE of values 0, every, 2 x every, ...           |

use alloc::vec::Vec;

use lsm_block::Superblock;
use lsm_types::ByteReader;

use crate::PayloadError;

/// Entries past which every second one is left out: memory and length are bounded however long the file is.
const ENTRIES_MAX: usize = 1 << 16;

/// Where every so-manieth value begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FrameDirectory {
    every: u32,
    values: u64,
    offsets: Vec<u64>,
}

impl FrameDirectory {
    /// A directory of no values that will name every `every`th.
    pub(crate) const fn new(every: u32) -> Self {
        Self { every, values: 0, offsets: Vec::new() }
    }

    /// Enters the next value.
    pub(crate) fn push(&mut self, offset: u64) {
        if self.values.is_multiple_of(self.every.into()) {
            if self.offsets.len() == ENTRIES_MAX {
                let mut even = false;
                self.offsets.retain(|_| {
                    even = !even;
                    even
                });
                self.every = self.every.saturating_mul(2);
            }
            self.offsets.push(offset);
        }
        self.values += 1;
    }

    /// How far apart the values named are.
    pub const fn every(&self) -> u32 {
        self.every
    }

    /// Values in the file.
    pub const fn values(&self) -> u64 {
        self.values
    }

    /// Where values 0, `every`, 2 x `every` and so on begin.
    pub fn offsets(&self) -> &[u64] {
        &self.offsets
    }

    /// Bytes of memory in use.
    pub(crate) const fn memory_len(&self) -> usize {
        self.offsets.capacity() * size_of::<u64>()
    }

    /// Appends the payload to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.every.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.values.to_le_bytes());
        for offset in &self.offsets {
            out.extend_from_slice(&offset.to_le_bytes());
        }
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`PayloadError::Field`].
    pub fn decode(payload: &[u8]) -> Result<Self, PayloadError> {
        let mut fields = ByteReader::new(payload);
        let (every, reserved, values) = (fields.u32()?, fields.u32()?, fields.u64()?);
        if every == 0 {
            return Err(PayloadError::Field("every"));
        }
        if reserved != 0 {
            return Err(PayloadError::Field("reserved"));
        }
        let count = usize::try_from(values.div_ceil(every.into())).unwrap_or(usize::MAX);
        if count.checked_mul(size_of::<u64>()) != Some(fields.remaining()) {
            return Err(PayloadError::Field("values"));
        }
        let mut offsets: Vec<u64> = Vec::with_capacity(count);
        let mut last = Superblock::LEN as u64 - 1;
        for _ in 0..count {
            let offset = fields.u64()?;
            if offset <= last {
                return Err(PayloadError::Field("offsets"));
            }
            last = offset;
            offsets.push(offset);
        }
        Ok(Self { every, values, offsets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However many values there are, the directory stays small, and what it names is where it says.
    #[test]
    fn a_long_file_has_a_coarser_directory() {
        let mut directory = FrameDirectory::new(2);
        let values = 2 * ENTRIES_MAX as u64 * 4 + 5;
        (0..values).for_each(|value| directory.push(512 + 100 * value));
        assert!(directory.offsets().len() <= ENTRIES_MAX);
        assert_eq!(directory.every(), 16);
        for (at, offset) in directory.offsets().iter().enumerate() {
            assert_eq!(*offset, 512 + 100 * at as u64 * u64::from(directory.every()));
        }
        let mut bytes = Vec::new();
        directory.encode(&mut bytes);
        assert_eq!(FrameDirectory::decode(&bytes), Ok(directory));
    }
}
