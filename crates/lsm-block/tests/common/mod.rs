//! Shared by the tests of this crate: files to belong to, bytes that compress and bytes that do not.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "each test binary uses its part; a panic fails the test"
)]

use lsm_block::FileIdentity;
use lsm_codec::Decoder;
use lsm_types::{FileKind, FileUuid, TreeId};

/// Table file number `id`.
pub fn identity(id: u8) -> FileIdentity {
    FileIdentity {
        kind: FileKind::Table,
        file_id: u64::from(id),
        uuid: FileUuid::from_bytes([id; 16]),
        database: FileUuid::from_bytes([0xDB; 16]),
        tree: TreeId::new(3),
    }
}

pub fn decoder() -> Decoder {
    Decoder::new()
}

/// Bytes that compress.
pub fn text(len: usize) -> Vec<u8> {
    b"the quick brown fox jumps over the lazy dog; ".iter().copied().cycle().take(len).collect()
}

/// A small generator with a seed: the same walk on every run.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.roll() % limit.max(1) as u64).unwrap()
    }

    /// Changes one to four places of `bytes`: flips, overwrites, cuts or doubles.
    pub fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(6) {
                0 => bytes.truncate(at),
                1 => bytes.extend_from_within(at..),
                2 => bytes[at..].iter_mut().take(8).for_each(|byte| *byte = 0xFF),
                3 => bytes[at..].iter_mut().take(8).for_each(|byte| *byte = 0),
                _ => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << self.below(8);
                    }
                }
            }
            if bytes.is_empty() {
                return;
            }
        }
    }
}

/// Bytes that no codec shrinks.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    (0..len).map(|_| dice.roll().to_le_bytes()[0]).collect()
}
