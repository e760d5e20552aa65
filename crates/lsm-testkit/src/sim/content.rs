//! Contents of a file, sector by sector.
#![expect(
    clippy::cast_possible_truncation,
    reason = "positions within one sector, and within the bytes of one write, fit a usize"
)]

use std::collections::BTreeMap;

use bytes::Bytes;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::dice::Dice;

/// The bytes of one sector, shared by every state of the file that has them.
#[derive(Clone, Debug)]
pub(super) struct Sector {
    bytes: Bytes,
    /// 0 for zeros alone, so that a sector of zeros and an absent one weigh the same.
    hash: u64,
}

impl Sector {
    pub(super) fn new(bytes: Bytes) -> Self {
        let zeros = bytes.iter().all(|&byte| byte == 0);
        let hash = if zeros { 0 } else { xxh3_64(&bytes).max(1) };
        Self { bytes, hash }
    }

    fn weight(&self, index: u64) -> u64 {
        if self.hash == 0 { 0 } else { xxh3_64_with_seed(&self.hash.to_le_bytes(), index) }
    }
}

/// What one operation did to a file. Sectors are whole values as a reader saw them afterwards, not differences, so any
/// of them can survive without the others.
#[derive(Clone, Debug, Default)]
pub(super) struct DataEffect {
    /// Sectors with their new value; `None` makes zeros.
    pub(super) sectors: Vec<(u64, Option<Sector>)>,
    /// All sectors from this one on are released. Goes with the length.
    pub(super) cut: Option<u64>,
    /// The new length.
    pub(super) len: Option<u64>,
}

/// Which part of an operation on a file survives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) sectors: Pick,
    pub(super) len: LenPart,
}

/// Which sectors of an operation survive.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pick {
    All,
    None,
    First(usize),
    AllBut(usize),
    EverySecond,
    /// Each by the toss of a coin.
    Random(u64),
}

impl Pick {
    /// Which of so many sectors survive.
    pub(super) fn survivors(self, count: usize) -> Vec<bool> {
        let mut coins = Dice::new(if let Self::Random(seed) = self { seed } else { 0 });
        let survives = |position: usize| match self {
            Self::All => true,
            Self::None => false,
            Self::First(count) => position < count,
            Self::AllBut(missing) => position != missing,
            Self::EverySecond => position.is_multiple_of(2),
            Self::Random(_) => coins.coin(),
        };
        (0..count).map(survives).collect()
    }
}

/// Whether an operation's length survives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LenPart {
    Yes,
    No,
    /// As far as the surviving first sectors reach.
    UpToSectors,
}

impl Part {
    pub(super) const ALL: Self = Self { sectors: Pick::All, len: LenPart::Yes };
}

/// Contents of a file: a sector that is absent reads as zeros.
#[derive(Clone, Debug)]
pub(super) struct Content {
    sector_len: u64,
    len: u64,
    sectors: BTreeMap<u64, Sector>,
    /// Sum of the weights of all sectors: a hash that changes with each of them.
    sum: u64,
}

