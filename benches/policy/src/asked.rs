//! One request with its gatepass, and what Cedar decides of it.

use gatepass_engine::budget::Budgets;
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::gatepass::Claims;
use gatepass_engine::inputs::Inputs;
use gatepass_engine::policy::{Asked, Facts};
use gatepass_engine::target::Target;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub struct Asks {
    /// By its number in the bundle.
    pub action: u32,
    pub name: String,
    pub path: String,
    /// With the query.
    pub target: String,
    /// The claims.
    pub payload: String,
    pub environment: String,
    pub now: u64,
    /// By Cedar.
    pub permitted: bool,
}

impl Asks {
    pub(crate) fn target(&self) -> Target<'_> {
        Target::parse(self.target.as_bytes()).unwrap()
    }

    pub(crate) fn claims(&self) -> Claims<'_> {
        Claims::parse(self.payload.as_bytes()).unwrap()
    }

    pub(crate) fn facts<'a>(
        &'a self,
        claims: &'a Claims<'a>,
        inputs: &'a Inputs<'a>,
        places: &'a [u8],
    ) -> Facts<'a> {
        Facts {
            claims,
            environment: &self.environment,
            now: UnixSeconds(self.now),
            action: &self.name,
            budgets: Budgets::default(),
            asked: Some(Asked {
                audience: AUDIENCE,
                method: "POST",
                host: "orders.example",
                path: &self.path,
                route: &self.path,
                source: None,
                inputs,
                places,
            }),
        }
    }
}

pub const AUDIENCE: &str = "https://orders.example";
