//! `lsm table`: what is in one table file. It needs no database around it, and no engine.

mod columns;

use std::{fmt, path::PathBuf};

use lsm_fs::DiskFile;
use lsm_sst::{BlockEntry, FilterId, OpenOptions, Table as Sst, TableLayout, TableOptions};
use lsm_types::{ErrorKind, KeyOrder, Kind, Slice};
use serde::Serialize;

use self::columns::ColumnReport;

use crate::{
    bytes::Notation,
    columns::splitters_of,
    failure::{Ending, Failure},
    filter_report::FilterReport,
    grid::{Align, Grid},
    keys::Keys,
    output::Output,
    text,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Table {
    /// The table file.
    file: PathBuf,
    /// Entries shown from either end.
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    entries: usize,
    /// Lists the data blocks.
    #[arg(long)]
    blocks: bool,
    /// Lists the columns of a table that stores columns.
    #[arg(long)]
    columns: bool,
    #[command(flatten)]
    notation: Notation,
}

const KEY_WIDTH: usize = 32;
const VALUE_WIDTH: usize = 40;

impl Table {
    pub(crate) fn run(self, output: &mut Output, keys: &Keys) -> Result<Ending, Failure> {
        let failed = |source: lsm::Error| Failure::OpenTable { path: self.file.clone(), source };
        let encryption = keys.encryption()?;
        let open = OpenOptions { encryption, ..OpenOptions::new(KeyOrder::bytewise()) };
        let opened = |open: OpenOptions| {
            let file = DiskFile::open(&self.file).map_err(|error| failed(error.into()))?;
            Sst::open(file, TableOptions::new().open(open)).map_err(failed)
        };
        let mut table = opened(open.clone())?;
        if table.meta().is_columnar() {
            // What takes values apart is known once the table is looked at.
            table = opened(OpenOptions { splitters: splitters_of(table.meta()), ..open })?;
        }
        let mut report = Report::new(table.meta(), self.notation);
        report.filters = FilterId::ALL.into_iter().filter_map(|id| FilterReport::read(&table, id)).collect();
        report.detours = table.meta().detours().iter().map(ToString::to_string).collect();
        if self.columns {
            report.columns = columns::read(&table)?;
        }
        let mut read = self.read_entries(&table, &mut report);
        if self.blocks {
            read = read.and_then(|()| self.read_blocks(&table, &mut report));
        }
        match read {
            // Values that another program took apart.
            Err(Failure::Engine(error)) if error.kind() == ErrorKind::OptionMismatch => {
                report.unread = Some(error.to_string());
            }
            read => read?,
        }
        output.show(&report)?;
        let filters_are_sound = report.filters.iter().all(|filter| filter.damaged_partitions == 0);
        let is_sound = report.detours.is_empty() && filters_are_sound;
        Ok(if is_sound { Ending::Clean } else { Ending::Damaged })
    }

    /// The first and the last entries.
    fn read_entries(&self, table: &Sst<DiskFile>, report: &mut Report) -> Result<(), Failure> {
        let blocks: Vec<_> = table.blocks().collect::<Result<_, _>>()?;
        for block in &blocks {
            if report.first.len() >= self.entries {
                break;
            }
            let wanted = self.entries - report.first.len();
            report.first.extend(block.load()?.entries().take(wanted).map(|entry| self.show(&entry)));
        }
        let remaining = usize::try_from(report.entries).unwrap_or(usize::MAX) - report.first.len();
        let wanted = self.entries.min(remaining);
        for block in blocks.iter().rev() {
            if report.last.len() >= wanted {
                break;
            }
            let loaded = block.load()?;
            let entries: Vec<BlockEntry> = loaded.entries().collect();
            report
                .last
                .extend(entries.iter().rev().take(wanted - report.last.len()).map(|entry| self.show(entry)));
        }
        report.last.reverse();
        Ok(())
    }

    fn read_blocks(&self, table: &Sst<DiskFile>, report: &mut Report) -> Result<(), Failure> {
        for block in table.blocks() {
            let block = block?;
            let at = block.at();
            let first_key = block.load()?.entries().next().map(|entry| self.notation.text(entry.key()));
            report.blocks.push(BlockReport {
                offset: at.handle.offset,
                stored_bytes: at.handle.len,
                rows: block.rows(),
                first_key: first_key.unwrap_or_default(),
            });
        }
        Ok(())
    }

    fn show(&self, entry: &BlockEntry) -> EntryReport {
        let kind = match entry.kind() {
            Kind::Put => "put",
            Kind::Tombstone => "delete",
            _ => "other",
        };
        let (key, value) = (entry.key(), entry.value());
        EntryReport {
            kind,
            seqno: entry.seqno().get(),
            value_bytes: value.len() as u64,
            key_text: self.notation.short(key, KEY_WIDTH),
            value_text: self.notation.short(value, VALUE_WIDTH),
            key: self.notation.text(key),
        }
    }
}

#[derive(Debug, Serialize)]
struct Report {
    id: u64,
    level: u8,
    writer: String,
    comparator: String,
    file_bytes: u64,
    entries: u64,
    keys: u64,
    deletes: u64,
    range_deletes: u64,
    data_blocks: u64,
    index_partitions: u64,
    raw_bytes: u64,
    logical_bytes: u64,
    stored_bytes: u64,
    codec: String,
    first_seqno: Option<u64>,
    last_seqno: Option<u64>,
    first_key: Option<String>,
    last_key: Option<String>,
    first: Vec<EntryReport>,
    last: Vec<EntryReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    blocks: Vec<BlockReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    columns: Vec<ColumnReport>,
    /// Why entries are not shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    unread: Option<String>,
    filters: Vec<FilterReport>,
    /// Damage that was got around while opening.
    detours: Vec<String>,
}

#[derive(Debug, Serialize)]
struct EntryReport {
    key: String,
    seqno: u64,
    kind: &'static str,
    value_bytes: u64,
    #[serde(skip)]
    key_text: String,
    #[serde(skip)]
    value_text: String,
}

#[derive(Debug, Serialize)]
struct BlockReport {
    offset: u64,
    stored_bytes: u32,
    rows: u64,
    first_key: String,
}

impl Report {
    fn new(layout: &TableLayout, notation: Notation) -> Self {
        let properties = layout.properties();
        let counters = &properties.counters;
        let key = |pick: fn(&(Slice, Slice)) -> &Slice| {
            properties.keys.as_ref().map(|keys| notation.text(pick(keys)))
        };
        Self {
            id: properties.table_id.get(),
            level: properties.level.get(),
            writer: properties.writer.clone(),
            comparator: properties.comparator.clone(),
            file_bytes: layout.file_len(),
            entries: counters.entries,
            keys: counters.distinct_keys,
            deletes: counters.tombstones + counters.weak_tombstones,
            range_deletes: counters.range_tombstones,
            data_blocks: counters.data_blocks,
            index_partitions: counters.index_partitions,
            raw_bytes: counters.raw_key_bytes + counters.raw_value_bytes,
            logical_bytes: counters.data_logical_bytes,
            stored_bytes: counters.data_stored_bytes,
            codec: format!("{:?}", layout.codec()).to_lowercase(),
            first_seqno: layout.seqnos().map(|seqnos| seqnos.min.get()),
            last_seqno: layout.seqnos().map(|seqnos| seqnos.max.get()),
            first_key: key(|keys| &keys.0),
            last_key: key(|keys| &keys.1),
            first: Vec::new(),
            last: Vec::new(),
            blocks: Vec::new(),
            columns: Vec::new(),
            unread: None,
            filters: Vec::new(),
            detours: Vec::new(),
        }
    }

    fn properties(&self) -> Grid {
        let mut grid = Grid::new(&[("", Align::Left), ("", Align::Left)]);
        let mut row = |name: &str, fact: String| grid.row([name.to_owned(), fact]);
        row("table", format!("{}, written for level {} by {}", self.id, self.level, self.writer));
        row("order of keys", self.comparator.clone());
        row("file", text::size(self.file_bytes));
        row(
            "entries",
            format!(
                "{} of {}, {}, {}",
                text::count(self.entries),
                text::counted(self.keys, "key", "keys"),
                text::counted(self.deletes, "delete", "deletes"),
                text::counted(self.range_deletes, "range delete", "range deletes"),
            ),
        );
        row("keys and values", text::size(self.raw_bytes));
        row(
            "data blocks",
            format!(
                "{}, {} before and {} after compression, {}",
                text::count(self.data_blocks),
                text::size(self.logical_bytes),
                text::size(self.stored_bytes),
                self.codec,
            ),
        );
        row("index partitions", text::count(self.index_partitions));
        for filter in &self.filters {
            row(filter.name, filter.to_string());
        }
        if let (Some(first), Some(last)) = (self.first_seqno, self.last_seqno) {
            row("sequence numbers", format!("{} to {}", text::count(first), text::count(last)));
        }
        grid
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.properties())?;
        for (heading, entries) in [("first entries", &self.first), ("last entries", &self.last)] {
            if entries.is_empty() {
                continue;
            }
            let mut grid = Grid::new(&[
                ("seqno", Align::Right),
                ("kind", Align::Left),
                ("key", Align::Left),
                ("value", Align::Left),
            ]);
            for entry in entries {
                let seqno = text::count(entry.seqno);
                grid.row([seqno, entry.kind.to_owned(), entry.key_text.clone(), entry.value_text.clone()]);
            }
            write!(f, "\n{heading}\n{grid}")?;
        }
        if !self.blocks.is_empty() {
            let mut grid = Grid::new(&[
                ("offset", Align::Right),
                ("stored", Align::Right),
                ("rows", Align::Right),
                ("first key", Align::Left),
            ]);
            for block in &self.blocks {
                let stored = text::size(block.stored_bytes.into());
                let key = block.first_key.chars().take(VALUE_WIDTH).collect();
                grid.row([text::count(block.offset), stored, text::count(block.rows), key]);
            }
            write!(f, "\ndata blocks\n{grid}")?;
        }
        if !self.columns.is_empty() {
            write!(f, "\ncolumns\n{}", columns::grid(&self.columns))?;
        }
        if let Some(why) = &self.unread {
            writeln!(f, "\nentries cannot be shown: {why}")?;
        }
        for detour in &self.detours {
            writeln!(f, "\ndamaged, but read another way: {detour}")?;
        }
        Ok(())
    }
}
