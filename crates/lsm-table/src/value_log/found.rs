//! What the manifest says about a value log, taken from the file: for when the manifest is lost.

use std::path::Path;

use lsm_block::{Encryption, Footer};
use lsm_fs::{Fs, OpenOptions};
use lsm_manifest::VlogDescriptor;
use lsm_types::{FileUuid, ReadAt, Result, TreeId};
use lsm_vlog::{LocatorHints, Vlog, VlogSummary};

use super::describe;

/// A value log that was found, with what it says about itself.
#[derive(Clone, Debug)]
pub struct FoundVlog {
    /// What a manifest would say about it.
    pub descriptor: VlogDescriptor,
    /// The database it belongs to.
    pub database: FileUuid,
    /// The tree it belongs to.
    pub tree: TreeId,
}

/// Opens the value log at `path` knowing nothing about it but where its key comes from.
///
/// # Errors
/// What is wrong with its key; damage; what the system says.
pub fn read_vlog(fs: &dyn Fs, path: &Path, encryption: Option<&Encryption>) -> Result<FoundVlog> {
    let file = fs.open(path, &OpenOptions::READ)?;
    let log = Vlog::open(file.as_ref(), LocatorHints::default(), encryption.cloned())?;
    let layout = log.meta();
    let identity = layout.superblock().identity;
    let at = identity.at(layout.file_len().saturating_sub(Footer::LEN as u64));
    let mut bytes = [0; Footer::LEN];
    file.as_ref().read_exact_at(at.offset, &mut bytes)?;
    let summary = VlogSummary {
        file_len: layout.file_len(),
        digest: layout.directory().file_digest,
        // Without the footer it is found by another route, as it was now.
        directory: Footer::decode(at, &bytes).map(|footer| footer.directory).unwrap_or_default(),
        tail_len: 0,
        properties: layout.properties().clone(),
        // Nothing but writing it tells.
        is_ordered: false,
    };
    let descriptor = describe(layout.superblock(), &summary);
    Ok(FoundVlog { descriptor, database: identity.database, tree: identity.tree })
}
