//! What is wrong with a policy, where, and what to write instead.

use core::fmt;

/// One problem. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub line: u64,
    pub column: u64,
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

/// The problems as a compiler prints them: place, message, the line with a caret, the remedy.
#[must_use]
pub fn report(file: &str, yaml: &str, problems: &[Problem]) -> String {
    let mut out = String::new();
    for problem in problems {
        let Problem { line, column, message, remedy } = problem;
        out.push_str(&format!("{file}:{line}:{column}: error: {message}\n"));
        let nth = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
        if let Some(text) = yaml.lines().nth(nth)
            && text.chars().count() <= MAX_EXCERPT
        {
            let indent = usize::try_from(column.saturating_sub(1)).unwrap_or(0);
            // A tab under a tab, so that the caret stands under what it points at.
            let blank: String =
                text.chars().take(indent).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            out.push_str(&format!("{line:>5} | {text}\n      | {blank}^\n"));
        }
        if !remedy.is_empty() {
            out.push_str(&format!("      = {remedy}\n"));
        }
    }
    out
}

/// Characters of a line that is shown.
const MAX_EXCERPT: usize = 160;
