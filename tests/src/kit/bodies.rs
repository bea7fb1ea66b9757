//! A host whose actions read the bodies of requests, each in another way.

use gatepass_engine::bundle::{Bundle, RouteTarget, Treatment};

/// Its audience is that of the orders API, so that a gatepass of the kit's is good there.
pub const POLICY: &str = include_str!("bodies.yaml");

/// The guarded host.
pub const HOST: &str = "bodies.example";

/// Bytes that a route reads unless it says otherwise, and the most that it can.
pub const USUAL: usize = 64 << 10;
pub const MOST: usize = 1 << 20;

/// One policy of two, which share no host and no name of an action.
#[must_use]
pub fn joined(mut one: Bundle, other: Bundle) -> Bundle {
    let actions = u32::try_from(one.actions.len()).unwrap_or(u32::MAX);
    one.actions.extend(other.actions);
    for mut host in other.hosts {
        if let Treatment::Guarded(routes) = &mut host.treatment {
            for route in routes {
                if let RouteTarget::Action(at) = &mut route.target {
                    *at = at.saturating_add(actions);
                }
            }
        }
        one.hosts.push(host);
    }
    one
}

/// An order of exactly `size` bytes, filled up with blanks.
#[must_use]
pub fn order(size: usize) -> Vec<u8> {
    let mut body = ORDER.to_vec();
    body.resize(size.max(ORDER.len()), b' ');
    body
}

/// Within a gatepass for 500 EUR.
pub const ORDER: &[u8] = br#"{"amount":"100.00","currency":"EUR"}"#;
