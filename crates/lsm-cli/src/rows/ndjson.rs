//! A JSON object on each line.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{Row, RowError, Rows, Selection, lines::Lines};

/// Rows of newline-delimited JSON.
pub(crate) struct NdJson {
    lines: Lines,
    key: Option<String>,
    value: Option<String>,
}

impl NdJson {
    pub(super) fn new(lines: Lines, selection: &Selection) -> Self {
        Self { lines, key: selection.key.clone(), value: selection.value.clone() }
    }

    fn parse(&self, row: &mut Row) -> Result<(), RowError> {
        let fields: Fields<'_> = serde_json::from_slice(self.lines.line()).map_err(RowError::Json)?;
        let (name, key) = fields.select(self.key.as_deref())?;
        row.key.clear();
        push_scalar(key, &mut row.key).ok_or_else(|| RowError::NotAKey { name: name.to_owned() })?;
        row.value.clear();
        match &self.value {
            None => push_compact(self.lines.line(), &mut row.value),
            Some(wanted) => {
                let (_, value) = fields.select(Some(wanted))?;
                if push_scalar(value, &mut row.value).is_none() {
                    push_compact(value.get().as_bytes(), &mut row.value);
                }
            }
        }
        Ok(())
    }
}

impl Rows for NdJson {
    fn next(&mut self, row: &mut Row) -> Option<Result<(), RowError>> {
        Some(match self.lines.advance_to_text()? {
            Ok(()) => self.parse(row),
            Err(error) => Err(error),
        })
    }

    fn line(&self) -> u64 {
        self.lines.number()
    }

    fn bytes(&self) -> u64 {
        self.lines.bytes()
    }
}

/// The fields of an object, in their order, with the text of their values.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl Fields<'_> {
    /// The field named `wanted`, or the one at that place counted from 1; the first when nothing is wanted. Of two
    /// fields with one name the later one counts, as JSON readers have it.
    fn select(&self, wanted: Option<&str>) -> Result<(&str, &RawValue), RowError> {
        let fields = &self.0;
        let by_name = |name: &str| fields.iter().rev().find(|(field, _)| field == name);
        let by_place = |place: &str| fields.get(place.parse::<usize>().ok()?.checked_sub(1)?);
        let found = match wanted {
            None => Some(fields.first().ok_or(RowError::NoFields)?),
            Some(wanted) => by_name(wanted).or_else(|| by_place(wanted)),
        };
        let found = found.map(|(name, value)| (name.as_ref(), *value));
        found.ok_or_else(|| RowError::NoField { name: wanted.unwrap_or_default().to_owned() })
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    fields.push((name, map.next_value()?));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Appends the text of a string, or a number, true or false as it is written; `None` for anything else.
fn push_scalar(value: &RawValue, out: &mut Vec<u8>) -> Option<()> {
    let text = value.get();
    match text.as_bytes().first()? {
        b'"' => out.extend_from_slice(serde_json::from_str::<String>(text).ok()?.as_bytes()),
        b'{' | b'[' | b'n' => return None,
        _ => out.extend_from_slice(text.as_bytes()),
    }
    Some(())
}

/// Appends well-formed JSON without the white space between its parts. Numbers keep their digits and fields their
/// order, which a round through a parsed value would not promise.
fn push_compact(json: &[u8], out: &mut Vec<u8>) {
    let mut is_in_string = false;
    let mut is_escaped = false;
    for &byte in json {
        if is_in_string {
            is_in_string = is_escaped || byte != b'"';
            is_escaped = !is_escaped && byte == b'\\';
        } else if byte.is_ascii_whitespace() {
            continue;
        } else {
            is_in_string = byte == b'"';
        }
        out.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_goes_and_strings_stay() {
        #[track_caller]
        fn check(json: &str, expected: &str) {
            let mut out = Vec::new();
            push_compact(json.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        check(r#" { "a" : 1.0 , "b c" : [ true, "x \" } \\" ] } "#, r#"{"a":1.0,"b c":[true,"x \" } \\"]}"#);
        check(r#"{"a": "\\", "b": 12345678901234567890123}"#, r#"{"a":"\\","b":12345678901234567890123}"#);
    }
}