impl Content {
    pub(super) fn new(sector_len: u64) -> Self {
        Self { sector_len, len: 0, sectors: BTreeMap::new(), sum: 0 }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Sectors that occupy space.
    pub(super) fn sector_count(&self) -> u64 {
        self.sectors.len() as u64
    }

    pub(super) fn has_sector(&self, index: u64) -> bool {
        self.sectors.contains_key(&index)
    }

    pub(super) fn hash(&self) -> u64 {
        xxh3_64_with_seed(&self.sum.to_le_bytes(), self.len)
    }

    /// Copies from `offset` until `out` is full or the file ends; returns the bytes copied.
    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> usize {
        let there = self.len.saturating_sub(offset);
        let len = usize::try_from(there).map_or(out.len(), |there| there.min(out.len()));
        let Some(mut rest) = out.get_mut(..len) else { return 0 };
        let mut position = offset;
        while !rest.is_empty() {
            let at = (position % self.sector_len) as usize;
            let count = (self.sector_len as usize - at).min(rest.len());
            let (piece, after) = rest.split_at_mut(count);
            match self.sectors.get(&(position / self.sector_len)).and_then(|s| s.bytes.get(at..at + count)) {
                Some(bytes) => piece.copy_from_slice(bytes),
                None => piece.fill(0),
            }
            position += count as u64;
            rest = after;
        }
        len
    }

    /// What writing `bytes` at `offset` does.
    pub(super) fn write_effect(&self, offset: u64, bytes: &[u8]) -> DataEffect {
        let end = offset + bytes.len() as u64;
        let first = offset / self.sector_len;
        let start = first * self.sector_len;
        let sector_len = self.sector_len as usize;
        let mut image = vec![0; (end.next_multiple_of(self.sector_len) - start) as usize];
        // Only the first and the last sector keep bytes of before.
        let last = image.len().saturating_sub(sector_len);
        self.read(start, image.get_mut(..sector_len).unwrap_or_default());
        self.read(start + last as u64, image.get_mut(last..).unwrap_or_default());
        let within = (offset - start) as usize;
        if let Some(target) = image.get_mut(within..within + bytes.len()) {
            target.copy_from_slice(bytes);
        }
        let image = Bytes::from(image);
        let sector = |(index, at): (u64, usize)| (index, Some(Sector::new(image.slice(at..at + sector_len))));
        let sectors = (first..).zip((0..image.len()).step_by(sector_len)).map(sector).collect();
        DataEffect { sectors, cut: None, len: (end > self.len).then_some(end) }
    }

    /// What setting the length does.
    pub(super) fn set_len_effect(&self, len: u64) -> DataEffect {
        if len >= self.len {
            return DataEffect { len: Some(len), ..DataEffect::default() };
        }
        let tail = self.zeroed(len, len.next_multiple_of(self.sector_len));
        DataEffect { sectors: tail, cut: Some(len.div_ceil(self.sector_len)), len: Some(len) }
    }

    /// What punching a hole does.
    pub(super) fn punch_effect(&self, offset: u64, end: u64) -> DataEffect {
        DataEffect { sectors: self.zeroed(offset, end.min(self.len)), cut: None, len: None }
    }

    /// The sectors of the range as they are once the range is zero.
    fn zeroed(&self, offset: u64, end: u64) -> Vec<(u64, Option<Sector>)> {
        if offset >= end {
            return Vec::new();
        }
        let range = offset / self.sector_len..end.div_ceil(self.sector_len);
        let zero = |(&index, sector): (&u64, &Sector)| {
            let start = index * self.sector_len;
            let within = |position: u64| position.saturating_sub(start).min(self.sector_len) as usize;
            if within(offset) == 0 && within(end) == self.sector_len as usize {
                return (index, None);
            }
            let mut bytes = sector.bytes.to_vec();
            bytes.get_mut(within(offset)..within(end)).unwrap_or_default().fill(0);
            (index, Some(Sector::new(Bytes::from(bytes))))
        };
        self.sectors.range(range).map(zero).collect()
    }

    /// Lets a part of an operation take effect.
    pub(super) fn apply(&mut self, effect: &DataEffect, part: Part) {
        if let (Some(cut), LenPart::Yes) = (effect.cut, part.len) {
            for (index, sector) in self.sectors.split_off(&cut) {
                self.sum = self.sum.wrapping_sub(sector.weight(index));
            }
        }
        for ((index, sector), survives) in
            effect.sectors.iter().zip(part.sectors.survivors(effect.sectors.len()))
        {
            if survives {
                self.put(*index, sector.clone());
            }
        }
        match (effect.len, part.len) {
            (None, _) | (_, LenPart::No) => {}
            (Some(len), LenPart::Yes) => self.len = len,
            (Some(len), LenPart::UpToSectors) => {
                let count = if let Pick::First(count) = part.sectors { count } else { effect.sectors.len() };
                let reached = count.checked_sub(1).and_then(|last| effect.sectors.get(last));
                let reached = reached.map_or(0, |(index, _)| (index + 1) * self.sector_len);
                self.len = self.len.max(reached.min(len));
            }
        }
    }

    fn put(&mut self, index: u64, sector: Option<Sector>) {
        let after = sector.as_ref().map_or(0, |sector| sector.weight(index));
        let before = match sector {
            Some(sector) => self.sectors.insert(index, sector),
            None => self.sectors.remove(&index),
        };
        let before = before.map_or(0, |sector| sector.weight(index));
        self.sum = self.sum.wrapping_add(after).wrapping_sub(before);
    }

    /// Lets those of `sectors` that hold nothing show what lay on the disk before.
    pub(super) fn expose(&mut self, sectors: impl IntoIterator<Item = u64>, pattern: u8) {
        let stale = Sector::new(Bytes::from(vec![pattern; self.sector_len as usize]));
        for index in sectors {
            if !self.has_sector(index) && index * self.sector_len < self.len {
                self.put(index, Some(stale.clone()));
            }
        }
    }

    /// Whether a sector lies, in part, past the length: a state that only the choice of what survives makes.
    pub(super) fn is_ragged(&self) -> bool {
        let tail = (self.len % self.sector_len) as usize;
        self.sectors.last_key_value().is_some_and(|(&index, sector)| {
            let start = index * self.sector_len;
            let past_tail = || sector.bytes.get(tail..).unwrap_or_default().iter().any(|&byte| byte != 0);
            start >= self.len || (self.len - start < self.sector_len && past_tail())
        })
    }

    /// Cuts off what lies past the length.
    pub(super) fn trim(&mut self) {
        let tail = self.zeroed(self.len, self.len.next_multiple_of(self.sector_len));
        let cut = Some(self.len.div_ceil(self.sector_len));
        self.apply(&DataEffect { sectors: tail, cut, len: None }, Part::ALL);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Op {
        Write(u16, Vec<u8>),
        SetLen(u16),
        Punch(u16, u16),
    }

    fn op() -> impl Strategy<Value = Op> {
        let at = 0..3_000_u16;
        prop_oneof![
            (at.clone(), proptest::collection::vec(any::<u8>(), 1..1_500)).prop_map(|(a, b)| Op::Write(a, b)),
            at.clone().prop_map(Op::SetLen),
            (at, 1..2_000_u16).prop_map(|(a, n)| Op::Punch(a, n)),
        ]
    }

    fn read_all(content: &Content) -> Vec<u8> {
        let mut bytes = vec![1; content.len() as usize];
        assert_eq!(content.read(0, &mut bytes), bytes.len());
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Contents are a vector of bytes, and equal contents have equal hashes however they came about.
        #[test]
        fn contents_behave_like_a_vector(ops in proptest::collection::vec(op(), 1..12)) {
            let (mut content, mut model) = (Content::new(512), Vec::<u8>::new());
            for op in ops {
                let effect = match op {
                    Op::Write(at, bytes) => {
                        let end = usize::from(at) + bytes.len();
                        model.resize(model.len().max(end), 0);
                        model[usize::from(at)..end].copy_from_slice(&bytes);
                        content.write_effect(u64::from(at), &bytes)
                    }
                    Op::SetLen(len) => {
                        model.resize(usize::from(len), 0);
                        content.set_len_effect(u64::from(len))
                    }
                    Op::Punch(at, len) => {
                        let end = usize::from(at) + usize::from(len);
                        let (lower, upper) = (usize::from(at).min(model.len()), end.min(model.len()));
                        model[lower..upper].fill(0);
                        content.punch_effect(u64::from(at), end as u64)
                    }
                };
                content.apply(&effect, Part::ALL);
                prop_assert!(!content.is_ragged());
                prop_assert_eq!(&read_all(&content), &model);
                let mut fresh = Content::new(512);
                let rewrite = fresh.write_effect(0, &model);
                fresh.apply(&rewrite, Part::ALL);
                prop_assert_eq!(fresh.hash(), content.hash());
            }
        }
    }

    #[test]
    fn a_length_that_falls_short_hides_what_lies_past_it() {
        let mut content = Content::new(512);
        let effect = content.write_effect(0, &[7; 2_000]);
        content.apply(&effect, Part { sectors: Pick::All, len: LenPart::No });
        assert!(content.is_ragged());
        content.trim();
        assert!(!content.is_ragged());
        assert_eq!((read_all(&content), content.hash()), (vec![], Content::new(512).hash()));

        content.apply(&effect, Part { sectors: Pick::First(2), len: LenPart::UpToSectors });
        assert_eq!(read_all(&content), [7; 1_024]);
        content.apply(&effect, Part { sectors: Pick::AllBut(1), len: LenPart::Yes });
        let expected = [vec![7; 2_000]].concat();
        assert_eq!(read_all(&content), expected, "a sector that does not survive keeps its old value");
    }
}
