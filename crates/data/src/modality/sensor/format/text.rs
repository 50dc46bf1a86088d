//! Reading numbers from text files, with errors that name file, line and column.

use crate::DataError;
use std::io::BufRead;
use std::path::Path;

/// Longest part of a wrong cell that a message shows.
const SHOWN: usize = 40;

/// Calls `visit` with the number (from 1) and the text of every line that is not blank.
pub(super) fn for_each_line(
    path: &Path,
    mut reader: impl BufRead,
    mut visit: impl FnMut(usize, &str) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        let read = reader
            .read_until(b'\n', &mut bytes)
            .map_err(|e| DataError::io(path, "read", e))?;
        if read == 0 {
            break;
        }
        let Ok(text) = std::str::from_utf8(&bytes) else {
            let place = format!("line {number}");
            return Err(DataError::format(
                path,
                place,
                "text in UTF-8",
                "other bytes",
            ));
        };
        let text = text.trim();
        if !text.is_empty() {
            visit(number, text)?;
        }
    }
    Ok(())
}

/// What is known about the columns of a table of numbers.
pub(super) struct Table<'a> {
    /// File, for messages.
    pub(super) path: &'a Path,
    /// Columns that every line must have; `None`: as many as the first line.
    pub(super) columns: Option<usize>,
    /// Whether `NaN` may stand for a missing value.
    pub(super) missing: bool,
    /// Name of a column, counted from 0, for messages.
    pub(super) name: &'a dyn Fn(usize) -> String,
}

impl Table<'_> {
    /// Calls `visit` with the line number and the values of every line of whitespace-separated
    /// numbers.
    pub(super) fn for_each_row(
        &self,
        reader: impl BufRead,
        mut visit: impl FnMut(usize, &[f32]) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let mut columns = self.columns;
        let mut row = Vec::new();
        for_each_line(self.path, reader, |line, text| {
            row.clear();
            for (column, cell) in text.split_ascii_whitespace().enumerate() {
                row.push(self.number(line, column, cell)?);
            }
            let expected = *columns.get_or_insert(row.len());
            if row.len() != expected {
                return Err(DataError::format(
                    self.path,
                    format!("line {line}"),
                    format!("{expected} numbers"),
                    row.len().to_string(),
                ));
            }
            visit(line, &row)
        })
    }

    /// The number in a cell; NaN for a missing one.
    pub(super) fn number(&self, line: usize, column: usize, cell: &str) -> Result<f32, DataError> {
        let value: Option<f32> = cell.parse().ok();
        match value {
            Some(value) if value.is_finite() || (value.is_nan() && self.missing) => Ok(value),
            _ => Err(DataError::format(
                self.path,
                format!(
                    "line {line}, column {} ({})",
                    column + 1,
                    (self.name)(column)
                ),
                if self.missing {
                    "a number or NaN"
                } else {
                    "a number"
                },
                shown(cell),
            )),
        }
    }

    /// The whole file, column by column.
    pub(super) fn read(&self, reader: impl BufRead) -> Result<Vec<Vec<f32>>, DataError> {
        let mut columns = vec![Vec::new(); self.columns.unwrap_or(0)];
        self.for_each_row(reader, |_, row| {
            columns.resize_with(row.len(), Vec::new);
            for (column, &value) in columns.iter_mut().zip(row) {
                column.push(value);
            }
            Ok(())
        })?;
        Ok(columns)
    }
}

/// `cell` in quotes, cut if it is long.
pub(super) fn shown(cell: &str) -> String {
    match cell.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}…", &cell[..end]),
        None => format!("{cell:?}"),
    }
}

/// A whole number that a line holds at `column` (from 0).
pub(super) fn whole(
    path: &Path,
    line: usize,
    column: usize,
    name: &str,
    cell: &str,
) -> Result<u32, DataError> {
    cell.parse().map_err(|_| {
        let place = format!("line {line}, column {} ({name})", column + 1);
        DataError::format(path, place, "a whole number", shown(cell))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, columns: Option<usize>, missing: bool) -> Result<Vec<Vec<f32>>, String> {
        let table = Table {
            path: Path::new("a.txt"),
            columns,
            missing,
            name: &|column| format!("c{column}"),
        };
        table.read(text.as_bytes()).map_err(|e| e.to_string())
    }

    #[test]
    fn tables_are_read_by_columns() {
        let got = read("1 2\n\n  3\t-4e1 \r\n", None, false).unwrap();
        assert_eq!(got, [[1.0, 3.0], [2.0, -40.0]]);
        assert!(read("NaN 1\n", None, true).unwrap()[0][0].is_nan());
    }

    #[test]
    fn errors_name_line_and_column() {
        let cases = [
            (
                "1 2\n3 x\n",
                false,
                "a.txt: line 2, column 2 (c1): expected a number, found \"x\"",
            ),
            (
                "1 2\n3\n",
                false,
                "a.txt: line 2: expected 2 numbers, found 1",
            ),
            (
                "NaN\n",
                false,
                "a.txt: line 1, column 1 (c0): expected a number, found \"NaN\"",
            ),
            (
                "inf\n",
                true,
                "a.txt: line 1, column 1 (c0): expected a number or NaN, found \"inf\"",
            ),
        ];
        for (text, missing, want) in cases {
            assert_eq!(read(text, None, missing).unwrap_err(), want);
        }
        let long = "y".repeat(100);
        assert!(read(&long, None, false).unwrap_err().len() < 130);
        let lines = for_each_line(Path::new("b"), &b"ok\n\xff\n"[..], |_, _| Ok(()));
        let want = "b: line 2: expected text in UTF-8, found other bytes";
        assert_eq!(lines.unwrap_err().to_string(), want);
    }
}
