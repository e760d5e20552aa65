//! The changes of one window: the lowest numbers of what a pass offers, as many as fit.

use lsm_types::{EntryRef, KeyOrder, Kind, SeqNo};

/// Changes in memory, their bytes in one piece.
#[derive(Debug)]
pub(super) struct Pool {
    bytes: Vec<u8>,
    items: Vec<Item>,
    /// Only smaller numbers are taken. Falls when there is too much.
    end: SeqNo,
    budget: usize,
    /// At this weight there is too much: the budget, or more where one number takes more than that.
    limit: usize,
}

#[derive(Clone, Copy, Debug)]
struct Item {
    seqno: SeqNo,
    start: usize,
    key_len: u32,
    value_len: u32,
    kind: Kind,
}

impl Pool {
    pub(super) fn new(budget: usize) -> Self {
        Self { bytes: Vec::new(), items: Vec::new(), end: SeqNo::ZERO, budget, limit: budget }
    }

    /// Empties the pool and takes numbers below `end` from now on.
    pub(super) fn start(&mut self, end: SeqNo) {
        self.bytes.clear();
        self.items.clear();
        self.end = end;
        self.limit = self.budget;
    }

    /// All numbers below that were offered are here.
    #[inline]
    pub(super) fn end(&self) -> SeqNo {
        self.end
    }

    /// Takes an entry if its number is low enough.
    #[inline]
    pub(super) fn offer(&mut self, entry: EntryRef<'_>) {
        if entry.seqno >= self.end {
            return;
        }
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.items.push(Item {
            seqno: entry.seqno,
            start: self.bytes.len(),
            key_len: len(entry.key),
            value_len: len(entry.value),
            kind: entry.kind,
        });
        self.bytes.extend_from_slice(entry.key);
        self.bytes.extend_from_slice(entry.value);
        if self.weight() > self.limit {
            self.shrink();
        }
    }

    fn weight(&self) -> usize {
        self.bytes.len() + self.items.len() * size_of::<Item>()
    }

    /// Gives up the higher half, but keeps all changes of a number together.
    #[cold]
    fn shrink(&mut self) {
        let middle = self.items.len() / 2;
        let (_, middle, _) = self.items.select_nth_unstable_by_key(middle, |item| item.seqno);
        let middle = middle.seqno;
        let lowest = self.items.iter().map(|item| item.seqno).min();
        let above_lowest =
            || self.items.iter().map(|item| item.seqno).filter(|seqno| Some(*seqno) > lowest).min();
        let end = if Some(middle) > lowest { Some(middle) } else { above_lowest() };
        if let Some(end) = end {
            self.end = end;
            self.items.retain(|item| item.seqno < end);
            let mut bytes = Vec::new();
            for item in &mut self.items {
                let len = item.key_len as usize + item.value_len as usize;
                let kept = self.bytes.get(item.start..item.start + len).unwrap_or_default();
                item.start = bytes.len();
                bytes.extend_from_slice(kept);
            }
            self.bytes = bytes;
        }
        self.limit = self.budget.max(self.weight().saturating_mul(2));
    }

    /// Sorts by number, then by key, and drops copies.
    pub(super) fn sort(&mut self, order: &KeyOrder) {
        let Self { bytes, items, .. } = self;
        items.sort_unstable_by(|a, b| {
            a.seqno.cmp(&b.seqno).then_with(|| order.compare(a.key(bytes), b.key(bytes)))
        });
        items.dedup_by(|a, b| a.seqno == b.seqno && a.key(bytes) == b.key(bytes));
    }

    /// Number of change `at`; `None` past the last one.
    #[inline]
    pub(super) fn seqno(&self, at: usize) -> Option<SeqNo> {
        self.items.get(at).map(|item| item.seqno)
    }

    /// Change `at`.
    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<EntryRef<'_>> {
        let item = self.items.get(at)?;
        let (key, value) = (item.key(&self.bytes), item.value(&self.bytes));
        Some(EntryRef { key, seqno: item.seqno, kind: item.kind, value })
    }
}

impl Item {
    #[inline]
    fn key<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        bytes.get(self.start..self.start + self.key_len as usize).unwrap_or_default()
    }

    #[inline]
    fn value<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        let start = self.start + self.key_len as usize;
        bytes.get(start..start + self.value_len as usize).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(budget: usize, numbers: impl IntoIterator<Item = u64>) -> Pool {
        let mut pool = Pool::new(budget);
        pool.start(SeqNo::LATEST);
        for (at, number) in numbers.into_iter().enumerate() {
            let (key, value) = (at.to_be_bytes(), [7; 10]);
            let seqno = SeqNo::new(number).unwrap();
            pool.offer(EntryRef { key: &key, seqno, kind: Kind::Put, value: &value });
            pool.offer(EntryRef { key: &key, seqno, kind: Kind::Put, value: &value });
        }
        pool.sort(&KeyOrder::bytewise());
        pool
    }

    fn numbers(pool: &Pool) -> Vec<u64> {
        (0..).map_while(|at| pool.seqno(at)).map(SeqNo::get).collect()
    }

    #[test]
    fn the_lowest_numbers_stay_and_none_is_torn() {
        let spread = |n: u64| (n * 7919) % 1000;
        let pool = fill(20_000, (0..1000).map(spread));
        let end = pool.end().get();
        assert!((100..1000).contains(&end) && pool.weight() < 20_000, "up to {end}");
        assert_eq!(numbers(&pool), (0..end).collect::<Vec<_>>());
        let entry = pool.get(3).unwrap();
        assert_eq!((entry.seqno, entry.value), (SeqNo::new(3).unwrap(), &[7; 10][..]));
        // One number that takes more than the budget stays whole.
        let pool = fill(1000, (0..500).map(|n| if n % 5 == 4 { 9 } else { 8 }));
        assert_eq!((numbers(&pool), pool.end().get()), (vec![8; 400], 9));
        let pool = fill(1000, [5; 300]);
        assert_eq!((numbers(&pool), pool.end()), (vec![5; 300], SeqNo::LATEST));
    }
}
