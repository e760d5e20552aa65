//! A subject beside its model: carries out operations, knows what must be refused, and compares.

mod filtered;

use std::{collections::BTreeSet, ops::Bound, rc::Rc};

use lsm_types::{Error, ErrorKind, Result as Outcome, SeqNo};

use super::{
    axes::{Axes, Folding, Weak},
    model::{Model, is_empty},
    op::Op,
    snapshot::{Seen, Snapshot},
    subject::{Life, Subject, Write},
    tally::Tally,
};
use crate::{dice::Dice, operators::REFUSED};

pub(super) type Judged = Result<(), String>;

/// One life.
pub(super) struct World<'t, S: Subject> {
    axes: Axes,
    /// Gone only while it is opened again.
    subject: Option<S>,
    model: Model,
    /// The next number in order.
    next: u64,
    used: BTreeSet<u64>,
    /// No number below is used any more, because the tree was promised so before it was opened again, or because it
    /// would change a view that nobody holds.
    lowest: u64,
    /// The watermark since the tree was opened.
    promised: u64,
    /// Reads at or below lost what they saw, held or not.
    cut: SeqNo,
    /// Reads at or below, unless they are held, would see what a filter has changed.
    changed: SeqNo,
    floor: SeqNo,
    holds: Vec<(SeqNo, S::Hold)>,
    views: Vec<Kept<S>>,
    tally: &'t mut Tally,
    dice: Dice,
}

/// A view, and what it shows for ever.
struct Kept<S: Subject> {
    view: S::View,
    expected: Rc<Snapshot>,
    hold: Option<(SeqNo, S::Hold)>,
}

#[expect(clippy::needless_pass_by_value, reason = "given to `map_err`")]
fn told(error: Error) -> String {
    format!("{error} ({error:?})")
}

fn at(raw: u64) -> SeqNo {
    SeqNo::new(raw).unwrap_or(SeqNo::LATEST)
}

impl<'t, S: Subject> World<'t, S> {
    pub(super) fn new(axes: &Axes, dice: Dice, tally: &'t mut Tally) -> Result<Self, String> {
        Ok(Self {
            axes: *axes,
            subject: Some(S::create(axes).map_err(told)?),
            model: Model::new(axes),
            next: axes.first,
            used: BTreeSet::new(),
            lowest: axes.first,
            promised: 0,
            cut: SeqNo::ZERO,
            changed: SeqNo::ZERO,
            floor: SeqNo::ZERO,
            holds: Vec::new(),
            views: Vec::new(),
            tally,
            dice,
        })
    }

    fn subject(&self) -> Result<&S, String> {
        self.subject.as_ref().ok_or_else(|| "the tree is gone".to_owned())
    }

