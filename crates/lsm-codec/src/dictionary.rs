//! What many blocks have in common, known to reader and writer before the first of them.

use alloc::{sync::Arc, vec::Vec};

use crate::{CodecError, zstd};

/// Samples below this number train nothing.
const SAMPLES_MIN: usize = 8;

/// A dictionary of Zstandard, prepared for reading; clones share it.
#[derive(Clone)]
pub struct Dictionary {
    inner: Arc<Inner>,
}

struct Inner {
    hash: u64,
    content: Vec<u8>,
    prepared: zstd::Prepared,
}

impl Dictionary {
    /// Shortest content, in bytes.
    pub const MIN_LEN: usize = 256;
    /// Longest content, in bytes.
    pub const MAX_LEN: usize = 64 << 10;

    /// A dictionary of these bytes: what [`Dictionary::train`] made, or any bytes that blocks have in common.
    ///
    /// * `hash`: of the content, by which it is known. The caller has made sure of it.
    ///
    /// # Errors
    /// [`CodecError::Dictionary`] for bytes of another length, or that begin like a trained dictionary and are none.
    pub fn new(hash: u64, content: Vec<u8>) -> Result<Self, CodecError> {
        if !(Self::MIN_LEN..=Self::MAX_LEN).contains(&content.len()) {
            return Err(CodecError::Dictionary);
        }
        let prepared = zstd::Prepared::new(&content)?;
        Ok(Self { inner: Arc::new(Inner { hash, content, prepared }) })
    }

    /// Makes the content of a dictionary from what is typical; the same samples give the same content.
    ///
    /// * `samples`: the samples, one after another; about a hundred times `len_max` is enough.
    /// * `lens`: the length of each, in bytes. Together they are the length of `samples`.
    /// * `len_max`: longest content, in bytes; brought between the shortest and the longest that there may be.
    ///
    /// `None` for samples that nothing is learnt from: fewer than 8, or none alike.
    pub fn train(samples: &[u8], lens: &[usize], len_max: usize) -> Option<Vec<u8>> {
        let total = lens.iter().try_fold(0_usize, |sum, len| sum.checked_add(*len));
        if lens.len() < SAMPLES_MIN || total != Some(samples.len()) {
            return None;
        }
        let content = zstd::train(samples, lens, len_max.clamp(Self::MIN_LEN, Self::MAX_LEN))?;
        (content.len() >= Self::MIN_LEN).then_some(content)
    }

    /// The hash by which it is known.
    pub fn hash(&self) -> u64 {
        self.inner.hash
    }

    /// Its bytes.
    pub fn content(&self) -> &[u8] {
        &self.inner.content
    }

    /// What decompressing takes.
    pub(crate) fn prepared(&self) -> &zstd::Prepared {
        &self.inner.prepared
    }
}

impl PartialEq for Dictionary {
    fn eq(&self, other: &Self) -> bool {
        (self.hash(), self.content()) == (other.hash(), other.content())
    }
}

impl Eq for Dictionary {}

impl core::fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Dictionary({:#018x}, {} bytes)", self.hash(), self.content().len())
    }
}
