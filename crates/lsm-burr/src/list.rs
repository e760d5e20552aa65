//! The structure for few keys: sorted fingerprints in Elias-Fano code, `r + 2` bits each.
//!
//! A fingerprint is a number below `keys * 2^r`, so an absent hash meets one of the `keys` with probability 2^-r. Its
//! lower `r` bits are stored as they are. The upper ones, below `keys`, are stored as bits in order: for each value a
//! one per fingerprint that has it, then a zero.
//!
//! ```text
//! head | lower bits, r each, packed | upper bits, 2 * keys, in words of 64 | ones before word 8, 16, ..: u32 each
//! ```
//!
//! Also what is built when no system of equations takes the keys; the counts of ones keep that fast.

use alloc::vec::Vec;

use crate::hash::Mixed;
use crate::header::{self, Header, LAYERS_MAX, LayerEntry};
use crate::{BandWidth, Bits, FilterError, HashId, Stats, Structure};

/// Words between counts.
const GROUP: usize = 8;

/// A checked list.
#[derive(Clone, Debug)]
pub(crate) struct List {
    keys: u64,
    seed: u64,
    bits: usize,
    upper: usize,
    words: usize,
    counts: usize,
}

/// Bytes of a list of so many keys.
pub(crate) fn len(keys: usize, bits: Bits) -> usize {
    let words = (2 * keys).div_ceil(64);
    header::LEN + (keys * bits.columns()).div_ceil(8) + words * 8 + words.saturating_sub(1) / GROUP * 4
}

/// Appends the list of `hashes`, which are distinct; they are reordered.
pub(crate) fn encode(hashes: &mut [u64], bits: Bits, hash_id: HashId, out: &mut Vec<u8>) -> Stats {
    let keys = hashes.len();
    let width = bits.columns();
    let seed = 0;
    let bits = Bits::from_parts(u8::try_from(width).unwrap_or(Bits::MAX), 0).unwrap_or(bits);
    let begin = out.len();
    out.resize(begin + len(keys, bits), 0);
    let bytes = out.get_mut(begin..).unwrap_or_default();
    let header = Header {
        structure: Structure::FingerprintList,
        bits,
        keys: u32::try_from(keys).unwrap_or(u32::MAX),
        seed,
        hash_id,
        band: BandWidth::default(),
        stash: 0,
        layer_count: 0,
        layers: [LayerEntry::default(); LAYERS_MAX],
    };
    header.encode(bytes);
    // Scaling keeps the order of what it scales, so the numbers ascend.
    hashes.sort_unstable_by_key(|&hash| Mixed::new(hash, seed).scaled(keys as u64));
    let lower = bytes.get_mut(header::LEN..).unwrap_or_default();
    let (lower, rest) = lower.split_at_mut_checked((keys * width).div_ceil(8)).unwrap_or_default();
    let (upper, counts) = rest.split_at_mut_checked((2 * keys).div_ceil(64) * 8).unwrap_or_default();
    for (rank, &hash) in hashes.iter().enumerate() {
        let (high, low) = Mixed::new(hash, seed).scaled(keys as u64);
        let low = low >> (64 - width);
        for bit in 0..width {
            if low >> bit & 1 == 1 {
                set_bit(lower, rank * width + bit);
            }
        }
        set_bit(upper, usize::try_from(high).unwrap_or(usize::MAX).saturating_add(rank));
    }
    let mut ones = 0_u32;
    let groups = upper.chunks(GROUP * 8);
    for (target, group) in counts.chunks_exact_mut(4).zip(groups) {
        ones += group.iter().map(|byte| byte.count_ones()).sum::<u32>();
        target.copy_from_slice(&ones.to_le_bytes());
    }
    Stats::new(&header, len(keys, bits))
}

fn set_bit(bytes: &mut [u8], bit: usize) {
    if let Some(byte) = bytes.get_mut(bit / 8) {
        *byte |= 1 << (bit % 8);
    }
}

