//! Dictionaries that frames of a file are compressed with (`docs/format/block.md`, section 6). They lie in the file
//! themselves, one frame each; a frame that uses one names its place in that list, counted from 1.
//!
//! | bytes | field   | encoding                                 |
//! |-------|---------|------------------------------------------|
//! | 0..8  | hash    | u64 LE, XXH3-64 of the content           |
//! | 8..   | content | the rest, 256 bytes to 64 KiB            |

use alloc::{sync::Arc, vec::Vec};

use lsm_codec::Dictionary;
use lsm_types::Location;
use xxhash_rust::xxh3::xxh3_64;

use crate::{BlockError, BlockKind};

/// Bytes before the content.
const HEAD_LEN: usize = 8;

/// The dictionaries of one file, by their slots; those that could not be read with what is wrong with them.
#[derive(Clone, Debug, Default)]
pub struct Dictionaries {
    slots: Arc<[Result<Dictionary, BlockError>]>,
}

impl Dictionaries {
    /// Most dictionaries of a file.
    pub const SLOTS_MAX: u16 = 16;

    /// Longest payload of a frame with a dictionary, in bytes.
    pub const LEN_MAX: usize = HEAD_LEN + Dictionary::MAX_LEN;

    /// The dictionaries of a file in the order of their slots.
    pub fn new(slots: Vec<Result<Dictionary, BlockError>>) -> Self {
        Self { slots: slots.into() }
    }

    /// Trains a dictionary: see [`Dictionary::train`]. `None` when nothing is learnt from the samples.
    pub fn train(samples: &[u8], lens: &[usize], len_max: usize) -> Option<Dictionary> {
        let content = Dictionary::train(samples, lens, len_max)?;
        Dictionary::new(xxh3_64(&content), content).ok()
    }

    /// Appends the payload of a frame of kind [`BlockKind::DICTIONARY`].
    pub fn encode(dictionary: &Dictionary, out: &mut Vec<u8>) {
        out.extend_from_slice(&dictionary.hash().to_le_bytes());
        out.extend_from_slice(dictionary.content());
    }

    /// Reads such a payload; `at`, where its frame lies, only serves errors.
    ///
    /// # Errors
    /// `Truncated`; `DictionaryMismatch` for a content that has another hash; `Codec` for bytes that are no dictionary.
    pub fn decode(at: Location, payload: &[u8]) -> Result<Dictionary, BlockError> {
        let Some((hash, content)) = payload.split_first_chunk::<HEAD_LEN>() else {
            let (need, have) = (HEAD_LEN as u64, payload.len() as u64);
            return Err(BlockError::Truncated { at, need, have });
        };
        let expected = u64::from_le_bytes(*hash);
        let found = xxh3_64(content);
        if expected != found {
            return Err(BlockError::DictionaryMismatch { at, expected, found });
        }
        let wrap = |source| BlockError::Codec { at, kind: BlockKind::DICTIONARY, source };
        Dictionary::new(found, content.to_vec()).map_err(wrap)
    }

    /// The dictionary of a frame at `at` that names `slot`; none for slot 0.
    pub(crate) fn of(&self, at: Location, slot: u16) -> Result<Option<&Dictionary>, BlockError> {
        let Some(idx) = slot.checked_sub(1) else { return Ok(None) };
        match self.slots.get(usize::from(idx)) {
            Some(Ok(dictionary)) => Ok(Some(dictionary)),
            Some(Err(error)) => Err(*error),
            None => Err(BlockError::DictionaryMissing { at, slot }),
        }
    }
}
