//! Fields between tabs or commas.

use csv_core::ReadRecordResult;
use lsm::types::MAX_VALUE_LEN;

use super::{Row, RowError, Rows, Selection, lines::Lines};

/// Rows of TSV: the fields are what stands between the tabs, quotes mean nothing.
pub(crate) struct Tsv {
    lines: Lines,
    columns: Columns,
    /// The first line, when it is a row.
    is_first_pending: bool,
}

impl Tsv {
    pub(super) fn new(mut lines: Lines, selection: &Selection) -> Result<Self, RowError> {
        let Some(first) = lines.advance_to_text() else {
            return Ok(Self { lines, columns: Columns::of_nothing(selection)?, is_first_pending: false });
        };
        first?;
        let columns = Columns::new(fields(lines.line()), selection)?;
        Ok(Self { lines, columns, is_first_pending: !selection.has_heading })
    }
}

/// The fields of a line.
fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b'\t')
}

impl Rows for Tsv {
    fn next(&mut self, row: &mut Row) -> Option<Result<(), RowError>> {
        if !std::mem::take(&mut self.is_first_pending)
            && let Err(error) = self.lines.advance_to_text()?
        {
            return Some(Err(error));
        }
        Some(self.columns.fill(fields(self.lines.line()), row))
    }

    fn line(&self) -> u64 {
        self.lines.number()
    }

    fn bytes(&self) -> u64 {
        self.lines.bytes()
    }
}

/// Rows of CSV: a quoted field may hold commas, line ends, and quotes written twice.
pub(crate) struct Csv {
    records: Records,
    columns: Columns,
    is_first_pending: bool,
}

impl Csv {
    pub(super) fn new(lines: Lines, selection: &Selection) -> Result<Self, RowError> {
        let mut records = Records::new(lines);
        let Some(first) = records.advance() else {
            return Ok(Self { records, columns: Columns::of_nothing(selection)?, is_first_pending: false });
        };
        first?;
        let columns = Columns::new(records.fields(), selection)?;
        Ok(Self { records, columns, is_first_pending: !selection.has_heading })
    }
}

impl Rows for Csv {
    fn next(&mut self, row: &mut Row) -> Option<Result<(), RowError>> {
        if !std::mem::take(&mut self.is_first_pending)
            && let Err(error) = self.records.advance()?
        {
            return Some(Err(error));
        }
        Some(self.columns.fill(self.records.fields(), row))
    }

    fn line(&self) -> u64 {
        self.records.start
    }

    fn bytes(&self) -> u64 {
        self.records.lines.bytes()
    }
}

/// CSV records. The parser is fed line by line, so that the line on which a record begins is known.
struct Records {
    lines: Lines,
    parser: csv_core::Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
    text_len: usize,
    ends_len: usize,
    start: u64,
}

impl Records {
    fn new(lines: Lines) -> Self {
        let (text, ends) = (vec![0; 1 << 10], vec![0; 1 << 5]);
        Self { lines, parser: csv_core::Reader::new(), text, ends, text_len: 0, ends_len: 0, start: 0 }
    }

    /// Goes to the next record; `None` at the end.
    fn advance(&mut self) -> Option<Result<(), RowError>> {
        (self.text_len, self.ends_len) = (0, 0);
        if let Err(error) = self.lines.advance_to_text()? {
            self.start = self.lines.number();
            return Some(Err(error));
        }
        self.start = self.lines.number();
        loop {
            match self.feed_line() {
                Fed::Record => return Some(Ok(())),
                Fed::Torn => return Some(Err(RowError::StrayReturn)),
                Fed::More => {}
            }
            if self.text_len > MAX_VALUE_LEN {
                self.parser = csv_core::Reader::new();
                return Some(Err(RowError::TooLong { max: MAX_VALUE_LEN }));
            }
            match self.lines.advance() {
                Some(Ok(())) => {}
                Some(Err(error)) => return Some(Err(error)),
                None => {
                    self.parser = csv_core::Reader::new();
                    return Some(Err(RowError::OpenQuote));
                }
            }
        }
    }

    /// Feeds one line to the parser.
    fn feed_line(&mut self) -> Fed {
        let line = self.lines.raw();
        let end: &[u8] = if line.ends_with(b"\n") { &[] } else { b"\n" };
        for mut rest in [line, end] {
            while !rest.is_empty() {
                let text = self.text.get_mut(self.text_len..).unwrap_or_default();
                let ends = self.ends.get_mut(self.ends_len..).unwrap_or_default();
                let (outcome, used, text_added, ends_added) = self.parser.read_record(rest, text, ends);
                rest = rest.get(used..).unwrap_or_default();
                self.text_len += text_added;
                self.ends_len += ends_added;
                match outcome {
                    ReadRecordResult::OutputFull => self.text.resize(2 * self.text.len(), 0),
                    ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                    ReadRecordResult::Record => {
                        // Nothing may be left of the line but the second half of its end.
                        let is_end = rest.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
                        return if is_end { Fed::Record } else { Fed::Torn };
                    }
                    ReadRecordResult::InputEmpty | ReadRecordResult::End => {}
                }
            }
        }
        Fed::More
    }

    fn fields(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self.ends.get(..self.ends_len).unwrap_or_default();
        let mut start = 0;
        ends.iter().map(move |&end| {
            let field = self.text.get(start..end).unwrap_or_default();
            start = end;
            field
        })
    }
}

