//! The process that is killed: it writes, flushes, compacts and rotates the manifest until then.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use lsm_compaction_planner::Leveled;
use lsm_engine::{CompactOptions, FlushOptions, TablePolicy, Token, Tree, TreeOptions};
use lsm_types::SeqNo;

use crate::history::{Dice, History};

/// Variables through which it is told what to do.
pub(crate) const DIR: &str = "LSM_KILL_DIR";
pub(crate) const SEED: &str = "LSM_KILL_SEED";
pub(crate) const FIRST: &str = "LSM_KILL_FIRST";

/// Small files, so that much happens in a short life.
pub(crate) fn options(dir: &Path) -> TreeOptions {
    let mut tables = TablePolicy::default().data_block_bytes(1 << 10);
    tables.index_spill_bytes = 1 << 10;
    tables.index_partition_bytes = 512;
    TreeOptions::new(dir)
        .store(|store| store.manifest_rotate_min(6_000).file_id_block(16))
        .tables(tables)
        .table_target_bytes(24_000)
}

/// Writes until somebody puts an end to it. What is durable goes to standard output, a line for each flush.
pub(crate) fn run() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let variable = |name| std::env::var(name).expect("it is started with its variables set");
    let history = History::new(variable(SEED).parse().unwrap());
    let first = SeqNo::new(variable(FIRST).parse().unwrap()).unwrap();
    if let Err(error) = write(&dir, &history, first) {
        tell(&format!("failed: {error} ({error:?})"));
    }
}

fn write(dir: &Path, history: &History, first: SeqNo) -> lsm_types::Result<()> {
    let tree = Tree::open(options(dir))?;
    tell("open");
    let written = AtomicU64::new(first.get());
    let mut dice = Dice::new(history.seed() ^ first.get());
    std::thread::scope(|scope| {
        // Compactions run beside writes and flushes, as they do in a real store.
        let compactor = scope.spawn(|| -> lsm_types::Result<()> {
            let strategy = Leveled { l0_threshold: 2, ..Leveled::default() };
            let mut rounds = 0_u64;
            loop {
                tree.set_gc_watermark(SeqNo::new(written.load(Ordering::Acquire)).unwrap_or_default());
                rounds += 1;
                let done = if rounds.is_multiple_of(50) {
                    tree.major_compact(&CompactOptions::default())?
                } else {
                    tree.compact(&strategy, &CompactOptions::default())?
                };
                if done.did_work() {
                    tell("compacted");
                }
                std::thread::yield_now();
            }
        });
        let mut seqno = first;
        loop {
            for _ in 0..=dice.below(120) {
                let write = history.write(seqno);
                match &write.value {
                    Some(value) => tree.insert(&write.key, value, seqno)?,
                    None => tree.remove(&write.key, seqno)?,
                };
                seqno = seqno.next();
            }
            // The watermark stays where every write below it is in the tree.
            written.store(seqno.get(), Ordering::Release);
            tree.seal(Some(Token::new(seqno.get().to_le_bytes())?));
            let flushed = tree.flush(&FlushOptions::default())?;
            tell(&format!("durable {}", flushed.durable_seqno.get()));
            if compactor.is_finished() {
                return compactor.join().unwrap();
            }
        }
    })
}

/// One line, at once; the test harness may have left one unfinished.
fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    let told = out.write_all(format!("\n{line}\n").as_bytes()).and_then(|()| out.flush());
    if told.is_err() {
        std::process::exit(1); // whoever listened is gone
    }
}
