//! What a structure is made of, for inspection.

use crate::BandWidth;
use crate::header::Header;

/// Which of the formats the bytes are in.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Structure {
    /// Layers of linear equations that answer "absent" or "maybe".
    Membership,
    /// A sorted, coded list of fingerprints: for few keys, and for keys that no system of equations would take.
    FingerprintList,
    /// Layers of linear equations that give back a number.
    Retrieval,
}

impl Structure {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Membership => 1,
            Self::FingerprintList => 2,
            Self::Retrieval => 3,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Membership),
            2 => Some(Self::FingerprintList),
            3 => Some(Self::Retrieval),
            _ => None,
        }
    }
}

/// What the hashes in a filter are hashes of. The filter only carries the number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct HashId(pub u8);

impl HashId {
    /// Hashes of whole keys.
    pub const WHOLE_KEY: Self = Self(1);
    /// Hashes of prefixes of keys.
    pub const PREFIX: Self = Self(2);
}

/// What a structure is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stats {
    /// Which structure.
    pub structure: Structure,
    /// Keys it was sized for; repeats may or may not be counted.
    pub keys: u32,
    /// Bytes in all.
    pub len: usize,
    /// Slots of an equation; `None` in a list.
    pub band: Option<BandWidth>,
    /// Layers of equations.
    pub layers: u8,
    /// Slots of all layers; beside a few left empty, each is worth one key.
    pub slots: u64,
    /// Slots of the first layer.
    pub first_slots: u64,
    /// Hashes kept as they are, because no layer took them.
    pub stash: u32,
    /// The seed; counts the seeds that were tried before.
    pub seed: u64,
}

impl Stats {
    pub(crate) fn new(header: &Header, len: usize) -> Self {
        Self {
            structure: header.structure,
            keys: header.keys,
            len,
            band: (header.structure != Structure::FingerprintList).then_some(header.band),
            layers: u8::try_from(header.layer_count).unwrap_or(u8::MAX),
            slots: header.layers().iter().map(|layer| u64::from(layer.slots)).sum(),
            first_slots: header.layers().first().map_or(0, |layer| layer.slots.into()),
            stash: header.stash,
            seed: header.seed,
        }
    }

    /// All bytes, in bits per key.
    #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
    pub fn bits_per_key(&self) -> f64 {
        self.len as f64 * 8.0 / f64::from(self.keys.max(1))
    }
}
