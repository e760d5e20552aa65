//! One number that proves a whole section, made from the checks its frames have anyway.

use xxhash_rust::xxh3::Xxh3;

use crate::FrameMark;

/// Digest over frames in file order: XXH3-64 over (kind u8, offset from `base` u64 LE, stored length u32 LE,
/// payload check without context u64 LE) of each. It costs no second pass over the data, and a section keeps it
/// when its frames are copied verbatim to another place.
#[derive(Clone)]
pub struct SectionDigest {
    base: u64,
    hash: Xxh3,
    frames: u32,
}

impl SectionDigest {
    /// The digest of no frames; `base` is the offset of the section, 0 for a digest over a whole file.
    pub fn new(base: u64) -> Self {
        Self { base, hash: Xxh3::new(), frames: 0 }
    }

    /// Takes in the next frame.
    pub fn add(&mut self, mark: &FrameMark) {
        let mut tuple = [0; 21];
        tuple[0] = mark.kind.code();
        tuple[1..9].copy_from_slice(&mark.handle.offset.wrapping_sub(self.base).to_le_bytes());
        tuple[9..13].copy_from_slice(&mark.stored_len.to_le_bytes());
        tuple[13..].copy_from_slice(&mark.check.to_le_bytes());
        self.hash.update(&tuple);
        self.frames = self.frames.wrapping_add(1);
    }

    /// Frames taken in.
    pub const fn frames(&self) -> u32 {
        self.frames
    }

    /// The digest of the frames taken in.
    pub fn value(&self) -> u64 {
        self.hash.digest()
    }
}

impl core::fmt::Debug for SectionDigest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SectionDigest")
            .field("base", &self.base)
            .field("frames", &self.frames)
            .finish_non_exhaustive()
    }
}
