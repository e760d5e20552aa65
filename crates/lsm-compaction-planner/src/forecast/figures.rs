//! What a forecast comes to.

use super::float;

/// Sums and maxima of a forecast.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Figures {
    /// Bytes of writes.
    pub written_bytes: u64,
    /// Bytes of flushed tables.
    pub flushed_bytes: u64,
    /// Bytes of the outputs of merges.
    pub merged_bytes: u64,
    /// Bytes of tables that changed their level as they are.
    pub moved_bytes: u64,
    /// Merges carried out.
    pub merges: u64,
    /// Times the strategy was asked.
    pub plans: u64,
    /// Seconds in which writes had to wait.
    pub stalled_secs: f64,
    /// The most that inputs of running merges came to: their outputs need as much room beside them.
    pub transient_bytes_max: u64,
    /// The most that tables and outputs under way came to together.
    pub bytes_max: u64,
    samples: u64,
    runs_sum: u64,
    runs_max: u64,
    space_sum: f64,
    space_max: f64,
}

impl Figures {
    pub(super) fn sample(&mut self, runs: u64, space: f64) {
        self.samples += 1;
        self.runs_sum += runs;
        self.runs_max = self.runs_max.max(runs);
        self.space_sum += space;
        self.space_max = self.space_max.max(space);
    }

    /// Bytes that merges wrote for each byte that was flushed.
    pub fn write_amplification(&self) -> f64 {
        float(self.merged_bytes) / float(self.flushed_bytes.max(1))
    }

    /// Runs that a point read may have to ask, on average and at most.
    pub fn read_amplification(&self) -> (f64, u64) {
        (float(self.runs_sum) / float(self.samples.max(1)), self.runs_max)
    }

    /// Bytes of all tables for each byte of live entries, on average.
    pub fn space_amplification(&self) -> f64 {
        self.space_sum / float(self.samples.max(1))
    }

    /// The same at its worst, without what merges have under way.
    pub fn space_amplification_max(&self) -> f64 {
        self.space_max
    }
}
