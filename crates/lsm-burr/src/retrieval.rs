//! Retrieval: a small number for each key, without the keys.
//!
//! The equations are a filter's; their right-hand sides are the numbers instead of bits made up from the hash. A hash
//! that was not put in gets any number, so whoever asks checks what he finds there.

use alloc::vec::Vec;

use crate::error::key_count;
use crate::geometry::Geometry;
use crate::hash::Mixed;
use crate::header::{Header, LAYERS_MAX, LayerEntry};
use crate::place::Item;
use crate::tower::{LAYERS, Order, Tower};
use crate::{BandWidth, Bits, BuildError, FilterError, HashId, Stats, Structure, probe};

/// Seeds that are tried before all numbers are listed.
const SEEDS: u64 = 8;
/// Stands in the stash for a hash that was given several numbers.
const AMBIGUOUS: u64 = u64::MAX;

#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    hash: u64,
    value: u32,
}

impl Item for Pair {
    #[inline]
    fn hash(self) -> u64 {
        self.hash
    }

    #[inline]
    fn result(self, _mixed: Mixed) -> u32 {
        self.value
    }
}

/// Builds retrieval tables, one after another, in memory that is kept between them.
pub struct RetrievalBuilder {
    width: Bits,
    hash_id: HashId,
    pairs: Vec<Pair>,
    /// Hashes with several numbers, in order.
    ambiguous: Vec<u64>,
    tower: Tower<Pair, u64>,
}

impl RetrievalBuilder {
    /// A builder of tables of numbers of `width` bits, 1 to 32.
    ///
    /// # Errors
    /// [`BuildError::Bits`] for another width.
    pub fn new(width: u8) -> Result<Self, BuildError> {
        let width = Bits::from_parts(width, 0).ok_or(BuildError::Bits { bits: width.into() })?;
        let (pairs, ambiguous, tower) = (Vec::new(), Vec::new(), Tower::default());
        Ok(Self { width, hash_id: HashId::WHOLE_KEY, pairs, ambiguous, tower })
    }

    /// Says what the hashes are hashes of; the number goes into the table's head.
    pub fn with_hash_id(mut self, hash_id: HashId) -> Self {
        self.hash_id = hash_id;
        self
    }

    /// Adds a key by its hash, and its number. A hash with two different numbers will have none.
    ///
    /// # Errors
    /// [`BuildError::Value`] for a number that has more bits than the table's have.
    pub fn push(&mut self, hash: u64, value: u32) -> Result<(), BuildError> {
        let width = self.width.whole();
        if value.checked_shr(width.into()).is_some_and(|rest| rest != 0) {
            return Err(BuildError::Value { value, width });
        }
        self.pairs.push(Pair { hash, value });
        Ok(())
    }

