//! What the properties of a table say about its filters (`docs/format/sst.md`, section 6).

use alloc::string::String;

use lsm_types::PrefixExtractor;

use super::{FilterBits, FilterId};
use crate::{
    payload::PayloadError,
    properties::{Item, NUMBER, TEXT},
};

const BITS: u16 = 0x0410;
const SEED: u16 = 0x0411;
const PREFIX_BITS: u16 = 0x0418;
const PREFIX_SEED: u16 = 0x0419;
const EXTRACTOR: u16 = 0x041A;
const EXTRACTOR_VERSION: u16 = 0x041B;
const PREFIX_STORED_BYTES: u16 = 0x041C;
const PREFIX_PARTITIONS: u16 = 0x041D;
const PREFIX_COUNT: u16 = 0x041E;

/// What names the prefixes in a table's filter.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct ExtractorId {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
}

impl ExtractorId {
    /// The identity of `extractor`.
    pub fn of(extractor: &dyn PrefixExtractor) -> Self {
        Self { name: extractor.name().into(), version: extractor.version() }
    }
}

/// What is recorded about one filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FilterFacts {
    /// Bits per key it was built for, in 65,536ths of a bit; see [`FilterFacts::nominal_bits`].
    pub bits: u32,
    /// Seed of the hashes it was built with.
    pub seed: u64,
}

impl FilterFacts {
    pub(crate) fn new(id: FilterId, bits: FilterBits) -> Self {
        Self { bits: u32::from(bits.whole()) << 16 | u32::from(bits.fraction()), seed: id.seed() }
    }

    /// Bits per key it was built for: false positives are expected at a rate of 2 to the power of minus this.
    pub fn nominal_bits(&self) -> f64 {
        f64::from(self.bits) / 65_536.0
    }
}

/// What is recorded about the filters of a table. Bytes and partitions of the filter over keys stand among the
/// [counters](crate::properties::Counters).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FilterProperties {
    /// The filter over keys; `None` without one.
    pub keys: Option<FilterFacts>,
    /// The filter over prefixes; `None` without one.
    pub prefixes: Option<FilterFacts>,
    /// What named the prefixes.
    pub extractor: Option<ExtractorId>,
    /// Bytes of the partitions of the filter over prefixes in the file, headers included.
    pub prefix_stored_bytes: u64,
    /// Partitions of the filter over prefixes.
    pub prefix_partitions: u64,
    /// Prefixes in them; one on a border of two partitions counts twice.
    pub prefix_count: u64,
}

impl FilterProperties {
    /// What is recorded about a filter.
    pub const fn get(&self, id: FilterId) -> Option<&FilterFacts> {
        match id {
            FilterId::Keys => self.keys.as_ref(),
            FilterId::Prefixes => self.prefixes.as_ref(),
        }
    }

    pub(crate) fn encode(&self, mut put: impl FnMut(u16, u8, &[u8])) {
        let mut number = |id, value: u64| put(id, NUMBER, &value.to_le_bytes());
        if let Some(facts) = self.keys {
            number(BITS, facts.bits.into());
            number(SEED, facts.seed);
        }
        let Some(facts) = self.prefixes else { return };
        number(PREFIX_BITS, facts.bits.into());
        number(PREFIX_SEED, facts.seed);
        number(PREFIX_STORED_BYTES, self.prefix_stored_bytes);
        number(PREFIX_PARTITIONS, self.prefix_partitions);
        number(PREFIX_COUNT, self.prefix_count);
        if let Some(extractor) = &self.extractor {
            number(EXTRACTOR_VERSION, extractor.version.into());
            put(EXTRACTOR, TEXT, extractor.name.as_bytes());
        }
    }

    /// Takes in a property; `false` when it is none of these.
    pub(crate) fn decode(&mut self, item: &Item<'_>) -> Result<bool, PayloadError> {
        let narrow =
            |item: &Item<'_>| u32::try_from(item.number()?).map_err(|_| item.wrong("filter property"));
        match item.id {
            BITS => self.keys.get_or_insert_default().bits = narrow(item)?,
            SEED => self.keys.get_or_insert_default().seed = item.number()?,
            PREFIX_BITS => self.prefixes.get_or_insert_default().bits = narrow(item)?,
            PREFIX_SEED => self.prefixes.get_or_insert_default().seed = item.number()?,
            EXTRACTOR => self.extractor.get_or_insert_default().name = item.text()?,
            EXTRACTOR_VERSION => self.extractor.get_or_insert_default().version = narrow(item)?,
            PREFIX_STORED_BYTES => self.prefix_stored_bytes = item.number()?,
            PREFIX_PARTITIONS => self.prefix_partitions = item.number()?,
            PREFIX_COUNT => self.prefix_count = item.number()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether the filter can be asked with the hashes of this version.
    pub(crate) fn is_usable(&self, id: FilterId) -> bool {
        self.get(id).is_some_and(|facts| facts.seed == id.seed())
    }
}
