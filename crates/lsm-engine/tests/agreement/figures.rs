//! What a run comes to, in the engine or in a forecast.

/// Bytes that an entry and a tombstone take in a table, and that a table takes beside them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes {
    pub(crate) entry: f64,
    pub(crate) tombstone: f64,
    pub(crate) table: f64,
}

/// Sums of a run.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) flushed_bytes: u64,
    pub(crate) merged_bytes: u64,
    samples: u64,
    runs_sum: u64,
    space_sum: f64,
}

impl Figures {
    /// Takes the tree as it is after a flush: its runs, the bytes of its tables, and those of its live entries.
    pub(crate) fn sample(&mut self, runs: u64, file_bytes: u64, live_bytes: f64) {
        self.samples += 1;
        self.runs_sum += runs;
        self.space_sum += float(file_bytes) / live_bytes;
    }

    pub(crate) fn amplifications(&self) -> Amplifications {
        let samples = float(self.samples);
        Amplifications([
            float(self.merged_bytes) / float(self.flushed_bytes),
            self.space_sum / samples,
            float(self.runs_sum) / samples,
        ])
    }
}

/// Bytes merged for each byte flushed, bytes of tables for each live byte, runs that a read may ask.
#[derive(Clone, Copy)]
pub(crate) struct Amplifications(pub(crate) [f64; 3]);

pub(crate) const NAMES: [&str; 3] = ["write", "space", "read"];

impl Amplifications {
    /// What the forecast says for each unit of what is.
    pub(crate) fn ratios(&self, real: &Self) -> [f64; 3] {
        std::array::from_fn(|at| self.0[at] / real.0[at])
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}
