//! Every form of a read, in one list: [`forms`]. A new form joins here, and is used wherever lives are judged.

use std::{collections::BTreeMap, ops::Bound};

use lsm_engine::{Entry, Reader, TreeBatch};
use lsm_testkit::{
    dice::Dice,
    universe::{Seen, Snapshot},
};
use lsm_types::{ErrorKind, Result};

use crate::common::column_forms::scan_columns;

/// Reads in one form and compares; returns how many keys or entries were compared, or how a read differs.
pub(crate) type Form<R> = fn(&R, &Snapshot, &mut Dice) -> Judged;

type Judged = std::result::Result<u64, String>;

/// All forms of reads, by name.
pub(crate) fn forms<R: Reader>() -> &'static [(&'static str, Form<R>)] {
    &[
        ("get", get),
        ("get_pinned", get_pinned),
        ("get_with", get_with),
        ("get_into", get_into),
        ("contains_key", contains_key),
        ("size_of", size_of),
        ("entry_info", entry_info),
        ("iter", iter),
        ("iter back", iter_back),
        ("advance", advance),
        ("advance_back", advance_back),
        ("keys", keys),
        ("both ends", both_ends),
        ("ahead", ahead),
        ("ahead back", ahead_back),
        ("ahead from both ends", ahead_both_ends),
        ("range", range),
        ("range back", range_back),
        ("prefix", prefix),
        ("prefix back", prefix_back),
        ("first", first),
        ("last", last),
        ("is_empty", is_empty),
        ("count", count),
        ("count_keys", count_keys),
        ("contains_prefix", contains_prefix),
        ("multi_get", multi_get),
        ("cursor", cursor),
        ("ranges", ranges),
        ("overlay", overlay),
        ("scan_columns", scan_columns),
    ]
}

fn get<R: Reader>(reader: &R, expected: &Snapshot, _: &mut Dice) -> Judged {
    by_key(expected, |key| Ok(reader.get(key)?.map(|value| value.to_vec())))
}

fn get_pinned<R: Reader>(reader: &R, expected: &Snapshot, _: &mut Dice) -> Judged {
    by_key(expected, |key| Ok(reader.get_pinned(key)?.map(|value| value.to_vec())))
}

fn get_with<R: Reader>(reader: &R, expected: &Snapshot, _: &mut Dice) -> Judged {
    by_key(expected, |key| reader.get_with(key, <[u8]>::to_vec))
}

fn get_into<R: Reader>(reader: &R, expected: &Snapshot, _: &mut Dice) -> Judged {
    let mut out = b"left over".to_vec();
    by_key(expected, |key| {
        let is_there = reader.get_into(key, &mut out)?;
        if !is_there && !out.is_empty() {
            return Ok(Some(b"<absent, but something is left>".to_vec()));
        }
        Ok(is_there.then(|| out.clone()))
    })
}

/// Asks for each key.
fn by_key(expected: &Snapshot, mut read: impl FnMut(&[u8]) -> Result<Option<Vec<u8>>>) -> Judged {
    for key in expected.probes() {
        let found = read(key);
        let is_right = match (&found, expected.of(key)) {
            (Ok(found), Some(Seen::Value(value))) => found.as_ref() == Some(value),
            (Ok(found), None) => found.is_none(),
            (Err(error), Some(Seen::Broken)) => error.kind() == ErrorKind::MergeFailed,
            _ => false,
        };
        if !is_right {
            return Err(differs(expected, key, &found));
        }
    }
    Ok(expected.probes().len() as u64)
}

fn differs(expected: &Snapshot, key: &[u8], found: &impl std::fmt::Debug) -> String {
    format!("{key:?} below {} is {found:?} instead of {:?}", expected.before(), expected.of(key))
}

fn contains_key<R: Reader>(reader: &R, expected: &Snapshot, _: &mut Dice) -> Judged {
    facts(expected, |key| reader.contains_key(key), |seen| seen.is_some())
}

fn entry_info<R: Reader>(reader: &R, expected: &Snapshot, _: &mut Dice) -> Judged {
    facts(expected, |key| Ok(reader.entry_info(key)?.is_some()), |seen| seen.is_some())
}

fn size_of<R: Reader>(reader: &R, expected: &Snapshot, _: &mut Dice) -> Judged {
    let read = |key: &[u8]| match reader.size_of(key) {
        Err(error) if error.kind() == ErrorKind::MergeFailed => Ok(Some(usize::MAX)),
        found => found,
    };
    facts(expected, read, |seen| match seen {
        Some(Seen::Value(value)) => Some(value.len()),
        Some(Seen::Broken) => Some(usize::MAX),
        None => None,
    })
}

