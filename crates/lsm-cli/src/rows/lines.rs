//! Lines with their numbers.

use std::io::{self, BufRead, BufReader, Read};

use lsm::types::MAX_VALUE_LEN;

use super::RowError;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Lines of text, one at a time.
pub(super) struct Lines {
    input: BufReader<Box<dyn Read>>,
    line: Vec<u8>,
    number: u64,
    bytes: u64,
}

impl Lines {
    pub(super) fn new(input: Box<dyn Read>) -> Self {
        Self { input: BufReader::with_capacity(256 << 10, input), line: Vec::new(), number: 0, bytes: 0 }
    }

    /// Goes to the next line; `None` at the end. [`Lines::line`] is the line then.
    pub(super) fn advance(&mut self) -> Option<Result<(), RowError>> {
        self.line.clear();
        let read = (&mut self.input).take(MAX_VALUE_LEN as u64).read_until(b'\n', &mut self.line);
        match read {
            Ok(0) => return None,
            Ok(len) => self.bytes += len as u64,
            Err(error) => return Some(Err(RowError::Read(error))),
        }
        self.number += 1;
        if self.line.len() >= MAX_VALUE_LEN && !self.line.ends_with(b"\n") {
            return Some(
                self.pass_over().map_err(RowError::Read).and(Err(RowError::TooLong { max: MAX_VALUE_LEN })),
            );
        }
        if self.number == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
            self.line.drain(..BYTE_ORDER_MARK.len());
        }
        Some(Ok(()))
    }

    /// Drops what is left of a line that is too long.
    fn pass_over(&mut self) -> io::Result<()> {
        self.line.clear();
        self.bytes += self.input.skip_until(b'\n')? as u64;
        Ok(())
    }

    /// The line, with its end.
    pub(super) fn raw(&self) -> &[u8] {
        &self.line
    }

    /// The line without its end.
    pub(super) fn line(&self) -> &[u8] {
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        line.strip_suffix(b"\r").unwrap_or(line)
    }

    /// Goes to the next line that is not empty.
    pub(super) fn advance_to_text(&mut self) -> Option<Result<(), RowError>> {
        loop {
            match self.advance() {
                Some(Ok(())) if self.line().is_empty() => {}
                other => return other,
            }
        }
    }

    /// Number of the line; the first is 1.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Bytes used up so far.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }
}
