//! Attributes: paths from `principal` and `context` become slots, and records that are written out are read
//! where they stand.

use cedar_policy_core::ast::{Expr, ExprKind, Var};
use cedar_policy_core::parser::Loc;
use gatepass_engine::policy::{Kind, Node, Slot};
use nonempty::NonEmpty;

use super::{Lowered, Lowering, Shape, unsupported};

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Context,
    Request,
    Gatepass,
    Task,
    /// It may be missing.
    Approval,
    Inputs,
    Budget,
    /// Money, which has two parts and may be missing.
    Money(u16),
    /// A value, and whether it may be missing.
    Value(Slot, bool),
    /// There is no such attribute.
    Nothing,
}

impl Lowering<'_> {
    pub(super) fn attribute(&mut self, of: &Expr, name: &str, at: Option<&Loc>) -> Lowered {
        if name == "owner" && matches!(of.expr_kind(), ExprKind::Var(Var::Principal)) {
            return Ok(self.builder.node(Node::Slot(Slot::Owner)));
        }
        match self.place(of) {
            None => {
                // Only a record that is written out is neither; entities have no attributes here.
                let record = self.expression(of)?;
                if !self.is_record(of) {
                    return Err(unsupported(
                        at,
                        "an attribute of an entity other than `principal`",
                    ));
                }
                let name = self.builder.text(name);
                Ok(self.builder.node(Node::Attribute(record, name)))
            }
            Some(place) => match self.below(place, name) {
                Place::Value(slot, _) => Ok(self.builder.node(Node::Slot(slot))),
                Place::Nothing => Err(unsupported(at, &format!("there is no attribute `{name}`"))),
                _ => Err(unsupported(at, "a record of the request as a whole")),
            },
        }
    }

    pub(super) fn has(&mut self, of: &Expr, name: &str, at: Option<&Loc>) -> Lowered {
        let Some(place) = self.place(of) else {
            let operand = self.expression(of)?;
            if !self.is_record(of) {
                return self.entity_has(of, operand, name, at);
            }
            let name = self.builder.text(name);
            return Ok(self.builder.node(Node::HasAttribute(operand, name)));
        };
        let is = match self.below(place, name) {
            Place::Nothing => self.builder.node(Node::Boolean(false)),
            Place::Value(slot, true) => self.builder.node(Node::Has(slot)),
            Place::Money(nth) => self.builder.node(Node::Has(Slot::Input(nth))),
            Place::Approval => self.builder.node(Node::Has(Slot::Approval)),
            Place::Context
            | Place::Request
            | Place::Gatepass
            | Place::Task
            | Place::Inputs
            | Place::Budget
            | Place::Value(..) => self.builder.node(Node::Boolean(true)),
        };
        Ok(match place {
            // What may be missing has nothing, and asking that is an error where it is not there.
            Place::Approval => self.where_there(Slot::Approval, Slot::ApprovalId, is),
            Place::Money(nth) => self.where_there(Slot::Input(nth), Slot::Amount(nth), is),
            _ => is,
        })
    }

    /// `context has a.b.c`: each is there.
    pub(super) fn has_all(
        &mut self,
        of: &Expr,
        names: &NonEmpty<impl AsRef<str>>,
        at: Option<&Loc>,
    ) -> Lowered {
        let mut of = of.clone();
        let mut all = Vec::new();
        for name in names.iter() {
            let name = name.as_ref();
            all.push(self.has(&of, name, at)?);
            of = Expr::get_attr(of, name.into());
        }
        Ok(self.balanced(&all, Node::And))
    }

    /// `value` where something is there, and otherwise the error of looking at a part of it.
    fn where_there(&mut self, slot: Slot, part: Slot, value: u32) -> u32 {
        let has = self.builder.node(Node::Has(slot));
        let part = self.builder.node(Node::Slot(part));
        self.builder.node(Node::If(has, value, part))
    }

    /// Entities of the gate have no attributes but `principal.owner`.
    fn entity_has(&mut self, of: &Expr, operand: u32, name: &str, at: Option<&Loc>) -> Lowered {
        let is_principal = matches!(of.expr_kind(), ExprKind::Var(Var::Principal));
        let is_other = match of.expr_kind() {
            ExprKind::Var(Var::Action | Var::Resource) => true,
            _ => self.place(of).is_some(),
        };
        match (is_principal, is_other) {
            (true, _) => Ok(self.builder.node(Node::Boolean(name == "owner"))),
            (false, true) => {
                // Its value is looked at for an error of it.
                let never = self.builder.node(Node::Boolean(false));
                let is = self.builder.node(Node::Is(operand, Kind::System));
                Ok(self.builder.node(Node::If(is, never, never)))
            }
            (false, false) => {
                Err(unsupported(at, "an attribute of an entity other than `principal`"))
            }
        }
    }

    /// Whether an expression is worth a record that is written out.
    fn is_record(&self, of: &Expr) -> bool {
        match of.expr_kind() {
            ExprKind::Record(_) => true,
            ExprKind::If { then_expr, else_expr, .. } => {
                self.is_record(then_expr) && self.is_record(else_expr)
            }
            ExprKind::GetAttr { expr, attr } => match expr.expr_kind() {
                ExprKind::Record(members) => {
                    members.get(attr).is_some_and(|member| self.is_record(member))
                }
                _ => false,
            },
            _ => false,
        }
    }

    /// Where a path leads; `None` for what is none.
    fn place(&mut self, of: &Expr) -> Option<Place> {
        match of.expr_kind() {
            ExprKind::Var(Var::Context) => Some(Place::Context),
            ExprKind::GetAttr { expr, attr } => {
                let place = self.place(expr)?;
                match self.below(place, attr) {
                    // What is no record is read as an expression.
                    Place::Value(..) | Place::Nothing => None,
                    place => Some(place),
                }
            }
            _ => None,
        }
    }

    fn below(&mut self, place: Place, name: &str) -> Place {
        let there = |slot| Place::Value(slot, false);
        match (place, name) {
            (Place::Context, "environment") => there(Slot::Environment),
            (Place::Context, "request") => Place::Request,
            (Place::Context, "gatepass") => Place::Gatepass,
            (Place::Context, "task") => Place::Task,
            (Place::Context, "approval") => Place::Approval,
            (Place::Context, "inputs") => Place::Inputs,
            (Place::Context, "budget") => Place::Budget,
            (Place::Request, "method") => there(Slot::Method),
            (Place::Request, "host") => there(Slot::Host),
            (Place::Request, "path") => there(Slot::Path),
            (Place::Request, "route") => there(Slot::Route),
            (Place::Request, "time") => there(Slot::Time),
            (Place::Request, "source") => Place::Value(Slot::Source, true),
            (Place::Gatepass, "id") => there(Slot::GatepassId),
            (Place::Gatepass, "scopes") => there(Slot::Scopes),
            (Place::Gatepass, "assurance") => there(Slot::Assurance),
            (Place::Gatepass, "issued") => there(Slot::Issued),
            (Place::Gatepass, "expires") => there(Slot::Expires),
            (Place::Gatepass, "subject") => there(Slot::Subject),
            (Place::Gatepass, "through") => there(Slot::Through),
            (Place::Task, "id") => there(Slot::Task),
            (Place::Approval, "id") => there(Slot::ApprovalId),
            (Place::Approval, "by") => there(Slot::ApprovalBy),
            (Place::Inputs, name) => match self.schema.input(name) {
                None => Place::Nothing,
                Some(Shape::Money) => Place::Money(self.builder.input(name)),
                Some(_) => Place::Value(Slot::Input(self.builder.input(name)), true),
            },
            (Place::Budget, name) => match self.schema.budget(name) {
                None => Place::Nothing,
                // Of other actions there is none.
                Some(nth) => Place::Value(Slot::Budget(nth), true),
            },
            (Place::Money(nth), "amount") => there(Slot::Amount(nth)),
            (Place::Money(nth), "currency") => there(Slot::Currency(nth)),
            _ => Place::Nothing,
        }
    }
}
