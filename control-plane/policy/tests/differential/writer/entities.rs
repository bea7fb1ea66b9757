//! Conditions on entities: which they are, of what type, and what they are in.

use super::{Type, Writer};

impl Writer<'_> {
    pub(super) fn of_entities(&mut self, depth: usize) -> String {
        let kind = self.dice.pick(&[Type::Agent, Type::Person, Type::System, Type::Action]);
        let one = self.of(kind, depth);
        match self.dice.roll(10) {
            0..3 => {
                let other = self.of(kind, depth);
                format!("({one} {} {other})", self.dice.pick(&["==", "==", "!="]))
            }
            3 => {
                let of = self.dice.pick(&[
                    "Gatepass::Agent",
                    "Gatepass::Person",
                    "Gatepass::System",
                    "Gatepass::Blueprint",
                    "Action",
                ]);
                format!("({one} is {of})")
            }
            4 if kind == Type::Agent => {
                format!("({one} is Gatepass::Agent in {})", self.blueprint())
            }
            5 if kind == Type::Agent => format!("({one} in context.gatepass.through)"),
            4..7 => {
                let above = self.above(kind);
                format!("({one} in {})", self.of(above, depth))
            }
            _ => {
                let above = self.above(kind);
                let others: Vec<String> =
                    (0..=self.dice.roll(3)).map(|_| self.of(above, depth)).collect();
                format!("({one} in [{}])", others.join(", "))
            }
        }
    }

    /// What it could be in: an agent in its blueprint, an action in its groups, and each in itself.
    fn above(&mut self, kind: Type) -> Type {
        if kind == Type::Agent && self.dice.percent(75) { Type::Blueprint } else { kind }
    }
}
