//! The commands, one file each.

mod checkpoint;
mod compact;
mod demo;
mod get;
mod load;
mod rekey;
mod scan;
mod space;
mod stats;
mod table;
mod verify;
mod vlog;
mod write;

use clap::Subcommand;

use crate::{
    failure::{Ending, Failure},
    keys::Keys,
    output::Output,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Loads a directory of files, reads everything back and shows what became of it.
    Demo(demo::Demo),
    /// Loads rows of a TSV, CSV or NDJSON file.
    Load(load::Load),
    /// Prints the value of a key.
    Get(get::Get),
    /// Stores a value under a key, durably.
    Put(write::Put),
    /// Deletes a key, durably.
    Delete(write::Delete),
    /// Prints entries in key order.
    Scan(scan::Scan),
    /// Merges tables, for less space and faster reads.
    Compact(compact::Compact),
    /// Brings all files under the last key of the key file.
    Rekey(rekey::Rekey),
    /// Makes a copy that is a database of its own and shares table files where it can.
    Checkpoint(checkpoint::Checkpoint),
    /// Shows levels, tables and what they cost.
    Stats(stats::Stats),
    /// Shows what takes space, and what would free how much of it.
    Space(space::Space),
    /// Reads and checks every block of every table.
    Verify(verify::Verify),
    /// Shows what is in one table file.
    Table(table::Table),
    /// Shows what is in one file of separated values.
    Vlog(vlog::Vlog),
}

impl Command {
    pub(crate) fn run(self, output: &mut Output, keys: &Keys) -> Result<Ending, Failure> {
        match self {
            Self::Demo(command) => command.run(output, keys),
            Self::Load(command) => command.run(output, keys),
            Self::Get(command) => command.run(output, keys),
            Self::Put(command) => command.run(output, keys),
            Self::Delete(command) => command.run(output, keys),
            Self::Scan(command) => command.run(output, keys),
            Self::Compact(command) => command.run(output, keys),
            Self::Rekey(command) => command.run(output, keys),
            Self::Checkpoint(command) => command.run(output, keys),
            Self::Stats(command) => command.run(output, keys),
            Self::Space(command) => command.run(output, keys),
            Self::Verify(command) => command.run(output, keys),
            Self::Table(command) => command.run(output, keys),
            Self::Vlog(command) => command.run(output, keys),
        }
    }
}
