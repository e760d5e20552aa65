//! The sparse contents of a file.

use std::collections::BTreeMap;

/// Bytes of a page.
pub(super) const PAGE_LEN: u64 = PAGE as u64;

const PAGE: usize = 4 << 10;

/// The sparse contents of a file: a page that is absent reads as zeros.
///
/// Bytes past `len` within a present page are always zero, so growing the length shows nothing old.
#[derive(Default)]
pub(super) struct Pages {
    len: u64,
    pages: BTreeMap<u64, Box<[u8]>>,
}

/// The part of a range that lies in one page.
struct Piece {
    page: u64,
    /// Position within the page, and within the range.
    at: usize,
    from: usize,
    len: usize,
}

/// Cuts the `len` bytes from `offset` at page borders.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = Piece> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let left = len.checked_sub(from).filter(|&left| left > 0)?;
        let position = offset + from as u64;
        // A remainder of the page length fits a usize.
        let at = (position % PAGE_LEN) as usize;
        let piece = Piece { page: position / PAGE_LEN, at, from, len: left.min(PAGE - at) };
        from += piece.len;
        Some(piece)
    })
}

impl Pages {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Pages that occupy space.
    pub(super) fn page_count(&self) -> u64 {
        self.pages.len() as u64
    }

    /// Copies from `offset` until `out` is full or the file ends; returns the bytes copied.
    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> usize {
        let there = self.len.saturating_sub(offset);
        let len = usize::try_from(there).map_or(out.len(), |there| there.min(out.len()));
        for piece in pieces(offset, len) {
            let Some(target) = out.get_mut(piece.from..piece.from + piece.len) else { break };
            match self.pages.get(&piece.page).and_then(|page| page.get(piece.at..piece.at + piece.len)) {
                Some(source) => target.copy_from_slice(source),
                None => target.fill(0),
            }
        }
        len
    }

    /// Writes as many of `bytes` as `take_page` grants pages for; returns how many.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8], mut take_page: impl FnMut() -> bool) -> usize {
        let mut written = 0;
        for piece in pieces(offset, bytes.len()) {
            let Some(source) = bytes.get(piece.from..piece.from + piece.len) else { break };
            if !self.pages.contains_key(&piece.page) && !take_page() {
                break;
            }
            let page = self.pages.entry(piece.page).or_insert_with(empty_page);
            let Some(target) = page.get_mut(piece.at..piece.at + piece.len) else { break };
            target.copy_from_slice(source);
            written += piece.len;
        }
        if written > 0 {
            self.len = self.len.max(offset + written as u64);
        }
        written
    }

    /// Sets the length, dropping the pages past it; returns how many were dropped.
    pub(super) fn set_len(&mut self, len: u64) -> u64 {
        if len < self.len {
            self.zero(len, self.len.next_multiple_of(PAGE_LEN));
        }
        self.len = len;
        let dropped = self.pages.split_off(&len.div_ceil(PAGE_LEN));
        dropped.len() as u64
    }

    /// Pages that the range needs and does not have.
    pub(super) fn missing(&self, offset: u64, end: u64) -> u64 {
        let pages = offset / PAGE_LEN..end.div_ceil(PAGE_LEN);
        (pages.end - pages.start) - self.pages.range(pages).count() as u64
    }

    /// Gives the range its pages.
    pub(super) fn reserve(&mut self, offset: u64, end: u64) {
        for page in offset / PAGE_LEN..end.div_ceil(PAGE_LEN) {
            self.pages.entry(page).or_insert_with(empty_page);
        }
    }

    /// Zeroes the range and drops the pages that lie wholly inside; returns how many.
    pub(super) fn punch(&mut self, offset: u64, end: u64) -> u64 {
        let inside = offset.div_ceil(PAGE_LEN)..end / PAGE_LEN;
        if inside.is_empty() {
            self.zero(offset, end);
            return 0;
        }
        self.zero(offset, inside.start * PAGE_LEN);
        self.zero(inside.end * PAGE_LEN, end);
        let dropped: Vec<u64> = self.pages.range(inside).map(|(&page, _)| page).collect();
        for page in &dropped {
            self.pages.remove(page);
        }
        dropped.len() as u64
    }

    /// Zeroes what the pages of the range, a few at most, hold.
    fn zero(&mut self, offset: u64, end: u64) {
        for (&number, page) in self.pages.range_mut(offset / PAGE_LEN..end.div_ceil(PAGE_LEN)) {
            let start = number * PAGE_LEN;
            let within = |position: u64| position.saturating_sub(start).min(PAGE_LEN) as usize;
            if let Some(part) = page.get_mut(within(offset)..within(end)) {
                part.fill(0);
            }
        }
    }
}

fn empty_page() -> Box<[u8]> {
    vec![0; PAGE].into_boxed_slice()
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
        Read(u16, u16),
    }

    fn op() -> impl Strategy<Value = Op> {
        let at = 0..20_000_u16;
        prop_oneof![
            (at.clone(), proptest::collection::vec(1_u8.., 0..9_000)).prop_map(|(a, b)| Op::Write(a, b)),
            at.clone().prop_map(Op::SetLen),
            (at.clone(), 0..12_000_u16).prop_map(|(a, n)| Op::Punch(a, n)),
            (at, 0..12_000_u16).prop_map(|(a, n)| Op::Read(a, n)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// A file is a vector of bytes, and counts its pages right.
        #[test]
        fn pages_behave_like_a_vector(ops in proptest::collection::vec(op(), 1..20)) {
            let (mut pages, mut model) = (Pages::default(), Vec::<u8>::new());
            let mut taken = 0;
            for op in ops {
                match op {
                    Op::Write(at, bytes) => {
                        let written = pages.write(u64::from(at), &bytes, || { taken += 1; true });
                        prop_assert_eq!(written, bytes.len());
                        let end = usize::from(at) + bytes.len();
                        if !bytes.is_empty() {
                            model.resize(model.len().max(end), 0);
                            model[usize::from(at)..end].copy_from_slice(&bytes);
                        }
                    }
                    Op::SetLen(len) => {
                        taken -= pages.set_len(u64::from(len));
                        model.resize(usize::from(len), 0);
                    }
                    Op::Punch(at, len) => {
                        let (at, end) = (usize::from(at), usize::from(at) + usize::from(len));
                        taken -= pages.punch(at as u64, end as u64);
                        let (lower, upper) = (at.min(model.len()), end.min(model.len()));
                        model[lower..upper].fill(0);
                    }
                    Op::Read(at, len) => {
                        let mut out = vec![7; usize::from(len)];
                        let count = pages.read(u64::from(at), &mut out);
                        let there = model.get(usize::from(at)..).unwrap_or_default();
                        prop_assert_eq!(&out[..count], &there[..there.len().min(out.len())]);
                    }
                }
                prop_assert_eq!(pages.len(), model.len() as u64);
                prop_assert_eq!(pages.page_count(), taken);
            }
            let mut all = vec![1; model.len()];
            pages.read(0, &mut all);
            prop_assert_eq!(all, model);
        }
    }
}
