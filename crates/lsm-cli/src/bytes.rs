//! Keys and values on the command line: escaped, in hexadecimal, or as they are.

use std::{borrow::Cow, ffi::OsStr, os::unix::ffi::OsStrExt};

use serde::Serialize;

use crate::{failure::Failure, text};

/// How bytes are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::Args)]
pub(crate) struct Notation {
    /// Keys and values are hexadecimal digits, those given and those printed.
    #[arg(long)]
    pub(crate) hex: bool,
}

impl Notation {
    /// Bytes given as an argument.
    pub(crate) fn parse(self, argument: &'static str, text: &OsStr) -> Result<Vec<u8>, Failure> {
        if !self.hex {
            return Ok(text.as_bytes().to_vec());
        }
        text::unhex(text.as_bytes()).ok_or_else(|| Failure::Argument {
            argument,
            value: text.to_string_lossy().into_owned(),
            problem: "give pairs of hexadecimal digits with `--hex`",
        })
    }

    /// Bytes as one line of text.
    pub(crate) fn text(self, bytes: &[u8]) -> String {
        if self.hex { text::hex(bytes) } else { text::escape(bytes) }
    }

    /// Bytes as one line of at most `width` characters.
    pub(crate) fn short(self, bytes: &[u8], width: usize) -> String {
        if !self.hex {
            return text::escape_short(bytes, width);
        }
        match bytes.get(..width / 2) {
            Some(head) if head.len() < bytes.len() => {
                text::hex(head).chars().take(width - 1).chain(['…']).collect()
            }
            _ => text::hex(bytes),
        }
    }
}

/// An entry as JSON. What is not UTF-8 has its hexadecimal digits in a field of its own instead.
#[derive(Debug, Default, Serialize)]
pub(crate) struct JsonEntry<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value_hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seqno: Option<u64>,
}

impl<'a> JsonEntry<'a> {
    pub(crate) fn new(notation: Notation, key: &'a [u8], value: Option<&'a [u8]>) -> Self {
        let (key, key_hex) = split(notation, key);
        let (value, value_hex) = value.map_or((None, None), |value| split(notation, value));
        Self { key, key_hex, value, value_hex, seqno: None }
    }
}

fn split(notation: Notation, bytes: &[u8]) -> (Option<Cow<'_, str>>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) if !notation.hex => (Some(text.into()), None),
        _ => (None, Some(text::hex(bytes))),
    }
}
