//! Running the program and looking at what it left.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio},
};

/// An empty folder for one test.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Runs the program in the folder.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        let output = self.command(arguments).output().unwrap();
        Ran { output }
    }

    fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lsm"));
        command.args(arguments).current_dir(self.folder.path());
        command
    }

    /// Starts a load of TSV from standard input.
    pub(crate) fn start_load(&self, arguments: &[&str]) -> Loading {
        let mut command = self.command(["load", "db", "-", "--format", "tsv", "--no-header"]);
        command.args(arguments).stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Loading { child, stderr }
    }

    /// Table files on disk.
    pub(crate) fn tables(&self, db: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path(db).join("tables")).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }

    /// The database is sound, and no table file is there that the manifest does not name.
    #[track_caller]
    pub(crate) fn check_sound(&self, db: &str) {
        let report = self.run(["verify", db, "--json"]).ok().json();
        assert_eq!(report["clean"], true);
        assert_eq!(report["tables"].as_u64().unwrap(), self.tables(db).len() as u64, "orphans");
    }

    /// Every file of a database with its content, but the note about who had it open last.
    pub(crate) fn database(&self, name: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let mut content = self.content(name);
        content.retain(|(path, _)| !path.ends_with("LOCK"));
        content
    }

    /// Every file below `name` with its content.
    pub(crate) fn content(&self, name: &str) -> Vec<(PathBuf, Vec<u8>)> {
        fn collect(folder: &Path, out: &mut Vec<(PathBuf, Vec<u8>)>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    out.push((path.clone(), Vec::new()));
                    collect(&path, out);
                } else {
                    out.push((path.clone(), fs::read(&path).unwrap()));
                }
            }
        }
        let mut out = Vec::new();
        collect(&self.path(name), &mut out);
        out.sort();
        out
    }
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    output: Output,
}

impl Ran {
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(self.output.status.code(), Some(code), "{}\n{}", self.out(), self.err());
        self
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.code(0)
    }

    /// Standard error holds `text`.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.err().contains(text), "no {text:?} in {}", self.err());
        self
    }

    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    pub(crate) fn raw(&self) -> &[u8] {
        &self.output.stdout
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out()).unwrap()
    }

    /// Standard output as lines of JSON.
    #[track_caller]
    pub(crate) fn json_lines(&self) -> Vec<serde_json::Value> {
        self.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A load that reads what it is given.
pub(crate) struct Loading {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Loading {
    pub(crate) fn write(&mut self, rows: &str) {
        self.child.stdin.as_mut().unwrap().write_all(rows.as_bytes()).unwrap();
    }

    /// Waits for the next report of durable lines.
    pub(crate) fn durable(&mut self) -> u64 {
        let mut line = String::new();
        assert_ne!(self.stderr.read_line(&mut line).unwrap(), 0, "the load ended");
        durable_of(&line).unwrap_or_else(|| panic!("unexpected: {line}"))
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Waits for the end. Returns how it came, and the highest number of durable lines reported since.
    pub(crate) fn wait(mut self) -> (ExitStatus, Option<u64>, String) {
        let status = self.child.wait().unwrap();
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.stderr, &mut rest).unwrap();
        (status, rest.lines().filter_map(durable_of).max(), rest)
    }
}

fn durable_of(line: &str) -> Option<u64> {
    line.strip_prefix("durable: ")?.trim().strip_suffix(" lines")?.parse().ok()
}

pub(crate) fn signal(child: &Child, name: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status().unwrap();
    assert!(status.success());
}

/// Row `number` of a made-up table.
pub(crate) fn row(number: u64) -> String {
    format!("key-{number:08}\tthe value of row {number}\n")
}

pub(crate) fn rows(numbers: std::ops::Range<u64>) -> String {
    numbers.map(row).collect()
}
