//! Predicates on typed columns: what a caller writes, and what is left of it once bound to a schema.
//!
//! Truth has three values, as in SQL: a comparison with a null is unknown, and a row is selected only where the whole
//! is true. `not` is pushed down to the leaves when a predicate is bound. There it turns a set of values into its
//! complement and leaves nulls unknown, so that from then on only the rows that are true have to be computed.

mod page;
mod ranges;
mod zone;

pub use zone::ZoneAnswer;

use alloc::{boxed::Box, vec, vec::Vec};

use crate::{
    Bitmap, Column, ColumnId, ColumnType, ColumnarError, Datum, Page, Result, Schema,
    native::{float_images, float32_images},
    types::{Cell, Physical},
};
use ranges::{Border, Ranges};

/// Longest list of values of [`Predicate::In`].
pub const LIST_LEN_MAX: usize = 1024;

/// How a column is compared with a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comparison {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
}

/// A condition on the columns of a row. Values must be of the columns' types; floats compare with NaN as equal to
/// itself and above all numbers, bytes and text by their bytes.
#[non_exhaustive]
#[derive(Clone, PartialEq, Debug)]
pub enum Predicate<'a> {
    /// A column compared with a value; with a null, unknown.
    Compare(ColumnId, Comparison, Datum<'a>),
    /// A column from one value to another, both included.
    Between(ColumnId, Datum<'a>, Datum<'a>),
    /// A column equal to one of up to 1,024 values.
    In(ColumnId, Vec<Datum<'a>>),
    /// Text or bytes that start with these.
    Prefix(ColumnId, &'a [u8]),
    /// No value.
    IsNull(ColumnId),
    /// Any value.
    IsNotNull(ColumnId),
    /// All of these.
    And(Vec<Predicate<'a>>),
    /// Any of these.
    Or(Vec<Predicate<'a>>),
    /// The opposite; unknown stays unknown.
    Not(Box<Predicate<'a>>),
}

/// Values that satisfy a leaf.
#[derive(Clone, Debug)]
enum ValueSet {
    /// Images of at most eight bytes, as inclusive ranges in order.
    Words { ranges: Vec<(u64, u64)> },
    /// Ordered bytes.
    Bytes(Ranges<Vec<u8>>),
}

#[derive(Clone, Debug)]
enum Test {
    Values(ValueSet),
    IsNull,
    IsNotNull,
}

/// A condition on one column.
#[derive(Clone, Debug)]
struct Leaf {
    column: ColumnId,
    ty: ColumnType,
    test: Test,
    /// Whether rows from before the column existed satisfy it.
    holds_for_missing: bool,
}

#[derive(Clone, Debug)]
enum Node {
    Leaf(Leaf),
    All(Vec<Node>),
    Any(Vec<Node>),
}

/// A predicate bound to a schema: columns exist, values are of their types, `not` is gone.
#[derive(Clone, Debug)]
pub struct BoundPredicate {
    root: Node,
    columns: Vec<ColumnId>,
}

impl Predicate<'_> {
    /// Binds the predicate to the columns of `schema`.
    ///
    /// # Errors
    /// [`ColumnarError::NoColumn`], [`ColumnarError::Type`], [`ColumnarError::ListTooLong`].
    pub fn bind(&self, schema: &Schema) -> Result<BoundPredicate> {
        let root = bind(self, schema, false)?;
        let mut columns = Vec::new();
        collect(&root, &mut columns);
        columns.sort_unstable();
        columns.dedup();
        Ok(BoundPredicate { root, columns })
    }
}

impl BoundPredicate {
    /// The columns that are looked at, in order.
    pub fn columns(&self) -> &[ColumnId] {
        &self.columns
    }

    /// Whether one row satisfies the predicate; `datum` finds its cells. A cell that is not of its column's type satisfies
    /// nothing.
    pub fn holds<'d>(&self, datum: impl Fn(ColumnId) -> Datum<'d>) -> bool {
        holds(&self.root, &datum)
    }

    /// The rows of some pages that satisfy the predicate; `page` finds the page of a column, and `None` means that the
    /// rows are older than the column.
    ///
    /// Pages are looked at as they are encoded, and not at all once no row is left.
    ///
    /// # Errors
    /// [`ColumnarError::Type`] for a page of another type or number of rows than the others; errors of `page`.
    pub fn select<'p, E: From<ColumnarError>>(
        &self,
        rows: usize,
        mut page: impl FnMut(ColumnId) -> Result<Option<(&'p Page, &'p [u8])>, E>,
    ) -> Result<Bitmap, E> {
        select(&self.root, rows, &mut page)
    }
}

fn collect(node: &Node, columns: &mut Vec<ColumnId>) {
    match node {
        Node::Leaf(leaf) => columns.push(leaf.column),
        Node::All(nodes) | Node::Any(nodes) => nodes.iter().for_each(|node| collect(node, columns)),
    }
}

fn holds<'d>(node: &Node, datum: &impl Fn(ColumnId) -> Datum<'d>) -> bool {
    match node {
        Node::Leaf(leaf) => datum(leaf.column).cell(leaf.ty).is_ok_and(|cell| leaf.test.holds(cell)),
        Node::All(nodes) => nodes.iter().all(|node| holds(node, datum)),
        Node::Any(nodes) => nodes.iter().any(|node| holds(node, datum)),
    }
}

fn select<'p, E: From<ColumnarError>>(
    node: &Node,
    rows: usize,
    page: &mut impl FnMut(ColumnId) -> Result<Option<(&'p Page, &'p [u8])>, E>,
) -> Result<Bitmap, E> {
    match node {
        Node::Leaf(leaf) => match page(leaf.column)? {
            None if leaf.holds_for_missing => Ok(Bitmap::all(rows)),
            None => Ok(Bitmap::none(rows)),
            Some((page, _)) if page.ty() != leaf.ty || page.rows() != rows => {
                Err(ColumnarError::Type { ty: leaf.ty }.into())
            }
            Some((page, payload)) => Ok(page::select(&leaf.test, page, payload)),
        },
        Node::All(nodes) => {
            let mut found = Bitmap::all(rows);
            for node in nodes {
                if found.is_none() {
                    break;
                }
                found.and(&select(node, rows, page)?);
            }
            Ok(found)
        }
        Node::Any(nodes) => {
            let mut found = Bitmap::none(rows);
            for node in nodes {
                if found.is_all() {
                    break;
                }
                found.or(&select(node, rows, page)?);
            }
            Ok(found)
        }
    }
}

