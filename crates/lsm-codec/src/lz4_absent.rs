//! Stands in for `lz4.rs` in a binary without LZ4.

use alloc::vec::Vec;

use crate::{Codec, CodecError};

/// The codec is not compiled in.
pub(crate) const BUILT: bool = false;

pub(crate) fn compress(_block: &[u8], _scratch: &mut Vec<u8>) -> Result<usize, CodecError> {
    Err(CodecError::NotBuilt { codec: Codec::Lz4 })
}

pub(crate) fn decompress(
    _stored: &[u8],
    _out: &mut Vec<u8>,
    _logical_len: usize,
) -> Result<usize, CodecError> {
    Err(CodecError::NotBuilt { codec: Codec::Lz4 })
}
