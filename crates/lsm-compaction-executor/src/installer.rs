//! The one port through which a job changes the tree.

use std::sync::Arc;

use lsm_manifest::{TableDescriptor, VectorDescriptor, VlogDescriptor};
use lsm_types::{Level, SeqNo, Slice, TableId};

use crate::InstallError;

/// Where new tables go in the order of age.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// Newer than everything in the level: a flush.
    Newest,
    /// At the age of the newest removed table of the same level, or newest in a level that loses none.
    OfInputs,
}

/// What becomes of the inputs of a job at a checkpoint.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EditExtras {
    /// Tables that leave.
    pub remove: Vec<TableId>,
    /// Tables of which a part stays: the keys from here on.
    pub restrictions: Vec<(TableId, Slice)>,
    /// Inputs that stay, these among them, in a job that goes on: none has an entry below where it stands.
    pub rest: Vec<TableId>,
}

/// What a checkpoint of a job changes, all at once.
#[derive(Clone, Debug)]
pub struct InstallRequest {
    /// Tables that leave.
    pub remove: Vec<TableId>,
    /// Tables of which a part stays: the keys from here on.
    pub restrict: Vec<(TableId, Slice)>,
    /// All inputs that stay, in a job that goes on: the keys of all their entries lie behind those of all entries that went.
    pub rest: Vec<TableId>,
    /// Tables that come, disjoint and in key order.
    pub add: Vec<Arc<TableDescriptor>>,
    /// Value logs that come, and that some of these refer to.
    pub vlogs: Vec<Arc<VlogDescriptor>>,
    /// Delete vectors that take the place of those of tables that stay.
    pub vectors: Vec<(TableId, Arc<VectorDescriptor>)>,
    /// Tables that change their level as they are, run by run, newest first.
    pub relocate: Vec<Vec<TableId>>,
    /// Where added and relocated tables go.
    pub dest: Level,
    /// Where added tables go in the order of age.
    pub placement: Placement,
    /// New reads at or below this bound have lost history.
    pub floor: Option<SeqNo>,
    /// The highest number of a change that is gone or altered though no read misses it.
    pub altered: Option<SeqNo>,
    /// New reads at or below this bound might see what a filter has changed. Changes are complete above `altered` all the
    /// same.
    pub filtered: Option<SeqNo>,
}

/// Makes a change durable and visible: manifest edit, sync, publication.
pub trait Installer: Send + Sync {
    /// Installs wholly or not at all; checks against the newest version that what is removed is there.
    fn install(&self, request: InstallRequest) -> Result<(), InstallError>;
}