    /// Carries out one operation.
    pub(super) fn step(&mut self, op: Op) -> Judged {
        self.tally.operations += 1;
        self.tally.add("operation", op.label());
        let keys = self.axes.keys;
        match op {
            Op::Put { key, len, late } => {
                let seqno = self.number(late);
                self.write(Write::Put(keys.plain(key), value(seqno, len)), seqno)?;
            }
            Op::Delete { key, late } => {
                let seqno = self.number(late);
                self.write(Write::Delete(keys.plain(key)), seqno)?;
            }
            Op::Merge { key, late, refused } => {
                let seqno = self.number(late);
                let operand = if refused { REFUSED.to_vec() } else { self.operand(seqno.get()) };
                self.write(Write::Merge(keys.plain(key), operand), seqno)?;
            }
            Op::Weak { key, what, late } => self.weak(keys.weak(key), what, late)?,
            Op::Crossed { key, cut } => self.crossed(&keys.weak(key), cut)?,
            Op::Replay { back } => self.replay(back)?,
            Op::DeleteRange { from, to, kinds, late } => {
                let bound = |kind: u8, key: Vec<u8>| match kind % 3 {
                    0 => Bound::Included(key),
                    1 => Bound::Excluded(key),
                    _ => Bound::Unbounded,
                };
                let seqno = self.number(late);
                let (lower, upper) = (bound(kinds, keys.key(from)), bound(kinds / 3, keys.key(to)));
                self.write(Write::DeleteRange(lower, upper), seqno)?;
            }
            Op::DeletePrefix { key, len } => {
                let mut prefix = keys.key(key);
                prefix.truncate(len.into());
                let seqno = self.number(0);
                self.write(Write::DeletePrefix(prefix), seqno)?;
            }
            Op::Batch { len, shared, seed } => self.batch(len, shared, seed)?,
            Op::Ingest { len, seed } => self.ingest(len, seed, false)?,
            Op::IngestColumns { len, seed } => self.ingest(len, seed, true)?,
            Op::Clear => self.clear()?,
            Op::DropRange { from, to } => self.drop_range(keys.key(from), keys.key(to), false)?,
            Op::PurgeRange { from, to } => self.drop_range(keys.key(from), keys.key(to), true)?,
            Op::Seal => self.seal()?,
            Op::Flush => self.flush()?,
            Op::Watermark { back } => {
                let watermark = self.next.saturating_sub(back.into()).max(self.lowest);
                self.subject()?.live(&Life::Watermark(at(watermark))).map_err(told)?;
                self.promised = self.promised.max(watermark);
            }
            Op::Kill { from, to, seed } => self.kill(from, to, seed)?,
            Op::Compact { strategy, seed } => {
                let wanted = usize::from(strategy) % S::STRATEGIES.len().max(1);
                let newest = self.subject()?.view().1;
                let outcome = self.subject()?.compact(wanted, seed).map_err(told)?;
                self.judge_filters(newest)?;
                self.tally.add("strategy", S::STRATEGIES.get(wanted).copied().unwrap_or_default());
                self.tally.add("outcome", outcome);
            }
            Op::Hold { back } => {
                let before = at(self.next.saturating_sub(back.into()));
                self.holds.extend(self.hold(before)?);
            }
            Op::Release { nth } => drop(take(&mut self.holds, nth)),
            Op::TakeView { held } => self.take_view(held)?,
            Op::TakeViewAt { back } => self.take_view_at(back)?,
            Op::DropView { nth } => drop(take(&mut self.views, nth)),
            Op::Reopen => {
                self.seal()?;
                self.flush()?;
                self.reopen()?;
            }
            Op::Lose => {
                self.reopen()?;
                self.model.lose();
            }
            Op::Checkpoint { go_on } => self.checkpoint(go_on)?,
        }
        self.judge_floor()
    }

    /// An unused number, the next one, or one that was passed over.
    fn number(&mut self, late: u8) -> SeqNo {
        let wanted = self.next.saturating_sub(late.into());
        if wanted < self.next && wanted >= self.lowest && self.used.insert(wanted) {
            self.tally.add("flavour", "number out of order");
            return at(wanted);
        }
        let number = self.next;
        self.used.insert(number);
        self.next += 1 + u64::from(number.is_multiple_of(3));
        at(number)
    }

    /// Numbers below are refused.
    fn write_floor(&self) -> SeqNo {
        let of_views = self.views.iter().filter_map(|kept| kept.hold.as_ref());
        let held = self.holds.iter().chain(of_views).map(|(before, _)| *before).max();
        held.unwrap_or(SeqNo::ZERO).max(at(self.promised))
    }

    fn is_refused(&mut self, outcome: Outcome<()>, seqno: SeqNo) -> Result<bool, String> {
        let floor = self.write_floor();
        match outcome {
            Ok(()) if floor <= seqno => Ok(false),
            Ok(()) => Err(format!("a write at {seqno} was taken, below {floor}")),
            Err(error) if error.kind() == ErrorKind::BelowSnapshot && seqno < floor => {
                self.tally.add("flavour", "write refused");
                Ok(true)
            }
            Err(error) => Err(told(error)),
        }
    }

