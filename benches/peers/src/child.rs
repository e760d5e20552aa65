//! This program once more, in a process of its own, and what became of it.

use std::{
    io::{Read as _, Seek as _},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use crate::{engine::Outcome, measure::now};

/// How often the child is looked after.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Most characters of a failure in a table.
const FAILURE_CHARS_MAX: usize = 300;

/// A child that has ended.
pub(crate) struct Ended {
    /// What it printed.
    pub(crate) said: String,
    /// Why it ended early.
    pub(crate) failure: Option<String>,
}

/// Runs this program with the arguments it was given and `more`, in `dir`, for at most `limit`.
///
/// An error is one of the driver; one of the child is what it is asked for.
pub(crate) fn run(more: &[&str], dir: &Path, limit: Duration) -> Outcome<Ended> {
    let (mut said, mut complained) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let mut child = Command::new(std::env::current_exe()?);
    child.args(std::env::args_os().skip(1)).args(more).arg("--child-dir").arg(dir);
    let child = child.stdout(Stdio::from(said.try_clone()?)).stderr(Stdio::from(complained.try_clone()?));
    let ended = wait(child, limit)?;

    let (mut lines, mut complaint) = (String::new(), Vec::new());
    said.rewind()?;
    said.read_to_string(&mut lines)?;
    complained.rewind()?;
    complained.read_to_end(&mut complaint)?;
    let complaint = String::from_utf8_lossy(&complaint);
    eprint!("{complaint}");
    let failure = match ended {
        Some(status) if status.success() => None,
        Some(status) => Some(shorten(&format!("{status}: {complaint}"))),
        None => Some(format!("ended after {} minutes", limit.as_secs() / 60)),
    };
    Ok(Ended { said: lines, failure })
}

/// `None` when it took longer than `limit`, and was ended.
fn wait(command: &mut Command, limit: Duration) -> Outcome<Option<ExitStatus>> {
    let started = now();
    let mut child = command.spawn()?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// On one line of a table.
fn shorten(failure: &str) -> String {
    let line = failure.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "/");
    line.chars().take(FAILURE_CHARS_MAX).collect()
}
