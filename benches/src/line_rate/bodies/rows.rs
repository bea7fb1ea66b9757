//! What is compared: who looks at a body, of which kind and size.

use gatepass_tests::kit::documents;

use super::super::envoys::Subject;
use super::super::load::Expected;
use super::super::request::Asked;

/// One row: a subject under one request.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) bytes: usize,
    pub(super) subject: Subject,
    pub(super) asked: Asked,
    /// How the same with too large an amount is refused, by whoever looks at it.
    pub(super) refused: Option<Expected>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Json,
    Mcp,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Mcp => "mcp",
        }
    }

    pub(super) fn asked(self, bytes: usize, amount: &str) -> Asked {
        match self {
            Self::Json => Asked {
                method: "POST",
                path: documents::ORDERS,
                headers: documents::ORDER_HEADERS,
                body: documents::order(bytes, amount),
            },
            Self::Mcp => Asked {
                method: "POST",
                path: documents::TOOLS,
                headers: documents::CALL_HEADERS,
                body: documents::call(bytes, amount),
            },
        }
    }
}

/// All of them, in the order of the table: those that only buffer first, since the others of a kind and size
/// are held against them.
pub(super) fn rows() -> Vec<Row> {
    let mut out = Vec::new();
    for (kind, sizes) in [(Kind::Json, JSON_SIZES), (Kind::Mcp, MCP_SIZES)] {
        let (gate, native, with_jwt) = match kind {
            Kind::Json => ("gatepass_body", Subject::Json, Subject::JwtJson),
            Kind::Mcp => ("gatepass_mcp", Subject::Mcp, Subject::JwtMcp),
        };
        // To who speaks MCP a denial is an error of JSON-RPC.
        let status = if kind == Kind::Mcp { 200 } else { 403 };
        let denied = Expected { status, text: "\"code\":\"constraint_violated\"" };
        let rbac = Expected { status: 403, text: "RBAC: access denied" };
        for &bytes in sizes {
            let mut row = |name, subject, refused: Option<&Expected>| {
                let asked = kind.asked(bytes, ALLOWED);
                out.push(Row { name, kind, bytes, subject, asked, refused: refused.cloned() });
            };
            row(BASE, Subject::Part("buffer"), None);
            row("buffer_no_copy", Subject::Part("buffer_no_copy"), None);
            row("envoy_buffer", Subject::Buffer, None);
            row(gate, Subject::Gatepass, Some(&denied));
            row(UNRECORDED, Subject::Unrecorded, Some(&denied));
            row("envoy_native", native, Some(&rbac));
            row("envoy_native_jwt", with_jwt, Some(&rbac));
        }
    }
    out
}

/// What the others are held against.
pub(super) const BASE: &str = "buffer_only";
/// What tells the cost of a record.
pub(super) const UNRECORDED: &str = "gatepass_unrecorded";
/// The bound of the gatepasses and of Envoy's rules is 500.00 EUR.
pub(super) const ALLOWED: &str = "480.50";
pub(super) const TOO_MUCH: &str = "500.02";
const JSON_SIZES: &[usize] = &[1 << 10, 16 << 10, 256 << 10];
const MCP_SIZES: &[usize] = &[1 << 10, 16 << 10];
