//! Sorted rows in memory and a cursor over them, lazy or failing on demand.
use std::{cell::Cell, cmp::Ordering, fmt, rc::Rc, sync::Arc};

use lsm_testkit::comparators;
pub(crate) use lsm_testkit::operators::Join;
use lsm_types::{Cut, EntryCursor, EntryRef, ErrorKind, Fault, KeyOrder, Kind, MergeOperator, Result, SeqNo};

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) key: Vec<u8>,
    pub(crate) seqno: SeqNo,
    pub(crate) kind: Kind,
    pub(crate) value: Vec<u8>,
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Put => "put",
            Kind::Tombstone => "del",
            Kind::WeakTombstone => "weak",
            Kind::MergeOperand => "op",
            _ => "ind",
        };
        write!(f, "{}:{kind}{:?}={}", show(&self.key), self.seqno, show(&self.value))
    }
}

fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Row {
    pub(crate) fn as_entry(&self) -> EntryRef<'_> {
        EntryRef { key: &self.key, seqno: self.seqno, kind: self.kind, value: &self.value }
    }
}

impl From<EntryRef<'_>> for Row {
    fn from(entry: EntryRef<'_>) -> Self {
        Self { key: entry.key.into(), seqno: entry.seqno, kind: entry.kind, value: entry.value.into() }
    }
}

pub(crate) fn at(raw: u64) -> SeqNo {
    SeqNo::new(raw).expect("a legal number")
}

/// Reads `a:put@1 a:weak@2 ...`; the value of a put or operand is its number.
pub(crate) fn rows(text: &str) -> Vec<Row> {
    text.split_whitespace()
        .map(|word| {
            let (key, rest) = word.split_once(':').expect("key:kind@number");
            let (kind, number) = rest.split_once('@').expect("kind@number");
            let kind = match kind {
                "put" => Kind::Put,
                "del" => Kind::Tombstone,
                "weak" => Kind::WeakTombstone,
                "op" => Kind::MergeOperand,
                "ind" => Kind::Indirection,
                other => panic!("no such kind: {other}"),
            };
            let value = if kind.is_tombstone() { Vec::new() } else { number.into() };
            Row { key: key.into(), seqno: at(number.parse().expect("a number")), kind, value }
        })
        .collect()
}

/// Byte order and all others.
pub(crate) fn orders() -> [KeyOrder; 6] {
    comparators::all().map(KeyOrder::new)
}

/// Internal order.
pub(crate) fn compare(order: &KeyOrder, a: &Row, b: &Row) -> Ordering {
    order.compare(&a.key, &b.key).then(b.seqno.cmp(&a.seqno))
}

#[derive(Debug)]
pub(crate) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the source is broken")
    }
}

impl std::error::Error for Broken {}

impl Fault for Broken {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Io
    }
}

/// What a cursor was asked to do, shared with the test.
#[derive(Clone, Default)]
pub(crate) struct Meter {
    pub(crate) steps: Rc<Cell<usize>>,
    pub(crate) seeks: Rc<Cell<usize>>,
    pub(crate) settled: Rc<Cell<usize>>,
    /// Calls until one fails.
    pub(crate) fails_in: Rc<Cell<Option<u32>>>,
}

impl Meter {
    fn count(&self, counter: &Cell<usize>) -> Result<()> {
        counter.set(counter.get() + 1);
        match self.fails_in.get() {
            Some(0) => {
                self.fails_in.set(None);
                Err(Broken.into())
            }
            left => {
                self.fails_in.set(left.map(|left| left - 1));
                Ok(())
            }
        }
    }
}

/// Rows per block of a lazy cursor.
const BLOCK_ROWS: usize = 3;

/// A cursor over sorted rows.
pub(crate) struct Memory {
    order: KeyOrder,
    rows: Arc<Vec<Row>>,
    at: Option<usize>,
    lazy: bool,
    jumps: bool,
    bound: Option<Vec<u8>>,
    pub(crate) meter: Meter,
}

impl Memory {
    pub(crate) fn new(order: &KeyOrder, mut rows: Vec<Row>) -> Self {
        rows.sort_by(|a, b| compare(order, a, b));
        let (order, rows) = (order.clone(), Arc::new(rows));
        Self { order, rows, at: None, lazy: false, jumps: true, bound: None, meter: Meter::default() }
    }

    /// Puts off reading a block until settled.
    pub(crate) fn lazy(mut self, lazy: bool) -> Self {
        self.lazy = lazy;
        self
    }

    /// Whether it passes what it may pass over.
    pub(crate) fn jumps(mut self, jumps: bool) -> Self {
        self.jumps = jumps;
        self
    }

