//! `cargo xtask readme`: runs every command of README.md that stands in a fence marked `sh run`, as written, in a
//! copy of the tree, so that a command that writes files leaves the tree as it is.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::repo::{Repo, run as run_command};
use crate::trouble::Trouble;

/// The mark of a fence whose commands are run.
const FENCE: &str = "```sh run";

pub(crate) fn run(repo: &Repo, _arguments: &[String]) -> Result<(), Trouble> {
    let commands = commands(&repo.read("README.md")?);
    if commands.is_empty() {
        println!("readme: no fence is marked `sh run`");
        return Ok(());
    }
    let target =
        repo.root().join(std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from));
    let copy = target.join("readme");
    copy_tree(repo, &copy)?;
    for line in &commands {
        println!("readme: $ {line}");
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", line]).current_dir(&copy);
        // A nested cargo must see the tree it stands in, and build there, not where this program was started from.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CARGO_") && name != "CARGO_HOME" {
                command.env_remove(name);
            }
        }
        run_command(command)?;
    }
    println!("readme: {} commands ran", commands.len());
    Ok(())
}

/// The commands of the marked fences, one a line.
fn commands(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("```") {
            inside = !inside && line == FENCE;
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            commands.push(line.to_owned());
        }
    }
    commands
}

/// Makes `copy` hold the files of the tree, as a tree of its own. A file that has not changed is left alone, so that a
/// build reuses its work.
fn copy_tree(repo: &Repo, copy: &Path) -> Result<(), Trouble> {
    std::fs::create_dir_all(copy).map_err(|source| Trouble::File { path: copy.to_path_buf(), source })?;
    let copied = Repo::at(copy.to_path_buf());
    copied.output("git", &["init", "--quiet"])?;
    let paths = repo.files()?;
    for stale in copied.files()?.iter().filter(|path| paths.binary_search(path).is_err()) {
        let path = copy.join(stale);
        std::fs::remove_file(&path).map_err(|source| Trouble::File { path, source })?;
    }
    for path in paths {
        let (from, to) = (repo.root().join(&path), copy.join(&path));
        let bytes = std::fs::read(&from).map_err(|source| Trouble::File { path: from, source })?;
        if std::fs::read(&to).is_ok_and(|old| old == bytes) {
            continue;
        }
        let written =
            to.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&to, bytes));
        written.map_err(|source| Trouble::File { path: to, source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marked_fences_are_run() {
        let text = [
            "# x",
            "```sh",
            "no",
            "```",
            "```sh run",
            "# why",
            "one --two",
            "",
            "three",
            "```",
            "```rust",
            "no",
            "```",
        ]
        .join("\n");
        assert_eq!(commands(&text), ["one --two", "three"]);
    }
}
