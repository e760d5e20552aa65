//! What may happen in a life. Operations are plain numbers, which mean something in any state: so any of them can be
//! left out of a life, and the rest still is one.

use super::axes::Axes;
use crate::dice::Dice;

/// One operation. `late` and `back` count numbers of writes down from the newest; `nth` counts modulo what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are told about here and in the names")]
pub enum Op {
    /// A put of a value of `len` bytes.
    Put { key: u16, len: u16, late: u8 },
    /// A delete.
    Delete { key: u16, late: u8 },
    /// An operand, perhaps one that does not fold.
    Merge { key: u16, late: u8, refused: bool },
    /// A write of a key on which weak deletes are used: `what` says which.
    Weak { key: u16, what: u8, late: u8 },
    /// Two weak pairs of a key, one within the other by their numbers, the inner one written last; `cut` says whether
    /// the outer one is in a memtable of its own by then, or in a table.
    Crossed { key: u16, cut: u8 },
    /// An earlier write of a key once more.
    Replay { back: u8 },
    /// A delete of a range; `kinds` says which of the nine forms the bounds have.
    DeleteRange { from: u16, to: u16, kinds: u8, late: u8 },
    /// A delete of what shares the first `len` bytes of a key.
    DeletePrefix { key: u16, len: u8 },
    /// A batch of `len` operations, with one number for all or with one for each.
    Batch { len: u8, shared: bool, seed: u32 },
    /// Sorted rows come into tables at once, `len` of them at most.
    Ingest { len: u8, seed: u32 },
    /// The same, as batches of columns.
    IngestColumns { len: u8, seed: u32 },
    /// Everything goes.
    Clear,
    /// Whole tables of a range go.
    DropRange { from: u16, to: u16 },
    /// As before, and their history.
    PurgeRange { from: u16, to: u16 },
    /// The memtable is frozen.
    Seal,
    /// Frozen memtables become tables.
    Flush,
    /// Nobody reads below any more.
    Watermark { back: u8 },
    /// Everything comes into the last level, a range of it is deleted for good, and that level is merged where it stands:
    /// what becomes of dead rows, at every share of them.
    Kill { from: u16, to: u16, seed: u32 },
    /// One job of one of the subject's strategies.
    Compact { strategy: u8, seed: u32 },
    /// Reads at a number stay possible.
    Hold { back: u8 },
    /// One of these promises ends.
    Release { nth: u8 },
    /// A view of the newest state, with or without a hold.
    TakeView { held: bool },
    /// A view at a number.
    TakeViewAt { back: u8 },
    /// One of the views goes.
    DropView { nth: u8 },
    /// Everything is flushed and opened again.
    Reopen,
    /// The process dies and the tree is opened again.
    Lose,
    /// A checkpoint is opened and looked at; life goes on in it, or in the original.
    Checkpoint { go_on: bool },
}

impl Op {
    /// Names of all operations, in the order of [`Op::label`].
    pub const LABELS: [&str; 27] = [
        "put",
        "delete",
        "merge",
        "weak",
        "crossed",
        "replay",
        "delete range",
        "delete prefix",
        "batch",
        "ingest",
        "ingest columns",
        "clear",
        "drop range",
        "purge range",
        "seal",
        "flush",
        "watermark",
        "kill",
        "compact",
        "hold",
        "release",
        "take view",
        "take view at",
        "drop view",
        "reopen",
        "lose",
        "checkpoint",
    ];

    /// Its name.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Put { .. } => "put",
            Self::Delete { .. } => "delete",
            Self::Merge { .. } => "merge",
            Self::Weak { .. } => "weak",
            Self::Crossed { .. } => "crossed",
            Self::Replay { .. } => "replay",
            Self::DeleteRange { .. } => "delete range",
            Self::DeletePrefix { .. } => "delete prefix",
            Self::Batch { .. } => "batch",
            Self::Ingest { .. } => "ingest",
            Self::IngestColumns { .. } => "ingest columns",
            Self::Clear => "clear",
            Self::DropRange { .. } => "drop range",
            Self::PurgeRange { .. } => "purge range",
            Self::Seal => "seal",
            Self::Flush => "flush",
            Self::Watermark { .. } => "watermark",
            Self::Kill { .. } => "kill",
            Self::Compact { .. } => "compact",
            Self::Hold { .. } => "hold",
            Self::Release { .. } => "release",
            Self::TakeView { .. } => "take view",
            Self::TakeViewAt { .. } => "take view at",
            Self::DropView { .. } => "drop view",
            Self::Reopen => "reopen",
            Self::Lose => "lose",
            Self::Checkpoint { .. } => "checkpoint",
        }
    }

    /// An operation as the dice say.
    pub fn random(dice: &mut Dice, axes: &Axes) -> Self {
        let key = number(dice, axes.keys.count());
        let to = number(dice, axes.keys.count());
        let byte = |dice: &mut Dice, end: u8| number(dice, end.into()).to_le_bytes()[0];
        let late = if dice.one_in(4) { byte(dice, 6) } else { 0 };
        match dice.below(152) {
            0..24 => {
                let long = dice.one_in(12);
                Self::Put { key, len: number(dice, if long { 700 } else { 30 }), late }
            }
            24..33 => Self::Delete { key, late },
            33..49 => Self::Merge { key, late, refused: dice.one_in(60) },
            49..59 => Self::Weak { key, what: byte(dice, 12), late },
            59 | 60 => Self::Crossed { key, cut: byte(dice, 4) },
            61..63 => Self::Replay { back: byte(dice, 12) },
            63..70 => Self::DeleteRange { from: key, to, kinds: byte(dice, 9), late },
            70..72 => Self::DeletePrefix { key, len: 1 + byte(dice, 6) },
            72..77 => Self::Batch { len: byte(dice, 9), shared: dice.one_in(3), seed: seed(dice) },
            77..80 => Self::Ingest { len: byte(dice, 12), seed: seed(dice) },
            80 => Self::Clear,
            81..83 => Self::DropRange { from: key, to },
            83 => Self::PurgeRange { from: key, to },
            84..92 => Self::Seal,
            92..101 => Self::Flush,
            101..109 => Self::Watermark { back: byte(dice, 14) },
            109..129 => Self::Compact { strategy: byte(dice, u8::MAX), seed: seed(dice) },
            129..133 => Self::Hold { back: byte(dice, 14) },
            133..136 => Self::Release { nth: byte(dice, 8) },
            136..139 => Self::TakeView { held: dice.coin() },
            139..141 => Self::TakeViewAt { back: byte(dice, 14) },
            141..143 => Self::DropView { nth: byte(dice, 8) },
            143..145 => Self::Reopen,
            145 => Self::Lose,
            146 | 147 => Self::Kill { from: key, to, seed: seed(dice) },
            148..151 => Self::IngestColumns { len: byte(dice, 12), seed: seed(dice) },
            _ => Self::Checkpoint { go_on: dice.coin() },
        }
    }
}

fn number(dice: &mut Dice, end: u16) -> u16 {
    let [low, high, ..] = dice.below(end.into()).to_le_bytes();
    u16::from_le_bytes([low, high])
}

fn seed(dice: &mut Dice) -> u32 {
    let [a, b, c, d, ..] = dice.roll().to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
