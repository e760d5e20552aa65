//! Ctrl-C: the first one asks the work to stop, the second one does not ask.

use std::thread;

use lsm::tree::Cancel;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::failure::Failure;

/// A flag that the first Ctrl-C, or request to end, raises. The second one ends the program at once; that is as safe
/// as a crash: what was durable stays so, and the next open clears up.
pub(crate) fn cancel_on_signal() -> Result<Cancel, Failure> {
    let cancel = Cancel::new();
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(Failure::Signals)?;
    let raised = cancel.clone();
    let watch = move || {
        for _ in signals.forever() {
            if raised.is_cancelled() {
                std::process::exit(130);
            }
            raised.cancel();
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(watch).map_err(Failure::Thread)?;
    Ok(cancel)
}

/// `Interrupted` when the flag is raised.
pub(crate) fn check(cancel: &Cancel) -> Result<(), Failure> {
    if cancel.is_cancelled() { Err(Failure::Interrupted { note: String::new() }) } else { Ok(()) }
}
