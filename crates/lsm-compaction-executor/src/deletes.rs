//! Range tombstones on their way through a job: which of them stay, and which output takes which part.

use lsm_types::{Cut, KeyOrder, RangeTombstone, Result, SeqNo, Stretch, TombstoneIndex, join_tombstones};

use crate::OutsideContainer;

/// Range tombstones that a job has to write, handed over part by part from left to right.
///
/// The parts that the outputs take follow each other without a gap: what the first one does not reach down to and the
/// last one not up to is theirs as well. So over each key the same deletes lie as before.
#[derive(Debug)]
pub struct Deletes {
    order: KeyOrder,
    /// By start; those before `next` have begun.
    pieces: Vec<RangeTombstone>,
    next: usize,
    /// Begun and not at their end.
    open: Vec<RangeTombstone>,
    floor: Option<SeqNo>,
    altered: Option<SeqNo>,
}

impl Deletes {
    /// Nothing to write.
    pub fn none(order: &KeyOrder) -> Self {
        Self {
            order: order.clone(),
            pieces: Vec::new(),
            next: 0,
            open: Vec::new(),
            floor: None,
            altered: None,
        }
    }

    /// What stays of `inputs` when everything they hide inside the job goes.
    ///
    /// * `watermark`: deletes at or above it stay as they are. Of those below, the newest over a key stays, and only
    ///   where a container of `outside` may hold an entry it hides.
    pub fn collect(
        inputs: Vec<RangeTombstone>,
        watermark: SeqNo,
        outside: impl FnOnce() -> Vec<OutsideContainer>,
        order: &KeyOrder,
    ) -> Self {
        if inputs.is_empty() {
            return Self::none(order);
        }
        let (below, mut kept): (Vec<_>, Vec<_>) =
            inputs.into_iter().partition(|tombstone| tombstone.seqno < watermark);
        let (mut floor, mut originals) = (None, Vec::new());
        if !below.is_empty() {
            let below = TombstoneIndex::new(below, order.clone());
            originals = join_tombstones(below.tombstones().to_vec(), order);
            let oldest = Oldest::new(outside(), order);
            for stretch in below.stretches() {
                let Some(newest) = below.newest_below(stretch, watermark) else { continue };
                let still_hides = oldest.keep(&below, stretch, newest, &mut kept);
                // Reads between the two numbers lose the older one, where that hid something.
                if still_hides && below.newest_below(stretch, newest).is_some() {
                    floor = Some(watermark.saturating_prev());
                }
            }
        }
        let pieces = join_tombstones(kept, order);
        let is_gone =
            |one: &&RangeTombstone| pieces.binary_search_by(|piece| piece.compare(one, order)).is_err();
        let altered = originals.iter().filter(is_gone).map(|one| one.seqno).max();
        Self { pieces, floor, altered, ..Self::none(order) }
    }

    /// Whether nothing is left to hand over.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.next == self.pieces.len()
    }

    /// The number up to which reads would now answer differently, as far as dropped deletes are concerned.
    pub fn floor(&self) -> Option<SeqNo> {
        self.floor
    }

    /// The highest number of a delete of which something is gone, though no read may miss it.
    pub fn altered(&self) -> Option<SeqNo> {
        self.altered
    }

    /// Hands over what lies left of `border` and was not handed over before.
    ///
    /// # Errors
    /// What `take` returns; nothing can be handed over after that.
    pub fn hand_over(
        &mut self,
        border: &Cut,
        mut take: impl FnMut(RangeTombstone) -> Result<()>,
    ) -> Result<()> {
        let order = &self.order;
        while let Some(piece) = self.pieces.get(self.next)
            && piece.start.compare(border, order).is_lt()
        {
            self.open.push(piece.clone());
            self.next += 1;
        }
        for piece in std::mem::take(&mut self.open) {
            if let Some(part) = piece.clip(&Cut::Start, border, order) {
                take(part)?;
            }
            self.open.extend(piece.clip(border, &Cut::End, order));
        }
        Ok(())
    }
}

/// The smallest number outside the job, by key.
struct Oldest {
    /// Each container as a tombstone that is the newer, the older its oldest entry.
    mirrored: TombstoneIndex,
    order: KeyOrder,
}

impl Oldest {
    fn new(outside: Vec<OutsideContainer>, order: &KeyOrder) -> Self {
        let mirrored = outside.into_iter().map(|container| RangeTombstone {
            start: container.start,
            end: container.end,
            seqno: mirror(container.min_seqno),
        });
        let valid = mirrored.filter(|container| container.is_valid(order)).collect();
        Self { mirrored: TombstoneIndex::new(valid, order.clone()), order: order.clone() }
    }

    /// Keeps the parts of a stretch of `index` in which a container may hold entries numbered below `seqno`; says
    /// whether there are any.
    fn keep(
        &self,
        index: &TombstoneIndex,
        stretch: Stretch,
        seqno: SeqNo,
        kept: &mut Vec<RangeTombstone>,
    ) -> bool {
        let (start, end) = index.around(stretch);
        let whole = RangeTombstone { start: start.clone(), end: end.clone(), seqno };
        let before = kept.len();
        for outside in self.mirrored.stretches_from(start) {
            let (from, to) = self.mirrored.around(outside);
            if from.compare(end, &self.order).is_ge() {
                break;
            }
            let oldest = self.mirrored.newest_below(outside, SeqNo::LATEST).map(mirror);
            if oldest.is_some_and(|oldest| oldest < seqno) {
                kept.extend(whole.clip(from, to, &self.order));
            }
        }
        kept.len() > before
    }
}

