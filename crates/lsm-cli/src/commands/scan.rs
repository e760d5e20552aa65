//! `lsm scan`: entries in key order.

mod typed;

use std::{
    ffi::{OsStr, OsString},
    ops::Bound,
    path::PathBuf,
};

use lsm::{
    Slice,
    tree::{Range, Reader, Tree},
};

use crate::{
    bytes::{JsonEntry, Notation},
    database,
    failure::{Ending, Failure},
    keys::Keys,
    output::Output,
};

#[expect(clippy::struct_excessive_bools, reason = "flags of the command line")]
#[derive(Debug, clap::Args)]
pub(crate) struct Scan {
    /// Directory of the database.
    db: PathBuf,
    /// Keys that start with this.
    #[arg(long)]
    prefix: Option<OsString>,
    /// Keys from this one on.
    #[arg(long, conflicts_with = "prefix")]
    from: Option<OsString>,
    /// Keys before this one.
    #[arg(long, conflicts_with = "prefix")]
    to: Option<OsString>,
    /// From the last key to the first.
    #[arg(long)]
    reverse: bool,
    /// At most this many entries.
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Without values.
    #[arg(long)]
    keys_only: bool,
    /// Prints only how many entries there are.
    #[arg(long, conflicts_with = "keys_only")]
    count: bool,
    /// Prints these columns of a database that was loaded with a schema; `key` is the key.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with_all = ["keys_only", "raw"])]
    columns: Option<Vec<String>>,
    /// Only rows for which this holds: `born < 1900 and (name prefix A or name is null)`. Without `--columns` all columns
    /// are printed.
    #[arg(long = "where", value_name = "CONDITION", conflicts_with_all = ["keys_only", "raw"])]
    condition: Option<String>,
    #[command(flatten)]
    notation: Notation,
    /// Prints keys and values as they are, byte for byte.
    #[arg(long, conflicts_with_all = ["hex", "json"])]
    raw: bool,
}

impl Scan {
    pub(crate) fn run(self, output: &mut Output, keys: &Keys) -> Result<Ending, Failure> {
        let tree = database::open_to_read(&self.db, keys)?;
        if self.is_typed() {
            return self.run_typed(&tree, output);
        }
        let mut range = self.range(&tree)?;
        let limit = self.limit.unwrap_or(u64::MAX);
        let mut found = 0;
        while found < limit {
            let entry = if self.reverse { range.advance_back()? } else { range.advance()? };
            let Some(entry) = entry else { break };
            found += 1;
            if !self.count {
                self.print(entry.key, entry.value, output)?;
            }
        }
        if self.count {
            Self::print_count(found, output)?;
        }
        Ok(Ending::Clean)
    }

    fn print_count(found: u64, output: &mut Output) -> Result<(), Failure> {
        if output.is_json() {
            output.line(&serde_json::json!({ "count": found }))
        } else {
            output.write(format_args!("{found}\n"))
        }
    }

    fn range(&self, tree: &Tree) -> Result<Range, Failure> {
        let parse = |name, text: &Option<OsString>| {
            Ok::<_, Failure>(self.parse(name, text.as_deref())?.map(Slice::from))
        };
        if let Some(prefix) = parse("--prefix", &self.prefix)? {
            return Ok(tree.prefix(prefix));
        }
        let lower = parse("--from", &self.from)?.map_or(Bound::Unbounded, Bound::Included);
        let upper = parse("--to", &self.to)?.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(tree.range((lower, upper)))
    }

    /// Bytes given as an argument.
    fn parse(&self, name: &'static str, text: Option<&OsStr>) -> Result<Option<Vec<u8>>, Failure> {
        text.map(|text| self.notation.parse(name, text)).transpose()
    }

    fn print(&self, key: &[u8], value: &[u8], output: &mut Output) -> Result<(), Failure> {
        let value = (!self.keys_only).then_some(value);
        if output.is_json() {
            return output.line(&JsonEntry::new(self.notation, key, value));
        }
        if self.raw {
            output.bytes(key)?;
            if let Some(value) = value {
                output.bytes(b"\t")?;
                output.bytes(value)?;
            }
            return output.bytes(b"\n");
        }
        match value {
            Some(value) => {
                output.write(format_args!("{}\t{}\n", self.notation.text(key), self.notation.text(value)))
            }
            None => output.write(format_args!("{}\n", self.notation.text(key))),
        }
    }
}