    /// Pairs added since the last table.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether none was added.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Appends the table of all pairs added since the last one, and starts anew. The same pairs give the same bytes,
    /// in whatever order they came.
    ///
    /// # Errors
    /// [`BuildError::TooManyKeys`] for more than 2^32 - 1; the pairs are forgotten.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<Stats, BuildError> {
        let built = key_count(self.pairs.len()).map(|_| self.build(out));
        self.pairs.clear();
        built
    }

    fn build(&mut self, out: &mut Vec<u8>) -> Stats {
        self.pairs.sort_unstable();
        self.pairs.dedup();
        self.set_ambiguous_aside();
        let begin = out.len();
        for seed in 0..SEEDS {
            let structure = Structure::Retrieval;
            let order = Order { structure, bits: self.width, hash_id: self.hash_id, seed, layers: LAYERS };
            let ambiguous = &self.ambiguous;
            let write = |left: &mut [Pair], out: &mut Vec<u8>| write_stash(left, ambiguous, out);
            if let Ok(stats) = self.tower.build(&self.pairs, order, out, write) {
                return stats;
            }
            out.truncate(begin);
        }
        self.list(out)
    }

    /// Takes hashes with several numbers out of the pairs, which are sorted.
    fn set_ambiguous_aside(&mut self) {
        self.ambiguous.clear();
        let twice = self.pairs.windows(2).filter(|pair| matches!(pair, [a, b] if a.hash == b.hash));
        self.ambiguous.extend(twice.filter_map(|pair| pair.first()).map(|pair| pair.hash));
        self.ambiguous.dedup();
        let ambiguous = &self.ambiguous;
        if !ambiguous.is_empty() {
            self.pairs.retain(|pair| ambiguous.binary_search(&pair.hash).is_err());
        }
    }

    /// A table without equations: all pairs stand in the stash.
    fn list(&mut self, out: &mut Vec<u8>) -> Stats {
        let begin = out.len();
        out.resize(begin + Header::len(Structure::Retrieval, 0), 0);
        let stash = write_stash(&mut self.pairs, &self.ambiguous, out);
        let header = Header {
            structure: Structure::Retrieval,
            bits: self.width,
            keys: u32::try_from(self.pairs.len()).unwrap_or(u32::MAX),
            seed: 0,
            hash_id: self.hash_id,
            band: BandWidth::default(),
            stash: u32::try_from(stash).unwrap_or(u32::MAX),
            layer_count: 0,
            layers: [LayerEntry::default(); LAYERS_MAX],
        };
        let bytes = out.get_mut(begin..).unwrap_or_default();
        header.encode(bytes);
        Stats::new(&header, bytes.len())
    }
}

/// A table's stash: leftovers with their numbers and ambiguous hashes, sorted by hash. Returns the number of entries.
fn write_stash(left: &mut [Pair], ambiguous: &[u64], out: &mut Vec<u8>) -> usize {
    let begin = out.len();
    let mut entries: Vec<(u64, u64)> = left.iter().map(|pair| (pair.hash, pair.value.into())).collect();
    entries.extend(ambiguous.iter().map(|&hash| (hash, AMBIGUOUS)));
    entries.sort_unstable();
    for (hash, value) in &entries {
        out.extend_from_slice(&hash.to_le_bytes());
        out.extend_from_slice(&value.to_le_bytes());
    }
    (out.len() - begin) / 16
}

/// A retrieval table over bytes of any owner. Opening checks the bytes once; asking cannot fail and copies nothing.
#[derive(Clone, Debug)]
pub struct Retrieval<B> {
    bytes: B,
    header: Header,
    geometry: Geometry,
}

impl<B: AsRef<[u8]>> Retrieval<B> {
    /// Checks the shape of a table that fills `bytes` to the last one.
    ///
    /// # Errors
    /// [`FilterError::Unsupported`] for a structure this version does not know, filters among them;
    /// [`FilterError::Truncated`] and [`FilterError::Malformed`] for bytes that are none.
    pub fn open(bytes: B) -> Result<Self, FilterError> {
        let header = Header::decode(bytes.as_ref())?;
        if header.structure != Structure::Retrieval {
            let value = header.structure.code().into();
            return Err(FilterError::Unsupported { field: "structure", value });
        }
        let geometry = Geometry::new(&header, bytes.as_ref())?;
        Ok(Self { bytes, header, geometry })
    }

    /// The number that was given for a hash. `None` for a hash that was given several; for one that was not put in,
    /// any number or `None`.
    pub fn get(&self, hash: u64) -> Option<u32> {
        let bytes = self.bytes.as_ref();
        // A hash with several numbers stands nowhere else, but the layers would answer.
        if self.header.stash > 0
            && let Some(entry) = self.geometry.stashed(bytes, Structure::Retrieval, hash)
        {
            let value = entry.last_chunk().map(|value| u64::from_le_bytes(*value));
            return value.and_then(|value| u32::try_from(value).ok());
        }
        probe::value(&self.geometry, bytes, hash)
    }

    /// Bits of a number.
    pub fn width(&self) -> u8 {
        self.header.bits.whole()
    }

    /// What the hashes are hashes of.
    pub fn hash_id(&self) -> HashId {
        self.header.hash_id
    }

    /// What the table is made of.
    pub fn stats(&self) -> Stats {
        Stats::new(&self.header, self.bytes.as_ref().len())
    }
}
