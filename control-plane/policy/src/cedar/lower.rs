//! A rule's scope and conditions, lowered from Cedar's syntax tree to expressions of the engine.

use cedar_policy_core::ast::{
    BinaryOp, EntityReference, EntityType, EntityUID, Expr, ExprKind, Literal, PatternElem,
    PrincipalOrResourceConstraint, Template, UnaryOp, Var,
};
use cedar_policy_core::parser::Loc;
use gatepass_engine::policy::{Kind, Node, Pattern};

use super::builder::Builder;
use super::schema::{Schema, Shape};

mod calls;
mod path;

/// What the engine cannot say, and where it stands.
pub(super) struct Unsupported {
    pub(super) at: Option<Loc>,
    pub(super) what: String,
}

/// One rule on its way into a program.
pub(super) struct Lowering<'b> {
    pub(super) builder: &'b mut Builder,
    pub(super) schema: &'b Schema,
}

type Lowered = Result<u32, Unsupported>;

/// Whether a rule's principal and resource are of the types that there are.
pub(super) fn scope_fits(template: &Template) -> bool {
    let is = |constraint: &PrincipalOrResourceConstraint, wanted: Kind| match constraint {
        PrincipalOrResourceConstraint::Is(of) | PrincipalOrResourceConstraint::IsIn(of, _) => {
            kind(of) == Some(wanted)
        }
        PrincipalOrResourceConstraint::Any
        | PrincipalOrResourceConstraint::Eq(_)
        | PrincipalOrResourceConstraint::In(_) => true,
    };
    is(template.principal_constraint().as_inner(), Kind::Agent)
        && is(template.resource_constraint().as_inner(), Kind::System)
}

impl Lowering<'_> {
    /// The condition of a rule: its scope but for the action, which is decided before, and what it says.
    /// None where it always holds.
    pub(super) fn rule(&mut self, template: &Template) -> Result<Option<u32>, Unsupported> {
        let mut all = Vec::new();
        let principal = template.principal_constraint().as_inner();
        let resource = template.resource_constraint().as_inner();
        for (constraint, subject) in [(principal, Node::Principal), (resource, Node::Resource)] {
            all.extend(self.scope(constraint, subject, template.loc())?);
        }
        if let Some(condition) = template.non_scope_constraints() {
            let mut operands = Vec::new();
            conjuncts(condition, &mut operands);
            for operand in operands {
                all.push(self.expression(operand)?);
            }
        }
        all.retain(|at| *at != self.builder.node(Node::Boolean(true)));
        Ok((!all.is_empty()).then(|| self.balanced(&all, Node::And)))
    }

    fn scope(
        &mut self,
        constraint: &PrincipalOrResourceConstraint,
        subject: Node,
        at: Option<&Loc>,
    ) -> Result<Option<u32>, Unsupported> {
        let (reference, node): (_, fn(u32, u32) -> Node) = match constraint {
            PrincipalOrResourceConstraint::Any | PrincipalOrResourceConstraint::Is(_) => {
                return Ok(None);
            }
            PrincipalOrResourceConstraint::Eq(reference) => (reference, Node::Equal),
            PrincipalOrResourceConstraint::In(reference)
            | PrincipalOrResourceConstraint::IsIn(_, reference) => (reference, Node::In),
        };
        let EntityReference::EUID(uid) = reference else {
            return Err(unsupported(at, "a template's slot"));
        };
        let entity = self.entity(uid, at)?;
        let subject = self.builder.node(subject);
        Ok(Some(self.builder.node(node(subject, entity))))
    }

    pub(super) fn expression(&mut self, expression: &Expr) -> Lowered {
        let at = expression.source_loc();
        let node = match expression.expr_kind() {
            ExprKind::Lit(Literal::Bool(value)) => Node::Boolean(*value),
            ExprKind::Lit(Literal::Long(value)) => Node::Long(*value),
            ExprKind::Lit(Literal::String(text)) => Node::Text(self.builder.text(text)),
            ExprKind::Lit(Literal::EntityUID(uid)) => return self.entity(uid, at),
            ExprKind::Var(Var::Principal) => Node::Principal,
            ExprKind::Var(Var::Action) => Node::Action,
            ExprKind::Var(Var::Resource) => Node::Resource,
            ExprKind::Var(Var::Context) => {
                return Err(unsupported(at, "`context` as a whole"));
            }
            ExprKind::If { test_expr, then_expr, else_expr } => {
                let test = self.expression(test_expr)?;
                let then = self.expression(then_expr)?;
                Node::If(test, then, self.expression(else_expr)?)
            }
            ExprKind::And { .. } => {
                let mut operands = Vec::new();
                conjuncts(expression, &mut operands);
                return self.chain(&operands, Node::And);
            }
            ExprKind::Or { .. } => {
                let mut operands = Vec::new();
                disjuncts(expression, &mut operands);
                return self.chain(&operands, Node::Or);
            }
            ExprKind::UnaryApp { op, arg } => {
                let operand = self.expression(arg)?;
                match op {
                    UnaryOp::Not => Node::Not(operand),
                    UnaryOp::Neg => Node::Negate(operand),
                    UnaryOp::IsEmpty => Node::IsEmpty(operand),
                }
            }
            ExprKind::BinaryApp { op, arg1, arg2 } => {
                let node: fn(u32, u32) -> Node = match op {
                    BinaryOp::Eq => Node::Equal,
                    BinaryOp::Less => Node::Less,
                    BinaryOp::LessEq => Node::LessOrEqual,
                    BinaryOp::Add => Node::Add,
                    BinaryOp::Sub => Node::Subtract,
                    BinaryOp::Mul => Node::Multiply,
                    BinaryOp::In => Node::In,
                    BinaryOp::Contains => Node::Contains,
                    BinaryOp::ContainsAll => Node::ContainsAll,
                    BinaryOp::ContainsAny => Node::ContainsAny,
                    BinaryOp::GetTag | BinaryOp::HasTag => {
                        return Err(unsupported(at, "tags of entities"));
                    }
                };
                let left = self.expression(arg1)?;
                node(left, self.expression(arg2)?)
            }
            ExprKind::ExtensionFunctionApp { fn_name, args } => {
                return self.call(&fn_name.to_string(), args, at);
            }
            ExprKind::GetAttr { expr, attr } => return self.attribute(expr, attr, at),
            ExprKind::HasAttr { expr, attr } => return self.has(expr, attr, at),
            ExprKind::ExtHasAttr { expr, attrs } => return self.has_all(expr, attrs, at),
            ExprKind::Like { expr, pattern } => {
                let text = self.expression(expr)?;
                let pattern = self.builder.pattern(parts(pattern.iter()));
                Node::Like(text, pattern)
            }
            ExprKind::Is { expr, entity_type } => {
                let operand = self.expression(expr)?;
                match kind(entity_type) {
                    Some(kind) => Node::Is(operand, kind),
                    None => return Err(unsupported(at, "a type of entities that there is not")),
                }
            }
            ExprKind::Set(members) => {
                let members: Result<Vec<u32>, _> =
                    members.iter().map(|member| self.expression(member)).collect();
                let members = members?;
                let count = count(members.len(), at)?;
                Node::Set(self.builder.list(members), count)
            }
            ExprKind::Record(members) => {
                let mut pairs = Vec::new();
                for (name, value) in members.iter() {
                    pairs.push(self.builder.text(name));
                    pairs.push(self.expression(value)?);
                }
                let count = count(members.len(), at)?;
                Node::Record(self.builder.list(pairs), count)
            }
            ExprKind::Slot(_) => return Err(unsupported(at, "a template's slot")),
            // Other features of Cedar, which nothing here turns on, add more.
            _ => return Err(unsupported(at, "an unknown")),
        };
        Ok(self.builder.node(node))
    }

    fn entity(&mut self, uid: &EntityUID, at: Option<&Loc>) -> Lowered {
        let Some(kind) = kind(uid.entity_type()) else {
            return Err(unsupported(at, "a type of entities that there is not"));
        };
        let id = self.builder.text(uid.eid().as_ref());
        Ok(self.builder.node(Node::Entity(kind, id)))
    }

    fn chain(&mut self, operands: &[&Expr], node: fn(u32, u32) -> Node) -> Lowered {
        let all: Result<Vec<u32>, _> =
            operands.iter().map(|operand| self.expression(operand)).collect();
        Ok(self.balanced(&all?, node))
    }

    /// In the same order, and as deep as the logarithm of their number: a list of a hundred alternatives is not
    /// a hundred deep.
    fn balanced(&mut self, operands: &[u32], node: fn(u32, u32) -> Node) -> u32 {
        match operands {
            [] => self.builder.node(Node::Boolean(true)),
            [one] => *one,
            many => {
                let (left, right) = many.split_at(many.len() / 2);
                let (left, right) = (self.balanced(left, node), self.balanced(right, node));
                self.builder.node(node(left, right))
            }
        }
    }
}

