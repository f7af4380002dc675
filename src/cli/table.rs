//! Tables for people: columns and nothing around them.

use comfy_table::{CellAlignment, Row, Table, presets};

/// A table with this header and no rows yet.
pub(crate) fn table(header: impl Into<Row>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table
}

/// Moves the columns from the one with this number on to the right, where numbers belong. To be called when all rows are there.
pub(crate) fn align_right(table: &mut Table, first: usize) {
    table.column_iter_mut().skip(first).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
}