    fn write(&mut self, write: Write, seqno: SeqNo) -> Judged {
        let outcome = self.subject()?.write(&write, seqno);
        match &write {
            Write::DeleteRange(lower, upper) if is_empty((lower, upper), self.model.order()) => {
                self.tally.add("flavour", "empty range");
                return outcome.map_err(told);
            }
            Write::DeletePrefix(prefix) if self.is_scattered(prefix) => {
                self.tally.add("flavour", "scattered prefix");
                return expect_error(outcome, ErrorKind::Unsupported);
            }
            _ => {}
        }
        if !self.is_refused(outcome, seqno)? {
            self.model.write(write, seqno);
        }
        Ok(())
    }

    fn is_scattered(&self, prefix: &[u8]) -> bool {
        self.model.order().comparator().prefix_bounds(prefix).is_none()
    }

    /// Keeps to the contract of weak deletes, unless they are to be misused: in the order of numbers there is one of
    /// them between any two puts of a key.
    fn weak(&mut self, key: Vec<u8>, what: u8, late: u8) -> Judged {
        let seqno = self.number(late);
        let is_legal = self.axes.weak == Weak::Legal;
        let again = is_legal && self.model.is_beside_put(&key, seqno);
        let write = match what {
            0..=4 if !again => Write::Put(key, value(seqno, what.into())),
            9 | 10 if is_legal && !again => Write::Merge(key, self.operand(seqno.get())),
            11 => Write::Delete(key),
            _ => Write::DeleteWeak(key),
        };
        self.write(write, seqno)
    }

    /// A put, and after two more numbers its weak delete; then, in between, a weak delete and another put, which the
    /// one that is there already deletes: not the one whose neighbour it is where it lies.
    fn crossed(&mut self, key: &[u8], cut: u8) -> Judged {
        let first = self.number(0);
        let number = |ahead: u64| at(first.get() + ahead);
        self.used.extend((0..4).map(|ahead| number(ahead).get()));
        self.next = self.next.max(first.get() + 4);
        let put = |seqno: SeqNo| Write::Put(key.to_vec(), value(seqno, 3));
        let delete = || Write::DeleteWeak(key.to_vec());
        let again = self.axes.weak == Weak::Legal && self.model.is_beside_put(key, first);
        self.write(if again { delete() } else { put(first) }, first)?;
        self.write(delete(), number(3))?;
        if cut & 1 == 1 {
            self.seal()?;
        }
        if cut & 2 == 2 {
            self.flush()?;
        }
        self.write(delete(), number(1))?;
        self.write(put(number(2)), number(2))
    }

    fn seal(&mut self) -> Judged {
        self.subject()?.live(&Life::Seal).map_err(told)?;
        self.model.seal();
        Ok(())
    }

    fn flush(&mut self) -> Judged {
        self.subject()?.live(&Life::Flush).map_err(told)?;
        self.model.flush();
        Ok(())
    }

    fn operand(&self, number: u64) -> Vec<u8> {
        if self.axes.folding == Folding::SetEdit {
            let letter = b'a' + (number % 5).to_le_bytes()[0];
            return vec![if number % 7 < 4 { b'+' } else { b'-' }, letter];
        }
        number.to_string().into_bytes()
    }

    /// What was written once may be written again, as long as its number is not refused.
    fn replay(&mut self, back: u8) -> Judged {
        let Some((write, seqno)) = self.model.written(back).cloned() else { return Ok(()) };
        if seqno.get() < self.lowest {
            return Ok(());
        }
        self.tally.add("flavour", "write repeated");
        let outcome = self.subject()?.write(&write, seqno);
        self.is_refused(outcome, seqno).map(drop)
    }

