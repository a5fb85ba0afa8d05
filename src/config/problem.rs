//! What is wrong with a configuration: every problem, with its place, for people.

use std::fmt;

/// One problem of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line and column from 1, where the problem has a place.
    pub place: Option<(usize, usize)>,
    /// The key with its table, `strategy.max_rebuys`; empty where the file as a whole is meant.
    pub key: String,
    /// What was found, and what is allowed.
    pub message: String,
}

/// All problems of one configuration file, in the order of their lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, as it was named.
    pub file: String,
    /// At least one.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// A problem of the file as a whole.
    pub(super) fn whole_file(file: &str, message: String) -> Self {
        Self { file: file.to_owned(), problems: vec![Problem { place: None, key: String::new(), message }] }
    }

    /// Sorts the problems by place, those without one last.
    pub(super) fn new(file: String, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.place.unwrap_or((usize::MAX, 0)));
        Self { file, problems }
    }
}

impl fmt::Display for ConfigError {
    /// One line a problem: `recompra.toml:7:14: strategy.max_rebuys: 101 is …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&self.file)?;
            if let Some((line, column)) = problem.place {
                write!(f, ":{line}:{column}")?;
            }
            if !problem.key.is_empty() {
                write!(f, ": {}", problem.key)?;
            }
            write!(f, ": {}", problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Line and column (in characters) from 1 of a byte offset.
pub(super) fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = 1 + before.bytes().filter(|byte| *byte == b'\n').count();
    let column = 1 + before.get(line_start..).unwrap_or_default().chars().count();
    (line, column)
}

/// The known name that was probably meant: at most two letters away, and nearer than half of the word.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (edits(name, candidate), candidate))
        .filter(|(edits, candidate)| *edits <= 2 && edits * 2 < candidate.len())
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters must be added, dropped or changed to turn one word into the other (Levenshtein).
fn edits(from: &str, to: &str) -> usize {
    // Names are short; a long one is no misspelling, and must not cost time.
    if from.len() > 64 {
        return usize::MAX;
    }
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, letter) in from.chars().enumerate() {
        let mut next = vec![above + 1];
        let (mut left, mut diagonal) = (above + 1, above);
        for (wanted, up) in to.iter().zip(row.iter().skip(1)) {
            let cell = (diagonal + usize::from(letter != *wanted)).min(left + 1).min(up + 1);
            next.push(cell);
            (left, diagonal) = (cell, *up);
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        assert_eq!(place("", 0), (1, 1));
        assert_eq!(place("a = 1\nb = 2", 6), (2, 1));
        assert_eq!(place("é = 1", 3), (1, 3));
        assert_eq!(place("short", 99), (1, 6), "an offset beyond the end is the end");
    }

    #[test]
    fn edits_count_letters() {
        assert_eq!(edits("", ""), 0);
        assert_eq!(edits("symbol", "symbl"), 1);
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits(&"x".repeat(1000), "x"), usize::MAX);
    }

    #[test]
    fn a_misspelt_name_finds_the_nearest_one_and_a_strange_one_finds_none() {
        let known = ["max_rebuys", "max_cycles", "symbol"];
        assert_eq!(nearest("max_rebuy", known), Some("max_rebuys"));
        assert_eq!(nearest("symbl", known), Some("symbol"));
        assert_eq!(nearest("leverage", known), None);
    }
}
