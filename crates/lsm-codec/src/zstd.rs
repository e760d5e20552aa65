//! Zstandard, through the C library. Its twin is `zstd_absent.rs`.

use alloc::vec::Vec;

use ::zstd::zstd_safe::{
    CCtx, CParameter, DCtx, DDict, DParameter, FrameFormat, compress_bound, train_from_buffer,
};

use crate::{Codec, CodecError, Dictionary};

/// The codec is compiled in.
pub(crate) const BUILT: bool = true;

/// Keeps the compression contexts, and what they are set to, between blocks.
#[derive(Default)]
pub(crate) struct Compressor {
    context: Option<(CCtx<'static>, i32)>,
    /// Another one for blocks with a dictionary, which is loaded for one level.
    with_dictionary: Option<(CCtx<'static>, i32, Dictionary)>,
}

impl Compressor {
    /// Compresses `block` to the front of `scratch` and returns the length.
    pub(crate) fn compress(
        &mut self,
        level: i32,
        block: &[u8],
        scratch: &mut Vec<u8>,
    ) -> Result<usize, CodecError> {
        let (mut context, set_level) = match self.context.take() {
            Some(pair) => pair,
            None => (new_context()?, 0),
        };
        let encode = |_| CodecError::Encode { codec: Codec::Zstd };
        if set_level != level {
            context.set_parameter(CParameter::CompressionLevel(level)).map_err(encode)?;
        }
        scratch.clear();
        scratch.reserve(compress_bound(block.len()));
        // A context that failed is dropped, not reused: the next block starts with a fresh one.
        let len = context.compress2(scratch, block).map_err(encode)?;
        self.context = Some((context, level));
        Ok(len)
    }

    /// The same with a dictionary. Costs a context and its tables when level or dictionary are others than last time.
    pub(crate) fn compress_with(
        &mut self,
        level: i32,
        dictionary: &Dictionary,
        block: &[u8],
        scratch: &mut Vec<u8>,
    ) -> Result<usize, CodecError> {
        let encode = |_| CodecError::Encode { codec: Codec::Zstd };
        let kept = self.with_dictionary.take().filter(|(_, set, known)| *set == level && known == dictionary);
        let (mut context, level, dictionary) = if let Some(kept) = kept {
            kept
        } else {
            let mut context = new_context()?;
            // The level comes first: the tables of a dictionary are made for it.
            context.set_parameter(CParameter::CompressionLevel(level)).map_err(encode)?;
            context.load_dictionary(dictionary.content()).map_err(encode)?;
            (context, level, dictionary.clone())
        };
        scratch.clear();
        scratch.reserve(compress_bound(block.len()));
        let len = context.compress2(scratch, block).map_err(encode)?;
        self.with_dictionary = Some((context, level, dictionary));
        Ok(len)
    }
}

/// A dictionary as decompression wants it.
pub(crate) struct Prepared(DDict<'static>);

impl Prepared {
    pub(crate) fn new(content: &[u8]) -> Result<Self, CodecError> {
        DDict::try_create(content).map(Self).ok_or(CodecError::Dictionary)
    }
}

/// Trains a dictionary of at most `len_max` bytes.
pub(crate) fn train(samples: &[u8], lens: &[usize], len_max: usize) -> Option<Vec<u8>> {
    let mut content = Vec::with_capacity(len_max);
    train_from_buffer(&mut content, samples, lens).ok()?;
    Some(content)
}

/// A context set to level 0, which is the library's default, and to bare frames: the block's own header has
/// what the frame's would say.
fn new_context() -> Result<CCtx<'static>, CodecError> {
    let mut context = CCtx::try_create().ok_or(CodecError::NoMemory { codec: Codec::Zstd })?;
    for parameter in [
        CParameter::CompressionLevel(0),
        CParameter::Format(FrameFormat::Magicless),
        CParameter::ContentSizeFlag(false),
        CParameter::ChecksumFlag(false),
        CParameter::DictIdFlag(false),
    ] {
        context.set_parameter(parameter).map_err(|_| CodecError::Encode { codec: Codec::Zstd })?;
    }
    Ok(context)
}

/// Keeps the decompression context between blocks.
#[derive(Default)]
pub(crate) struct Decompressor {
    context: Option<DCtx<'static>>,
}

impl Decompressor {
    /// Fills `out`, which is empty, with the block; returns its length.
    pub(crate) fn decompress(
        &mut self,
        stored: &[u8],
        dictionary: Option<&Dictionary>,
        out: &mut Vec<u8>,
        logical_len: usize,
    ) -> Result<usize, CodecError> {
        let malformed = CodecError::Malformed { codec: Codec::Zstd };
        // The library would go on with a second frame behind the first; one block is one frame.
        if frame_len(stored) != Some(stored.len()) {
            return Err(malformed);
        }
        if self.context.is_none() {
            let mut fresh = DCtx::try_create().ok_or(CodecError::NoMemory { codec: Codec::Zstd })?;
            fresh.set_parameter(DParameter::Format(FrameFormat::Magicless)).map_err(|_| malformed)?;
            self.context = Some(fresh);
        }
        let Some(context) = &mut self.context else { return Err(malformed) };
        out.reserve_exact(logical_len);
        // Single-shot into the buffer, whose capacity bounds the output: the window a frame asks for costs nothing.
        let filled = match dictionary {
            None => context.decompress(out, stored),
            Some(dictionary) => context.decompress_using_ddict(out, stored, &dictionary.prepared().0),
        };
        filled.map_err(|_| malformed)
    }
}

/// Length of the one bare frame at the front of `stored`: a zero descriptor, the window, and blocks up to the one
/// marked last. `None` when that runs past the end or the frame carries a field that ours leave out.
fn frame_len(stored: &[u8]) -> Option<usize> {
    let (&[0, _window], mut rest) = stored.split_first_chunk()? else { return None };
    loop {
        let (&[low, middle, high], blocks) = rest.split_first_chunk()?;
        let header = u32::from_le_bytes([low, middle, high, 0]);
        let (last, size) = (header & 1 == 1, usize::try_from(header >> 3).ok()?);
        let stored_size = match header >> 1 & 3 {
            0 | 2 => size,
            1 => 1, // one byte, repeated
            _ => return None,
        };
        rest = blocks.get(stored_size..)?;
        if last {
            return Some(stored.len() - rest.len());
        }
    }
}