    fn batch(&mut self, len: u8, shared: bool, seed: u32) -> Judged {
        let mut dice = Dice::new(seed.into());
        let base = self.number(0);
        let numbers = |nth: usize| if shared { base.get() } else { base.get() + nth as u64 };
        let mut writes: Vec<Write> = Vec::new();
        for nth in 0..usize::from(len) {
            let number = |dice: &mut Dice| u16::try_from(dice.below(700)).unwrap_or(0);
            let (key, other) = (number(&mut dice), number(&mut dice));
            let keys = self.axes.keys;
            writes.push(match dice.below(16) {
                0..7 => Write::Put(keys.plain(key), format!("{base}.{nth}").into_bytes()),
                7..10 => Write::Delete(keys.plain(key)),
                10..13 if !shared || dice.one_in(3) => {
                    Write::Merge(keys.plain(key), self.operand(numbers(nth)))
                }
                13 | 14 => {
                    Write::DeleteRange(Bound::Included(keys.key(key)), Bound::Excluded(keys.key(other)))
                }
                15 => {
                    let mut prefix = keys.key(key);
                    prefix.truncate(4);
                    Write::DeletePrefix(prefix)
                }
                _ => Write::Put(keys.plain(key), Vec::new()),
            });
        }
        self.next = self.next.max(base.get() + u64::from(len) + 1);
        self.used.extend(base.get()..base.get() + u64::from(len));
        let outcome = self.subject()?.batch(&writes, base, shared);
        let is_scattered =
            |write: &Write| matches!(write, Write::DeletePrefix(prefix) if self.is_scattered(prefix));
        if writes.iter().any(is_scattered) {
            return expect_error(outcome, ErrorKind::Unsupported);
        }
        if shared && self.is_ambiguous(&writes) {
            self.tally.add("flavour", "ambiguous batch");
            return expect_error(outcome, ErrorKind::AmbiguousBatch);
        }
        outcome.map_err(told)?;
        self.tally.add("flavour", if shared { "batch with one number" } else { "batch with many numbers" });
        for (nth, write) in writes.into_iter().enumerate() {
            self.model.write(write, at(numbers(nth)));
        }
        Ok(())
    }

    fn kill(&mut self, from: u16, to: u16, seed: u32) -> Judged {
        let strategy = |name| S::STRATEGIES.iter().position(|strategy| *strategy == name);
        let compact = |name, seed| {
            let strategy = u8::try_from(strategy(name)?).ok()?;
            Some(Op::Compact { strategy, seed })
        };
        let steps = [
            Some(Op::Seal),
            Some(Op::Flush),
            compact("major", seed),
            // One of them is the wrong way round, and deletes nothing.
            Some(Op::DeleteRange { from, to, kinds: 0, late: 0 }),
            Some(Op::DeleteRange { from: to, to: from, kinds: 0, late: 0 }),
            Some(Op::Seal),
            Some(Op::Flush),
            Some(Op::Watermark { back: 0 }),
            compact("in place", seed),
            compact("in place", seed.wrapping_add(1)),
        ];
        steps.into_iter().flatten().try_for_each(|op| self.step(op))
    }

    fn ingest(&mut self, len: u8, seed: u32, by_columns: bool) -> Judged {
        let mut dice = Dice::new(seed.into());
        let keys = self.axes.keys;
        let mut rows: Vec<Vec<u8>> = std::iter::repeat_with(|| dice.below(700))
            .map(|number| keys.plain(u16::try_from(number).unwrap_or(0)))
            .take(len.into())
            .collect();
        let order = self.model.order().clone();
        rows.sort_by(|a, b| order.compare(a, b));
        rows.dedup();
        let seqno = self.number(0);
        let write = |key: Vec<u8>| match dice.below(4) {
            0 => Write::Delete(key),
            _ if by_columns => Write::Put(key, value(seqno, u16::from(dice.roll().to_le_bytes()[0] % 24))),
            _ => Write::Put(key, value(seqno, 3)),
        };
        let rows: Vec<Write> = rows.into_iter().map(write).collect();
        let subject = self.subject()?;
        let outcome = if by_columns {
            subject.ingest_columns(&rows, seqno, seed)
        } else {
            subject.ingest(&rows, seqno)
        };
        if rows.is_empty() {
            return outcome.map_err(told);
        }
        if !self.is_refused(outcome, seqno)? {
            for row in rows {
                self.model.ingest(row, seqno);
            }
        }
        Ok(())
    }

