//! Compaction filters that say what a rule says, and remember everything.

use std::sync::Arc;

use lsm_types::{
    CompactionFilter, CompactionFilterFactory, FilterContext, FilterEntry, Result, SeqNo, Verdict,
};
use parking_lot::Mutex;

/// What a filter was asked about, and what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The key.
    pub key: Vec<u8>,
    /// Number of the entry.
    pub seqno: SeqNo,
    /// Whether it was shown as an operand.
    pub is_operand: bool,
    /// The value or operand that was shown.
    pub value: Vec<u8>,
    /// What was said.
    pub verdict: Verdict,
}

/// What filters lived through.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// For which jobs filters were made.
    pub made: Vec<FilterContext>,
    /// Number of filters that were told that no more entries come.
    pub finished: usize,
    /// How the jobs of filters ended.
    pub ended: Vec<bool>,
    /// What filters said whose jobs were committed, segment by segment.
    pub committed: Vec<Said>,
    /// What filters said whose jobs were not.
    pub rolled_back: Vec<Said>,
}

/// Says what becomes of an entry.
pub type Rule = dyn Fn(FilterEntry<'_>) -> Result<Verdict> + Send + Sync;

/// A factory whose filters keep to a rule and write into one log.
#[derive(Clone)]
pub struct Recorded {
    rule: Arc<Rule>,
    log: Arc<Mutex<Log>>,
}

impl Recorded {
    /// Filters that keep to `rule`.
    pub fn new(rule: impl Fn(FilterEntry<'_>) -> Result<Verdict> + Send + Sync + 'static) -> Self {
        Self { rule: Arc::new(rule), log: Arc::default() }
    }

    /// What was logged since this was last asked for.
    pub fn take(&self) -> Log {
        std::mem::take(&mut self.log.lock())
    }
}

impl CompactionFilterFactory for Recorded {
    fn name(&self) -> &'static str {
        "test.recorded"
    }

    fn make(&self, context: &FilterContext) -> Box<dyn CompactionFilter> {
        self.log.lock().made.push(*context);
        Box::new(Recorder { of: self.clone(), said: Vec::new() })
    }
}

struct Recorder {
    of: Recorded,
    said: Vec<Said>,
}

impl CompactionFilter for Recorder {
    fn filter(&mut self, entry: FilterEntry<'_>) -> Result<Verdict> {
        let verdict = (self.of.rule)(entry)?;
        self.said.push(Said {
            key: entry.key().to_vec(),
            seqno: entry.seqno(),
            is_operand: entry.is_operand(),
            value: entry.value()?.to_vec(),
            verdict: verdict.clone(),
        });
        Ok(verdict)
    }

    fn finish(&mut self) -> Result<()> {
        self.of.log.lock().finished += 1;
        Ok(())
    }

    fn ended(&mut self, committed: bool) {
        let said = std::mem::take(&mut self.said);
        let mut log = self.of.log.lock();
        log.ended.push(committed);
        let kept = if committed { &mut log.committed } else { &mut log.rolled_back };
        kept.extend(said);
    }
}
