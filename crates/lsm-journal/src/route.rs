//! The file `ROUTE` in each root directory besides that of the database: whose it is (`docs/format/manifest.md`,
//! section 7; D-27).
//!
//! | bytes  | field    | encoding                         |
//! |--------|----------|----------------------------------|
//! | 0..8   | magic    | `4C 53 4D 52 0D 0A 1A 0A`        |
//! | 8..12  | format   | major u16 LE, minor u16 LE       |
//! | 12..16 | reserved | 0                                |
//! | 16..32 | database | 16 bytes                         |
//! | 32..48 | route    | 16 bytes                         |
//! | 48..56 | check    | XXH3-64 of bytes 0..48, u64 LE   |
//!
//! It is written once, before the manifest names the route, and never changed. It tells a mount that is missing, or that
//! is another one than it was, from one whose files are gone.

use lsm_block::Checksum;
use lsm_types::{ByteReader, FileUuid};

use crate::PointerError;

const MAGIC: [u8; 8] = *b"LSMR\r\n\x1a\n";
const MAJOR: u16 = 1;

/// What a route marker says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RouteMarker {
    /// The database that the directory belongs to.
    pub database: FileUuid,
    /// The identity of the directory.
    pub route: FileUuid,
}

impl RouteMarker {
    /// Name of the file.
    pub const NAME: &'static str = "ROUTE";
    /// Length of the file.
    pub const LEN: usize = 56;
    /// Bytes that the check covers.
    const CHECKED: usize = 48;

    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&MAJOR.to_le_bytes());
        bytes.extend_from_slice(&[0; 6]);
        bytes.extend_from_slice(self.database.as_bytes());
        bytes.extend_from_slice(self.route.as_bytes());
        bytes.extend_from_slice(&Checksum::Xxh3.of(&bytes).to_le_bytes());
        bytes
    }

    /// What a file with these bytes says.
    ///
    /// # Errors
    /// As for the pointer: bytes that are no marker, and markers of a later version.
    pub fn decode(bytes: &[u8]) -> Result<Self, PointerError> {
        if bytes.len() != Self::LEN {
            return Err(PointerError::Damaged);
        }
        let (checked, check) = bytes.split_at(Self::CHECKED);
        let mut reader = ByteReader::new(checked);
        if ByteReader::new(check).u64()? != Checksum::Xxh3.of(checked) || reader.array()? != MAGIC {
            return Err(PointerError::Damaged);
        }
        let (major, minor) = (reader.u16()?, reader.u16()?);
        if major != MAJOR {
            return Err(PointerError::Unsupported { major, minor });
        }
        let _reserved: [u8; 4] = reader.array()?;
        let database = FileUuid::from_bytes(reader.array()?);
        Ok(Self { database, route: FileUuid::from_bytes(reader.array()?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_back_and_every_flipped_bit_is_seen() {
        let marker =
            RouteMarker { database: FileUuid::from_bytes([7; 16]), route: FileUuid::from_bytes([9; 16]) };
        let bytes = marker.encode();
        assert_eq!(bytes.len(), RouteMarker::LEN);
        assert_eq!(RouteMarker::decode(&bytes), Ok(marker));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RouteMarker::decode(&damaged), Err(PointerError::Damaged));
        }
        for len in 0..bytes.len() {
            assert!(RouteMarker::decode(&bytes[..len]).is_err());
        }
    }

    #[test]
    fn a_marker_of_a_later_version_says_so() {
        let marker = RouteMarker { database: FileUuid::default(), route: FileUuid::default() };
        let mut bytes = marker.encode();
        bytes[8] = 2;
        let check = Checksum::Xxh3.of(&bytes[..48]);
        bytes[48..].copy_from_slice(&check.to_le_bytes());
        assert_eq!(RouteMarker::decode(&bytes), Err(PointerError::Unsupported { major: 2, minor: 0 }));
    }
}
