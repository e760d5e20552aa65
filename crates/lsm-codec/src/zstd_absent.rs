//! Stands in for `zstd.rs` in a binary without Zstandard.

use alloc::vec::Vec;

use crate::{Codec, CodecError, Dictionary};

/// The codec is not compiled in.
pub(crate) const BUILT: bool = false;

#[derive(Default)]
pub(crate) struct Compressor;

impl Compressor {
    #[expect(clippy::unused_self, reason = "same signature as the twin")]
    pub(crate) fn compress(
        &mut self,
        _level: i32,
        _block: &[u8],
        _scratch: &mut Vec<u8>,
    ) -> Result<usize, CodecError> {
        Err(CodecError::NotBuilt { codec: Codec::Zstd })
    }

    #[expect(clippy::unused_self, reason = "same signature as the twin")]
    pub(crate) fn compress_with(
        &mut self,
        _level: i32,
        _dictionary: &Dictionary,
        _block: &[u8],
        _scratch: &mut Vec<u8>,
    ) -> Result<usize, CodecError> {
        Err(CodecError::NotBuilt { codec: Codec::Zstd })
    }
}

/// A dictionary that nothing is read with.
pub(crate) struct Prepared;

impl Prepared {
    #[expect(clippy::unnecessary_wraps, reason = "same signature as the twin")]
    pub(crate) fn new(_content: &[u8]) -> Result<Self, CodecError> {
        Ok(Self)
    }
}

pub(crate) fn train(_samples: &[u8], _lens: &[usize], _len_max: usize) -> Option<Vec<u8>> {
    None
}

#[derive(Default)]
pub(crate) struct Decompressor;

impl Decompressor {
    #[expect(clippy::unused_self, reason = "same signature as the twin")]
    pub(crate) fn decompress(
        &mut self,
        _stored: &[u8],
        _dictionary: Option<&Dictionary>,
        _out: &mut Vec<u8>,
        _logical_len: usize,
    ) -> Result<usize, CodecError> {
        Err(CodecError::NotBuilt { codec: Codec::Zstd })
    }
}