    /// Whether the order of operations matters that all have one number.
    fn is_ambiguous(&self, writes: &[Write]) -> bool {
        let key_of = |write: &Write| write.key().map(<[u8]>::to_vec);
        writes.iter().enumerate().any(|(nth, write)| {
            let Some(key) = key_of(write) else { return false };
            let mut others = writes.iter().enumerate().filter(|(other, _)| *other != nth);
            let is_merge = matches!(write, Write::Merge(..));
            let is_value = is_merge || matches!(write, Write::Put(..));
            others.any(|(other, later)| {
                (is_merge && key_of(later).as_ref() == Some(&key))
                    || (is_value && nth < other && self.model.deletes(later, &key))
            })
        })
    }

    fn clear(&mut self) -> Judged {
        let seqno = self.number(0);
        self.subject()?.live(&Life::Clear(seqno)).map_err(told)?;
        self.model.write(Write::DeleteRange(Bound::Unbounded, Bound::Unbounded), seqno);
        self.model.seal();
        self.model.flush();
        self.cut = seqno;
        self.promised = self.promised.max(seqno.get());
        self.lowest = self.lowest.max(seqno.get() + 1);
        Ok(())
    }

    fn drop_range(&mut self, lower: Vec<u8>, upper: Vec<u8>, purge: bool) -> Judged {
        let (lower, upper) = (Bound::Included(lower), Bound::Excluded(upper));
        let seqno = self.number(0);
        let bounds = (lower.clone(), upper.clone());
        let life = if purge { Life::PurgeRange } else { Life::DropRange };
        self.subject()?.live(&life(bounds.0, bounds.1, seqno)).map_err(told)?;
        if is_empty((&lower, &upper), self.model.order()) {
            return Ok(());
        }
        self.model.write(Write::DeleteRange(lower, upper), seqno);
        self.model.seal();
        self.model.flush();
        if purge {
            self.cut = seqno;
        }
        Ok(())
    }

    /// A hold, if one is possible; it has to be where a read is.
    fn hold(&self, before: SeqNo) -> Result<Option<(SeqNo, S::Hold)>, String> {
        match self.subject()?.hold(before) {
            Ok(hold) if before > self.floor || before == SeqNo::ZERO => Ok(Some((before, hold))),
            Err(error) if error.kind() == ErrorKind::SnapshotBelowRetention && before <= self.floor => {
                Ok(None)
            }
            Ok(_) => Err(format!("{before} can be held, but the floor is {}", self.floor)),
            Err(error) => Err(told(error)),
        }
    }

    fn take_view(&mut self, held: bool) -> Judged {
        let (view, before) = self.subject()?.view();
        let promise = if held { self.hold(before)? } else { None };
        self.keep(view, before, promise)
    }

    fn take_view_at(&mut self, back: u8) -> Judged {
        let before = at(self.next.saturating_sub(back.into()));
        match self.open_view(before)? {
            Some(view) => self.keep(view, before, None),
            None => Ok(()),
        }
    }

    fn keep(&mut self, view: S::View, before: SeqNo, hold: Option<(SeqNo, S::Hold)>) -> Judged {
        if hold.is_none() {
            self.lowest = self.lowest.max(before.get());
        }
        let subject = self.subject.as_ref().ok_or("the tree is gone")?;
        let expected = expected(&self.axes, &mut self.model, subject, Some(&view), before)?;
        self.views.push(Kept { view, expected, hold });
        Ok(())
    }

