//! `lsm demo`: a directory of files becomes a database, and every byte is read back.

mod files;

use std::{collections::BTreeMap, fmt, fs, path::PathBuf};

use lsm::{
    SeqNo,
    tree::{Cancel, CompactOptions, Reader, Token, Tree},
    types::KeyHash,
};
use lsm_fs::SystemClock;
use lsm_types::Clock;
use serde::Serialize;

use self::files::{Found, find};
use crate::{
    commands::write::next_seqno,
    database,
    failure::{Ending, Failure},
    grid::{Align, Grid},
    interrupt,
    keys::Keys,
    levels::Levels,
    maintenance::{self, Maintenance},
    output::Output,
    process,
    progress::Progress,
    text,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// Directory whose files are loaded; `.git`, `target` and the database itself are left out.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Directory of the database.
    #[arg(long, default_value = "demo.lsmdb")]
    db: PathBuf,
}

/// Stored with every flush, so that a second demo knows that the database is its own to replace.
const TOKEN: &[u8] = b"demo";
/// Memory that fills before it is flushed.
const WRITE_BUFFER: u64 = 32 << 20;

impl Demo {
    pub(crate) fn run(self, output: &mut Output, keys: &Keys) -> Result<Ending, Failure> {
        let cancel = interrupt::cancel_on_signal()?;
        let clock = SystemClock::new();
        let found = find(&self.dir, &self.db)?;
        let tree = database::open_or_create(&self.db, keys, None)?;
        if !tree.is_empty()? && tree.recovered_token().is_none_or(|token| token.as_slice() != TOKEN) {
            return Err(Failure::NotTheDemo { path: self.db.clone() });
        }
        let mut run = Run { tree, cancel, clock, phases: Vec::new(), at: 0, seqno: SeqNo::ZERO };
        let report = run.all(found, &self)?;
        let Run { tree, phases, .. } = run;
        tree.close()?;
        let table = fs::read_dir(self.db.join("tables")).into_iter().flatten().flatten().next();
        output.show(&Report { phases, table: table.map(|entry| entry.path()), ..report })?;
        Ok(Ending::Clean)
    }
}

/// A demo under way.
struct Run {
    tree: Tree,
    cancel: Cancel,
    clock: SystemClock,
    phases: Vec<Phase>,
    /// When the phase began.
    at: u64,
    seqno: SeqNo,
}

/// A stored file: where it is, and what was stored of it.
struct Stored {
    path: PathBuf,
    len: u64,
    hash: KeyHash,
}

