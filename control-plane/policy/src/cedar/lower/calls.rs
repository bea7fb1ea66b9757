//! Functions and methods of Cedar's extensions.

use cedar_policy_core::ast::{Expr, ExprKind, Literal};
use cedar_policy_core::parser::Loc;
use gatepass_engine::policy::Node;

use super::super::literal;
use super::{Lowered, Lowering, unsupported};

impl Lowering<'_> {
    pub(super) fn call(&mut self, name: &str, arguments: &[Expr], at: Option<&Loc>) -> Lowered {
        if let Some(node) = self.constructed(name, arguments) {
            return match node {
                Some(node) => Ok(self.builder.node(node)),
                None => {
                    Err(unsupported(at, &format!("`{name}` of something that is not written out")))
                }
            };
        }
        let mut operands = Vec::new();
        for argument in arguments {
            operands.push(self.expression(argument)?);
        }
        let node = match (name, operands.as_slice()) {
            ("lessThan", [left, right]) => Node::DecimalLess(*left, *right),
            ("lessThanOrEqual", [left, right]) => Node::DecimalLessOrEqual(*left, *right),
            ("greaterThan", [left, right]) => Node::DecimalLess(*right, *left),
            ("greaterThanOrEqual", [left, right]) => Node::DecimalLessOrEqual(*right, *left),
            ("isIpv4", [one]) => Node::IsIpv4(*one),
            ("isIpv6", [one]) => Node::IsIpv6(*one),
            ("isLoopback", [one]) => Node::IsLoopback(*one),
            ("isMulticast", [one]) => Node::IsMulticast(*one),
            ("isInRange", [one, range]) => Node::IsInRange(*one, *range),
            ("offset", [time, by]) => Node::Offset(*time, *by),
            ("durationSince", [time, earlier]) => Node::DurationSince(*time, *earlier),
            ("toDate", [time]) => Node::ToDate(*time),
            ("toTime", [time]) => Node::ToTime(*time),
            ("toMilliseconds", [one]) => Node::Whole(*one, 1),
            ("toSeconds", [one]) => Node::Whole(*one, SECOND),
            ("toMinutes", [one]) => Node::Whole(*one, 60 * SECOND),
            ("toHours", [one]) => Node::Whole(*one, 3_600 * SECOND),
            ("toDays", [one]) => Node::Whole(*one, 86_400 * SECOND),
            _ => return Err(unsupported(at, &format!("the function `{name}`"))),
        };
        Ok(self.builder.node(node))
    }

    /// `None` where the name is no constructor's; within, none where its text is not written out.
    #[expect(clippy::option_option, reason = "no constructor, or none that can be read")]
    fn constructed(&mut self, name: &str, arguments: &[Expr]) -> Option<Option<Node>> {
        let text = match arguments {
            [one] => match one.expr_kind() {
                ExprKind::Lit(Literal::String(text)) => Some(text.as_str()),
                _ => None,
            },
            _ => None,
        };
        Some(match name {
            "decimal" => text.and_then(literal::decimal).map(Node::Decimal),
            "datetime" => text.and_then(literal::datetime).map(Node::Datetime),
            "duration" => text.and_then(literal::duration).map(Node::Duration),
            "ip" => text.and_then(literal::net).map(|net| Node::Net(self.builder.net(net))),
            _ => return None,
        })
    }
}

/// Milliseconds.
const SECOND: u32 = 1_000;
