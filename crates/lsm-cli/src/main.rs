//! The program `lsm`: load, read, compact, inspect and verify databases and table files.
//!
//! Every command is a file of its own under `commands`: its arguments, what it does, what it reports. A report is shown
//! as text for people or, with `--json`, as JSON for programs. Exit codes: 0 clean, 1 damage found, 2 usage, 3 cannot
//! open, 4 other failure, 130 interrupted.

mod bytes;
mod columns;
mod commands;
mod database;
mod failure;
mod filter_report;
mod grid;
mod interrupt;
mod keys;
mod levels;
mod maintenance;
mod output;
mod process;
mod progress;
mod rows;
mod text;

use std::{error::Error, process::ExitCode};

use clap::Parser;

use crate::{commands::Command, failure::Failure, keys::Keys, output::Output};

/// Works with databases of the lsm storage engine.
#[derive(Debug, Parser)]
#[command(name = "lsm", version, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 clean, 1 damage found, 2 usage, 3 cannot open, 4 other failure, 130 interrupted."
)]
struct Cli {
    /// Reports as JSON, for programs.
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    keys: Keys,
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut output = Output::new(cli.json);
    let outcome = cli.command.run(&mut output, &cli.keys).and_then(|code| output.flush().map(|()| code));
    match outcome {
        Ok(code) => code.into(),
        // Whoever reads our output has seen enough, as in `lsm scan DB | head`.
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = output.flush();
            complain(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Says what failed, why, and what to do about it.
fn complain(failure: &Failure) {
    eprintln!("lsm: {failure}");
    let mut cause = failure.source();
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
    if let Some(advice) = failure.advice() {
        eprintln!("  try: {advice}");
    }
}
