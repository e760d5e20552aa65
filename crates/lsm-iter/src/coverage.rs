//! Where range tombstones enter a decision about one key.

use lsm_types::{Cut, SeqNo};

/// The range tombstones over a sequence of entries, asked about the keys of a walk.
///
/// Keys may come in any order; a walk in either direction, from a key to its neighbour, is the common case and the
/// cheap one. Within a key the bound may change from question to question.
pub trait Coverage {
    /// The largest number below `before` of a range tombstone that covers `key`.
    fn covering(&mut self, key: &[u8], before: SeqNo) -> Option<SeqNo>;

    /// The cuts around the key asked about last, left and right, between which the number returned covers every key;
    /// `None` when nothing covers it, or when the cuts are not known.
    ///
    /// A walk uses them to jump over what is deleted, so they may be too close together, never too far apart.
    fn stretch(&self) -> Option<(&Cut, &Cut)> {
        None
    }
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

impl<R: Coverage + ?Sized> Coverage for &mut R {
    #[inline]
    fn covering(&mut self, key: &[u8], before: SeqNo) -> Option<SeqNo> {
        (**self).covering(key, before)
    }

    fn stretch(&self) -> Option<(&Cut, &Cut)> {
        (**self).stretch()
    }
}
