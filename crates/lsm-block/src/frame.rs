//! The fixed head of every frame (`docs/format/block.md`, section 2).
//!
//! | bytes  | field       | encoding                                                          |
//! |--------|-------------|-------------------------------------------------------------------|
//! | 0..2   | magic       | `F7 4C`                                                           |
//! | 2      | kind        | u8, [`BlockKind`]                                                 |
//! | 3      | flags       | 0 compressed, 1 encrypted, 2 parity, 3 sub-framed, 4 dictionary   |
//! | 4..8   | stored len  | u32 LE, bytes of payload after this header                        |
//! | 8..12  | logical len | u32 LE, bytes of payload after decompression                      |
//! | 12     | codec       | u8                                                                |
//! | 13     | encoding    | u8, version of the payload of this kind                           |
//! | 14..16 | dictionary  | u16 LE, slot in this file, 0 = none                               |
//! | 16..20 | ordinal     | u32 LE                                                            |
//! | 20..28 | check       | u64 LE, check of the stored payload XOR context                   |
//! | 28..32 | header crc  | CRC32C of bytes 0..28, seeded with the low half of the context    |
//!
//! The context is XXH3-64 of (file uuid, offset u64 LE, kind): it enters last, so everything else about a frame
//! can be computed before its place is known.

use lsm_codec::Codec;
use lsm_types::CorruptionKind;

use crate::{
    BlockError, BlockKind, FileIdentity, Part,
    check::{crc32c_seeded, header_seed, place_context},
};

/// The two bytes every frame begins with.
pub(crate) const MAGIC: [u8; 2] = [0xF7, 0x4C];

/// The payload is compressed; set exactly when the codec is not 0.
pub(crate) const COMPRESSED: u8 = 1 << 0;
/// The payload is sealed, its tag behind it.
pub(crate) const SEALED: u8 = 1 << 1;
/// The payload is compressed with a dictionary; set exactly when a slot is named.
pub(crate) const DICTIONARY: u8 = 1 << 4;
/// Bytes a seal adds.
pub(crate) const TAG_LEN: u32 = 16;
const _: () = assert!(TAG_LEN as usize == lsm_crypto::TAG_LEN);

/// Where a frame lies in its file: header, payload and all that belongs to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Handle {
    /// First byte of the header.
    pub offset: u64,
    /// Bytes of the whole frame.
    pub len: u32,
}

impl Handle {
    /// The first byte after the frame; `None` when that passes 2^64.
    pub const fn end(self) -> Option<u64> {
        self.offset.checked_add(self.len as u64)
    }
}

/// The head of a frame whose own check is good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    /// What the frame holds.
    pub kind: BlockKind,
    /// Raw flag bits.
    pub flags: u8,
    /// Bytes of payload in the file.
    pub stored_len: u32,
    /// Bytes of payload after decompression.
    pub logical_len: u32,
    /// Raw number of the codec.
    pub codec: u8,
    /// Version of the payload's encoding.
    pub encoding: u8,
    /// Raw number of the dictionary slot.
    pub dictionary: u16,
    /// Number of the frame in its file.
    pub ordinal: u32,
    /// Check of the stored payload, context removed.
    pub check: u64,
}

impl FrameHeader {
    /// Bytes of an encoded header.
    pub const LEN: usize = 32;

    /// The header's bytes at `offset` of the file `identity`.
    pub fn encode(&self, identity: &FileIdentity, offset: u64) -> [u8; Self::LEN] {
        let context = place_context(&identity.uuid, offset, self.kind);
        let [m0, m1] = MAGIC;
        let [s0, s1, s2, s3] = self.stored_len.to_le_bytes();
        let [l0, l1, l2, l3] = self.logical_len.to_le_bytes();
        let [d0, d1] = self.dictionary.to_le_bytes();
        let [o0, o1, o2, o3] = self.ordinal.to_le_bytes();
        let [c0, c1, c2, c3, c4, c5, c6, c7] = (self.check ^ context).to_le_bytes();
        let head = [
            m0,
            m1,
            self.kind.code(),
            self.flags,
            s0,
            s1,
            s2,
            s3,
            l0,
            l1,
            l2,
            l3,
            self.codec,
            self.encoding,
            d0,
            d1,
            o0,
            o1,
            o2,
            o3,
            c0,
            c1,
            c2,
            c3,
            c4,
            c5,
            c6,
            c7,
        ];
        let mut bytes = [0; Self::LEN];
        let (front, crc) = bytes.split_at_mut(head.len());
        front.copy_from_slice(&head);
        crc.copy_from_slice(&crc32c_seeded(header_seed(context), &head).to_le_bytes());
        bytes
    }

