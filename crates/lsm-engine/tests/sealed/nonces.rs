//! No nonce is spent twice under one key, whatever happens: the audit fails the test that spends one.

use std::{path::Path, sync::Arc};

use lsm_engine::{CompactOptions, FlushOptions, Tree};
use lsm_fs::{Fs, MemFs, SystemClock};
use lsm_testkit::{
    dice::Dice,
    sim::{FaultPlan, FaultRule, SimConfig, SimFs},
};
use lsm_types::{Clock, IoKind, IoOp};

use crate::{
    ROOT,
    common::{
        at, flush,
        sealed::{Audit, chain},
    },
    options,
};

/// Every write of a life fails once; what is retried is sealed under other nonces. Proves F-56, FI-5. Fault: formats W-18.
#[test]
fn retries_after_failed_writes_spend_new_nonces() {
    let audit = Arc::new(Audit::default());
    let encryption = audit.over(Arc::new(chain()));
    for failing in 0..20 {
        let sim = SimFs::new(SimConfig::DEFAULT);
        sim.create_dir_all(Path::new(ROOT).parent().unwrap()).unwrap();
        let fs: Arc<dyn Fs> = Arc::new(sim.clone());
        let rule = FaultRule::short(100, IoKind::Other).on(IoOp::Write).nth(failing);
        sim.set_faults(FaultPlan::new().with(rule));
        let tree = (0..3).find_map(|_| Tree::open(options(&fs, Some(&encryption))).ok()).unwrap();
        for round in 0..3 {
            crate::fill(&tree, round * 100);
            tree.seal(None);
            let flushed = (0..3).find_map(|_| tree.flush(&FlushOptions::default()).ok());
            assert!(flushed.is_some(), "write {failing}");
        }
        let compacted = (0..3).find_map(|_| tree.major_compact(&CompactOptions::default()).ok());
        assert!(compacted.is_some(), "write {failing}");
    }
    let (keys, nonces) = audit.counts();
    assert!(keys > 100 && nonces > 1_500, "{keys} keys, {nonces} nonces");
}

/// Threads flush, compact and write at once, over several lives. Proves F-56.
#[test]
fn parallel_writers_spend_no_nonce_twice() {
    run(4, 30_000, 7);
}

/// Spends `wanted` nonces, at least.
fn run(threads: u64, wanted: usize, seed: u64) {
    let audit = Arc::new(Audit::default());
    let encryption = audit.over(Arc::new(chain()));
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let mut next = 0;
    while audit.counts().1 < wanted {
        let tree = Tree::open(options(&fs, Some(&encryption))).unwrap();
        for _ in 0..8 {
            let mut dice = Dice::new(seed + next);
            for _ in 0..2_000 {
                let key = format!("key-{:06}", dice.below(4_000));
                tree.insert(key, vec![b'v'; 20 + dice.index(60)], at(next)).unwrap();
                next += 1;
            }
            tree.seal(None);
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| {
                        tree.flush(&FlushOptions::default()).unwrap();
                        tree.compact(&lsm_compaction_planner::Leveled::default(), &CompactOptions::default())
                            .unwrap();
                    });
                }
            });
        }
        tree.set_gc_watermark(at(next));
        flush(&tree);
        tree.major_compact(&CompactOptions::default()).unwrap();
        tree.close().unwrap();
    }
    let (keys, nonces) = audit.counts();
    println!("{nonces} nonces under {keys} keys of files, each spent once");
}

/// Spends `LSM_TORTURE_NONCES` nonces from `LSM_TORTURE_SEED`: see `cargo xtask torture nonce`.
#[test]
#[ignore = "takes minutes; run by `cargo xtask torture nonce`"]
fn torture() {
    let number = |name: &str, default| {
        std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok()).unwrap_or(default)
    };
    let clock = SystemClock::new();
    run(4, number("LSM_TORTURE_NONCES", 10_000_000) as usize, number("LSM_TORTURE_SEED", 1));
    println!("in {} s", clock.monotonic_nanos() / 1_000_000_000);
}
