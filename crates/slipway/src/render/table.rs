//! Rows in aligned columns, without borders: readable for people, and for `awk`.

use crate::output::{Palette, printable};

/// Between two columns.
const GAP: &str = "  ";

#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(titles: &[&str]) -> Self {
        Self { rows: vec![titles.iter().map(ToString::to_string).collect()] }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows
            .push(cells.iter().map(|cell| if cell.is_empty() { "-".to_owned() } else { printable(cell) }).collect());
    }

    /// The titles first; no spaces at the end of a line.
    pub(crate) fn render(&self, palette: Palette) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| columns_of(cell)).max()
        };
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        let lines = self.rows.iter().enumerate().map(|(index, row)| {
            let line = aligned(row, &widths);
            if index == 0 { palette.dim(&line) } else { line }
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn aligned(row: &[String], widths: &[usize]) -> String {
    let padded = row.iter().zip(widths).map(|(cell, width)| {
        let missing = width.saturating_sub(columns_of(cell));
        format!("{cell}{}", " ".repeat(missing))
    });
    padded.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
}

/// Names are ASCII; a message with wide characters may be out of line, at worst in the last column.
fn columns_of(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["NAME", "STATE"]);
        table.row(vec!["a".into(), "live".into()]);
        table.row(vec!["longer".into(), String::new()]);
        assert_eq!(table.render(Palette::of_nothing()), "NAME    STATE\na       live\nlonger  -");
    }
}
