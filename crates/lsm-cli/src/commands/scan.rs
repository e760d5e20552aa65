//! `lsm scan`: entries in key order.

use std::{ffi::OsString, ops::Bound, path::PathBuf};

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
    #[command(flatten)]
    notation: Notation,
    /// Prints keys and values as they are, byte for byte.
    #[arg(long, conflicts_with_all = ["hex", "json"])]
    raw: bool,
}

impl Scan {
    pub(crate) fn run(self, output: &mut Output, keys: &Keys) -> Result<Ending, Failure> {
        let tree = database::open_to_read(&self.db, keys)?;
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
        if self.count && output.is_json() {
            output.line(&serde_json::json!({ "count": found }))?;
        } else if self.count {
            output.write(format_args!("{found}\n"))?;
        }
        Ok(Ending::Clean)
    }

    fn range(&self, tree: &Tree) -> Result<Range, Failure> {
        let parse = |name, text: &Option<OsString>| {
            text.as_deref().map(|text| self.notation.parse(name, text).map(Slice::from)).transpose()
        };
        if let Some(prefix) = parse("--prefix", &self.prefix)? {
            return Ok(tree.prefix(prefix));
        }
        let lower = parse("--from", &self.from)?.map_or(Bound::Unbounded, Bound::Included);
        let upper = parse("--to", &self.to)?.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(tree.range((lower, upper)))
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
