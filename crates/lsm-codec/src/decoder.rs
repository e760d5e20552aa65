//! Decompressing one block into exactly the space its header promises.

use alloc::vec::Vec;
use core::mem;

use crate::{Codec, CodecError, Dictionary, lz4, zstd};

/// Bytes of working memory that a decoder keeps at most.
const ROOM_MAX: usize = 128 << 10;

/// Decompresses blocks; owns the contexts of the codecs.
#[derive(Default)]
pub struct Decoder {
    zstd: zstd::Decompressor,
    room: Vec<u8>,
}

impl Decoder {
    /// A decoder without contexts; each codec makes its own when first used.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the contents of `out` by the block stored as `stored`.
    ///
    /// * `logical_len`: bytes the block must have. The caller has bounded it; nothing larger is allocated.
    ///
    /// # Errors
    /// [`CodecError::NotBuilt`]; [`CodecError::Malformed`] or [`CodecError::Length`] for bytes that are not one
    /// whole block of that length. `out` then holds nothing.
    pub fn decompress(
        &mut self,
        codec: Codec,
        stored: &[u8],
        out: &mut Vec<u8>,
        logical_len: usize,
    ) -> Result<(), CodecError> {
        self.decompress_with(codec, None, stored, out, logical_len)
    }

    /// The same for a block that was compressed with `dictionary`, if that is given. Only [`Codec::Zstd`] has any.
    ///
    /// # Errors
    /// As [`Decoder::decompress`]. Another dictionary than that of the block gives an error or other bytes.
    pub fn decompress_with(
        &mut self,
        codec: Codec,
        dictionary: Option<&Dictionary>,
        stored: &[u8],
        out: &mut Vec<u8>,
        logical_len: usize,
    ) -> Result<(), CodecError> {
        out.clear();
        let result = self.fill(codec, dictionary, stored, out, logical_len);
        if result.is_err() {
            out.clear();
        }
        result
    }

    /// Working memory, for stored bytes that have to be made before they can be decompressed. Holds whatever it held.
    #[inline]
    pub fn take_room(&mut self) -> Vec<u8> {
        mem::take(&mut self.room)
    }

    /// Takes the memory back, for the next block; much of it is let go.
    #[inline]
    pub fn keep_room(&mut self, room: Vec<u8>) {
        if room.capacity() <= ROOM_MAX {
            self.room = room;
        }
    }

    fn fill(
        &mut self,
        codec: Codec,
        dictionary: Option<&Dictionary>,
        stored: &[u8],
        out: &mut Vec<u8>,
        logical_len: usize,
    ) -> Result<(), CodecError> {
        let got = match codec {
            Codec::None => {
                if stored.len() == logical_len {
                    out.extend_from_slice(stored);
                }
                stored.len()
            }
            Codec::Lz4 => lz4::decompress(stored, out, logical_len)?,
            Codec::Zstd => self.zstd.decompress(stored, dictionary, out, logical_len)?,
        };
        if got == logical_len {
            Ok(())
        } else {
            Err(CodecError::Length { codec, expected: logical_len, got })
        }
    }
}

impl core::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}
