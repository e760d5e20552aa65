//! The names of all files of a database directory (D-21), and the test for names that are not ours (D-53).
//!
//! | folder        | file                          |
//! |---------------|-------------------------------|
//! | (the root)    | `CURRENT`, `LOCK`, `BALLAST`  |
//! | (the root)    | `MANIFEST-<number>` and `.m`  |
//! | `tables/`     | `<number>.sst`, `<number>.dv` |
//! | `blobs/`      | `<number>.blob`               |
//! | `wal/`        | `<number>.wal`                |
//! | `dicts/`      | `<number>.dict`               |
//! | `tmp/`        | `CURRENT-<number>`            |
//! | `quarantine/` | what was put aside            |
//!
//! A number is exactly twenty decimal digits. A name that is not spelled exactly so belongs to somebody else: it is
//! never changed, never removed, and never a reason to fail.

use std::{
    ffi::OsStr,
    fmt,
    path::{Path, PathBuf},
};

use lsm_types::{TableId, VectorId, VlogId};

/// Number of a manifest generation; each is used once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Generation(u64);

impl Generation {
    /// Wraps a raw number.
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// The raw number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The next number; `None` past the last one.
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(raw) => Some(Self(raw)),
            None => None,
        }
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A directory of a database.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Folder {
    /// The directory of the database itself.
    Root,
    /// Sorted tables and their delete vectors.
    Tables,
    /// Value logs.
    Blobs,
    /// Write-ahead log segments.
    Wal,
    /// Compression dictionaries.
    Dictionaries,
    /// Files on their way to another name; nothing in it is needed after a crash.
    Temporary,
    /// Files put aside.
    Quarantine,
}

impl Folder {
    /// All folders below the root.
    pub const BELOW_ROOT: [Self; 6] =
        [Self::Tables, Self::Blobs, Self::Wal, Self::Dictionaries, Self::Temporary, Self::Quarantine];

    /// The name within the root; empty for the root.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "",
            Self::Tables => "tables",
            Self::Blobs => "blobs",
            Self::Wal => "wal",
            Self::Dictionaries => "dicts",
            Self::Temporary => "tmp",
            Self::Quarantine => "quarantine",
        }
    }

    /// The path, given that of the database.
    pub fn path(self, root: &Path) -> PathBuf {
        match self {
            Self::Root => root.to_path_buf(),
            _ => root.join(self.name()),
        }
    }

    /// The folder with this name in the root.
    pub fn parse(name: &OsStr) -> Option<Self> {
        Self::BELOW_ROOT.into_iter().find(|folder| name == folder.name())
    }
}

/// A file of a database, by its name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FileName {
    /// The pointer to the manifest generation in use.
    Current,
    /// The file whose lock says that somebody writes.
    Lock,
    /// Room that is given up when the disk is full.
    Ballast,
    /// A manifest generation.
    Manifest(Generation),
    /// The second copy of a manifest generation.
    Mirror(Generation),
    /// A sorted table.
    Table(TableId),
    /// A delete vector.
    DeleteVector(VectorId),
    /// A value log.
    ValueLog(VlogId),
    /// A segment of the write-ahead log.
    WalSegment(u64),
    /// A compression dictionary.
    Dictionary(u64),
    /// The next pointer, before it is renamed to its place.
    NextPointer(Generation),
}

impl FileName {
    /// The file that `name` stands for in `folder`; `None` for a name that is not ours. Nothing in the quarantine
    /// is.
    pub fn parse(folder: Folder, name: &OsStr) -> Option<Self> {
        let name = name.to_str()?;
        let numbered =
            |before: &str, after: &str| name.strip_prefix(before)?.strip_suffix(after).and_then(parse_number);
        match folder {
            Folder::Root => match name {
                "CURRENT" => Some(Self::Current),
                "LOCK" => Some(Self::Lock),
                "BALLAST" => Some(Self::Ballast),
                _ => numbered("MANIFEST-", "")
                    .map(|number| Self::Manifest(Generation(number)))
                    .or_else(|| numbered("MANIFEST-", ".m").map(|number| Self::Mirror(Generation(number)))),
            },
            Folder::Tables => numbered("", ".sst")
                .map(|number| Self::Table(TableId::new(number)))
                .or_else(|| numbered("", ".dv").map(|number| Self::DeleteVector(VectorId::new(number)))),
            Folder::Blobs => numbered("", ".blob").map(|number| Self::ValueLog(VlogId::new(number))),
            Folder::Wal => numbered("", ".wal").map(Self::WalSegment),
            Folder::Dictionaries => numbered("", ".dict").map(Self::Dictionary),
            Folder::Temporary => numbered("CURRENT-", "").map(|number| Self::NextPointer(Generation(number))),
            Folder::Quarantine => None,
        }
    }

    /// Where the file belongs.
    pub const fn folder(self) -> Folder {
        match self {
            Self::Current | Self::Lock | Self::Ballast | Self::Manifest(_) | Self::Mirror(_) => Folder::Root,
            Self::Table(_) | Self::DeleteVector(_) => Folder::Tables,
            Self::ValueLog(_) => Folder::Blobs,
            Self::WalSegment(_) => Folder::Wal,
            Self::Dictionary(_) => Folder::Dictionaries,
            Self::NextPointer(_) => Folder::Temporary,
        }
    }

