//! JSON pointers (RFC 6901): where in a body an input stands.

use super::{Twice, Value};

/// A pointer to what a policy names: at least one step, each a name in printable ASCII or an index.
#[derive(Clone, Copy, Debug)]
pub struct Pointer<'p>(&'p str);

/// Whether a text is a pointer that a policy may use.
#[must_use]
pub fn is_pointer(text: &str) -> bool {
    let Some(steps) = text.strip_prefix('/') else { return false };
    text.len() <= MAX_POINTER_BYTES
        && text.bytes().all(|byte| matches!(byte, b'!'..=b'~'))
        && steps.split('/').count() <= MAX_STEPS
        && steps.split('/').all(|step| !step.is_empty() && step != "-" && decoded(step).is_some())
}

impl<'p> Pointer<'p> {
    #[must_use]
    pub const fn new(text: &'p str) -> Self {
        Self(text)
    }

    /// The value that it points to; `None` where there is none.
    ///
    /// # Errors
    /// A member on the way occurs twice, or in a second spelling.
    pub fn find<'d, 'a>(self, root: Value<'d, 'a>) -> Result<Option<Value<'d, 'a>>, Twice> {
        let mut at = root;
        for step in self.0.split('/').skip(1) {
            let Some(name) = decoded(step) else { return Ok(None) };
            let found = if at.is_object() {
                at.member(&name)?
            } else {
                index(&name).and_then(|nth| at.elements().nth(nth))
            };
            match found {
                Some(value) => at = value,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// The names that it begins and ends with.
    #[must_use]
    pub fn ends(self) -> [String; 2] {
        let steps = self.0.strip_prefix('/').unwrap_or(self.0);
        [steps.split('/').next(), steps.rsplit('/').next()]
            .map(|step| step.and_then(decoded).unwrap_or_default())
    }
}

/// `~1` is `/`, `~0` is `~`, and nothing else follows a `~`.
fn decoded(step: &str) -> Option<String> {
    let mut out = String::with_capacity(step.len());
    let mut chars = step.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            c => c,
        });
    }
    Some(out)
}

/// Without leading zeros.
fn index(name: &str) -> Option<usize> {
    let canonical = name == "0" || !name.starts_with(['0', '+']);
    canonical.then(|| name.parse().ok()).flatten()
}

const MAX_POINTER_BYTES: usize = 256;
const MAX_STEPS: usize = 16;
