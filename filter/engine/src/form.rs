//! A form body (`application/x-www-form-urlencoded`, WHATWG URL section 5.1), for the inputs that stand in it.
//!
//! A key that feeds an input stands there once and in one plain spelling, as in a query: some readers take the
//! first of two, some the last, and some read `a[]` or `A` for `a`.

use std::borrow::Cow;

use crate::inputs::{is_method_override, spells};

/// A form of bounded size.
#[derive(Debug)]
pub(crate) struct Form<'a> {
    text: &'a str,
}

/// A key that feeds an input occurs twice, or in a second spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Twice;

impl<'a> Form<'a> {
    /// # Errors
    /// Says what no form has.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let text = core::str::from_utf8(bytes).map_err(|_| "not UTF-8")?;
        if text.split('&').count() > MAX_PAIRS {
            return Err("too many pairs");
        }
        if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b';') {
            return Err("a blank, a control character or `;`");
        }
        // Some frameworks act on another method than the one that was decided on.
        let key = |pair: &'a str| decoded(pair.split('=').next().unwrap_or_default());
        if text.split('&').filter_map(key).any(|key| is_method_override(&key)) {
            return Err("a key that overrides the method");
        }
        let whole = |part: &str| decoded(part).is_some();
        if !text.split(['&', '=']).all(whole) {
            return Err("a `%` that encodes nothing, a zero byte, or text that is not UTF-8");
        }
        Ok(Self { text })
    }

    pub(crate) const fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// Whether some reader finds this key.
    pub(crate) fn has(&self, key: &str) -> bool {
        !matches!(self.find(key), Ok(None))
    }

    /// The value of a key, decoded.
    ///
    /// # Errors
    /// It occurs twice, or in a second spelling.
    pub(crate) fn find(&self, key: &str) -> Result<Option<Cow<'a, str>>, Twice> {
        let mut found = None;
        for pair in self.text.split('&') {
            let (spelled, value) = pair.split_once('=').unwrap_or((pair, ""));
            let plain = decoded(spelled).ok_or(Twice)?;
            if !spells(&plain, key) {
                continue;
            }
            if spelled != key || found.is_some() {
                return Err(Twice);
            }
            found = Some(decoded(value).ok_or(Twice)?);
        }
        Ok(found)
    }
}

/// `+` is a blank, and `%XX` a byte, which is not zero: to PHP and others that is the end.
fn decoded(part: &str) -> Option<Cow<'_, str>> {
    if !part.contains(['+', '%']) {
        return Some(Cow::Borrowed(part));
    }
    let mut out = Vec::with_capacity(part.len());
    let mut bytes = part.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                u8::try_from(high.checked_mul(16)?.checked_add(low)?)
                    .ok()
                    .filter(|byte| *byte != 0)?
            }
            byte => byte,
        });
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

/// Fewer than any upstream reads: PHP and Node leave out what follows the thousandth.
const MAX_PAIRS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(form: &str, expected: Result<Option<&str>, Twice>) {
        let form = Form::read(form.as_bytes()).unwrap();
        let found = form.find("amount");
        assert_eq!(
            found.as_ref().map(|value| value.as_deref()).map_err(|e| *e),
            expected,
            "{form:?}"
        );
    }

    #[test]
    fn a_key_stands_there_once_and_plainly() {
        check("amount=5.00&to=x", Ok(Some("5.00")));
        check("amount=a+b%2B%C3%A9", Ok(Some("a b+é")));
        check("amount", Ok(Some("")));
        check("to=x&amounts=1", Ok(None));
        check("", Ok(None));
        for twice in [
            "amount=1&amount=2",
            "amount=1&Amount=2",
            "amount=1&amount[]=2",
            "amount=1&%61mount=2",
            "%61mount=2",
            "AMOUNT=1",
            "amount[0]=1",
            "amount=1&+amount=2",
            // Rack and qs.
            "amount=1&[amount]=2",
            "amount=1&%5Bamount%5D=2",
            "amount=1&[amount=2",
            "amount=1&amount]=2",
            "amount=1&[amount][x]=2",
            "amount=1&amount_=2",
            "amount=1&a.mount=2",
            "amount=1&%01amount=2",
        ] {
            check(twice, Err(Twice));
        }
    }

    #[test]
    fn what_is_no_form_is_refused() {
        for bad in [
            &b"a=%zz"[..],
            b"a=%4",
            b"a=%ff",
            b"a=\xff",
            b"a=b c",
            b"a=1;b=2",
            b"a=\n",
            b"amount%00x=1",
            b"a=%00",
            b"_method=DELETE",
            b"%5fmethod=PUT",
            b".method=PUT",
        ] {
            assert!(Form::read(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
        assert!(Form::read("a&".repeat(MAX_PAIRS).as_bytes()).is_err());
    }
}