/// Smaller numbers become larger ones, and back; never one above every write.
fn mirror(seqno: SeqNo) -> SeqNo {
    let raw = SeqNo::MAX_WRITE.get().saturating_sub(seqno.get());
    SeqNo::new(raw).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(raw: u64) -> SeqNo {
        SeqNo::new(raw).unwrap()
    }

    /// `a` to `p`.
    fn key(number: u8) -> [u8; 1] {
        [b'a' + number % 16]
    }

    fn cut(number: u8) -> Cut {
        match number % 34 {
            0 => Cut::Start,
            33 => Cut::End,
            inner if inner % 2 == 1 => Cut::Before(key(inner / 2).as_slice().into()),
            inner => Cut::After(key(inner / 2 - 1).as_slice().into()),
        }
    }

    fn span(a: u8, b: u8, order: &KeyOrder) -> Option<(Cut, Cut)> {
        let (a, b) = (cut(a), cut(b));
        match a.compare(&b, order) {
            std::cmp::Ordering::Less => Some((a, b)),
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => Some((b, a)),
        }
    }

    fn numbers(all: &[RangeTombstone], key: &[u8], order: &KeyOrder) -> Vec<SeqNo> {
        let mut over: Vec<SeqNo> =
            all.iter().filter(|one| one.covers(key, order)).map(|one| one.seqno).collect();
        over.sort_unstable();
        over.dedup();
        over
    }

    proptest! {
        /// Proves E-36, C-97, I-3.
        /// Fault: engine W-14.
        #[test]
        fn pieces_together_are_the_original(
            spans in prop::collection::vec((any::<u8>(), any::<u8>(), 0_u64..8), 1..20),
            mut borders in prop::collection::vec(any::<u8>(), 0..8),
        ) {
            let order = KeyOrder::bytewise();
            let inputs: Vec<RangeTombstone> = spans
                .into_iter()
                .filter_map(|(a, b, raw)| {
                    let (start, end) = span(a, b, &order)?;
                    Some(RangeTombstone { start, end, seqno: at(raw) })
                })
                .collect();
            let mut deletes = Deletes::collect(inputs.clone(), SeqNo::ZERO, Vec::new, &order);
            borders.sort_unstable_by(|a, b| cut(*a).compare(&cut(*b), &order));
            let (mut all, mut from) = (Vec::new(), Cut::Start);
            for border in borders.into_iter().map(cut).chain([Cut::End]) {
                let mut part = Vec::new();
                deletes.hand_over(&border, |piece| { part.push(piece); Ok(()) }).unwrap();
                for piece in &part {
                    prop_assert!(piece.is_valid(&order));
                    prop_assert!(piece.start.compare(&from, &order).is_ge());
                    prop_assert!(piece.end.compare(&border, &order).is_le());
                }
                all.extend(part);
                from = border;
            }
            prop_assert!(deletes.is_empty());
            prop_assert_eq!(join_tombstones(all, &order), join_tombstones(inputs, &order));
        }

        /// Proves C-99, I-5.
        #[test]
        fn what_is_dropped_hides_nothing_that_stays(
            spans in prop::collection::vec((any::<u8>(), any::<u8>(), 0_u64..12), 1..12),
            outside in prop::collection::vec((any::<u8>(), any::<u8>(), 0_u64..12), 0..6),
            watermark in 0_u64..14,
        ) {
            let (order, watermark) = (KeyOrder::bytewise(), at(watermark));
            let inputs: Vec<RangeTombstone> = spans
                .into_iter()
                .filter_map(|(a, b, raw)| {
                    let (start, end) = span(a, b, &order)?;
                    Some(RangeTombstone { start, end, seqno: at(raw) })
                })
                .collect();
            let outside: Vec<OutsideContainer> = outside
                .into_iter()
                .filter_map(|(a, b, raw)| {
                    let (start, end) = span(a, b, &order)?;
                    Some(OutsideContainer { start, end, min_seqno: at(raw), max_seqno: at(20) })
                })
                .collect();
            let deletes = Deletes::collect(inputs.clone(), watermark, || outside.clone(), &order);
            for number in 0..16 {
                let key = key(number);
                let (had, has) = (numbers(&inputs, &key, &order), numbers(&deletes.pieces, &key, &order));
                let around = outside.iter().filter(|container| {
                    container.start.is_left_of(&key, &order) && !container.end.is_left_of(&key, &order)
                });
                let oldest = around.map(|container| container.min_seqno).min();
                let newest = had.iter().copied().filter(|seqno| *seqno < watermark).max();
                let mut expected: Vec<SeqNo> =
                    had.iter().copied().filter(|seqno| *seqno >= watermark).collect();
                expected.extend(newest.filter(|newest| oldest.is_some_and(|oldest| oldest < *newest)));
                expected.sort_unstable();
                prop_assert_eq!(&has, &expected, "{:?}", key);
                let lost = had.iter().any(|seqno| !has.contains(seqno) && newest > Some(*seqno));
                if lost && oldest < newest && oldest.is_some() {
                    prop_assert_eq!(deletes.floor(), Some(watermark.saturating_prev()));
                }
                let gone = had.iter().filter(|seqno| !has.contains(seqno)).max();
                prop_assert!(gone <= deletes.altered().as_ref(), "what is gone over a key was noted");
            }
        }
    }
}
