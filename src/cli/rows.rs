//! Rows of a table, as CSV or as one JSON object a line.

use super::time::TimeBase;
use std::io::{self, Write};
use tickcore::book::{Price, TimestampNs};

/// One value of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cell<'c> {
    Time(TimeBase, TimestampNs),
    /// A time that may be missing: then it is 0, or null.
    OptionalTime(TimeBase, TimestampNs),
    Number(u64),
    Optional(Option<u64>),
    Price(Option<Price>),
    Text(&'c str),
}

/// Writes rows that all have the same columns.
#[derive(Debug)]
pub(crate) struct RowWriter<W: Write> {
    output: W,
    is_json: bool,
    columns: Vec<String>,
}

impl<W: Write> RowWriter<W> {
    pub(crate) const fn new(output: W, is_json: bool, columns: Vec<String>) -> Self {
        Self { output, is_json, columns }
    }

    /// The names of the columns, in CSV.
    pub(crate) fn header(&mut self) -> io::Result<()> {
        if self.is_json { Ok(()) } else { writeln!(self.output, "{}", self.columns.join(",")) }
    }

    /// Begins a row: every column has to be put, then it is ended.
    pub(crate) const fn row(&mut self) -> Row<'_, W> {
        Row { writer: self, column: 0 }
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// A row that is being written.
#[derive(Debug)]
pub(crate) struct Row<'r, W: Write> {
    writer: &'r mut RowWriter<W>,
    column: usize,
}

impl<W: Write> Row<'_, W> {
    pub(crate) fn put(&mut self, cell: Cell<'_>) -> io::Result<()> {
        let RowWriter { output, is_json, columns } = &mut *self.writer;
        if *is_json {
            let open = if self.column == 0 { "{" } else { "," };
            write!(output, "{open}\"{}\":", columns[self.column])?;
        } else if self.column > 0 {
            output.write_all(b",")?;
        }
        self.column += 1;
        match (cell, *is_json) {
            (Cell::Number(number) | Cell::Optional(Some(number)), _) => write!(output, "{number}"),
            (Cell::Optional(None) | Cell::Price(None), false) => Ok(()),
            (Cell::OptionalTime(_, TimestampNs(0)), false) => output.write_all(b"0"),
            (Cell::Optional(None) | Cell::Price(None) | Cell::OptionalTime(_, TimestampNs(0)), true) => {
                output.write_all(b"null")
            }
            (Cell::Time(TimeBase::Midnight, time) | Cell::OptionalTime(TimeBase::Midnight, time), _) => {
                write!(output, "{time}")
            }
            (Cell::Time(base, time) | Cell::OptionalTime(base, time), false) => {
                output.write_all(base.format(time).as_bytes())
            }
            (Cell::Time(base, time) | Cell::OptionalTime(base, time), true) => {
                write!(output, "\"{}\"", base.format(time))
            }
            // As text: a JSON number would come back as a float in most readers.
            (Cell::Price(Some(price)), true) => write!(output, "\"{price}\""),
            (Cell::Price(Some(price)), false) => write!(output, "{price}"),
            (Cell::Text(text), true) => serde_json::to_writer(output, text).map_err(io::Error::from),
            (Cell::Text(text), false) => write_csv_text(output, text),
        }
    }

    pub(crate) fn end(self) -> io::Result<()> {
        debug_assert_eq!(self.column, self.writer.columns.len(), "a row has a value for every column");
        self.writer.output.write_all(if self.writer.is_json { b"}\n" } else { b"\n" })
    }
}

/// Quoted where RFC 4180 asks for it.
fn write_csv_text(output: &mut impl Write, text: &str) -> io::Result<()> {
    if text.contains([',', '"', '\n', '\r']) {
        return write!(output, "\"{}\"", text.replace('"', "\"\""));
    }
    output.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(is_json: bool, cells: &[Cell<'_>]) -> String {
        let columns = (0..cells.len()).map(|column| format!("c{column}")).collect();
        let mut writer = RowWriter::new(Vec::new(), is_json, columns);
        let mut row = writer.row();
        cells.iter().for_each(|cell| row.put(*cell).expect("memory takes everything"));
        row.end().expect("memory takes everything");
        String::from_utf8(writer.output).expect("text")
    }

    #[test]
    fn cells_are_written_as_csv_and_json() {
        let dated = TimeBase::Epoch { midnight: None };
        let cells = [
            Cell::Time(dated, TimestampNs(1_580_394_600_000_000_001)),
            Cell::Time(TimeBase::Midnight, TimestampNs(7)),
            Cell::Number(1),
            Cell::Optional(None),
            Cell::Price(Some(Price(1_500_000_000))),
            Cell::Price(None),
            Cell::Text("a,\"b\""),
        ];
        assert_eq!(written(false, &cells), "2020-01-30T14:30:00.000000001Z,7,1,,1.5,,\"a,\"\"b\"\"\"\n");
        assert_eq!(
            written(true, &cells),
            "{\"c0\":\"2020-01-30T14:30:00.000000001Z\",\"c1\":7,\"c2\":1,\"c3\":null,\"c4\":\"1.5\",\"c5\":null,\"c6\":\"a,\\\"b\\\"\"}\n"
        );
    }
}