fn bind(predicate: &Predicate<'_>, schema: &Schema, negated: bool) -> Result<Node> {
    let column = |id: ColumnId| schema.column(id).ok_or(ColumnarError::NoColumn);
    let values = |column: &Column, set: Option<ValueRanges>| {
        let test = match set {
            Some(set) => {
                Test::Values(if negated { set.complement(column.ty()) } else { set.finish(column.ty()) })
            }
            // A comparison with a null is never true, nor is its opposite.
            None => Test::Values(ValueRanges::none(column.ty()).finish(column.ty())),
        };
        Node::Leaf(leaf(column, test))
    };
    let children = |nodes: &[Predicate<'_>]| {
        nodes.iter().map(|node| bind(node, schema, negated)).collect::<Result<Vec<_>>>()
    };
    Ok(match predicate {
        Predicate::Compare(id, comparison, datum) => {
            let column = column(*id)?;
            values(column, compare(column.ty(), *comparison, *datum)?)
        }
        Predicate::Between(id, lower, upper) => {
            let column = column(*id)?;
            if let (Some((lower, _)), Some((_, upper))) =
                (ends(column.ty(), *lower)?, ends(column.ty(), *upper)?)
            {
                values(column, Some(lower.up_to(upper)))
            } else {
                // Beside a null on one side, the other still says which values are certainly outside.
                let lower = Predicate::Compare(*id, Comparison::Ge, *lower);
                let upper = Predicate::Compare(*id, Comparison::Le, *upper);
                bind(&Predicate::And(vec![lower, upper]), schema, negated)?
            }
        }
        Predicate::In(id, list) => {
            let column = column(*id)?;
            if list.len() > LIST_LEN_MAX {
                return Err(ColumnarError::ListTooLong { count: list.len() });
            }
            if list.is_empty() {
                // Nothing equals one of no values, a null neither: that is known.
                return bind(&Predicate::Or(Vec::new()), schema, negated);
            }
            let points = list.iter().map(|datum| compare(column.ty(), Comparison::Eq, *datum));
            let points = points.collect::<Result<Vec<_>>>()?;
            // "Not in a list with a null" is unknown for every value.
            let unknown = negated && points.iter().any(Option::is_none);
            let set = ValueRanges::union(column.ty(), points.into_iter().flatten());
            values(column, (!unknown).then_some(set))
        }
        Predicate::Prefix(id, prefix) => {
            let column = column(*id)?;
            if !matches!(column.ty(), ColumnType::Utf8 | ColumnType::Bytes | ColumnType::Fixed(_)) {
                return Err(ColumnarError::Type { ty: column.ty() });
            }
            let lower = Some(Border::before(prefix.to_vec()));
            values(column, Some(ValueRanges::Bytes(Ranges::between(lower, successor(prefix)))))
        }
        Predicate::IsNull(id) | Predicate::IsNotNull(id) => {
            let wants_null = matches!(predicate, Predicate::IsNull(_)) != negated;
            Node::Leaf(leaf(column(*id)?, if wants_null { Test::IsNull } else { Test::IsNotNull }))
        }
        Predicate::And(nodes) if negated => Node::Any(children(nodes)?),
        Predicate::Or(nodes) if negated => Node::All(children(nodes)?),
        Predicate::And(nodes) => Node::All(children(nodes)?),
        Predicate::Or(nodes) => Node::Any(children(nodes)?),
        Predicate::Not(node) => bind(node, schema, !negated)?,
    })
}