/// Asks for something about each key that is there even where its operands do not fold.
fn facts<T: PartialEq + std::fmt::Debug>(
    expected: &Snapshot,
    mut read: impl FnMut(&[u8]) -> Result<T>,
    fact: impl Fn(Option<&Seen>) -> T,
) -> Judged {
    for key in expected.probes() {
        let found = read(key);
        if !found.as_ref().is_ok_and(|found| *found == fact(expected.of(key))) {
            return Err(differs(expected, key, &found));
        }
    }
    Ok(expected.probes().len() as u64)
}

fn iter<R: Reader>(reader: &R, expected: &Snapshot, _: &mut Dice) -> Judged {
    entries(reader.iter(), expected.entries().iter())
}

fn iter_back<R: Reader>(reader: &R, expected: &Snapshot, _: &mut Dice) -> Judged {
    entries(reader.iter().rev(), expected.entries().iter().rev())
}

/// Compares entry by entry.
fn entries<'a>(
    mut found: impl Iterator<Item = Result<Entry>>,
    expected: impl Iterator<Item = &'a (Vec<u8>, Seen)>,
) -> Judged {
    let mut count = 1;
    for expected in expected {
        same(found.next().as_ref(), Some(expected))?;
        count += 1;
    }
    same(found.next().as_ref(), None)?;
    Ok(count)
}

fn same(
    found: Option<&Result<Entry>>,
    expected: Option<&(Vec<u8>, Seen)>,
) -> std::result::Result<(), String> {
    let is_right = match (found, expected) {
        (Some(Ok(entry)), Some((key, Seen::Value(value)))) => {
            entry.key() == key.as_slice()
                && entry.value().is_ok_and(|found| found == value.as_slice())
                && entry.size().is_ok_and(|size| size == value.len())
        }
        (Some(Err(error)), Some((_, Seen::Broken))) => error.kind() == ErrorKind::MergeFailed,
        (None, None) => true,
        _ => false,
    };
    if is_right { Ok(()) } else { Err(format!("a scan finds {found:?} instead of {expected:?}")) }
}

fn advance<R: Reader>(reader: &R, expected: &Snapshot, _: &mut Dice) -> Judged {
    let mut range = reader.iter();
    lent(expected.entries().iter(), || range.advance().map(|entry| entry.map(owned)))
}

fn advance_back<R: Reader>(reader: &R, expected: &Snapshot, _: &mut Dice) -> Judged {
    let mut range = reader.iter();
    lent(expected.entries().iter().rev(), || range.advance_back().map(|entry| entry.map(owned)))
}

fn owned(entry: lsm_types::EntryRef<'_>) -> (Vec<u8>, Vec<u8>) {
    (entry.key.to_vec(), entry.value.to_vec())
}

fn lent<'a>(
    expected: impl Iterator<Item = &'a (Vec<u8>, Seen)>,
    mut step: impl FnMut() -> Result<Option<(Vec<u8>, Vec<u8>)>>,
) -> Judged {
    let mut count = 1;
    for (key, seen) in expected {
        let found = step();
        let is_right = match (&found, seen) {
            (Ok(Some((found, bytes))), Seen::Value(value)) => found == key && bytes == value,
            (Err(error), Seen::Broken) => error.kind() == ErrorKind::MergeFailed,
            _ => false,
        };
        if !is_right {
            return Err(format!("a step finds {found:?} instead of {key:?} with {seen:?}"));
        }
        count += 1;
    }
    match step() {
        Ok(None) => Ok(count),
        found => Err(format!("a step finds {found:?} behind the end")),
    }
}

/// Keys alone need no folding, so none of them is an error.
fn keys<R: Reader>(reader: &R, expected: &Snapshot, dice: &mut Dice) -> Judged {
    let found: Result<Vec<Vec<u8>>> = if dice.coin() {
        reader.iter().keys().map(|key| key.map(|key| key.to_vec())).collect()
    } else {
        let found: Result<Vec<_>> =
            reader.iter().keys().rev().map(|key| key.map(|key| key.to_vec())).collect();
        found.map(|keys| keys.into_iter().rev().collect())
    };
    let found = found.map_err(|error| error.to_string())?;
    if found.iter().eq(expected.entries().iter().map(|(key, _)| key)) {
        return Ok(found.len() as u64 + 1);
    }
    Err(format!("keys below {} are {found:?} instead of {:?}", expected.before(), expected.entries()))
}