impl Run {
    fn all(&mut self, found: Found, demo: &Demo) -> Result<Report, Failure> {
        self.at = self.clock.monotonic_nanos();
        self.seqno = next_seqno(&self.tree);
        let mut skipped = found.skipped;
        let (stored, gone) = self.load(found.files, &mut skipped)?;
        let bytes: u64 = stored.values().map(|file| file.len).sum();
        let key_bytes: u64 = stored.keys().map(|key| key.len() as u64).sum();
        let files = stored.len() as u64;
        self.end("load and flush", files, bytes);
        let changed = self.read_back(&stored)?;
        self.end("read back, compare", files, bytes);
        let scanned = self.scan(&stored, false)?;
        self.end("scan forward", files, scanned);
        let scanned = self.scan(&stored, true)?;
        self.end("scan backward", files, scanned);
        let before = self.tree.stats().file_bytes();
        maintenance::settle(&self.tree, &self.cancel)?;
        let options = CompactOptions::default().cancel(self.cancel.clone());
        self.tree.major_compact(&options)?;
        self.end("compact", files, before);
        let checked = self.tree.verify()?;
        if let Some(finding) = checked.damage().next() {
            return Err(finding.error.clone().into());
        }
        self.scan(&stored, false)?;
        self.end("verify, scan again", checked.entries, checked.bytes_read);
        let is_plain =
            |key: &[u8]| key.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(byte));
        let mut plain = stored.keys().filter(|key| is_plain(key));
        let folder = plain
            .clone()
            .find_map(|key| key.split(|byte| *byte == b'/').next().filter(|head| head.len() < key.len()));
        let sample = plain.clone().find(|key| key.ends_with(b".md")).or_else(|| plain.next());
        Ok(Report {
            db: demo.db.clone(),
            files,
            bytes,
            raw_bytes: bytes + key_bytes,
            file_bytes: self.tree.stats().file_bytes(),
            skipped_unreadable: skipped.unreadable,
            skipped_too_large: skipped.too_large,
            skipped_special: skipped.special,
            changed_meanwhile: changed,
            deleted: gone,
            levels: Levels::of(&self.tree),
            peak_memory_bytes: process::peak_memory_bytes(),
            phases: Vec::new(),
            sample: sample.map(|key| text::escape(key)),
            folder: folder.map(text::escape),
            table: None,
        })
    }

    fn end(&mut self, name: &'static str, entries: u64, bytes: u64) {
        let now = self.clock.monotonic_nanos();
        let nanos = now - std::mem::replace(&mut self.at, now);
        self.phases.push(Phase { name, entries, bytes, seconds: text::seconds(nanos), nanos });
    }

    /// Stores every file and deletes what an earlier demo stored and is not there any more.
    fn load(
        &mut self,
        files: Vec<(Vec<u8>, PathBuf)>,
        skipped: &mut files::Skipped,
    ) -> Result<(BTreeMap<Vec<u8>, Stored>, u64), Failure> {
        let progress = Progress::steps("loading", Some(files.len() as u64));
        let maintenance = Maintenance::start(self.tree.clone(), self.cancel.clone(), |_| {})?;
        let mut stored = BTreeMap::new();
        for (at, (key, path)) in files.into_iter().enumerate() {
            interrupt::check(&self.cancel)?;
            progress.set(at as u64);
            let Some(content) = skipped.read(&path) else { continue };
            let info = self.tree.insert(&key, &content, self.seqno)?;
            self.seqno = self.seqno.next();
            stored.insert(key, Stored { path, len: content.len() as u64, hash: KeyHash::of(&content) });
            if info.memtable_bytes > WRITE_BUFFER && !maintenance.hand_over(Token::new(TOKEN)?) {
                break;
            }
        }
        let mut gone = 0;
        for key in self.tree.iter().keys() {
            let key = key?;
            if !stored.contains_key(&key[..]) {
                self.tree.remove(&key, self.seqno)?;
                self.seqno = self.seqno.next();
                gone += 1;
            }
        }
        maintenance.hand_over(Token::new(TOKEN)?);
        maintenance.finish()?;
        interrupt::check(&self.cancel)?;
        Ok((stored, gone))
    }

    /// Reads every key and compares each byte with the file. Returns the number of files that changed meanwhile.
    fn read_back(&self, stored: &BTreeMap<Vec<u8>, Stored>) -> Result<u64, Failure> {
        let progress = Progress::steps("reading back", Some(stored.len() as u64));
        let mut changed = 0;
        for (at, (key, file)) in stored.iter().enumerate() {
            interrupt::check(&self.cancel)?;
            progress.set(at as u64);
            let different = || Failure::ReadBack { key: text::escape(key) };
            let value = self.tree.get(key)?.ok_or_else(different)?;
            if KeyHash::of(&value) != file.hash {
                return Err(different());
            }
            // What was stored came back. If the file is different now, somebody has written to it since.
            changed += u64::from(!fs::read(&file.path).is_ok_and(|content| content == *value));
        }
        Ok(changed)
    }

    /// Scans everything and compares keys and lengths with what was stored. Returns the bytes seen.
    fn scan(&self, stored: &BTreeMap<Vec<u8>, Stored>, backward: bool) -> Result<u64, Failure> {
        let mut expected = stored.iter();
        let mut range = self.tree.iter();
        let (mut found, mut bytes) = (0, 0);
        loop {
            interrupt::check(&self.cancel)?;
            let entry = if backward { range.advance_back()? } else { range.advance()? };
            let wanted = if backward { expected.next_back() } else { expected.next() };
            match (entry, wanted) {
                (None, None) => return Ok(bytes),
                (Some(entry), Some((key, file)))
                    if entry.key == key && entry.value.len() as u64 == file.len =>
                {
                    found += 1;
                    bytes += (entry.key.len() + entry.value.len()) as u64;
                }
                (Some(_), Some((key, _))) => return Err(Failure::ReadBack { key: text::escape(key) }),
                _ => return Err(Failure::ScanCount { found, expected: stored.len() as u64 }),
            }
        }
    }
}

