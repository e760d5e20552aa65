//! Writes with the background thread at work.

use std::thread;

use crate::{
    background::Background,
    data::Values,
    engine::{Engine, Failure, Outcome},
    measure::{Stretch, Taken},
    plan::Plan,
};

/// What writing took.
pub(crate) struct Filled {
    /// Until the writer had written everything.
    pub(crate) front: Taken,
    /// Until everything was flushed and compaction rested.
    pub(crate) quiet: Taken,
}

/// Puts write number `version` of each of `numbers`, and waits until all is quiet.
pub(crate) fn fill<E: Engine>(
    engine: &E,
    plan: &Plan,
    version: u64,
    numbers: impl Iterator<Item = u64>,
) -> Outcome<Filled> {
    let seal_at = plan.memtable_mib << 20;
    let (entry_bytes, shape) = (plan.entry_bytes(), plan.key_shape);
    let mut values = Values::new(plan.value_bytes as usize, plan.seed);
    let background = Background::default();
    let stretch = Stretch::begin();
    thread::scope(|scope| {
        let worker = scope.spawn(|| background.run(engine));
        let written = (|| {
            let mut unsealed = 0;
            for number in numbers {
                engine.insert(&shape.key(number), values.value(number, version))?;
                unsealed += entry_bytes;
                if unsealed >= seal_at {
                    engine.seal()?;
                    background.sealed();
                    if plan.settle {
                        background.wait_until_quiet();
                    }
                    unsealed = 0;
                }
            }
            let front = stretch.taken();
            if unsealed > 0 {
                engine.seal()?;
                background.sealed();
            }
            background.wait_until_quiet();
            Ok::<_, Failure>(Filled { front, quiet: stretch.taken() })
        })();
        background.end();
        worker.join().map_err(|_| "the background thread panicked")??;
        written
    })
}