    /// The path, given that of the database.
    pub fn path(self, root: &Path) -> PathBuf {
        self.folder().path(root).join(self.to_string())
    }
}

impl fmt::Display for FileName {
    /// The name within its folder.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("CURRENT"),
            Self::Lock => f.write_str("LOCK"),
            Self::Ballast => f.write_str("BALLAST"),
            Self::Manifest(number) => write!(f, "MANIFEST-{:020}", number.0),
            Self::Mirror(number) => write!(f, "MANIFEST-{:020}.m", number.0),
            Self::Table(number) => write!(f, "{:020}.sst", number.get()),
            Self::DeleteVector(number) => write!(f, "{:020}.dv", number.get()),
            Self::ValueLog(number) => write!(f, "{:020}.blob", number.get()),
            Self::WalSegment(number) => write!(f, "{number:020}.wal"),
            Self::Dictionary(number) => write!(f, "{number:020}.dict"),
            Self::NextPointer(number) => write!(f, "CURRENT-{:020}", number.0),
        }
    }
}

/// Twenty decimal digits; a sign, which the standard parser would take, is no digit.
fn parse_number(text: &str) -> Option<u64> {
    let digits = text.len() == 20 && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDERS: [Folder; 7] = [
        Folder::Root,
        Folder::Tables,
        Folder::Blobs,
        Folder::Wal,
        Folder::Dictionaries,
        Folder::Temporary,
        Folder::Quarantine,
    ];

    #[track_caller]
    fn check(folder: Folder, text: &str, file: FileName) {
        assert_eq!(FileName::parse(folder, OsStr::new(text)), Some(file));
        assert_eq!((file.folder(), file.to_string().as_str()), (folder, text));
        for other in FOLDERS.into_iter().filter(|other| *other != folder) {
            assert_eq!(FileName::parse(other, OsStr::new(text)), None, "{other:?} {text}");
        }
        assert_eq!(file.path(Path::new("/db")), folder.path(Path::new("/db")).join(text));
    }

    /// Proves D-21.
    #[test]
    fn every_file_has_one_name_in_one_folder() {
        check(Folder::Root, "CURRENT", FileName::Current);
        check(Folder::Root, "LOCK", FileName::Lock);
        check(Folder::Root, "BALLAST", FileName::Ballast);
        check(Folder::Root, "MANIFEST-00000000000000000007", FileName::Manifest(Generation(7)));
        check(Folder::Root, "MANIFEST-00000000000000000007.m", FileName::Mirror(Generation(7)));
        check(Folder::Tables, "18446744073709551615.sst", FileName::Table(TableId::new(u64::MAX)));
        check(Folder::Tables, "00000000000000000012.dv", FileName::DeleteVector(VectorId::new(12)));
        check(Folder::Blobs, "00000000000000000012.blob", FileName::ValueLog(VlogId::new(12)));
        check(Folder::Wal, "00000000000000000012.wal", FileName::WalSegment(12));
        check(Folder::Dictionaries, "00000000000000000012.dict", FileName::Dictionary(12));
        check(Folder::Temporary, "CURRENT-00000000000000000007", FileName::NextPointer(Generation(7)));
    }

    /// Proves D-53: names that are nearly ours are not ours.
    #[test]
    fn foreign_names_are_foreign() {
        let foreign = [
            "",
            ".",
            "..",
            ".DS_Store",
            "._CURRENT",
            "Thumbs.db",
            "desktop.ini",
            "lost+found",
            ".nfs0001",
            "current",
            "CURRENT ",
            "CURRENT~",
            ".CURRENT.swp",
            "CURRENT.tmp",
            "LOCK.bak",
            "lock",
            "2024",
            "7.sst",
            "vacation.jpg",
            "0000000000000000007.sst",
            "000000000000000000007.sst",
            "+0000000000000000007.sst",
            "-0000000000000000007.sst",
            "00000000000000000007.SST",
            "00000000000000000007.sst~",
            "00000000000000000007",
            " 00000000000000000007.sst",
            "18446744073709551616.sst",
            "99999999999999999999.sst",
            "0000000000000000000a.sst",
            "MANIFEST-7",
            "MANIFEST-",
            "MANIFEST-00000000000000000007.M",
            "MANIFEST-00000000000000000007.m.m",
            "MANIFEST",
            "manifest-00000000000000000007",
            "MANIFEST-00000000000000000007.bak",
            "CURRENT-7",
            "٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠.sst",
            "00000000000000000007.sst\0",
        ];
        for folder in FOLDERS {
            for name in foreign {
                assert_eq!(FileName::parse(folder, OsStr::new(name)), None, "{folder:?} {name}");
            }
        }
        assert_eq!(Folder::parse(OsStr::new("Tables")), None);
        assert_eq!(Folder::parse(OsStr::new("tables")), Some(Folder::Tables));
        assert_eq!(Folder::parse(OsStr::new("")), None);
    }

    /// Fault: durability W-32.
    #[cfg(unix)]
    #[test]
    fn names_that_are_not_text_are_foreign() {
        use std::os::unix::ffi::OsStrExt;
        let name = OsStr::from_bytes(b"00000000000000000007.sst\xFF");
        assert!(FOLDERS.iter().all(|folder| FileName::parse(*folder, name).is_none()));
        assert_eq!(Folder::parse(OsStr::from_bytes(b"tables\xFF")), None);
    }
}
