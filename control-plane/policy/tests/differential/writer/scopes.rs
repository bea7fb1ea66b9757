//! A whole rule: its effect, its scope, and its clauses.

use super::{Type, Writer, entity};
use crate::pools::{ACTIONS, AGENTS, GROUPS, SYSTEMS};

impl Writer<'_> {
    /// One rule with an id.
    pub(crate) fn rule(&mut self, id: &str) -> String {
        let effect = if self.dice.percent(64) { "permit" } else { "forbid" };
        let shadow = if self.dice.percent(10) { "@mode(\"shadow\")\n" } else { "" };
        let (principal, action, resource) = (self.principal(), self.action(), self.resource());
        let mut rule =
            format!("@id(\"{id}\")\n{shadow}{effect} ({principal}, {action}, {resource})");
        for _ in 0..self.dice.pick(&[0, 1, 1, 1, 1, 2]) {
            let depth = 1 + self.dice.roll(4);
            let clause = if self.dice.percent(75) { "when" } else { "unless" };
            rule.push_str(&format!("\n{clause} {{ {} }}", self.of(Type::Boolean, depth)));
        }
        rule.push(';');
        rule
    }

    fn principal(&mut self) -> String {
        let agent = |writer: &mut Self| entity("Gatepass::Agent", writer.dice.pick(AGENTS));
        match self.dice.roll(14) {
            0 => format!("principal == {}", agent(self)),
            1 => format!("principal in {}", agent(self)),
            2..4 => format!("principal in {}", self.blueprint()),
            4 => "principal is Gatepass::Agent".to_owned(),
            5 => format!("principal is Gatepass::Agent in {}", self.blueprint()),
            _ => "principal".to_owned(),
        }
    }

    fn action(&mut self) -> String {
        let any = |writer: &mut Self| {
            let all = if writer.dice.percent(50) { ACTIONS } else { GROUPS };
            entity("Action", writer.dice.pick(all))
        };
        match self.dice.roll(12) {
            0..2 => format!("action == {}", entity("Action", self.dice.pick(ACTIONS))),
            2..4 => format!("action in {}", any(self)),
            4..6 => format!("action in [{}, {}]", any(self), any(self)),
            _ => "action".to_owned(),
        }
    }

    fn resource(&mut self) -> String {
        let system = |writer: &mut Self| entity("Gatepass::System", writer.dice.pick(SYSTEMS));
        match self.dice.roll(14) {
            0 => format!("resource == {}", system(self)),
            1 => format!("resource in {}", system(self)),
            2 => "resource is Gatepass::System".to_owned(),
            3 => format!("resource is Gatepass::System in {}", system(self)),
            _ => "resource".to_owned(),
        }
    }
}