    /// A view at a bound, which has to be possible or not.
    fn open_view(&mut self, before: SeqNo) -> Result<Option<S::View>, String> {
        let of_views = self.views.iter().filter_map(|kept| kept.hold.as_ref());
        let is_held = self.holds.iter().chain(of_views).any(|(held, _)| *held == before && self.cut < before);
        let is_possible = before > self.floor || before == SeqNo::ZERO || is_held;
        match self.subject()?.view_at(before) {
            Ok(view) if is_possible => Ok(Some(view)),
            Ok(_) => Err(format!("a read at {before} is possible, but the floor is {}", self.floor)),
            Err(error) if error.kind() == ErrorKind::SnapshotBelowRetention && !is_possible => {
                self.tally.add("flavour", "read refused");
                Ok(None)
            }
            Err(error) => Err(told(error)),
        }
    }

    fn reopen(&mut self) -> Judged {
        self.end_session();
        let subject = self.subject.take().ok_or("the tree is gone")?;
        self.subject = Some(subject.reopen().map_err(told)?);
        Ok(())
    }

    /// Nothing that was promised to readers outlives the handle of the tree; what was promised to the tree does.
    fn end_session(&mut self) {
        self.holds.clear();
        self.views.clear();
        self.lowest = self.lowest.max(self.promised);
        self.promised = 0;
    }

    fn checkpoint(&mut self, go_on: bool) -> Judged {
        let copy = self.subject.as_mut().ok_or("the tree is gone")?.copy().map_err(told)?;
        self.model.seal();
        self.model.flush();
        if copy.floor() != self.floor {
            return Err(format!("the copy has the floor {} instead of {}", copy.floor(), self.floor));
        }
        for before in [SeqNo::LATEST, self.floor.next(), at(self.next)] {
            let view = copy.view_at(before).map_err(told)?;
            let expected = expected(&self.axes, &mut self.model, &copy, Some(&view), before)?;
            for form in 0..S::forms().len() {
                self.tally.comparisons += copy.read(Some(&view), form, &expected, &mut self.dice)?;
            }
        }
        if !go_on {
            return copy.close().map_err(told);
        }
        self.end_session();
        self.subject.replace(copy).map_or(Ok(()), S::close).map_err(told)
    }

    /// History is only given up where that was allowed, and never found again.
    fn judge_floor(&mut self) -> Judged {
        let floor = self.subject()?.floor();
        let ever_promised = self.promised.max(self.lowest);
        let required = self.floor.max(self.cut).max(self.changed);
        let allowed = required.max(at(ever_promised.saturating_sub(1)));
        if floor < required || floor > allowed {
            let (was, cut) = (self.floor, self.cut);
            return Err(format!("floor {floor} after {was}, cut off {cut}, allowed {allowed}"));
        }
        self.floor = floor;
        Ok(())
    }

    /// Looks at the newest state and at one other, with a few forms of reads.
    pub(super) fn glance(&mut self) -> Judged {
        self.look(None, SeqNo::LATEST, 2)?;
        if !self.views.is_empty() && self.dice.coin() {
            let nth = self.dice.index(self.views.len());
            return self.look_at_kept(nth, 2);
        }
        let before = self.some_bound();
        self.look_back(before, 2)
    }

    fn some_bound(&mut self) -> SeqNo {
        let span = self.next + 3 - self.axes.first;
        let recent = if self.dice.coin() { span.min(20) } else { span };
        at((self.next + 2).saturating_sub(self.dice.below(recent)))
    }

