//! The working tree: where it is, which files it has, and programs run in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::trouble::Trouble;

/// The root of the working tree.
pub(crate) struct Repo {
    root: PathBuf,
}

/// A text file of the tree.
pub(crate) struct Source {
    /// Path from the root, with forward slashes.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

impl Repo {
    /// The tree this program was built from.
    pub(crate) fn find() -> Result<Self, Trouble> {
        let here = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(
            || PathBuf::from(env!("CARGO_MANIFEST_DIR")),
            PathBuf::from, // set by `cargo run`; right even when the tree was moved since the build
        );
        let root = here.parent().unwrap_or(&here).to_path_buf();
        if root.join("Cargo.toml").is_file() {
            return Ok(Self { root });
        }
        Err(Trouble::Usage(format!("no workspace at {}", root.display())))
    }

    /// A tree somewhere else.
    pub(crate) fn at(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The text of one file.
    pub(crate) fn read(&self, path: &str) -> Result<String, Trouble> {
        let path = self.root.join(path);
        std::fs::read_to_string(&path).map_err(|source| Trouble::File { path, source })
    }

    /// Replaces the text of one file.
    pub(crate) fn write(&self, path: &str, text: &str) -> Result<(), Trouble> {
        let path = self.root.join(path);
        std::fs::write(&path, text).map_err(|source| Trouble::File { path, source })
    }

    /// Every file that is tracked or would be, as paths from the root; build output is ignored by git.
    pub(crate) fn files(&self) -> Result<Vec<String>, Trouble> {
        let listing =
            self.output("git", &["ls-files", "-z", "--cached", "--others", "--exclude-standard"])?;
        let mut paths: Vec<String> = String::from_utf8_lossy(&listing)
            .split('\0')
            .filter(|path| !path.is_empty() && self.root.join(path).is_file())
            .map(str::to_owned)
            .collect();
        paths.sort();
        paths.dedup();
        Ok(paths)
    }

    /// The Rust files below one of `roots`.
    pub(crate) fn rust_files(&self, roots: &[&str]) -> Result<Vec<Source>, Trouble> {
        let mut sources = Vec::new();
        for path in self.files()? {
            let below = roots.iter().any(|root| path.starts_with(root));
            let rust = Path::new(&path).extension().is_some_and(|extension| extension == "rs");
            if below && rust {
                let text = self.read(&path)?;
                sources.push(Source { path, text });
            }
        }
        Ok(sources)
    }

    /// Runs `cargo` with its output shown.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Result<(), Trouble> {
        self.cargo_with(arguments, &[])
    }

    /// Runs `cargo` with variables set and its output shown.
    pub(crate) fn cargo_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Result<(), Trouble> {
        let mut command = Command::new(cargo());
        command.args(arguments).envs(variables.iter().copied()).current_dir(&self.root);
        run(command)
    }

    /// What a program prints; it must succeed.
    pub(crate) fn output(&self, program: &str, arguments: &[&str]) -> Result<Vec<u8>, Trouble> {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(&self.root)
            .output()
            .map_err(|source| Trouble::Start { program: program.to_owned(), source })?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        Err(Trouble::Command { command: format!("{program} {}", arguments.join(" ")), status: output.status })
    }

    /// Whether `cargo NAME` is installed.
    pub(crate) fn has_cargo_command(&self, name: &str) -> bool {
        let asked = Command::new(cargo()).args([name, "--version"]).current_dir(&self.root).output();
        asked.is_ok_and(|output| output.status.success())
    }
}

/// The cargo that started this program.
pub(crate) fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// Runs a command with its output shown; it must succeed.
pub(crate) fn run(mut command: Command) -> Result<(), Trouble> {
    let program = command.get_program().to_string_lossy().into_owned();
    let line =
        command.get_args().fold(program.clone(), |line, argument| line + " " + &argument.to_string_lossy());
    let status = command.status().map_err(|source| Trouble::Start { program, source })?;
    if status.success() { Ok(()) } else { Err(Trouble::Command { command: line, status }) }
}

/// The lines of a Rust file that ship: comments and everything from the first `#[cfg(test)]` on left out, numbered
/// from 1. Unit tests sit at a file's foot, so one cut is enough.
pub(crate) fn shipped_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.trim_start().starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(at, line)| (at + 1, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_lines_leave_out_comments_and_tests() {
        let text = "//! head\nuse a;\n    // why\nfn b() {}\n#[cfg(test)]\nmod tests { use c; }\n";
        let lines: Vec<_> = shipped_lines(text).collect();
        assert_eq!(lines, [(2, "use a;"), (4, "fn b() {}")]);
    }
}
