//! Where reports go: text for people, JSON for programs.

use std::{
    fmt::Display,
    io::{self, BufWriter, Stdout, Write},
};

use serde::Serialize;

use crate::failure::Failure;

/// Standard output, and the choice between text and JSON.
#[derive(Debug)]
pub(crate) struct Output {
    writer: BufWriter<Stdout>,
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { writer: BufWriter::with_capacity(64 << 10, io::stdout()), json }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Shows a report: as it displays, or as one line of JSON.
    pub(crate) fn show<T: Serialize + Display>(&mut self, report: &T) -> Result<(), Failure> {
        if self.json { self.line(report) } else { self.write(format_args!("{report}")) }
    }

    /// Writes one line of JSON.
    pub(crate) fn line<T: Serialize>(&mut self, report: &T) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.writer, report).map_err(|error| Failure::Output(error.into()))?;
        self.bytes(b"\n")
    }

    /// Writes text.
    pub(crate) fn write(&mut self, text: std::fmt::Arguments<'_>) -> Result<(), Failure> {
        self.writer.write_fmt(text).map_err(Failure::Output)
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.writer.write_all(bytes).map_err(Failure::Output)
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.writer.flush().map_err(Failure::Output)
    }
}
