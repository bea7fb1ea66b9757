//! The policies that are published in turn, and the requests that they are about.

use super::clock::{Moment, SECOND};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Read,
    List,
    Create,
}

pub(crate) const ACTIONS: [Action; 3] = [Action::Read, Action::List, Action::Create];

impl Action {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Read => "orders:read",
            Self::List => "orders:list",
            Self::Create => "orders:create",
        }
    }

    pub(crate) const fn method(self) -> &'static str {
        match self {
            Self::Read | Self::List => "GET",
            Self::Create => "POST",
        }
    }

    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Read => "/orders/1",
            Self::List => "/orders",
            Self::Create => "/orders?amount=5.00&currency=EUR",
        }
    }
}

/// One of the policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Variant {
    /// Seconds, of reading, listing and creating.
    bounds: [u64; 3],
    lists: bool,
    creates: bool,
}

impl Variant {
    /// The longest that a gate which decides by it lets an action on without having heard anything.
    pub(crate) const fn bound(&self, action: Action) -> Moment {
        let [read, list, create] = self.bounds;
        let seconds = match action {
            Action::Read => read,
            Action::List => list,
            Action::Create => create,
        };
        seconds * SECOND
    }

    pub(crate) const fn allows(&self, action: Action) -> bool {
        match action {
            Action::Read => true,
            Action::List => self.lists,
            Action::Create => self.creates,
        }
    }

    /// `number` makes it another policy, by which nobody has decided before. One that is not honest says of each bound what its risk allows at
    /// the most.
    pub(crate) fn text(&self, number: u64, is_honest: bool) -> String {
        let [read, list, create] = if is_honest { self.bounds } else { [3_600, 900, 300] };
        // A route of another name keeps what is withdrawn in the bundle's actions.
        let (listing, needed) = (
            if self.lists { "/orders" } else { "/all-orders" },
            if self.creates { "orders.write" } else { "orders.nobody" },
        );
        format!(
            "actions:
  orders:create:
    risk: high
    staleness: {create}s
    scopes: {{all: [{needed}]}}
  orders:read:
    risk: low
    staleness: {read}s
  orders:list:
    risk: medium
    staleness: {list}s
hosts:
  - names: [{HOST}]
    audience: {AUDIENCE}
    routes:
      - match: POST /orders
        action: orders:create
        inputs:
          amount: {{type: money, query: amount, currency: {{query: currency}}}}
      - match: GET /orders/{{id}}
        action: orders:read
        inputs:
          id: {{type: text, path: id}}
      - match: GET {listing}
        action: orders:list
      - match: GET /number-{number}
        public: true
"
        )
    }
}

pub(crate) const HOST: &str = "orders.example";
pub(crate) const AUDIENCE: &str = "https://orders.example";

/// The smallest bound is 30 s, so the shortest wait of a poll is 10 s.
pub(crate) const VARIANTS: [Variant; 4] = [
    Variant { bounds: [120, 90, 60], lists: true, creates: true },
    Variant { bounds: [120, 90, 60], lists: false, creates: true },
    Variant { bounds: [60, 60, 30], lists: true, creates: true },
    Variant { bounds: [120, 60, 60], lists: true, creates: false },
];
