//! Rows of ten columns: a pure function of their number and a seed.

use crate::data::mix;

/// Columns of a row.
pub(super) const COLUMNS: usize = 10;

/// Place of the column that filters ask.
pub(super) const PRICE: usize = 4;

/// Prices lie below this, evenly spread.
pub(super) const PRICES: u64 = 1_000_000;

/// Bytes of a value: the columns as packed fields.
pub(super) const VALUE_BYTES: usize = 52;

/// Name and bytes of each column; all hold unsigned integers but for the two marked ones.
pub(super) const FIELDS: [(&str, usize); COLUMNS] = [
    ("id", 8),
    ("at", 8),
    ("user", 4),
    ("status", 1),
    ("price", 4),
    ("quantity", 2),
    ("latitude", 8),
    ("longitude", 8),
    ("channel", 1),
    ("noise", 8),
];

/// Whether the column holds floats of eight bytes.
pub(super) const fn is_float(column: usize) -> bool {
    column == 6 || column == 7
}

/// The columns of row `number` as bits.
pub(super) fn row(number: u64, seed: u64) -> [u64; COLUMNS] {
    let dice = |what: u64| mix(number ^ mix(seed ^ what << 56));
    [
        number,
        1_700_000_000_000 + number * 40 + dice(1) % 40,
        dice(2) % 50_000,
        // Most are done, a few are in another of five states.
        (dice(3) % 64).saturating_sub(59),
        dice(4) % PRICES,
        1 + dice(5) % 20,
        degrees(dice(6), 180.0),
        degrees(dice(7), 360.0),
        dice(8) % 3,
        dice(9),
    ]
}

/// A number of hundredths of a degree, as bits.
fn degrees(dice: u64, all: f64) -> u64 {
    ((dice % 10_000) as f64 / 10_000.0).mul_add(all, -all / 2.0).to_bits()
}

/// Of so many rows, deletes are drawn alike.
const STRETCH: u64 = 1000;

/// The rows that are deleted when `share` of a hundred are: the first ones of each thousand.
pub(super) fn deleted(rows: u64, share: u64) -> impl Iterator<Item = std::ops::Range<u64>> {
    let starts = (0..rows).step_by(STRETCH as usize);
    starts.map(move |start| start..rows.min(start + share * STRETCH / 100)).filter(|range| !range.is_empty())
}

/// Whether row `number` is one of them.
pub(super) fn is_deleted(number: u64, share: u64) -> bool {
    number % STRETCH < share * STRETCH / 100
}

/// Key of row `number`; keys ascend with their numbers.
pub(super) fn key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// The columns as packed fields, little-endian.
pub(super) fn value(row: &[u64; COLUMNS]) -> Vec<u8> {
    let mut value = Vec::with_capacity(VALUE_BYTES);
    for (bits, (_, width)) in row.iter().zip(FIELDS) {
        value.extend_from_slice(bits.to_le_bytes().get(..width).unwrap_or_default());
    }
    value
}

/// The columns of a value.
pub(super) fn fields(value: &[u8]) -> [u64; COLUMNS] {
    let mut rest = value;
    FIELDS.map(|(_, width)| {
        let (field, tail) = rest.split_at_checked(width).unwrap_or((rest, &[]));
        rest = tail;
        bits(field)
    })
}

/// Up to eight little-endian bytes.
pub(super) fn bits(field: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    for (to, from) in bytes.iter_mut().zip(field) {
        *to = *from;
    }
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deleted_rows_are_those_that_are_asked_for() {
        for share in [0, 1, 50] {
            let listed: Vec<u64> = deleted(3500, share).flatten().collect();
            assert!(listed.iter().copied().eq((0..3500).filter(|number| is_deleted(*number, share))));
        }
        assert_eq!(deleted(3500, 1).flatten().count(), 40);
    }

    #[test]
    fn fields_come_back() {
        for number in [0, 1, 77, u64::from(u32::MAX)] {
            let row = row(number, 5);
            assert_eq!(value(&row).len(), VALUE_BYTES);
            assert_eq!(fields(&value(&row)), row);
        }
    }
}
