//! `cargo xtask bench [NAME]`: the criterion suites, all or those whose name holds `NAME`.

use crate::repo::Repo;
use crate::trouble::Trouble;

const MANIFEST: &str = "benches/Cargo.toml";

pub(crate) fn run(repo: &Repo, arguments: &[String]) -> Result<(), Trouble> {
    if !repo.root().join(MANIFEST).is_file() {
        return Err(Trouble::Usage(format!("no suites yet: {MANIFEST} is absent")));
    }
    let mut line = vec!["bench", "--manifest-path", MANIFEST, "--benches", "--"];
    line.extend(arguments.iter().map(String::as_str));
    repo.cargo(&line)
}
