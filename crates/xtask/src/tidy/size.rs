//! How much may stand in one place: lines in a file, columns in a line, lines in a function.

use super::modules::Reach;
use super::token::{Kind, end_of_item, is_ident};
use super::{Finding, Source};

/// Past this a file is read in pieces, and each reader picks other pieces.
const FILE_LINES_MAX: usize = 600;

/// Two files side by side on one screen. Same as `max_width` of rustfmt, which gives up on
/// lines that it cannot break.
const COLUMNS_MAX: usize = 100;

/// What fits on one screen.
const FUNCTION_LINES_MAX: usize = 70;

/// Returns what is too long or too wide. `reach` tells whether only tests compile the file.
pub fn check(source: &Source, reach: Reach) -> Vec<Finding> {
    let mut found: Vec<Finding> = file(source).into_iter().collect();
    if reach != Reach::Test {
        found.extend(columns(source));
    }
    found.extend(functions(source));
    found
}

fn file(source: &Source) -> Option<Finding> {
    let lines = source.text.lines().count();
    let what = format!("{lines} lines in one file (at most {FILE_LINES_MAX})");
    (lines > FILE_LINES_MAX).then(|| source.finding(FILE_LINES_MAX + 1, what))
}

/// Text inside a literal of several lines is what some program prints, and an address
/// cannot be broken; neither is ours to fold. A test may be as wide as its table or its frame.
fn columns(source: &Source) -> Vec<Finding> {
    let is_quoted = |line: usize| {
        let mut literals = source.tokens.iter().filter(|t| matches!(t.kind, Kind::Literal(_)));
        literals.any(|t| t.line < t.last_line && (t.line..=t.last_line).contains(&line))
    };
    let is_test = |line: usize| source.tokens.iter().any(|t| t.is_test && t.line == line);
    let mut found = Vec::new();
    for (line, text) in source.text.lines().enumerate().map(|(at, text)| (at + 1, text)) {
        let columns = text.chars().count();
        if columns > COLUMNS_MAX && !text.contains("://") && !is_quoted(line) && !is_test(line) {
            let what = format!("{columns} columns in one line (at most {COLUMNS_MAX})");
            found.push(source.finding(line, what));
        }
    }
    found
}

fn functions(source: &Source) -> Vec<Finding> {
    let tokens = &source.tokens;
    let mut found = Vec::new();
    for (at, keyword) in tokens.iter().enumerate().filter(|(_, token)| is_ident(token, "fn")) {
        // Without a name it is the type of a function.
        let Some(Kind::Ident(name)) = tokens.get(at + 1).map(|token| &token.kind) else { continue };
        let end = &tokens[end_of_item(tokens, at) - 1];
        let lines = end.line - keyword.line + 1;
        if lines > FUNCTION_LINES_MAX {
            let what = format!("{lines} lines in `{name}` (at most {FUNCTION_LINES_MAX})");
            found.push(source.finding(keyword.line, what));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        check(&Source::new("src/lib.rs", text).unwrap(), Reach::Code)
            .iter()
            .map(|found| found.line)
            .collect()
    }

    /// A function of `count` lines.
    fn function(count: usize) -> String {
        format!("fn f(a: [u8; 4]) {{\n{}}}\n", "    g();\n".repeat(count - 2))
    }

    #[test]
    fn the_longest_function_and_one_line_more() {
        assert_eq!(lines(&function(70)), [0; 0]);
        assert_eq!(lines(&format!("//! doc\n{}", function(71))), [2]);
        // Inside a macro and inside an impl, too.
        assert_eq!(lines(&format!("select! {{ {} }}", function(71))), [1]);
        assert_eq!(lines(&format!("impl S {{\n\n {} }}", function(71))), [3]);
        // Neither the type of a function nor one without a body.
        let other = "const F: fn(u8) -> u8 = g;\ntrait T { fn f(a: [u8; 2]); }\n";
        assert_eq!(lines(&format!("{other}{}", "\n".repeat(80))), [0; 0]);
    }

    #[test]
    fn the_longest_file_and_one_line_more() {
        assert_eq!(lines(&"\n".repeat(600)), [0; 0]);
        assert_eq!(lines(&"\n".repeat(601)), [601]);
    }

    #[test]
    fn the_widest_line_and_one_column_more() {
        let comment = |columns: usize| format!("// {}\n", "é".repeat(columns - 3));
        assert_eq!(lines(&comment(100)), [0; 0]);
        assert_eq!(lines(&comment(101)), [1]);
        assert_eq!(lines(&format!("// https://{}\n", "a".repeat(100))), [0; 0]);
        let snapshot = format!("const S: &str = r#\"\n> {}\n\"#;\n", "{}".repeat(60));
        assert_eq!(lines(&snapshot), [0; 0]);
        let table = format!("const T: [u8; 2] = [{}];", "1,".repeat(60));
        assert_eq!(lines(&table), [1]);
        assert_eq!(lines(&format!("#[cfg(test)]\nmod tests {{\n{table}\n}}")), [0; 0]);
    }
}
