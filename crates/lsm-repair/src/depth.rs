//! How deep a check goes.

use std::{fmt, str::FromStr};

/// How deep a check goes; each depth includes those above it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Depth {
    /// V0: every file that should be there is, and has its length.
    Presence,
    /// V1: heads and properties are sound and agree with the manifest.
    Heads,
    /// V2: every file is byte for byte what was written.
    Digests,
    /// V3: every block or frame by itself, so that damage has a place.
    Frames,
    /// V4: every entry, its order and its bounds.
    Entries,
    /// V5: what leads to blocks leads to the right ones: index and filters.
    Structure,
    /// V6: the records of the manifest make sense, also those of older generations.
    Manifest,
}

impl Depth {
    /// All depths, from shallow to deep.
    pub const ALL: [Self; 7] = [
        Self::Presence,
        Self::Heads,
        Self::Digests,
        Self::Frames,
        Self::Entries,
        Self::Structure,
        Self::Manifest,
    ];

    /// The short name: `v0` to `v6`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Presence => "v0",
            Self::Heads => "v1",
            Self::Digests => "v2",
            Self::Frames => "v3",
            Self::Entries => "v4",
            Self::Structure => "v5",
            Self::Manifest => "v6",
        }
    }

    pub(crate) const fn idx(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Depth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no depth.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a depth is one of v0 to v6")]
pub struct UnknownDepth;

impl FromStr for Depth {
    type Err = UnknownDepth;

    fn from_str(text: &str) -> Result<Self, UnknownDepth> {
        Self::ALL.into_iter().find(|depth| depth.name().eq_ignore_ascii_case(text)).ok_or(UnknownDepth)
    }
}