/// Steps from both ends, in an order that the dice say, until they meet.
fn both_ends<R: Reader>(reader: &R, expected: &Snapshot, dice: &mut Dice) -> Judged {
    let bounds = if dice.coin() { (Bound::Unbounded, Bound::Unbounded) } else { bounds(expected, dice) };
    meet(reader.range::<&[u8]>(bounds), expected.between(bounds), dice)
}

fn ahead<R: Reader>(reader: &R, expected: &Snapshot, dice: &mut Dice) -> Judged {
    entries(reader.iter().value_readahead(dice.index(40)), expected.entries().iter())
}

fn ahead_back<R: Reader>(reader: &R, expected: &Snapshot, dice: &mut Dice) -> Judged {
    entries(reader.iter().value_readahead(dice.index(40)).rev(), expected.entries().iter().rev())
}

fn ahead_both_ends<R: Reader>(reader: &R, expected: &Snapshot, dice: &mut Dice) -> Judged {
    let bounds = if dice.coin() { (Bound::Unbounded, Bound::Unbounded) } else { bounds(expected, dice) };
    meet(reader.range::<&[u8]>(bounds).value_readahead(dice.index(8)), expected.between(bounds), dice)
}

fn meet(
    mut found: impl DoubleEndedIterator<Item = Result<Entry>>,
    mut left: &[(Vec<u8>, Seen)],
    dice: &mut Dice,
) -> Judged {
    let (bias, mut count) = (1 + dice.below(4), 2);
    while !left.is_empty() {
        let next = if dice.below(5) < bias {
            let Some((first, rest)) = left.split_first() else { break };
            left = rest;
            (found.next(), first)
        } else {
            let Some((last, rest)) = left.split_last() else { break };
            left = rest;
            (found.next_back(), last)
        };
        same(next.0.as_ref(), Some(next.1)).map_err(|told| format!("from both ends: {told}"))?;
        count += 1;
    }
    same(found.next().as_ref(), None)?;
    same(found.next_back().as_ref(), None)?;
    Ok(count)
}

/// Bounds at, between or beyond keys; now and then inverted.
fn bounds<'a>(expected: &'a Snapshot, dice: &mut Dice) -> (Bound<&'a [u8]>, Bound<&'a [u8]>) {
    let mut one = || {
        let key = expected.probes().get(dice.index(expected.probes().len())).map_or(&b"k"[..], Vec::as_slice);
        match dice.below(5) {
            0 => Bound::Unbounded,
            1 | 2 => Bound::Excluded(key),
            _ => Bound::Included(key),
        }
    };
    (one(), one())
}

fn range<R: Reader>(reader: &R, expected: &Snapshot, dice: &mut Dice) -> Judged {
    let mut count = 0;
    for _ in 0..4 {
        let bounds = bounds(expected, dice);
        let told = entries(reader.range::<&[u8]>(bounds), expected.between(bounds).iter());
        count += told.map_err(|told| format!("{bounds:?} below {}: {told}", expected.before()))?;
    }
    Ok(count)
}

fn range_back<R: Reader>(reader: &R, expected: &Snapshot, dice: &mut Dice) -> Judged {
    let mut count = 0;
    for _ in 0..4 {
        let bounds = bounds(expected, dice);
        let told = entries(reader.range::<&[u8]>(bounds).rev(), expected.between(bounds).iter().rev());
        count += told.map_err(|told| format!("{bounds:?} back below {}: {told}", expected.before()))?;
    }
    Ok(count)
}

/// Some of the bytes of a key, or all, or none.
fn some_prefix<'a>(expected: &'a Snapshot, dice: &mut Dice) -> &'a [u8] {
    let key = expected.probes().get(dice.index(expected.probes().len())).map_or(&b"k"[..], Vec::as_slice);
    let len = if dice.coin() { dice.index(key.len() + 1) } else { key.len().saturating_sub(dice.index(3)) };
    &key[..len]
}

fn prefix<R: Reader>(reader: &R, expected: &Snapshot, dice: &mut Dice) -> Judged {
    let mut count = 0;
    for _ in 0..4 {
        let prefix = some_prefix(expected, dice);
        let told = entries(reader.prefix(prefix), expected.with_prefix(prefix).iter());
        count += told.map_err(|told| format!("prefix {prefix:?} below {}: {told}", expected.before()))?;
    }
    Ok(count)
}

