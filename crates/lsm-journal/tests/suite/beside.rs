//! Readers beside a writer.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use lsm_fs::{MemFs, SystemClock, SystemRandom};
use lsm_journal::{Journal, JournalEnv, JournalOptions, Recovery, RecoveryMode};

use crate::common::{DATABASE, add, first_state, orders, tables};

/// Proves D-45: whoever only reads, while generations come and go, sees every edit acknowledged before it began,
/// and never takes a file that is being written or that has vanished for damage.
#[test]
fn a_reader_sees_what_was_acknowledged() {
    const EDITS: u64 = 150;
    let env = JournalEnv {
        fs: Arc::new(MemFs::new()),
        dir: PathBuf::from("/db"),
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(SystemRandom),
        encryption: None,
    };
    env.fs.create_dir(&env.dir).unwrap();
    let options = JournalOptions { rotate_min_bytes: 0, keep_generations: 0, ..JournalOptions::default() };
    let mut catalog = first_state();
    let mut journal = Journal::create(env.clone(), options, DATABASE, &catalog).unwrap();
    let (acknowledged, is_done) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            for id in 1..=EDITS {
                let edit = add(id, if id % 7 == 0 { 3_000 } else { 8 });
                catalog.apply_in_place(&edit).unwrap();
                journal.append(&[&edit]).unwrap();
                acknowledged.store(id, Ordering::SeqCst);
                if id % 3 == 0 {
                    journal.rotate(&catalog).unwrap();
                }
            }
            is_done.store(true, Ordering::SeqCst);
        });
        while !is_done.load(Ordering::SeqCst) {
            let at_least = acknowledged.load(Ordering::SeqCst);
            let recovery = Recovery::read(&env, RecoveryMode::Strict, &orders).unwrap().expect("it is there");
            let found = tables(recovery.catalog());
            let last = found.last().copied().unwrap_or(0);
            assert!(last >= at_least && found.into_iter().eq(1..=last), "{last} of {at_least}");
        }
    });
}
