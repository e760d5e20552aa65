//! Where range tombstones enter a decision about one key.

use lsm_types::SeqNo;

/// The range tombstones over a sequence of entries, asked about the keys in the order in which these are walked.
pub trait Coverage {
    /// The largest number below `before` of a range tombstone that covers `key`.
    fn covering(&mut self, key: &[u8], before: SeqNo) -> Option<SeqNo>;
}

/// No range tombstones; costs nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCoverage;

impl Coverage for NoCoverage {
    #[inline]
    fn covering(&mut self, _: &[u8], _: SeqNo) -> Option<SeqNo> {
        None
    }
}
