//! `lsm load`: rows of a text file, become entries, while a thread beside it flushes and compacts.
//!
//! What a flush has made durable is said at once on standard error (`durable: N lines`), and the number is stored with
//! the flush, in the same step: a load that was killed goes on after exactly these lines.
//!
//! With `--sorted` rows become tables directly, all in one step at the end. The first row out of order ends that: what came
//! before it is made durable, and the rest goes the usual way.

mod mark;

use std::{fmt, ops::RangeInclusive, path::PathBuf, sync::Arc};

use lsm::{
    ErrorKind, SeqNo,
    columnar::{ColumnSplitter, RowCells, Schema},
    tree::{Cancel, IngestOptions, Ingestion, Reader, Token, Tree},
};
use lsm_fs::SystemClock;
use lsm_types::Clock;
use serde::Serialize;

use self::mark::Mark;
use crate::{
    columns,
    commands::write::next_seqno,
    database,
    failure::{Ending, Failure, causes},
    grid::{Align, Grid},
    interrupt,
    keys::Keys,
    levels::Levels,
    maintenance::Maintenance,
    output::Output,
    process,
    progress::Progress,
    rows::{self, Format, Row, RowError, Rows, Selection},
    text,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Load {
    /// Directory of the database; made when nothing is there.
    db: PathBuf,
    /// The file, `-` for standard input.
    file: PathBuf,
    /// How rows are written; by default what the name of the file says.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Column of the key: a name, or a number from 1. Default: the first.
    #[arg(long, value_name = "COLUMN")]
    key: Option<String>,
    /// Column to store as the value. Default: the whole row, as a JSON object.
    #[arg(long, value_name = "COLUMN")]
    value: Option<String>,
    /// Stores rows as typed columns: `id:u64,name:text,born:i32?`, where `?` allows for empty fields. Columns are found by
    /// their names in the first line; without one they are all columns, in order. With TSV and CSV.
    #[arg(long, value_name = "COLUMNS", conflicts_with = "value")]
    schema: Option<String>,
    /// The first line is a row; columns are named 1, 2, 3 and so on.
    #[arg(long)]
    no_header: bool,
    /// What to do with a line that is no row.
    #[arg(long, value_enum, default_value_t = OnError::Stop)]
    on_error: OnError,
    /// Goes on after the lines that an earlier load of the same file made durable.
    #[arg(long)]
    resume: bool,
    /// The rows come in the order of their keys, each key once: they are written to tables at once, and durable together,
    /// when the last one is read. From a row out of order on the load goes on as without this.
    #[arg(long)]
    sorted: bool,
    /// Memory that fills with rows before they are written to a table.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = parse_write_buffer)]
    write_buffer: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum OnError {
    /// What came before the line is made durable, and the load stops.
    Stop,
    /// The line is passed over, shown and counted.
    Skip,
}

/// A memtable takes about a hundred KiB before anything is in it; and there is an end to what it can take.
const WRITE_BUFFER_RANGE: RangeInclusive<u64> = 256 << 10..=1 << 30;

fn parse_write_buffer(text: &str) -> Result<u64, String> {
    let bytes = text::parse_size(text)?;
    if WRITE_BUFFER_RANGE.contains(&bytes) { Ok(bytes) } else { Err("give 256KiB to 1GiB".to_owned()) }
}

/// Bad lines that are shown one by one.
const SHOWN_MAX: u64 = 20;
/// Rows between two looks at the cancel flag and moves of the bar.
const LOOK_EVERY: u64 = 256;

impl Load {
    pub(crate) fn run(self, output: &mut Output, keys: &Keys) -> Result<Ending, Failure> {
        let cancel = interrupt::cancel_on_signal()?;
        let clock = SystemClock::new();
        let input = self.file.display().to_string();
        let Some(format) = self.format.or_else(|| Format::of_name(&self.file)) else {
            return Err(Failure::UnknownFormat { input });
        };
        // The input first: a load that cannot begin makes no database.
        let (bytes, len) = rows::open(&self.file, &cancel)?;
        let schema = self.schema(format)?;
        let names = |schema: &Schema| schema.columns().iter().map(|c| c.name().to_owned()).collect();
        let selection = Selection {
            key: self.key.clone(),
            value: self.value.clone(),
            fields: schema.as_ref().map(names),
            has_heading: !self.no_header,
        };
        let rows = rows::read(bytes, format, &selection);
        // An interrupted input ends early; what that looks like is no news.
        interrupt::check(&cancel)?;
        let rows =
            rows.map_err(|source| Failure::Input { input: input.clone(), format: format.name(), source })?;
        let splitter = schema.clone().map(columns::splitter).transpose()?;
        let columns = schema.map(columns::policy).transpose()?;
        let tree = database::open_or_create(&self.db, keys, columns)?;
        let start = clock.monotonic_nanos();
        let progress = Arc::new(Progress::bytes("loading", len));
        let seqno = next_seqno(&tree);
        let options = IngestOptions::at(seqno).cancel(cancel.clone());
        let ingestion = if self.sorted { Some(tree.ingest(options)?) } else { None };
        let mut loader = Loader {
            seqno,
            tree: &tree,
            ingestion,
            rows,
            row: Row::default(),
            splitter,
            cells: RowCells::new(),
            mark: Mark::default(),
            tally: Tally::default(),
            cancel: &cancel,
            progress: &progress,
            settings: &self,
        };
        if self.resume {
            loader.pass_over_loaded(&input)?;
        }
        let outcome = loader.run(&input);
        let tally = loader.tally;
        drop(progress);
        if let Err(Failure::Interrupted { .. }) = outcome {
            let durable = tree.recovered_token().and_then(|token| Mark::of_token(&token)).unwrap_or_default();
            let note = format!(
                "; {} durable, `lsm load --resume` goes on from there",
                text::counted(durable.records, "line is", "lines are")
            );
            return Err(Failure::Interrupted { note });
        }
        outcome?;
        let levels = Levels::of(&tree);
        tree.close()?;
        let nanos = clock.monotonic_nanos() - start;
        let rate = text::rate(tally.rows, nanos);
        let peak = process::peak_memory_bytes();
        output.show(&Report {
            rows: tally.rows,
            bad_lines: tally.bad,
            kept_whole: tally.kept_whole,
            resumed_after: tally.resumed_after,
            bytes: tally.bytes,
            seconds: text::seconds(nanos),
            rows_per_second: rate,
            peak_memory_bytes: peak,
            levels,
            nanos,
        })?;
        Ok(Ending::Clean)
    }

    fn schema(&self, format: Format) -> Result<Option<Schema>, Failure> {
        let Some(text) = &self.schema else { return Ok(None) };
        if format == Format::Ndjson {
            let problem = "columns are taken from TSV and CSV";
            return Err(Failure::Argument { argument: "--schema", value: text.clone(), problem });
        }
        let schema = columns::parse_schema(text);
        schema.map(Some).map_err(|source| Failure::Schema { text: text.clone(), source })
    }
}

/// What a load has done so far.
#[derive(Clone, Copy, Default)]
struct Tally {
    rows: u64,
    bad: u64,
    /// Rows with a field that its column does not take.
    kept_whole: u64,
    bytes: u64,
    resumed_after: u64,
}

/// A load under way.
struct Loader<'a> {
    tree: &'a Tree,
    /// Takes rows as long as they ascend.
    ingestion: Option<Ingestion>,
    rows: Box<dyn Rows>,
    row: Row,
    /// What takes rows apart, where there is a schema.
    splitter: Option<Arc<dyn ColumnSplitter>>,
    cells: RowCells,
    seqno: SeqNo,
    mark: Mark,
    tally: Tally,
    cancel: &'a Cancel,
    progress: &'a Arc<Progress>,
    settings: &'a Load,
}

impl Loader<'_> {
    /// Reads the lines that are in the database already, and makes sure that they are the ones.
    fn pass_over_loaded(&mut self, input: &str) -> Result<(), Failure> {
        let stored = match self.tree.recovered_token().and_then(|token| Mark::of_token(&token)) {
            Some(mark) => mark,
            // The earlier load was stopped before its first flush.
            None if self.tree.is_empty()? => Mark::default(),
            None => return Err(Failure::NothingToResume),
        };
        while self.mark.records < stored.records {
            if self.mark.records.is_multiple_of(LOOK_EVERY) {
                interrupt::check(self.cancel)?;
                self.progress.set(self.rows.bytes());
            }
            match self.rows.next(&mut self.row) {
                Some(Ok(())) => self.mark.add(&self.row),
                Some(Err(error)) if error.is_fatal() => return Err(self.row_failure(input, error)),
                Some(Err(_)) => self.mark.add_bad(),
                None => break,
            }
        }
        interrupt::check(self.cancel)?;
        if self.mark != stored {
            return Err(Failure::OtherInput { input: input.to_owned(), records: stored.records });
        }
        self.tally.resumed_after = stored.records;
        Ok(())
    }

    /// Loads everything and makes it durable; also what came before a line that stops the load.
    fn run(&mut self, input: &str) -> Result<(), Failure> {
        let progress = self.progress.clone();
        let maintenance = Maintenance::start(self.tree.clone(), self.cancel.clone(), move |report| {
            if let Some(mark) = report.log_token.as_ref().and_then(Mark::of_token) {
                progress.note(&format!("durable: {} lines", mark.records));
            }
        })?;
        let outcome = self.read_rows(input, &maintenance);
        if !self.cancel.is_cancelled() {
            self.end_ingestion()?;
            maintenance.hand_over(self.token()?);
        }
        maintenance.finish()?;
        interrupt::check(self.cancel)?;
        outcome
    }

    fn read_rows(&mut self, input: &str, maintenance: &Maintenance) -> Result<(), Failure> {
        loop {
            if self.mark.records.is_multiple_of(LOOK_EVERY) {
                interrupt::check(self.cancel)?;
                self.progress.set(self.rows.bytes());
            }
            let memtable_bytes = match self.rows.next(&mut self.row) {
                None => return Ok(()),
                Some(Ok(())) => self.store(input)?,
                Some(Err(error)) => {
                    self.bad_line(input, error)?;
                    self.mark.add_bad();
                    continue;
                }
            };
            if memtable_bytes > self.settings.write_buffer && !maintenance.hand_over(self.token()?) {
                // The thread has failed: what it met is the answer.
                return Ok(());
            }
        }
    }

    /// Writes the row; returns the bytes of the memtable.
    fn store(&mut self, input: &str) -> Result<u64, Failure> {
        let mut stored = match &mut self.ingestion {
            Some(ingestion) => ingestion.put(&self.row.key, &self.row.value).map(|()| 0),
            None => self.insert(),
        };
        if stored.as_ref().is_err_and(|error| error.kind() == ErrorKind::OutOfOrder) {
            let line = self.rows.line();
            self.progress
                .note(&format!("not sorted: {input}, line {line}; the rest is loaded through memory"));
            self.end_ingestion()?;
            stored = self.insert();
        }
        match stored {
            Ok(memtable_bytes) => {
                self.mark.add(&self.row);
                self.tally.rows += 1;
                if let Some(splitter) = &self.splitter
                    && !self.cells.split(splitter.as_ref(), &self.row.value)
                {
                    self.tally.kept_whole += 1;
                }
                self.tally.bytes += (self.row.key.len() + self.row.value.len()) as u64;
                Ok(memtable_bytes)
            }
            Err(error) if is_about_the_row(error.kind()) => {
                self.bad_line(input, RowError::Refused(error))?;
                self.mark.add(&self.row);
                Ok(0)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn insert(&mut self) -> lsm::Result<u64> {
        let info = self.tree.insert(&self.row.key, &self.row.value, self.seqno)?;
        self.seqno = self.seqno.next();
        Ok(info.memtable_bytes)
    }

    /// Makes what was ingested part of the tree; what comes later has higher numbers.
    fn end_ingestion(&mut self) -> Result<(), Failure> {
        let Some(ingestion) = self.ingestion.take() else { return Ok(()) };
        ingestion.finish()?;
        self.seqno = self.seqno.next();
        if self.tally.rows > 0 {
            self.progress.note(&format!("durable: {} lines", self.mark.records));
        }
        Ok(())
    }

    /// Counts and shows a line that is no row, or stops.
    fn bad_line(&mut self, input: &str, error: RowError) -> Result<(), Failure> {
        if self.settings.on_error == OnError::Stop || error.is_fatal() {
            return Err(self.row_failure(input, error));
        }
        self.tally.bad += 1;
        if self.tally.bad <= SHOWN_MAX {
            let line = self.rows.line();
            self.progress.note(&format!("passed over: {input}, line {line}: {}", causes(&error)));
        } else if self.tally.bad == SHOWN_MAX + 1 {
            self.progress.note("passed over: more lines like these, which are only counted");
        }
        Ok(())
    }

    fn row_failure(&self, input: &str, source: RowError) -> Failure {
        Failure::Row { input: input.to_owned(), line: self.rows.line(), source }
    }

    fn token(&self) -> Result<Token, Failure> {
        Ok(self.mark.token()?)
    }
}

const fn is_about_the_row(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::InvalidKey | ErrorKind::ValueTooLarge | ErrorKind::EntryTooLarge)
}

#[derive(Debug, Serialize)]
struct Report {
    rows: u64,
    bad_lines: u64,
    kept_whole: u64,
    resumed_after: u64,
    bytes: u64,
    seconds: f64,
    rows_per_second: u64,
    peak_memory_bytes: Option<u64>,
    levels: Levels,
    #[serde(skip)]
    nanos: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut grid = Grid::new(&[("", Align::Left), ("", Align::Right), ("", Align::Left)]);
        let mut row = |name: &str, figure: String, note: String| grid.row([name.to_owned(), figure, note]);
        row("rows", text::count(self.rows), "all durable".to_owned());
        if self.resumed_after > 0 {
            row("durable before", text::count(self.resumed_after), "lines of the earlier load".to_owned());
        }
        if self.bad_lines > 0 {
            row("passed over", text::count(self.bad_lines), "lines that are no rows".to_owned());
        }
        if self.kept_whole > 0 {
            row("kept whole", text::count(self.kept_whole), "rows that do not go with the schema".to_owned());
        }
        row("keys and values", text::size(self.bytes), String::new());
        let rate = format!("{} rows/s", text::count(self.rows_per_second));
        row("time", text::duration(self.nanos), rate);
        if let Some(peak) = self.peak_memory_bytes {
            row("peak memory", text::size(peak), String::new());
        }
        write!(f, "{grid}\n{}", self.levels)
    }
}