/// The operands of `a && b && c`, however they are nested.
fn conjuncts<'e>(expression: &'e Expr, out: &mut Vec<&'e Expr>) {
    match expression.expr_kind() {
        ExprKind::And { left, right } => {
            conjuncts(left, out);
            conjuncts(right, out);
        }
        _ => out.push(expression),
    }
}

fn disjuncts<'e>(expression: &'e Expr, out: &mut Vec<&'e Expr>) {
    match expression.expr_kind() {
        ExprKind::Or { left, right } => {
            disjuncts(left, out);
            disjuncts(right, out);
        }
        _ => out.push(expression),
    }
}

fn parts<'p>(elements: impl Iterator<Item = &'p PatternElem>) -> Pattern {
    let mut parts = vec![String::new()];
    for element in elements {
        match (element, parts.last_mut()) {
            (PatternElem::Char(c), Some(last)) => last.push(*c),
            (PatternElem::Char(_), None) | (PatternElem::Wildcard, _) => parts.push(String::new()),
        }
    }
    Pattern(parts)
}

fn kind(of: &EntityType) -> Option<Kind> {
    match of.to_string().as_str() {
        "Gatepass::Agent" => Some(Kind::Agent),
        "Gatepass::Blueprint" => Some(Kind::Blueprint),
        "Gatepass::Person" => Some(Kind::Person),
        "Gatepass::System" => Some(Kind::System),
        "Action" => Some(Kind::Action),
        _ => None,
    }
}

fn count(members: usize, at: Option<&Loc>) -> Result<u32, Unsupported> {
    u32::try_from(members).map_err(|_| unsupported(at, "a set that long"))
}

fn unsupported(at: Option<&Loc>, what: &str) -> Unsupported {
    Unsupported { at: at.cloned(), what: what.to_owned() }
}
