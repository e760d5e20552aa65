//! What an entry means.

/// Kind of an entry; three bits on disk, tags 5 to 7 reserved.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    /// The key has this value.
    Put = 0,
    /// The key is deleted, with every older version.
    Tombstone = 1,
    /// The key is deleted; annihilates with the one put below it.
    WeakTombstone = 2,
    /// An operand for the merge operator.
    MergeOperand = 3,
    /// A put whose value lies in a value log; the payload is the handle.
    Indirection = 4,
}

impl Kind {
    /// The kind with this tag; `None` for tags this version does not know.
    #[inline]
    pub const fn from_tag(tag: u8) -> Option<Self> {
        match tag {
            0 => Some(Self::Put),
            1 => Some(Self::Tombstone),
            2 => Some(Self::WeakTombstone),
            3 => Some(Self::MergeOperand),
            4 => Some(Self::Indirection),
            _ => None,
        }
    }

    /// The tag stored in files.
    #[inline]
    pub const fn tag(self) -> u8 {
        self as u8
    }

    /// Whether the entry hides all older versions and is itself absent.
    #[inline]
    pub const fn is_tombstone(self) -> bool {
        matches!(self, Self::Tombstone | Self::WeakTombstone)
    }

    /// Whether the entry gives the key a value without looking further down.
    #[inline]
    pub const fn is_value(self) -> bool {
        matches!(self, Self::Put | Self::Indirection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_round_trip_and_unknown_ones_are_refused() {
        for tag in 0..=4 {
            assert_eq!(Kind::from_tag(tag).map(Kind::tag), Some(tag));
        }
        assert!((5..=255).all(|tag| Kind::from_tag(tag).is_none()));
    }
}