#[derive(Debug, Serialize)]
struct Phase {
    name: &'static str,
    entries: u64,
    bytes: u64,
    seconds: f64,
    #[serde(skip)]
    nanos: u64,
}

#[derive(Debug, Serialize)]
struct Report {
    db: PathBuf,
    files: u64,
    bytes: u64,
    raw_bytes: u64,
    file_bytes: u64,
    skipped_unreadable: u64,
    skipped_too_large: u64,
    skipped_special: u64,
    changed_meanwhile: u64,
    deleted: u64,
    peak_memory_bytes: Option<u64>,
    phases: Vec<Phase>,
    levels: Levels,
    #[serde(skip)]
    sample: Option<String>,
    #[serde(skip)]
    folder: Option<String>,
    #[serde(skip)]
    table: Option<PathBuf>,
}

impl Report {
    fn phases(&self) -> Grid {
        let mut grid = Grid::new(&[
            ("phase", Align::Left),
            ("entries", Align::Right),
            ("bytes", Align::Right),
            ("time", Align::Right),
            ("per second", Align::Right),
        ]);
        for phase in &self.phases {
            grid.row([
                phase.name.to_owned(),
                text::count(phase.entries),
                text::size(phase.bytes),
                text::duration(phase.nanos),
                format!("{}/s", text::size(text::rate(phase.bytes, phase.nanos))),
            ]);
        }
        grid
    }

    fn notes(&self) -> Vec<String> {
        let counts = [
            (
                self.skipped_unreadable,
                "could not be read and was left out",
                "could not be read and were left out",
            ),
            (
                self.skipped_too_large,
                "is too large for a value and was left out",
                "are too large for a value and were left out",
            ),
            (
                self.skipped_special,
                "is a link or no regular file and was left out",
                "are links or no regular files and were left out",
            ),
            (self.changed_meanwhile, "changed while the demo ran", "changed while the demo ran"),
            (
                self.deleted,
                "of an earlier demo is gone and was deleted",
                "of an earlier demo are gone and were deleted",
            ),
        ];
        let seen = counts.into_iter().filter(|(number, ..)| *number > 0);
        seen.map(|(number, one, many)| text::counted(number, one, many)).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let db = self.db.display();
        writeln!(
            f,
            "{} with {} went into {db}",
            text::counted(self.files, "file", "files"),
            text::size(self.bytes)
        )?;
        writeln!(f, "and every byte came back.\n\n{}", self.phases())?;
        let ratio = text::quotient(self.file_bytes, self.raw_bytes.max(1));
        let (disk, raw) = (text::size(self.file_bytes), text::size(self.raw_bytes));
        write!(f, "{}\n{disk} on disk for {raw} of keys and values: {}", self.levels, text::ratio(ratio))?;
        match self.peak_memory_bytes {
            Some(peak) => writeln!(f, "; peak memory {}", text::size(peak))?,
            None => writeln!(f)?,
        }
        for note in self.notes() {
            writeln!(f, "  {note}")?;
        }
        writeln!(f, "\nWhat to try next (`lsm` is `cargo run --release --bin lsm --`):\n")?;
        if let Some(sample) = &self.sample {
            writeln!(f, "  lsm get {db} {sample} --raw")?;
        }
        if let Some(folder) = &self.folder {
            writeln!(f, "  lsm scan {db} --prefix {folder}/ --keys-only --limit 10")?;
        }
        writeln!(f, "  lsm scan {db} --reverse --keys-only --limit 10")?;
        writeln!(f, "  lsm put {db} hello world && lsm get {db} hello")?;
        writeln!(f, "  lsm stats {db}")?;
        writeln!(f, "  lsm verify {db}")?;
        self.table.iter().try_for_each(|table| writeln!(f, "  lsm table {}", table.display()))
    }
}
