//! Compressing one block after another, and knowing when not to.

use alloc::vec::Vec;

use crate::{Codec, CodecError, Compression, Dictionary, lz4, zstd};

/// A block is stored raw unless compression saves at least this part of it.
const MIN_GAIN_PERCENT: usize = 3;
/// After so many raw blocks in a row only samples are tried.
const RAW_STREAK_MAX: u32 = 16;
/// While only samples are tried: one block in so many.
const SAMPLE_EVERY: u32 = 8;
/// Scratch space above this, in bytes, is given back after a block: one huge value must not pin its size for ever.
const SCRATCH_KEPT_MAX: usize = 4 << 20;

/// What trying to compress a block ahead of its turn came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trial<'a> {
    /// Nobody tried.
    NotMade,
    /// It saves enough; these bytes stand for the block.
    Smaller(&'a [u8]),
    /// It does not save enough.
    NotSmaller,
}

/// Compresses blocks; owns the contexts and scratch space of the codecs.
///
/// The same blocks in the same order give the same bytes: whether a block is tried depends on the blocks before
/// it since [`Encoder::restart`], and on nothing else.
#[derive(Default)]
pub struct Encoder {
    zstd: zstd::Compressor,
    scratch: Vec<u8>,
    raw_streak: u32,
}

impl Encoder {
    /// An encoder without contexts; each codec makes its own when first used.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets how well earlier blocks compressed; contexts stay. For the next file.
    pub fn restart(&mut self) {
        self.raw_streak = 0;
    }

    /// Appends the stored form of `block` to `out` and returns the codec really used: [`Codec::None`] when
    /// `compression` saves less than 3 % or was not tried after a streak of such blocks.
    ///
    /// # Errors
    /// [`CodecError::NotBuilt`]; `out` is then unchanged.
    pub fn compress(
        &mut self,
        compression: Compression,
        block: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Codec, CodecError> {
        self.compress_tried(compression, block, Trial::NotMade, out)
    }

    /// As [`Encoder::compress`] by Zstandard with a dictionary.
    ///
    /// # Errors
    /// As [`Encoder::compress`].
    pub fn compress_with(
        &mut self,
        level: i32,
        dictionary: &Dictionary,
        block: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Codec, CodecError> {
        let codec = Codec::Zstd;
        if !codec.is_built() {
            return Err(CodecError::NotBuilt { codec });
        }
        if !block.is_empty() && self.worth_a_try() {
            let try_it = |zstd: &mut zstd::Compressor, scratch: &mut Vec<u8>| {
                zstd.compress_with(level, dictionary, block, scratch)
            };
            if self.append_if_smaller(block.len(), out, try_it)? {
                self.raw_streak = 0;
                return Ok(codec);
            }
        }
        out.extend_from_slice(block);
        Ok(Codec::None)
    }

    /// As [`Encoder::compress`], given what an encoder made of the block before its turn came: the result is the same,
    /// whether a trial was made or not.
    ///
    /// # Errors
    /// As [`Encoder::compress`].
    pub fn compress_tried(
        &mut self,
        compression: Compression,
        block: &[u8],
        trial: Trial<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Codec, CodecError> {
        let codec = compression.codec();
        if !codec.is_built() {
            return Err(CodecError::NotBuilt { codec });
        }
        if codec == Codec::None || block.is_empty() || !self.worth_a_try() {
            out.extend_from_slice(block);
            return Ok(Codec::None);
        }
        let smaller = match trial {
            Trial::NotMade => {
                self.append_if_smaller(block.len(), out, |zstd, scratch| match compression {
                    Compression::Zstd { level } => zstd.compress(level, block, scratch),
                    // That nothing is done to a block was seen above.
                    Compression::None | Compression::Lz4 => lz4::compress(block, scratch),
                })?
            }
            Trial::Smaller(stored) => {
                out.extend_from_slice(stored);
                true
            }
            Trial::NotSmaller => false,
        };
        if smaller {
            self.raw_streak = 0;
            return Ok(codec);
        }
        out.extend_from_slice(block);
        Ok(Codec::None)
    }

    /// Appends to `out` what `compress` makes of a block of `block_len` bytes, if that saves enough.
    fn append_if_smaller(
        &mut self,
        block_len: usize,
        out: &mut Vec<u8>,
        compress: impl FnOnce(&mut zstd::Compressor, &mut Vec<u8>) -> Result<usize, CodecError>,
    ) -> Result<bool, CodecError> {
        let mut scratch = core::mem::take(&mut self.scratch);
        let len = compress(&mut self.zstd, &mut scratch)?;
        let stored = scratch.get(..len).filter(|_| saves_enough(len, block_len));
        let is_smaller = stored.is_some();
        out.extend_from_slice(stored.unwrap_or_default());
        if scratch.capacity() <= SCRATCH_KEPT_MAX {
            self.scratch = scratch;
        }
        Ok(is_smaller)
    }

    /// Compresses a block for [`Encoder::compress_tried`] of another encoder, whatever the blocks before came to. What
    /// `stored` held is lost; the stored form stands at its front, if it saves enough, and its length is returned.
    ///
    /// # Errors
    /// [`CodecError::NotBuilt`], and what the codec says.
    pub fn try_on(
        &mut self,
        compression: Compression,
        block: &[u8],
        stored: &mut Vec<u8>,
    ) -> Result<Option<usize>, CodecError> {
        let len = match compression {
            Compression::None => return Ok(None),
            Compression::Zstd { level } => self.zstd.compress(level, block, stored)?,
            Compression::Lz4 => lz4::compress(block, stored)?,
        };
        Ok(Some(len).filter(|&len| saves_enough(len, block.len())))
    }

    /// Whether blocks are not tried for now, but for samples: those before did not shrink.
    pub fn is_idle(&self) -> bool {
        self.raw_streak >= RAW_STREAK_MAX
    }

    /// Counts the block as raw, until it proves otherwise, and says whether to try it.
    fn worth_a_try(&mut self) -> bool {
        let streak = self.raw_streak;
        // The counter wraps within the sampling range, so that the rhythm never breaks.
        self.raw_streak =
            if streak == RAW_STREAK_MAX + SAMPLE_EVERY - 1 { RAW_STREAK_MAX } else { streak + 1 };
        streak < RAW_STREAK_MAX || streak == RAW_STREAK_MAX + SAMPLE_EVERY - 1
    }
}

fn saves_enough(stored_len: usize, block_len: usize) -> bool {
    let limit = block_len - block_len / 100 * MIN_GAIN_PERCENT - block_len % 100 * MIN_GAIN_PERCENT / 100;
    stored_len <= limit && stored_len < block_len
}

impl core::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Encoder").field("raw_streak", &self.raw_streak).finish_non_exhaustive()
    }
}