/// What a line did to the record under way.
enum Fed {
    /// It ended it.
    Record,
    /// It ended it before its own end.
    Torn,
    /// The record goes on with the next line.
    More,
}

/// The columns, and how a row is made of them.
struct Columns {
    names: Vec<String>,
    /// For each column, the name as JSON with what stands before and after it: `{"a":` and `,"b":`.
    heads: Vec<Vec<u8>>,
    key: usize,
    value: Value,
}

/// What the value of a row is.
enum Value {
    /// The row, as JSON.
    Row,
    Column(usize),
    /// These columns, with tabs between them.
    Columns(Vec<usize>),
}

impl Columns {
    /// Columns as the first line has them.
    fn new<'a>(first: impl Iterator<Item = &'a [u8]>, selection: &Selection) -> Result<Self, RowError> {
        let names: Vec<String> = if selection.has_heading {
            let names =
                first.map(|name| String::from_utf8(name.to_vec()).map_err(|_| RowError::HeadingNotUtf8));
            names.collect::<Result<_, _>>()?
        } else {
            (1..=first.count()).map(|number| number.to_string()).collect()
        };
        let key = selection.key.as_deref().map_or(Ok(0), |wanted| place_of(wanted, &names))?;
        let value = match (&selection.value, &selection.fields) {
            (Some(wanted), _) => Value::Column(place_of(wanted, &names)?),
            (None, None) => Value::Row,
            (None, Some(wanted)) if selection.has_heading => Value::Columns(
                wanted.iter().map(|wanted| place_of(wanted, &names)).collect::<Result<_, _>>()?,
            ),
            (None, Some(wanted)) if wanted.len() == names.len() => Value::Columns((0..names.len()).collect()),
            (None, Some(wanted)) => {
                return Err(RowError::ColumnCount { found: names.len(), expected: wanted.len() });
            }
        };
        let mut seen = std::collections::BTreeSet::new();
        let is_named = !matches!(value, Value::Column(_));
        if let Some(name) = names.iter().find(|name| is_named && !seen.insert(name.as_str())) {
            return Err(RowError::TwiceInHeading { name: name.clone() });
        }
        let heads = names.iter().enumerate().map(|(at, name)| {
            let mut head = vec![if at == 0 { b'{' } else { b',' }];
            push_json(name, &mut head);
            head.push(b':');
            head
        });
        Ok(Self { heads: heads.collect(), names, key, value })
    }

    /// Columns of an input without a line.
    fn of_nothing(selection: &Selection) -> Result<Self, RowError> {
        if selection.has_heading {
            return Err(RowError::NoHeading);
        }
        Ok(Self { names: Vec::new(), heads: Vec::new(), key: 0, value: Value::Row })
    }

    /// Makes the row of these fields.
    fn fill<'a>(&self, fields: impl Iterator<Item = &'a [u8]>, row: &mut Row) -> Result<(), RowError> {
        row.key.clear();
        row.value.clear();
        if let Value::Columns(columns) = &self.value {
            return self.fill_typed(columns, &fields.collect::<Vec<_>>(), row);
        }
        let mut found = 0;
        for (at, field) in fields.enumerate() {
            found += 1;
            if at == self.key {
                row.key.extend_from_slice(field);
            }
            match (&self.value, self.heads.get(at)) {
                (Value::Row, Some(head)) => {
                    let name = || RowError::NotUtf8 { name: self.names.get(at).cloned().unwrap_or_default() };
                    row.value.extend_from_slice(head);
                    push_json(std::str::from_utf8(field).map_err(|_| name())?, &mut row.value);
                }
                (Value::Column(value), _) if *value == at => row.value.extend_from_slice(field),
                _ => {}
            }
        }
        if found != self.names.len() {
            return Err(RowError::FieldCount { found, expected: self.names.len() });
        }
        if let Value::Row = self.value {
            row.value.push(b'}');
        }
        Ok(())
    }

    fn fill_typed(&self, columns: &[usize], fields: &[&[u8]], row: &mut Row) -> Result<(), RowError> {
        if fields.len() != self.names.len() {
            return Err(RowError::FieldCount { found: fields.len(), expected: self.names.len() });
        }
        row.key.extend_from_slice(fields.get(self.key).copied().unwrap_or_default());
        for (at, column) in columns.iter().enumerate() {
            let field = fields.get(*column).copied().unwrap_or_default();
            if field.contains(&b'\t') {
                let name = self.names.get(*column).cloned().unwrap_or_default();
                return Err(RowError::TabInField { name });
            }
            if at > 0 {
                row.value.push(b'\t');
            }
            row.value.extend_from_slice(field);
        }
        Ok(())
    }
}

/// The column with this name, or with this number counted from 1.
fn place_of(wanted: &str, names: &[String]) -> Result<usize, RowError> {
    let by_name = names.iter().position(|name| name == wanted);
    let by_number = || wanted.parse::<usize>().ok()?.checked_sub(1).filter(|at| *at < names.len());
    by_name.or_else(by_number).ok_or_else(|| {
        let known: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        RowError::NoColumn { name: wanted.to_owned(), known: known.join(", ") }
    })
}

/// Appends `text` as a JSON string.
fn push_json(text: &str, out: &mut Vec<u8>) {
    // Writing a string into memory does not fail.
    let _ = serde_json::to_writer(out, text);
}