    /// Reads the header at `offset` of the file `identity` and checks that it was written there; what it asks for
    /// is not judged yet. `kind`, the kind expected, only serves the error.
    pub fn decode(
        identity: &FileIdentity,
        offset: u64,
        kind: BlockKind,
        bytes: &[u8],
    ) -> Result<Self, BlockError> {
        let at = identity.at(offset);
        let Some(raw) = bytes.first_chunk::<{ Self::LEN }>() else {
            let (need, have) = (Self::LEN as u64, bytes.len() as u64);
            return Err(BlockError::Truncated { at, need, have });
        };
        let what = CorruptionKind::HeaderCrc;
        let magic = [raw[0], raw[1]];
        if magic != MAGIC {
            // Said without the context: a search asks this of every byte.
            let (expected, found) = (u16::from_le_bytes(MAGIC).into(), u16::from_le_bytes(magic).into());
            return Err(BlockError::Corrupt { at, kind, what, expected, found });
        }
        let (header, crc) = Self::parse(raw);
        let context = place_context(&identity.uuid, offset, header.kind);
        let expected = crc32c_seeded(header_seed(context), &raw[..28]);
        if crc != expected {
            let (expected, found) = (expected.into(), crc.into());
            return Err(BlockError::Corrupt { at, kind, what, expected, found });
        }
        Ok(Self { check: header.check ^ context, ..header })
    }

    /// The fields as they stand, the check with its context, and the CRC.
    pub(crate) fn parse(raw: &[u8; Self::LEN]) -> (Self, u32) {
        let [
            _,
            _,
            kind,
            flags,
            s0,
            s1,
            s2,
            s3,
            l0,
            l1,
            l2,
            l3,
            codec,
            encoding,
            d0,
            d1,
            o0,
            o1,
            o2,
            o3,
            c0,
            c1,
            c2,
            c3,
            c4,
            c5,
            c6,
            c7,
            h0,
            h1,
            h2,
            h3,
        ] = *raw;
        let header = Self {
            kind: BlockKind::from_code(kind),
            flags,
            stored_len: u32::from_le_bytes([s0, s1, s2, s3]),
            logical_len: u32::from_le_bytes([l0, l1, l2, l3]),
            codec,
            encoding,
            dictionary: u16::from_le_bytes([d0, d1]),
            ordinal: u32::from_le_bytes([o0, o1, o2, o3]),
            check: u64::from_le_bytes([c0, c1, c2, c3, c4, c5, c6, c7]),
        };
        (header, u32::from_le_bytes([h0, h1, h2, h3]))
    }

    /// Bytes of the whole frame; `None` for a length no frame has.
    pub const fn frame_len(&self) -> Option<u32> {
        self.stored_len.checked_add(32)
    }

    /// Whether the payload is sealed.
    pub const fn is_sealed(&self) -> bool {
        self.flags & SEALED != 0
    }

    /// Bytes of the stored payload without its tag.
    pub(crate) const fn unsealed_len(&self) -> u32 {
        self.stored_len.saturating_sub(if self.is_sealed() { TAG_LEN } else { 0 })
    }

    /// Refuses what this version cannot read, then lengths that contradict each other or the kind's cap, and
    /// answers the codec. Nothing may be allocated for a frame before this.
    pub fn codec(&self, identity: &FileIdentity, offset: u64) -> Result<Codec, BlockError> {
        let at = identity.at(offset);
        let unsupported = |part| Err(BlockError::Unsupported { at, part });
        let takes_dictionary = self.kind.takes_dictionary();
        let unknown = self.flags & !(COMPRESSED | SEALED | if takes_dictionary { DICTIONARY } else { 0 });
        if unknown != 0 {
            return unsupported(Part::FrameFlags(unknown));
        }
        if self.dictionary != 0 && !takes_dictionary {
            return unsupported(Part::Dictionary(self.dictionary));
        }
        let Some(codec) = Codec::from_tag(self.codec) else {
            return unsupported(Part::Codec(self.codec));
        };
        let compressed = self.flags & COMPRESSED != 0;
        if compressed != (codec != Codec::None) || (compressed && !self.kind.is_compressible()) {
            return Err(BlockError::Decode { at, kind: self.kind, field: "codec" });
        }
        let with_dictionary = self.flags & DICTIONARY != 0;
        if with_dictionary != (self.dictionary != 0) || (with_dictionary && codec != Codec::Zstd) {
            return Err(BlockError::Decode { at, kind: self.kind, field: "dictionary" });
        }
        let (stored, logical) = (self.unsealed_len(), self.logical_len);
        // A block is compressed only to become smaller.
        let agree = if compressed { stored < logical } else { stored == logical };
        let tagged = !self.is_sealed() || self.stored_len >= TAG_LEN;
        if !agree || !tagged || logical > self.kind.cap() {
            let (expected, found) = (logical.min(self.kind.cap()).into(), stored.into());
            let what = CorruptionKind::Geometry;
            return Err(BlockError::Corrupt { at, kind: self.kind, what, expected, found });
        }
        Ok(codec)
    }
}
