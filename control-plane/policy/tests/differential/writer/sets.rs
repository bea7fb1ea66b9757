//! Sets of the request and written-out ones, and conditions on them.

use super::{Type, Writer};

/// A type of sets, and of their members.
const SETS: &[(Type, Type)] = &[
    (Type::Texts, Type::Text),
    (Type::Texts, Type::Text),
    (Type::Texts, Type::Text),
    (Type::Longs, Type::Long),
    (Type::Agents, Type::Agent),
    (Type::Decimals, Type::Decimal),
    (Type::SetsOfTexts, Type::Texts),
    (Type::Records, Type::Record),
];

impl Writer<'_> {
    pub(super) fn set(&mut self, of: Type, depth: usize) -> String {
        match of {
            Type::Texts if self.dice.percent(30) => return "context.gatepass.scopes".to_owned(),
            Type::Texts if self.dice.percent(35) => {
                return self.optional("context.inputs has tags", "context.inputs.tags");
            }
            Type::Agents if self.dice.percent(50) => {
                return "context.gatepass.through".to_owned();
            }
            _ => {}
        }
        let found = SETS.iter().find(|(set, _)| *set == of);
        let member = found.map_or(Type::Text, |(_, member)| *member);
        let members: Vec<String> =
            (0..=self.dice.roll(3)).map(|_| self.of(member, depth.saturating_sub(1))).collect();
        format!("[{}]", members.join(", "))
    }

    pub(super) fn of_sets(&mut self, depth: usize) -> String {
        let (of, member) = self.dice.pick(SETS);
        let set = self.of(of, depth);
        match self.dice.roll(9) {
            0..3 => format!("({set}).contains({})", self.of(member, depth)),
            3..5 => format!("({set}).containsAll({})", self.of(of, depth)),
            5..7 => format!("({set}).containsAny({})", self.of(of, depth)),
            7 => format!("({set}).isEmpty()"),
            _ => format!("({set} == {})", self.of(of, depth)),
        }
    }
}