    /// Looks at everything there is, with all forms of reads; at every bound if `all`.
    pub(super) fn stare(&mut self, all: bool) -> Judged {
        self.look(None, SeqNo::LATEST, usize::MAX)?;
        for nth in 0..self.views.len() {
            self.look_at_kept(nth, usize::MAX)?;
        }
        let mut bounds: Vec<SeqNo> = vec![SeqNo::ZERO, self.floor, self.floor.next(), at(self.next)];
        bounds.extend(self.holds.iter().map(|(before, _)| *before));
        let first = if all { self.axes.first.max(self.next.saturating_sub(1_000)) } else { self.next };
        bounds.extend((first..self.next).map(at));
        bounds.push(self.some_bound());
        bounds.into_iter().try_for_each(|before| self.look_back(before, usize::MAX))
    }

    /// Whether every file is sound.
    pub(super) fn is_clean(&self) -> Judged {
        let is_clean = self.subject()?.is_clean().map_err(told)?;
        if is_clean { Ok(()) } else { Err("the files are not sound".into()) }
    }

    fn look_back(&mut self, before: SeqNo, forms: usize) -> Judged {
        match self.open_view(before)? {
            Some(view) => self.look(Some(&view), before, forms),
            None => Ok(()),
        }
    }

    fn look(&mut self, view: Option<&S::View>, before: SeqNo, forms: usize) -> Judged {
        let subject = self.subject.as_ref().ok_or("the tree is gone")?;
        let expected = expected(&self.axes, &mut self.model, subject, view, before)?;
        compare(subject, view, &expected, forms, &mut self.dice, self.tally)
    }

    fn look_at_kept(&mut self, nth: usize, forms: usize) -> Judged {
        let subject = self.subject.as_ref().ok_or("the tree is gone")?;
        let Some(kept) = self.views.get(nth) else { return Ok(()) };
        compare(subject, Some(&kept.view), &kept.expected, forms, &mut self.dice, self.tally)
            .map_err(|told| format!("a view that was kept: {told}"))
    }
}

/// Reads with all forms, or with some of them.
fn compare<S: Subject>(
    subject: &S,
    view: Option<&S::View>,
    expected: &Snapshot,
    forms: usize,
    dice: &mut Dice,
    tally: &mut Tally,
) -> Judged {
    let all = S::forms();
    for turn in 0..forms.min(all.len()) {
        let form = if forms < all.len() { dice.index(all.len()) } else { turn };
        tally.comparisons += subject.read(view, form, expected, dice)?;
        tally.add("form", all.get(form).copied().unwrap_or_default());
    }
    Ok(())
}

/// What a read has to see. Where weak deletes are misused that is, for their keys, what `get` says, if it may.
fn expected<S: Subject>(
    axes: &Axes,
    model: &mut Model,
    subject: &S,
    view: Option<&S::View>,
    before: SeqNo,
) -> Result<Rc<Snapshot>, String> {
    let known = model.at(before);
    if axes.weak != Weak::Misused {
        return Ok(known);
    }
    let mut learned = Snapshot::clone(&known);
    let weak: BTreeSet<Vec<u8>> = (0..axes.keys.count()).map(|number| axes.keys.weak(number)).collect();
    for key in weak {
        let found = subject.get(view, &key).map_err(told)?;
        if !model.may_be(&key, before, found.as_deref()) {
            return Err(format!("{key:?} cannot be {found:?} below {before}, however weak its deletes are"));
        }
        learned.set(&key, found.map(Seen::Value));
    }
    Ok(Rc::new(learned))
}

fn expect_error(outcome: Outcome<()>, kind: ErrorKind) -> Judged {
    match outcome {
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => Err(told(error)),
        Ok(()) => Err(format!("{kind:?} did not come")),
    }
}

/// A value that no other write has, unless it is too short for that.
fn value(seqno: SeqNo, len: u16) -> Vec<u8> {
    let mut value = if len == 0 { Vec::new() } else { seqno.to_string().into_bytes() };
    value.resize(value.len().max(len.into()), b'.');
    value
}

fn take<T>(list: &mut Vec<T>, nth: u8) -> Option<T> {
    let nth = usize::from(nth).checked_rem(list.len())?;
    Some(list.remove(nth))
}
