//! A bar on standard error, where that is a terminal; nothing where it is not.

use std::{
    io::{IsTerminal, stderr},
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, Thread},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use lsm::tree::{JobProgress, Tree};

/// How often running jobs are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How far a long piece of work is.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Work over `bytes` bytes, or over an unknown number of them.
    pub(crate) fn bytes(what: &'static str, bytes: Option<u64>) -> Self {
        let template = match bytes {
            Some(_) => "{msg:12} [{bar:30}] {bytes} of {total_bytes}, {eta} left",
            None => "{msg:12} {spinner} {bytes}, {elapsed}",
        };
        Self::new(what, bytes, template)
    }

    /// Work over `steps` steps, or over an unknown number of them.
    pub(crate) fn steps(what: &'static str, steps: Option<u64>) -> Self {
        let template = match steps {
            Some(_) => "{msg:12} [{bar:30}] {human_pos} of {human_len}",
            None => "{msg:12} {spinner} {elapsed}",
        };
        Self::new(what, steps, template)
    }

    fn new(what: &'static str, len: Option<u64>, template: &str) -> Self {
        if !stderr().is_terminal() {
            return Self { bar: ProgressBar::hidden() };
        }
        let bar = len.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar }
    }

    /// Work whose share done so far is told in thousandths.
    pub(crate) fn share(what: &'static str) -> Self {
        Self::new(what, Some(1_000), "{msg:12} [{bar:30}] {percent} %, {elapsed}")
    }

    /// Whether anybody sees it.
    pub(crate) fn is_shown(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// Work done so far.
    pub(crate) fn set(&self, done: u64) {
        self.bar.set_position(done);
    }

    /// Shows how far the compaction of the tree is while `work` is done.
    pub(crate) fn shown_while<T>(&self, tree: &Tree, work: impl FnOnce() -> T) -> T {
        if !self.is_shown() {
            return work();
        }
        let is_done = AtomicBool::new(false);
        thread::scope(|scope| {
            let looking = scope.spawn(|| {
                while !is_done.load(Ordering::Acquire) {
                    let share = tree.store().running_jobs().first().and_then(JobProgress::share);
                    self.set(share.map_or(0, thousandths));
                    thread::park_timeout(LOOK_EVERY);
                }
            });
            let done = Ending { is_done: &is_done, looking: looking.thread().clone() };
            let outcome = work();
            drop(done);
            outcome
        })
    }

    /// A line of its own, above the bar where there is one.
    pub(crate) fn line(&self, text: &str) {
        if self.is_shown() { self.note(text) } else { eprintln!("{text}") }
    }

    /// A note above the bar.
    pub(crate) fn note(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }
}

/// Ends the look-out, however the work ends.
struct Ending<'a> {
    is_done: &'a AtomicBool,
    looking: Thread,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.is_done.store(true, Ordering::Release);
        self.looking.unpark();
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share is 0 to 1")]
fn thousandths(share: f64) -> u64 {
    (share * 1e3) as u64
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