fn leaf(column: &Column, test: Test) -> Leaf {
    let holds_for_missing = test.holds(column.default_cell());
    Leaf { column: column.id(), ty: column.ty(), test, holds_for_missing }
}

impl Test {
    fn holds(&self, cell: Cell<'_>) -> bool {
        match (self, cell) {
            (Self::IsNull, cell) => cell == Cell::Null,
            (Self::IsNotNull, cell) => cell != Cell::Null,
            (Self::Values(_), Cell::Null) => false,
            (Self::Values(set), cell) => set.contains(cell),
        }
    }
}

impl ValueSet {
    fn contains(&self, cell: Cell<'_>) -> bool {
        match (self, cell) {
            (Self::Words { ranges }, Cell::Word(image)) => {
                ranges.iter().any(|(from, last)| (*from..=*last).contains(&image))
            }
            (Self::Bytes(set), cell) => set.contains(|border| border[..].cmp(cell.bytes())),
            _ => false,
        }
    }
}

/// Values in the making, as borders.
enum ValueRanges {
    Words(Ranges<u64>),
    Bytes(Ranges<Vec<u8>>),
}

/// A border of either kind.
enum Side {
    Word(Border<u64>),
    Bytes(Border<Vec<u8>>),
}

impl Side {
    fn up_to(self, upper: Self) -> ValueRanges {
        match (self, upper) {
            (Self::Word(lower), Self::Word(upper)) => {
                ValueRanges::Words(Ranges::between(Some(lower), Some(upper)))
            }
            (Self::Bytes(lower), Self::Bytes(upper)) => {
                ValueRanges::Bytes(Ranges::between(Some(lower), Some(upper)))
            }
            _ => ValueRanges::Words(Ranges::none()),
        }
    }