impl List {
    /// Places the parts, and checks that the upper bits hold each key once.
    pub(crate) fn new(header: &Header, bytes: &[u8]) -> Result<Self, FilterError> {
        let malformed = |field, value: u64| FilterError::Malformed { field, value };
        if header.stash != 0 {
            return Err(malformed("stash entries", header.stash.into()));
        }
        let (keys, width) = (u64::from(header.keys), u64::from(header.bits.whole()));
        let words = (2 * keys).div_ceil(64);
        let upper = header::LEN as u64 + (keys * width).div_ceil(8);
        let counts = upper + words * 8;
        let need = counts + words.saturating_sub(1) / GROUP as u64 * 4;
        let have = bytes.len() as u64;
        if have < need {
            return Err(FilterError::Truncated { need, have });
        }
        if have > need {
            return Err(malformed("length", have));
        }
        // All are at most the length, which is a usize.
        let place = |at: u64| usize::try_from(at).map_err(|_| malformed("keys", keys));
        let list = Self {
            keys,
            seed: header.seed,
            bits: usize::from(header.bits.whole()),
            upper: place(upper)?,
            words: place(words)?,
            counts: place(counts)?,
        };
        let mut ones = 0_u64;
        for word in 0..list.words {
            if word > 0 && word % GROUP == 0 && u64::from(list.count_before(bytes, word / GROUP)) != ones {
                return Err(malformed("ones before a word", ones));
            }
            ones += u64::from(list.word(bytes, word).count_ones());
        }
        let spare = list.words as u64 * 64 - 2 * keys;
        let end = list.words.checked_sub(1).map_or(0, |at| list.word(bytes, at));
        if ones != keys || u64::from(end.leading_zeros()) < spare {
            return Err(malformed("upper bits", ones));
        }
        Ok(list)
    }

    /// Whether a hash has the fingerprint of a member.
    pub(crate) fn may_contain(&self, bytes: &[u8], hash: u64) -> bool {
        let (high, low) = Mixed::new(hash, self.seed).scaled(self.keys);
        let low = low >> (64 - self.bits);
        let mut at = self.after_zeros(bytes, high);
        // Those with the same upper part follow, each a one.
        while self.word(bytes, at / 64) >> (at % 64) & 1 == 1 {
            // As many ones precede as bits that are not one of the `high` zeros.
            let rank = at as u64 - high;
            if self.lower(bytes, rank) == low {
                return true;
            }
            at += 1;
        }
        false
    }

    /// The bit after the `count`-th zero of the upper bits.
    fn after_zeros(&self, bytes: &[u8], count: u64) -> usize {
        if count == 0 {
            return 0;
        }
        let groups = self.words.saturating_sub(1) / GROUP;
        let zeros_before = |group: usize| match group {
            0 => 0,
            group => (group * GROUP * 64) as u64 - u64::from(self.count_before(bytes, group)),
        };
        // The last group that has fewer zeros before it.
        let (mut low, mut high) = (0, groups + 1);
        while high - low > 1 {
            let middle = low.midpoint(high);
            if zeros_before(middle) < count { low = middle } else { high = middle }
        }
        let mut left = count - zeros_before(low);
        for word_at in low * GROUP..self.words {
            let mut zeros = !self.word(bytes, word_at);
            if left > u64::from(zeros.count_ones()) {
                left -= u64::from(zeros.count_ones());
                continue;
            }
            for _ in 1..left {
                zeros &= zeros - 1;
            }
            return word_at * 64 + zeros.trailing_zeros() as usize + 1;
        }
        self.words * 64
    }

    /// Ones before the first word of a group other than the first.
    fn count_before(&self, bytes: &[u8], group: usize) -> u32 {
        let at = self.counts + (group - 1) * 4;
        bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    fn word(&self, bytes: &[u8], word: usize) -> u64 {
        if word >= self.words { 0 } else { read_word(bytes, self.upper + word * 8) }
    }

    /// The lower bits of the fingerprint number `rank`. At least one word follows them, so eight bytes can be read.
    fn lower(&self, bytes: &[u8], rank: u64) -> u64 {
        let bit = usize::try_from(rank).unwrap_or(0) * self.bits;
        read_word(bytes, header::LEN + bit / 8) >> (bit % 8) & ((1 << self.bits) - 1)
    }
}

fn read_word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
