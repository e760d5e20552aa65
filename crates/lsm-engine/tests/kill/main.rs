//! Writers that are killed: what a flush acknowledged is there afterwards, and what is there is a beginning of the
//! history.
//!
//! A writer is a process of its own, this very program, and tells through a pipe what became durable. It is killed
//! with the signal that cannot be caught, at a random moment, and then its directory is opened here. The next writer
//! goes on from there. The default suite kills a few, `cargo xtask torture kill` as many as asked.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test should fail where it fails")]
#![cfg(unix)]

mod history;
mod writer;

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use history::{Dice, History};
use lsm_engine::{Reader, Token, Tree};
use lsm_fs::{DiskFs, Fs};
use lsm_repair::{Depth, Scope, VerifyOptions, verify};
use lsm_types::SeqNo;

/// What the rounds came to.
#[derive(Debug, Default)]
struct Tally {
    rounds: u64,
    /// Rounds killed before anything was acknowledged in them.
    silent: u64,
    acknowledgements: u64,
    compactions: u64,
    /// Writes that were there although nobody had said so yet.
    unacknowledged: u64,
    entries_read: u64,
    edits: u64,
    generations: u64,
    warnings: u64,
}

/// Runs a writer in `dir` from `first` on and kills it; what it acknowledged last, if anything.
fn run_writer(dir: &Path, seed: u64, first: SeqNo, dice: &mut Dice, tally: &mut Tally) -> Option<SeqNo> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "--test-threads=1", "write_until_killed"])
        .env(writer::DIR, dir)
        .env(writer::SEED, seed.to_string())
        .env(writer::FIRST, first.get().to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut last = None;
    let mut take = |line: std::io::Result<String>, tally: &mut Tally| {
        let line = line.unwrap();
        assert!(!line.starts_with("failed"), "the writer {line}");
        if let Some(number) = line.strip_prefix("durable ") {
            last = SeqNo::new(number.parse().unwrap());
            tally.acknowledgements += 1;
        }
        tally.compactions += u64::from(line == "compacted");
    };
    // Some die while they open, the others somewhere behind so many acknowledgements.
    let lines_read = dice.below(6) * dice.below(16);
    for line in lines.by_ref().take(usize::try_from(lines_read).unwrap()) {
        take(line, tally);
    }
    std::thread::sleep(Duration::from_micros(dice.below(20_000)));
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had said before it died counts, read or not.
    for line in lines {
        take(line, tally);
    }
    last
}

/// Opens what a writer left behind and holds it against the history.
fn check(dir: &Path, history: &History, acknowledged: SeqNo, tally: &mut Tally) -> SeqNo {
    let fs: Arc<dyn Fs> = Arc::new(DiskFs::new());
    let tree = Tree::open(writer::options(dir)).unwrap();
    let report = tree.open_report().manifest.as_ref();
    tally.edits += report.map_or(0, |report| report.edits_replayed);
    tally.generations += report.map_or(0, |report| report.generations.len() as u64);
    let cut = tree.persisted().highest.map_or(SeqNo::ZERO, SeqNo::next);
    assert!(cut >= acknowledged, "{acknowledged:?} was acknowledged, {cut:?} is there");
    assert_eq!(tree.persisted().watermark, cut, "what is there has no gap");
    let token = (cut > SeqNo::ZERO).then(|| Token::new(cut.get().to_le_bytes()).unwrap());
    assert_eq!(tree.recovered_token(), token, "the token is that of the last flush");
    let mut pairs = 0;
    let mut expected = history.contents(cut).into_iter();
    for pair in tree.iter().pairs() {
        let (key, value) = pair.unwrap();
        let (expected_key, expected_value) = expected.next().expect("no more than was written");
        assert_eq!((&key[..], &value[..]), (&expected_key[..], &expected_value[..]), "at cut {cut:?}");
        pairs += 1;
    }
    assert_eq!(expected.next(), None, "at cut {cut:?}");
    tally.entries_read += pairs;
    tally.unacknowledged += cut.get() - acknowledged.get();
    drop(tree);
    let scope = Scope::Directory { fs: &fs, root: dir };
    let report = verify(&scope, Depth::Manifest, &VerifyOptions::default()).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    // What a kill leaves in a generation that is no longer in use is a warning at most.
    tally.warnings += report.findings.len() as u64;
    assert_eq!(report.unnamed_files, 0, "the open has swept");
    cut
}

/// Kills so many writers, one after the other, in a new directory every now and then.
fn rounds(count: u64, seed: u64) -> Tally {
    /// Rounds in one directory.
    const GENERATION: u64 = 20;
    let mut dice = Dice::new(seed);
    let mut tally = Tally::default();
    let mut round = 0;
    while round < count {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("db");
        let history = History::new(seed.wrapping_add(round));
        let mut cut = SeqNo::ZERO;
        for _ in 0..GENERATION.min(count - round) {
            let told = run_writer(&dir, history.seed(), cut, &mut dice, &mut tally);
            tally.silent += u64::from(told.is_none());
            cut = check(&dir, &history, told.unwrap_or(cut), &mut tally);
            tally.rounds += 1;
            round += 1;
        }
    }
    tally
}

#[test]
fn nothing_acknowledged_is_lost_when_the_writer_is_killed() {
    let tally = rounds(5, 3);
    println!("{tally:?}");
    assert_eq!(tally.rounds, 5);
}

#[test]
#[ignore = "takes minutes; `cargo xtask torture kill` runs it"]
fn torture() {
    let number = |name, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (count, seed) = (number("LSM_TORTURE_ROUNDS", 200), number("LSM_TORTURE_SEED", 1));
    let tally = rounds(count, seed);
    println!("seed {seed}: {tally:#?}");
}

/// No test: what the others start and kill.
#[test]
#[ignore = "runs until it is killed"]
fn write_until_killed() {
    writer::run();
}
