//! The file `CURRENT`: which manifest generation is in use (`docs/format/manifest.md`, section 7; D-42).
//!
//! | bytes  | field             | encoding                                     |
//! |--------|-------------------|----------------------------------------------|
//! | 0..8   | magic             | `4C 53 4D 43 0D 0A 1A 0A`                    |
//! | 8..12  | format            | major u16 LE, minor u16 LE                   |
//! | 12..16 | reserved          | 0                                            |
//! | 16..32 | database          | 16 bytes                                     |
//! | 32..40 | generation        | u64 LE                                       |
//! | 40..48 | minimum edit      | u64 LE, last edit in the generation's snapshot |
//! | 48..56 | snapshot digest   | u64 LE                                       |
//! | 56..88 | reserved          | 0                                            |
//! | 88..96 | check             | XXH3-64 of bytes 0..88, u64 LE               |
//!
//! Nothing depends on it alone: every generation says who it is, so a lost or damaged pointer costs nothing.

use lsm_block::Checksum;
use lsm_types::{ByteReader, EditIndex, FileUuid, reader::ReadError};

use crate::Generation;

const MAGIC: [u8; 8] = *b"LSMC\r\n\x1a\n";
const MAJOR: u16 = 1;

/// What `CURRENT` says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Pointer {
    /// The database.
    pub database: FileUuid,
    /// The generation in use.
    pub generation: Generation,
    /// No state before this edit is the truth.
    pub edit_min: EditIndex,
    /// Digest of the generation's snapshot.
    pub snapshot_digest: u64,
}

/// Why bytes are not a pointer.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PointerError {
    /// The length, the magic or the check is wrong.
    #[error("damaged")]
    Damaged,
    /// A later version wrote it.
    #[error("of format {major}.{minor}, which this version does not understand")]
    Unsupported {
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },
}

fn check_of(bytes: &[u8]) -> u64 {
    Checksum::Xxh3.of(bytes)
}

impl From<ReadError> for PointerError {
    fn from(_: ReadError) -> Self {
        Self::Damaged
    }
}

impl Pointer {
    /// Length of the file.
    pub const LEN: usize = 96;
    /// Bytes that the check covers.
    const CHECKED: usize = 88;

    /// The file's bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = Vec::with_capacity(Self::LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&MAJOR.to_le_bytes());
        bytes.extend_from_slice(&[0; 6]);
        bytes.extend_from_slice(self.database.as_bytes());
        bytes.extend_from_slice(&self.generation.get().to_le_bytes());
        bytes.extend_from_slice(&self.edit_min.get().to_le_bytes());
        bytes.extend_from_slice(&self.snapshot_digest.to_le_bytes());
        bytes.resize(Self::CHECKED, 0);
        bytes.extend_from_slice(&check_of(&bytes).to_le_bytes());
        let mut out = [0; Self::LEN];
        out.copy_from_slice(&bytes);
        out
    }

    /// What a file with these bytes says.
    pub fn decode(bytes: &[u8]) -> Result<Self, PointerError> {
        if bytes.len() != Self::LEN {
            return Err(PointerError::Damaged);
        }
        let (checked, check) = bytes.split_at(Self::CHECKED);
        if ByteReader::new(check).u64()? != check_of(checked) {
            return Err(PointerError::Damaged);
        }
        let mut reader = ByteReader::new(checked);
        if reader.array()? != MAGIC {
            return Err(PointerError::Damaged);
        }
        let (major, minor) = (reader.u16()?, reader.u16()?);
        if major != MAJOR {
            return Err(PointerError::Unsupported { major, minor });
        }
        reader.u32()?;
        Ok(Self {
            database: FileUuid::from_bytes(reader.array()?),
            generation: Generation::new(reader.u64()?),
            edit_min: EditIndex::new(reader.u64()?),
            snapshot_digest: reader.u64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINTER: Pointer = Pointer {
        database: FileUuid::from_bytes([0xAB; 16]),
        generation: Generation::new(7),
        edit_min: EditIndex::new(42),
        snapshot_digest: 0x0102_0304_0506_0708,
    };

    /// Proves D-42.
    #[test]
    fn golden_bytes() {
        let expect = [
            &b"LSMC\r\n\x1a\n"[..],                           // 00..08 magic
            &[1, 0, 0, 0, 0, 0, 0, 0],                        // 08..16 format 1.0, reserved
            &[0xAB; 16],                                      // 16..32 database
            &[7, 0, 0, 0, 0, 0, 0, 0],                        // 32..40 generation 7
            &[42, 0, 0, 0, 0, 0, 0, 0],                       // 40..48 minimum edit 42
            &[8, 7, 6, 5, 4, 3, 2, 1],                        // 48..56 snapshot digest
            &[0; 32],                                         // 56..88 reserved
            &check_of(&POINTER.encode()[..88]).to_le_bytes(), // 88..96 check
        ]
        .concat();
        assert_eq!(&POINTER.encode()[..], &expect[..]);
        assert_eq!(Pointer::decode(&expect), Ok(POINTER));
    }

    #[test]
    fn every_flipped_bit_and_every_other_length_is_found() {
        let good = POINTER.encode();
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Pointer::decode(&bad), Err(PointerError::Damaged), "bit {bit}");
        }
        for len in 0..good.len() {
            assert_eq!(Pointer::decode(&good[..len]), Err(PointerError::Damaged));
        }
        assert_eq!(Pointer::decode(&[&good[..], &[0]].concat()), Err(PointerError::Damaged));
    }

    #[test]
    fn later_formats_are_told_from_damage() {
        let mut later = POINTER.encode();
        later[8] = 2;
        let check = check_of(&later[..88]).to_le_bytes();
        later[88..].copy_from_slice(&check);
        assert_eq!(Pointer::decode(&later), Err(PointerError::Unsupported { major: 2, minor: 0 }));
    }
}
