//! Decompressing one block into exactly the space its header promises.

use alloc::vec::Vec;

use crate::{Codec, CodecError, lz4, zstd};

/// Decompresses blocks; owns the contexts of the codecs.
#[derive(Default)]
pub struct Decoder {
    zstd: zstd::Decompressor,
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
        out.clear();
        let result = self.fill(codec, stored, out, logical_len);
        if result.is_err() {
            out.clear();
        }
        result
    }

    fn fill(
        &mut self,
        codec: Codec,
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
            Codec::Zstd => self.zstd.decompress(stored, out, logical_len)?,
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
