//! Seeds that once failed: lived first, for ever.

/// One seed a line, then what it found.
const TEXT: &str = include_str!("../seeds.txt");

/// The seeds that are kept.
///
/// # Panics
///
/// If a line of `seeds.txt` does not begin with a number: the file is part of the source.
pub fn kept() -> Vec<u64> {
    let lines = TEXT.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let seed = |line: &str| line.split_whitespace().next().and_then(|word| word.parse().ok());
    lines.map(|line| seed(line).unwrap_or_else(|| panic!("no seed: `{line}`"))).collect()
}
