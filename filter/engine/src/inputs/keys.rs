//! Names of what feeds an input, as the most tolerant readers take them: what only some read as the same is
//! refused beside it.

use crate::document::Pointer;
use crate::target::{METHOD_OVERRIDES, decoded};

/// Header names compared as upstreams do: any case, and whatever is no letter or digit alike, as
/// CGI and its heirs read it.
#[must_use]
pub fn same_header(a: &[u8], b: &[u8]) -> bool {
    let plain = |byte: &u8| {
        if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
    };
    a.len() == b.len() && a.iter().map(plain).eq(b.iter().map(plain))
}

/// Whether some reader takes a decoded key of a query or a form for `wanted`: itself, or what stands before
/// or in its first brackets (`amount[]`, and to Rack and qs `[amount]`).
pub(crate) fn spells(key: &str, wanted: &str) -> bool {
    let base = key.split(['[', ']']).find(|part| !part.is_empty());
    same_key(key, wanted) || base.is_some_and(|base| same_key(base, wanted))
}

/// Keys compared as the most tolerant readers have them: in any case, and by letters and digits alone (PHP
/// drops leading blanks and makes `_` of `.`, of a blank and of an open `[`; others take `orderId` for
/// `order_id`).
pub(crate) fn same_key(a: &str, b: &str) -> bool {
    fn plain(text: &str) -> impl Iterator<Item = char> {
        let means = |c: &char| !c.is_ascii() || c.is_ascii_alphanumeric();
        text.chars().filter(means).map(|c| c.to_ascii_lowercase())
    }
    plain(a).eq(plain(b))
}

/// Whether some framework takes the value of this key for the method (PHP makes `_` of `.` and of a blank).
pub(crate) fn is_method_override(key: &str) -> bool {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let key = || key.trim_start_matches([' ', '+']).chars().map(plain);
    METHOD_OVERRIDES.iter().any(|name| key().eq(name.chars().map(plain)))
}

/// Whether a key is the first or last name of a pointer or a form's key, or has one of them as a part, as
/// `order[amount]` and `order.amount` have.
pub(super) fn is_beside(place: &str, key: &str) -> bool {
    let Ok(plain) = decoded(key) else { return true };
    let [first, last] = Pointer::new(place).ends();
    let mut parts = plain.split(['[', ']', '.']).chain([&*plain]);
    parts.any(|part| !part.is_empty() && (same_key(part, &first) || same_key(part, &last)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_what_the_most_tolerant_reader_takes_it_for() {
        for same in [
            "order_id",
            "orderId",
            "ORDER-ID",
            "order.id",
            " order id",
            "order[id",
            "order_id[]",
            "order_id[x][y]",
            "[order_id]",
            "[order_id",
            "order_id]",
            "[[order_id]x]",
            "order_id\0",
            "_order_id_",
        ] {
            assert!(spells(same, "order_id"), "{same}");
        }
        for other in
            ["order", "id", "order_ids", "x[order_id]", "order\u{e9}id", "", "[]", "id[order]"]
        {
            assert!(!spells(other, "order_id"), "{other}");
        }
    }

    #[test]
    fn what_names_another_method() {
        for named in ["_method", "_METHOD", ".method", " _method", "X-HTTP-Method-Override"] {
            assert!(is_method_override(named), "{named}");
        }
        for other in ["method", "methods", "_methods", "x-method", ""] {
            assert!(!is_method_override(other), "{other}");
        }
    }

    #[test]
    fn what_is_beside_an_input_of_the_body() {
        for beside in [
            "order",
            "amount",
            "Amount",
            "order[amount]",
            "order.amount",
            "x[amount]",
            "orderAmount[amount]",
            "amount[]",
            "[order]",
            "%61mount",
            "a_mount",
        ] {
            assert!(is_beside("/order/amount", beside), "{beside}");
        }
        for other in ["sort", "amounts", "orders", "page[size]", "order_by", "total.amounts"] {
            assert!(!is_beside("/order/amount", other), "{other}");
        }
        assert!(
            is_beside("mail", "mail") && is_beside("mail", "x.mail") && !is_beside("mail", "email")
        );
        assert!(is_beside("/a~1b", "a/b"));
    }
}
