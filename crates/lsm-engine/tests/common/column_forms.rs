//! A read in columns, judged by entries that are split and asked one by one.

use std::{collections::HashSet, ops::Bound};

use lsm_columnar::{ColumnId, Comparison, Datum, Predicate};
use lsm_engine::{ColumnScan, Reader};
use lsm_testkit::{
    dice::Dice,
    universe::{Seen, Snapshot},
};
use lsm_types::ErrorKind;

use crate::common::columns::{Cells, DOTS, MARKED, NUMBER, SIZE};

/// Whether a row satisfies a predicate; unknown beside nulls. Rows that were not split have nulls only.
type Truth = Box<dyn Fn(Option<Cells>) -> Option<bool>>;

const COLUMNS: [ColumnId; 6] = [ColumnId::KEY, NUMBER, DOTS, MARKED, SIZE, ColumnId::OPAQUE];

/// Scans with columns, predicates, bounds, directions and limits that the dice say.
pub(crate) fn scan_columns<R: Reader>(
    reader: &R,
    expected: &Snapshot,
    dice: &mut Dice,
) -> Result<u64, String> {
    let mut count = 0;
    for _ in 0..3 {
        count += one_scan(reader, expected, dice)?;
    }
    Ok(count)
}

fn one_scan<R: Reader>(reader: &R, expected: &Snapshot, dice: &mut Dice) -> Result<u64, String> {
    let any_column = |dice: &mut Dice| COLUMNS.get(dice.index(COLUMNS.len())).copied();
    let columns: Vec<ColumnId> = (0..dice.index(5)).filter_map(|_| any_column(dice)).collect();
    let (predicate, truth) = predicate(expected, dice);
    let bounds = if dice.coin() { (Bound::Unbounded, Bound::Unbounded) } else { bounds(expected, dice) };
    let (reverse, limit) = (dice.one_in(3), if dice.one_in(3) { dice.below(6) } else { u64::MAX });
    let most = [2, 6, 3_000].get(dice.index(3)).copied().unwrap_or(1);
    let batch_rows = 1 + dice.index(most);
    let mut scan =
        ColumnScan::new(columns.clone()).range::<&[u8]>(bounds).limit(limit).batch_rows(batch_rows);
    if reverse {
        scan = scan.reverse();
    }
    let told = format!("{scan:?} with {predicate:?} below {}", expected.before());
    if let Some(predicate) = predicate {
        scan = scan.filter(predicate);
    }

    let mut wanted = expected_rows(expected.between(bounds), &columns, &truth, reverse, limit).into_iter();
    let mut rows = 0;
    for batch in reader.scan_columns(&scan).map_err(|error| format!("{told}: {error}"))? {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) if error.kind() == ErrorKind::MergeFailed && wanted.next() == Some(None) => continue,
            Err(error) => return Err(format!("{told}: fails behind {rows} rows: {error}")),
        };
        if !(1..=batch_rows).contains(&batch.rows()) {
            return Err(format!("{told}: a batch of {} rows", batch.rows()));
        }
        for row in 0..batch.rows() {
            let found: Vec<String> =
                batch.columns().iter().map(|(_, vector)| format!("{:?}", vector.get(row))).collect();
            let next = wanted.next();
            if next.as_ref() != Some(&Some(found.clone())) {
                return Err(format!("{told}: row {rows} is {found:?} instead of {next:?}"));
            }
            rows += 1;
        }
    }
    match wanted.next() {
        None => Ok(rows + 1),
        more => Err(format!("{told}: ends behind {rows} rows, before {more:?}")),
    }
}

/// The rows that have to come, each cell as it is shown; `None` for a key whose operands do not fold.
fn expected_rows(
    entries: &[(Vec<u8>, Seen)],
    columns: &[ColumnId],
    truth: &Truth,
    reverse: bool,
    limit: u64,
) -> Vec<Option<Vec<String>>> {
    let (mut rows, mut left) = (Vec::new(), limit);
    let in_order: Vec<_> = if reverse { entries.iter().rev().collect() } else { entries.iter().collect() };
    for (key, seen) in in_order {
        if left == 0 {
            break;
        }
        let Seen::Value(value) = seen else {
            rows.push(None);
            continue;
        };
        let cells = Cells::of(value);
        if truth(cells) != Some(true) {
            continue;
        }
        left -= 1;
        let shown = columns.iter().map(|column| {
            let datum = match *column {
                ColumnId::KEY => Datum::Bytes(key),
                ColumnId::OPAQUE if cells.is_none() => Datum::Bytes(value),
                column => cells.map_or(Datum::Null, |cells| cells.datum(column)),
            };
            format!("{datum:?}")
        });
        rows.push(Some(shown.collect()));
    }
    rows
}

fn predicate(expected: &Snapshot, dice: &mut Dice) -> (Option<Predicate<'static>>, Truth) {
    let numbers = expected.entries().iter().filter_map(|(_, seen)| match seen {
        Seen::Value(value) => Cells::of(value)?.number,
        Seen::Broken => None,
    });
    let numbers: Vec<u64> = numbers.collect();
    let any = |dice: &mut Dice| numbers.get(dice.index(numbers.len() + 1)).copied().unwrap_or(5);
    let (low, high) = (any(dice), any(dice).saturating_add(dice.below(2)));
    let number = |cells: Option<Cells>| cells.and_then(|cells| cells.number);
    match dice.below(9) {
        0 | 1 => (None, Box::new(|_| Some(true))),
        2 => (
            Some(Predicate::Compare(NUMBER, Comparison::Gt, Datum::U64(low))),
            Box::new(move |cells| Some(number(cells)? > low)),
        ),
        3 => (
            Some(Predicate::Between(NUMBER, Datum::U64(low), Datum::U64(high))),
            Box::new(move |cells| Some((low..=high).contains(&number(cells)?))),
        ),
        4 => (
            Some(Predicate::Not(Box::new(Predicate::Compare(NUMBER, Comparison::Le, Datum::U64(low))))),
            Box::new(move |cells| Some(number(cells)? > low)),
        ),
        5 => (Some(Predicate::IsNull(NUMBER)), Box::new(move |cells| Some(number(cells).is_none()))),
        6 => (
            Some(Predicate::Or(vec![
                Predicate::Compare(MARKED, Comparison::Eq, Datum::Bool(true)),
                Predicate::Compare(DOTS, Comparison::Lt, Datum::U64(3)),
            ])),
            Box::new(|cells| cells.map(|cells| cells.marked || cells.dots < 3)),
        ),
        7 => {
            let list: HashSet<u64> = (0..4).map(|_| any(dice)).collect();
            let values = list.iter().map(|number| Datum::U64(*number)).collect();
            let parts = vec![Predicate::In(NUMBER, values), Predicate::IsNotNull(SIZE)];
            let truth: Truth = Box::new(move |cells| {
                let is_in = number(cells).map(|number| list.contains(&number));
                let has_size = cells.is_some_and(|cells| cells.size().is_some());
                if has_size { is_in } else { Some(false) }
            });
            (Some(Predicate::And(parts)), truth)
        }
        _ => (Some(Predicate::Prefix(SIZE, b"lo")), Box::new(|cells| Some(cells?.size()?.starts_with("lo")))),
    }
}

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
