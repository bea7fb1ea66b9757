//! A real `gatepass serve` in a directory of its own, and who speaks to it: operators, agents and
//! a gate. Shared with the benchmark of issuance, which is why the binary is an argument.

mod agent;
mod follower;
mod site;
mod wire;

pub(crate) use agent::{Agent, Issued};
pub(crate) use follower::Follower;
pub(crate) use site::{AUDIENCE, ISSUER, Served, Site, policy};
pub(crate) use wire::{Answer, Wire};
