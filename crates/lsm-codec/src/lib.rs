//! Block compression of the `lsm` storage engine: the one crate that names LZ4 and Zstandard.
//!
//! An [`Encoder`] turns one block at a time into stored bytes and says which [`Codec`] it used: a block that
//! does not shrink is stored raw, so the codec belongs to the block and not to the file. A [`Decoder`] turns
//! stored bytes back into exactly as many bytes as the block's header promises, or into an error.
//! Both keep their contexts, so that a warm one allocates nothing per block.
//!
//! ```
//! use lsm_codec::{Compression, Decoder, Encoder};
//!
//! let block = b"all work and no play ".repeat(100);
//! let (mut stored, mut back) = (Vec::new(), Vec::new());
//! let codec = Encoder::new().compress(Compression::Lz4.or_weaker(), &block, &mut stored)?;
//! Decoder::new().decompress(codec, &stored, &mut back, block.len())?;
//! assert_eq!(back, block);
//! # Ok::<(), lsm_codec::CodecError>(())
//! ```
#![no_std]

extern crate alloc;

mod codec;
mod decoder;
mod dictionary;
mod encoder;
mod error;

#[cfg_attr(not(feature = "lz4"), path = "lz4_absent.rs")]
mod lz4;
#[cfg_attr(not(feature = "zstd"), path = "zstd_absent.rs")]
mod zstd;

pub use codec::{Codec, Compression};
pub use decoder::Decoder;
pub use dictionary::Dictionary;
pub use encoder::{Encoder, Trial};
pub use error::CodecError;
