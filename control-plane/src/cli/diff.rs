//! What changed between two texts, line by line, in the form that `diff -u` made common.

/// Lines of both with ` `, `-` and `+`, around what changed; empty when nothing did.
pub(crate) fn unified(a: &str, b: &str, from: &str, to: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (a.lines().collect(), b.lines().collect());
    if a == b {
        return String::new();
    }
    let lines = edits(&a, &b);
    let near = |at: usize| {
        let window = lines.get(at.saturating_sub(CONTEXT)..(at + CONTEXT + 1).min(lines.len()));
        window.is_some_and(|window| window.iter().any(|(mark, _)| *mark != ' '))
    };
    let mut out = format!("--- {from}\n+++ {to}\n");
    let mut skipped = false;
    for (at, (mark, line)) in lines.iter().enumerate() {
        if !near(at) {
            skipped = true;
            continue;
        }
        if skipped {
            out.push_str("...\n");
            skipped = false;
        }
        out.push(*mark);
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// The longest common subsequence keeps; the rest goes or comes.
fn edits<'t>(a: &[&'t str], b: &[&'t str]) -> Vec<(char, &'t str)> {
    let width = b.len() + 1;
    let mut longest = vec![0_u32; (a.len() + 1) * width];
    let value =
        |longest: &[u32], i: usize, j: usize| longest.get(i * width + j).copied().unwrap_or(0);
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            let best = if a.get(i) == b.get(j) {
                value(&longest, i + 1, j + 1) + 1
            } else {
                value(&longest, i + 1, j).max(value(&longest, i, j + 1))
            };
            if let Some(cell) = longest.get_mut(i * width + j) {
                *cell = best;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::new();
    loop {
        match (a.get(i), b.get(j)) {
            (Some(x), Some(y)) if x == y => {
                out.push((' ', *x));
                (i, j) = (i + 1, j + 1);
            }
            (Some(x), y)
                if y.is_none() || value(&longest, i + 1, j) >= value(&longest, i, j + 1) =>
            {
                out.push(('-', *x));
                i += 1;
            }
            (_, Some(y)) => {
                out.push(('+', *y));
                j += 1;
            }
            (Some(_) | None, None) => return out,
        }
    }
}

/// Unchanged lines around what changed.
const CONTEXT: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_shown_and_nothing_else() {
        let a = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let b = "1\n2\n3\n4\n5\n6\n7\n8\nnine\n";
        assert_eq!(unified(a, a, "a", "b"), "");
        assert_eq!(unified(a, b, "a", "b"), "--- a\n+++ b\n...\n 6\n 7\n 8\n-9\n+nine\n");
        assert_eq!(unified("", "x\n", "a", "b"), "--- a\n+++ b\n+x\n");
    }
}
