//! A bar on standard error, where that is a terminal; nothing where it is not.

use std::{
    io::{IsTerminal, stderr},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

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

    /// Work done so far.
    pub(crate) fn set(&self, done: u64) {
        self.bar.set_position(done);
    }

    /// A note above the bar.
    pub(crate) fn note(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
