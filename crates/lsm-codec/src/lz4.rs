//! LZ4 block format, through the safe half of `lz4_flex`. Its twin is `lz4_absent.rs`.

use alloc::vec::Vec;

use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};

use crate::{Codec, CodecError};

/// The codec is compiled in.
pub(crate) const BUILT: bool = true;

/// Compresses `block` to the front of `scratch` and returns the length. The library keeps its match table on the
/// stack, which measured no slower than keeping one between blocks.
pub(crate) fn compress(block: &[u8], scratch: &mut Vec<u8>) -> Result<usize, CodecError> {
    // Growing zeroes the new part; a scratch buffer that has grown is used as it is.
    let bound = get_maximum_output_size(block.len());
    if scratch.len() < bound {
        scratch.resize(bound, 0);
    }
    compress_into(block, scratch).map_err(|_| CodecError::Encode { codec: Codec::Lz4 })
}

/// Fills `out` with the block; returns its length, which is at most `logical_len`.
pub(crate) fn decompress(stored: &[u8], out: &mut Vec<u8>, logical_len: usize) -> Result<usize, CodecError> {
    out.resize(logical_len, 0);
    let len = decompress_into(stored, out).map_err(|_| CodecError::Malformed { codec: Codec::Lz4 })?;
    out.truncate(len);
    Ok(len)
}