fn prefix_back<R: Reader>(reader: &R, expected: &Snapshot, dice: &mut Dice) -> Judged {
    let mut count = 0;
    for _ in 0..4 {
        let prefix = some_prefix(expected, dice);
        let told = entries(reader.prefix(prefix).rev(), expected.with_prefix(prefix).iter().rev());
        count +=
            told.map_err(|told| format!("prefix {prefix:?} back below {}: {told}", expected.before()))?;
    }
    Ok(count)
}

fn first<R: Reader>(reader: &R, expected: &Snapshot, _: &mut Dice) -> Judged {
    same(reader.first().transpose().as_ref(), expected.entries().first()).map(|()| 1)
}

fn last<R: Reader>(reader: &R, expected: &Snapshot, _: &mut Dice) -> Judged {
    same(reader.last().transpose().as_ref(), expected.entries().last()).map(|()| 1)
}

fn is_empty<R: Reader>(reader: &R, expected: &Snapshot, _: &mut Dice) -> Judged {
    let found = reader.is_empty();
    if found.as_ref().is_ok_and(|found| *found == expected.entries().is_empty()) {
        return Ok(1);
    }
    Err(format!("is_empty is {found:?}"))
}

fn count<R: Reader>(reader: &R, expected: &Snapshot, _: &mut Dice) -> Judged {
    let found = reader.count();
    if found.as_ref().is_ok_and(|found| *found == expected.entries().len() as u64) {
        return Ok(1);
    }
    Err(format!("count is {found:?} instead of {}", expected.entries().len()))
}

fn count_keys<R: Reader>(reader: &R, expected: &Snapshot, dice: &mut Dice) -> Judged {
    let bounds = bounds(expected, dice);
    let found = reader.range::<&[u8]>(bounds).count_keys();
    if found.as_ref().is_ok_and(|found| *found == expected.between(bounds).len() as u64) {
        return Ok(1);
    }
    Err(format!("count_keys of {bounds:?} is {found:?} instead of {}", expected.between(bounds).len()))
}

fn contains_prefix<R: Reader>(reader: &R, expected: &Snapshot, dice: &mut Dice) -> Judged {
    for _ in 0..4 {
        let prefix = some_prefix(expected, dice);
        let found = reader.contains_prefix(prefix);
        if !found.as_ref().is_ok_and(|found| *found != expected.with_prefix(prefix).is_empty()) {
            return Err(format!("contains_prefix of {prefix:?} is {found:?}"));
        }
    }
    Ok(4)
}

/// Many keys at once, in any order, some of them more than once. One whose operands do not fold fails all.
fn multi_get<R: Reader>(reader: &R, expected: &Snapshot, dice: &mut Dice) -> Judged {
    let with_broken = dice.one_in(4);
    let is_broken = |key: &[u8]| expected.of(key) == Some(&Seen::Broken);
    let wanted = 1 + dice.index(2 * expected.probes().len());
    let some = std::iter::repeat_with(|| expected.probes().get(dice.index(expected.probes().len())));
    let keys: Vec<&[u8]> = some.take(wanted).flatten().map(Vec::as_slice).collect();
    let keys: Vec<&[u8]> = keys.into_iter().filter(|key| with_broken || !is_broken(key)).collect();
    let found = reader.multi_get(&keys);
    if keys.iter().any(|key| is_broken(key)) {
        return match found {
            Err(error) if error.kind() == ErrorKind::MergeFailed => Ok(1),
            found => Err(format!("{keys:?} are {found:?} although the operands of one do not fold")),
        };
    }
    let found = found.map_err(|error| error.to_string())?;
    let values = keys.iter().map(|key| match expected.of(key) {
        Some(Seen::Value(value)) => Some(value.as_slice()),
        _ => None,
    });
    if found.len() != keys.len() || !found.iter().map(Option::as_deref).eq(values) {
        return Err(format!("{keys:?} below {} are {found:?}", expected.before()));
    }
    Ok(keys.len() as u64)
}