    fn land(&mut self, target: Option<usize>, bound: Option<&[u8]>) {
        self.at = target.filter(|&at| at < self.rows.len());
        self.bound = if self.lazy { bound.map(<[u8]>::to_vec) } else { None };
    }

    fn jump(&mut self, target: impl FnOnce(&Self) -> Option<usize>, bound: Option<&[u8]>) -> Result<()> {
        (self.at, self.bound) = (None, None);
        self.meter.count(&self.meter.seeks)?;
        let target = target(self);
        self.land(target, bound);
        Ok(())
    }

    fn step(&mut self, target: impl FnOnce(usize) -> Option<usize>) -> Result<()> {
        assert!(self.bound.is_none(), "stepped before it was settled");
        let Some(from) = self.at.take() else { return Ok(()) };
        self.meter.count(&self.meter.steps)?;
        let target = target(from);
        let leaves_block = target.is_some_and(|to| to / BLOCK_ROWS != from / BLOCK_ROWS);
        let near = self.rows[from].key.clone();
        self.land(target, leaves_block.then_some(near.as_slice()));
        Ok(())
    }

    /// Rows before the point `(key, before)`.
    fn point(&self, key: &[u8], before: SeqNo) -> usize {
        self.rows.partition_point(|row| match self.order.compare(&row.key, key) {
            Ordering::Less => true,
            Ordering::Equal => before <= row.seqno,
            Ordering::Greater => false,
        })
    }
}

impl EntryCursor for Memory {
    fn seek_first(&mut self) -> Result<()> {
        let first = self.rows.first().map(|row| row.key.clone());
        self.jump(|_| Some(0), first.as_deref())
    }

    fn seek_last(&mut self) -> Result<()> {
        let last = self.rows.last().map(|row| row.key.clone());
        self.jump(|this| this.rows.len().checked_sub(1), last.as_deref())
    }

    fn seek(&mut self, key: &[u8], before: SeqNo) -> Result<()> {
        self.jump(|this| Some(this.point(key, before)), Some(key))
    }

    fn seek_back(&mut self, key: &[u8], before: SeqNo) -> Result<()> {
        self.jump(|this| this.point(key, before).checked_sub(1), Some(key))
    }

    fn next(&mut self) -> Result<()> {
        self.step(|at| Some(at + 1))
    }

    fn prev(&mut self) -> Result<()> {
        self.step(|at| at.checked_sub(1))
    }

    fn entry(&self) -> Option<EntryRef<'_>> {
        if self.bound.is_some() { None } else { self.at.map(|at| self.rows[at].as_entry()) }
    }

    fn is_newest(&self) -> bool {
        let before = self.at.and_then(|at| at.checked_sub(1)).filter(|_| self.bound.is_none());
        before.is_some_and(|before| self.rows[before].key != self.rows[before + 1].key)
    }

    fn bound(&self) -> Option<&[u8]> {
        self.bound.as_deref()
    }

    fn settle(&mut self) -> Result<()> {
        if self.bound.take().is_some() {
            let at = self.at.take();
            self.meter.count(&self.meter.settled)?;
            self.at = at;
        }
        Ok(())
    }

    fn skip(&mut self, to: &Cut, than: SeqNo) -> Result<bool> {
        let Some(from) = self.at.filter(|_| self.jumps) else { return Ok(false) };
        let left = |row: &Row| row.seqno < than && !to.is_left_of(&row.key, &self.order);
        let count = self.rows[from..].iter().take_while(|row| left(row)).count();
        self.leap(from, Some(from + count))
    }

    fn skip_back(&mut self, to: &Cut, than: SeqNo) -> Result<bool> {
        let Some(from) = self.at.filter(|_| self.jumps) else { return Ok(false) };
        let right = |row: &Row| row.seqno < than && to.is_left_of(&row.key, &self.order);
        let count = self.rows[..=from].iter().rev().take_while(|row| right(row)).count();
        self.leap(from, (from + 1).checked_sub(count + 1))
    }
}

impl Memory {
    /// Lands on `target`; says whether that is not `from`.
    fn leap(&mut self, from: usize, target: Option<usize>) -> Result<bool> {
        if target == Some(from) {
            return Ok(false);
        }
        self.jump(|_| target, None)?;
        Ok(true)
    }
}

/// No operator, one that composes, and one that does not.
pub(crate) fn operators() -> [Option<Arc<dyn MergeOperator>>; 3] {
    [None, Some(Arc::new(Join::new(true).refusing(b"13"))), Some(Arc::new(Join::new(false).refusing(b"13")))]
}
