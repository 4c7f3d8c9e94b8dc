//! Data to stdout, words to stderr: tables for people, one JSON object a line for programs.

use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

/// Prints each row as one JSON object on one line.
pub fn json_lines<T: Serialize>(out: &mut impl Write, rows: &[T]) -> io::Result<()> {
    for row in rows {
        serde_json::to_writer(&mut *out, row)?;
        writeln!(out)?;
    }
    Ok(())
}

/// Prints where something is.
pub fn path(json: bool, path: &Path, out: &mut impl Write) -> io::Result<()> {
    if json {
        writeln!(out, "{}", serde_json::json!({ "path": path }))
    } else {
        writeln!(out, "{}", path.display())
    }
}

/// Prints rows in columns as wide as their widest cell; the last column is not padded.
pub fn table(out: &mut impl Write, head: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let last = row.len().saturating_sub(1);
        for (i, cell) in row.iter().enumerate() {
            if i == last {
                writeln!(out, "{cell}")?;
            } else {
                write!(out, "{cell:<width$}  ", width = widths[i])?;
            }
        }
    }
    Ok(())
}

/// Shortens a text to one line of at most `max` characters.
pub fn one_line(text: &str, max: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= max {
        return line;
    }
    let head: String = line.chars().take(max.saturating_sub(1)).collect();
    format!("{head}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let mut out = Vec::new();
        let rows = [vec!["a".to_owned(), "long".to_owned()], vec!["bcd".to_owned(), String::new()]];
        table(&mut out, &["K", "V"], &rows).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "K    V\na    long\nbcd  \n");
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(one_line("ä ö\nü", 9), "ä ö ü");
        assert_eq!(one_line("äöüß", 3), "äö…");
    }
}