/// Jumps and steps about within bounds.
fn cursor<R: Reader>(reader: &R, expected: &Snapshot, dice: &mut Dice) -> Judged {
    let bounds = if dice.coin() { (Bound::Unbounded, Bound::Unbounded) } else { bounds(expected, dice) };
    let within = expected.between(bounds);
    let order = expected.order();
    let mut cursor = reader.cursor::<&[u8]>(bounds).map_err(|error| error.to_string())?;
    let mut at: Option<usize> = None;
    for turn in 0..12 {
        let probe =
            expected.probes().get(dice.index(expected.probes().len())).map_or(&b"k"[..], Vec::as_slice);
        let (what, moved) = match dice.below(if turn == 0 { 4 } else { 9 }) {
            0 => {
                at = Some(within.partition_point(|(key, _)| order.compare(key, probe).is_lt()));
                ("seek", cursor.seek(probe))
            }
            1 => {
                at = within.partition_point(|(key, _)| order.compare(key, probe).is_le()).checked_sub(1);
                ("seek_for_prev", cursor.seek_for_prev(probe))
            }
            2 => {
                at = Some(0);
                ("seek_first", cursor.seek_first())
            }
            3 => {
                at = within.len().checked_sub(1);
                ("seek_last", cursor.seek_last())
            }
            4..7 => {
                at = at.map(|at| at + 1);
                ("move_next", cursor.move_next())
            }
            _ => {
                at = at.and_then(|at| at.checked_sub(1));
                ("move_prev", cursor.move_prev())
            }
        };
        at = at.filter(|at| *at < within.len());
        let expected = at.and_then(|at| within.get(at));
        let stands = moved.as_ref().is_ok_and(|stands| *stands == expected.is_some());
        if !stands || cursor.key() != expected.map(|(key, _)| key.as_slice()) {
            return Err(format!(
                "a cursor within {bounds:?}: {what} near {probe:?} is {moved:?} at {:?} instead of {expected:?}",
                cursor.key()
            ));
        }
        let value = cursor.value().map(|value| value.map(<[u8]>::to_vec));
        let is_right = match (&value, expected) {
            (Ok(found), None) => found.is_none(),
            (Ok(found), Some((_, Seen::Value(value)))) => found.as_ref() == Some(value),
            (Err(error), Some((_, Seen::Broken))) => error.kind() == ErrorKind::MergeFailed,
            _ => false,
        };
        if !is_right {
            return Err(format!("a cursor finds {value:?} instead of {expected:?}"));
        }
    }
    Ok(12)
}

/// Several ranges through one cursor, whatever their order.
fn ranges<R: Reader>(reader: &R, expected: &Snapshot, dice: &mut Dice) -> Judged {
    let wanted: Vec<_> = (0..3).map(|_| bounds(expected, dice)).collect();
    let all = wanted.iter().flat_map(|bounds| expected.between(*bounds));
    entries(reader.ranges::<&[u8], _, _>(wanted.iter().copied()), all)
        .map_err(|told| format!("ranges {wanted:?} below {}: {told}", expected.before()))
}

/// Uncommitted puts and deletes over what the reader sees.
fn overlay<R: Reader>(reader: &R, expected: &Snapshot, dice: &mut Dice) -> Judged {
    let mut batch = TreeBatch::new();
    let mut all: BTreeMap<Vec<u8>, Seen> = expected.entries().iter().cloned().collect();
    for _ in 0..dice.below(5) {
        let Some(key) = expected.probes().get(dice.index(expected.probes().len())) else { continue };
        let told = match dice.below(4) {
            0 => {
                all.remove(key);
                batch.remove(key).map(drop)
            }
            1 => {
                let other = expected.probes().get(dice.index(expected.probes().len())).unwrap_or(key);
                let range = (Bound::Included(key.as_slice()), Bound::Excluded(other.as_slice()));
                let order = expected.order();
                all.retain(|at, _| order.compare(at, key).is_lt() || order.compare(at, other).is_ge());
                batch.remove_range::<&[u8]>(range).map(drop)
            }
            _ => {
                all.insert(key.clone(), Seen::Value(b"uncommitted".to_vec()));
                batch.insert(key, b"uncommitted").map(drop)
            }
        };
        told.map_err(|error| error.to_string())?;
    }
    let overlaid = reader.to_view().overlaid(&batch).map_err(|error| error.to_string())?;
    let mut sorted: Vec<(Vec<u8>, Seen)> = all.clone().into_iter().collect();
    sorted.sort_by(|(a, _), (b, _)| expected.order().compare(a, b));
    let mut count = entries(overlaid.iter(), sorted.iter())?;
    count += entries(overlaid.iter().rev(), sorted.iter().rev())?;
    for key in expected.probes() {
        let found = overlaid.get(key);
        let is_right = match (&found, all.get(key)) {
            (Ok(found), Some(Seen::Value(value))) => found.as_deref() == Some(value),
            (Ok(found), None) => found.is_none(),
            (Err(error), Some(Seen::Broken)) => error.kind() == ErrorKind::MergeFailed,
            _ => false,
        };
        if !is_right {
            return Err(format!("under a batch {key:?} is {found:?} instead of {:?}", all.get(key)));
        }
        count += 1;
    }
    Ok(count)
}
