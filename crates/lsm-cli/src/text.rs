//! Bytes, counts and times as people read and write them.

use std::fmt::Write as _;

/// Bytes as one line of text: UTF-8 as it is, everything that does not print and every other byte escaped. A
/// backslash is doubled, so that the text says exactly which bytes it stands for.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if c.is_ascii_control() => push_byte(&mut out, c as u8),
                c if c.is_control() => out.extend(c.escape_unicode()),
                c => out.push(c),
            }
        }
        chunk.invalid().iter().for_each(|byte| push_byte(&mut out, *byte));
    }
    out
}

fn push_byte(out: &mut String, byte: u8) {
    // Writing to a string does not fail.
    let _ = write!(out, "\\x{byte:02x}");
}

/// As [`escape`], cut to `width` characters.
pub(crate) fn escape_short(bytes: &[u8], width: usize) -> String {
    // No character of the text stands for less than a quarter of a byte.
    let text = escape(bytes.get(..4 * width).unwrap_or(bytes));
    if text.chars().count() <= width && bytes.len() <= 4 * width {
        return text;
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// The bytes that hexadecimal digits stand for; `None` for anything else.
pub(crate) fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    pairs.collect()
}

const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// An amount of bytes with its unit, to three digits.
pub(crate) fn size(bytes: u64) -> String {
    let mut amount = float(bytes);
    let mut unit = 0;
    while amount >= 1023.5 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 { format!("{bytes} {name}") } else { format!("{} {name}", three_digits(amount)) }
}

/// The amount that a size stands for: `4096`, `64KiB`, `64K`, `1 GiB`.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (amount, unit) = text.split_at(split);
    let unit: Option<u64> = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "k" | "kib" => Some(1 << 10),
        "m" | "mib" => Some(1 << 20),
        "g" | "gib" => Some(1 << 30),
        _ => None,
    };
    let bytes = unit.zip(amount.parse::<u64>().ok()).and_then(|(unit, amount)| amount.checked_mul(unit));
    bytes.ok_or_else(|| "give bytes, or a whole number with KiB, MiB or GiB".to_owned())
}

/// A count with its thousands apart.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number with its noun, in the right form.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A stretch of time in seconds.
pub(crate) fn seconds(nanos: u64) -> f64 {
    float(nanos) / 1e9
}

/// A stretch of time with its unit.
pub(crate) fn duration(nanos: u64) -> String {
    let seconds = seconds(nanos);
    if seconds < 1.0 {
        format!("{} ms", three_digits(seconds * 1e3))
    } else {
        format!("{} s", three_digits(seconds))
    }
}

/// Units per second.
pub(crate) fn rate(units: u64, nanos: u64) -> u64 {
    let rate = u128::from(units) * 1_000_000_000 / u128::from(nanos.max(1));
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// How often `b` goes into `a`.
pub(crate) fn quotient(a: u64, b: u64) -> f64 {
    float(a) / float(b)
}

#[expect(clippy::cast_precision_loss, reason = "for figures of three digits")]
fn float(amount: u64) -> f64 {
    amount as f64
}

/// A ratio, as in "2.31 times".
pub(crate) fn ratio(ratio: f64) -> String {
    format!("{ratio:.2}")
}

fn three_digits(amount: f64) -> String {
    match amount {
        amount if amount < 9.995 => format!("{amount:.2}"),
        amount if amount < 99.95 => format!("{amount:.1}"),
        amount => format!("{amount:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_escaped_without_ambiguity() {
        #[track_caller]
        fn check(bytes: &[u8], text: &str) {
            assert_eq!(escape(bytes), text);
        }
        check(b"plain", "plain");
        check("Grüße".as_bytes(), "Grüße");
        check(b"a\tb\nc\\x", "a\\tb\\nc\\\\x");
        check(b"\x00\xff\xc3", "\\x00\\xff\\xc3");
        check("\u{85}".as_bytes(), "\\u{85}");
        assert_eq!(escape_short(b"abcdef", 4), "abc…");
        assert_eq!(escape_short(b"abcd", 4), "abcd");
    }

    #[test]
    fn hexadecimal_goes_both_ways() {
        assert_eq!(unhex(hex(&[0, 15, 255]).as_bytes()), Some(vec![0, 15, 255]));
        assert_eq!(unhex(b"0"), None);
        assert_eq!(unhex(b"0g"), None);
        assert_eq!(unhex("é".as_bytes()), None);
    }

    #[test]
    fn amounts_have_units() {
        assert_eq!(
            [size(0), size(1023), size(1024), size(1 << 20)],
            ["0 B", "1023 B", "1.00 KiB", "1.00 MiB"]
        );
        assert_eq!(size(1_048_575), "1.00 MiB");
        assert_eq!(
            [parse_size("64MiB"), parse_size("4096"), parse_size("2 k")],
            [Ok(64 << 20), Ok(4096), Ok(2048)]
        );
        assert!(parse_size("99999999999GiB").is_err() && parse_size("1.5k").is_err());
        assert!(parse_size("5 apples").is_err() && parse_size("").is_err() && parse_size("-1").is_err());
        assert!(parse_size("99999999999GiB").is_err() && parse_size("1.5k").is_err());
        assert_eq!([count(0), count(999), count(1000), count(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([duration(1_500_000), duration(2_000_000_000)], ["1.50 ms", "2.00 s"]);
    }
}
