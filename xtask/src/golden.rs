//! `cargo xtask golden`: rewrites the golden files of the formats. The writers are ignored tests named
//! `write_golden...`; the default suite only reads what they wrote.

use crate::repo::Repo;
use crate::trouble::Trouble;

const WRITER: &str = "write_golden";

pub(crate) fn run(repo: &Repo, _arguments: &[String]) -> Result<(), Trouble> {
    let declaration = format!("fn {WRITER}");
    let sources = repo.rust_files(&["crates/"])?;
    let writers: Vec<_> = sources.iter().filter(|source| source.text.contains(&declaration)).collect();
    if writers.is_empty() {
        println!("golden: no test writes golden files (`{declaration}...`)");
        return Ok(());
    }
    for source in writers {
        println!("golden: {}", source.path);
    }
    repo.cargo(&["test", "--workspace", "--quiet", "--", "--ignored", WRITER])?;
    println!("golden: look at `git diff` before you keep it");
    Ok(())
}