    fn and_above(self) -> ValueRanges {
        match self {
            Self::Word(lower) => ValueRanges::Words(Ranges::between(Some(lower), None)),
            Self::Bytes(lower) => ValueRanges::Bytes(Ranges::between(Some(lower), None)),
        }
    }

    fn and_below(self) -> ValueRanges {
        match self {
            Self::Word(upper) => ValueRanges::Words(Ranges::between(None, Some(upper))),
            Self::Bytes(upper) => ValueRanges::Bytes(Ranges::between(None, Some(upper))),
        }
    }
}

impl ValueRanges {
    const fn none(ty: ColumnType) -> Self {
        match ty.physical() {
            Physical::Word { .. } => Self::Words(Ranges::none()),
            _ => Self::Bytes(Ranges::none()),
        }
    }

    fn union(ty: ColumnType, parts: impl Iterator<Item = Self>) -> Self {
        let (mut words, mut bytes) = (Vec::new(), Vec::new());
        for part in parts {
            match part {
                Self::Words(part) => words.push(part),
                Self::Bytes(part) => bytes.push(part),
            }
        }
        match ty.physical() {
            Physical::Word { .. } => Self::Words(Ranges::union(words.into_iter())),
            _ => Self::Bytes(Ranges::union(bytes.into_iter())),
        }
    }

    fn complement(self, ty: ColumnType) -> ValueSet {
        match self {
            Self::Words(ranges) => Self::Words(ranges.complement()).finish(ty),
            Self::Bytes(ranges) => Self::Bytes(ranges.complement()).finish(ty),
        }
    }

    fn finish(self, ty: ColumnType) -> ValueSet {
        match (self, ty.physical()) {
            (Self::Words(ranges), Physical::Word { max, .. }) => {
                // Neighbouring points become one range.
                let mut joined: Vec<(u64, u64)> = vec![];
                for (from, last) in ranges.inclusive(max) {
                    match joined.last_mut() {
                        Some(before) if before.1.checked_add(1) == Some(from) => before.1 = last,
                        _ => joined.push((from, last)),
                    }
                }
                ValueSet::Words { ranges: joined }
            }
            (Self::Bytes(ranges), _) => ValueSet::Bytes(ranges),
            (Self::Words(_), _) => ValueSet::Bytes(Ranges::none()),
        }
    }
}

/// The borders before and after what equals `datum`; none for a null.
fn ends(ty: ColumnType, datum: Datum<'_>) -> Result<Option<(Side, Side)>> {
    let (low, high) = match (datum.cell(ty)?, datum) {
        (Cell::Null, _) => return Ok(None),
        (Cell::Word(_), Datum::F64(value)) => float_images(value),
        (Cell::Word(_), Datum::F32(value)) => float32_images(value),
        (Cell::Word(image), _) => (image, image),
        (cell, _) => {
            let bytes = cell.bytes().to_vec();
            return Ok(Some((Side::Bytes(Border::before(bytes.clone())), Side::Bytes(Border::after(bytes)))));
        }
    };
    Ok(Some((Side::Word(Border::before(low)), Side::Word(Border::after(high)))))
}

fn compare(ty: ColumnType, comparison: Comparison, datum: Datum<'_>) -> Result<Option<ValueRanges>> {
    let Some((before, after)) = ends(ty, datum)? else { return Ok(None) };
    Ok(Some(match comparison {
        Comparison::Eq => before.up_to(after),
        Comparison::Ne => ValueRanges::union(ty, [before.and_below(), after.and_above()].into_iter()),
        Comparison::Lt => before.and_below(),
        Comparison::Le => after.and_below(),
        Comparison::Gt => after.and_above(),
        Comparison::Ge => before.and_above(),
    }))
}

/// The border above everything that starts with `prefix`; none if there is nothing above.
fn successor(prefix: &[u8]) -> Option<Border<Vec<u8>>> {
    let mut bytes = prefix.to_vec();
    while let Some(last) = bytes.pop() {
        if let Some(next) = last.checked_add(1) {
            bytes.push(next);
            return Some(Border::before(bytes));
        }
    }
    None
}
