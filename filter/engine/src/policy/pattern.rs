//! What `like` holds a text against.

use serde::{Deserialize, Serialize};

/// Texts with any text between them: `a*b` is `["a", "b"]`, `*` is `["", ""]`. Without a wildcard it is one
/// text, and the same as equality.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pattern(pub Vec<String>);

impl Pattern {
    /// The work grows with the text's length and not with the product of both: each part is taken where it
    /// stands first.
    pub(super) fn matches(&self, text: &str) -> bool {
        let Some((first, rest)) = self.0.split_first() else { return false };
        let Some((last, between)) = rest.split_last() else { return text == first };
        let Some(mut text) = text.strip_prefix(first.as_str()) else { return false };
        for part in between {
            match find(text, part).and_then(|at| text.get(at..)) {
                Some(found) => text = found.strip_prefix(part.as_str()).unwrap_or_default(),
                None => return false,
            }
        }
        text.ends_with(last.as_str())
    }
}

/// Where the part begins first. A searcher that never looks back takes longer to set up than a short text to walk.
fn find(text: &str, part: &str) -> Option<usize> {
    if text.len() > SHORT {
        return text.find(part);
    }
    let (bytes, part) = (text.as_bytes(), part.as_bytes());
    if part.is_empty() {
        return Some(0);
    }
    bytes.windows(part.len()).position(|window| window == part)
}

/// Bytes; the work grows with their number times the part's length.
const SHORT: usize = 64;
