//! An action: its requirements, each with its default.

use gatepass_engine::bundle::{
    Action, ActionMode, Assurance, Audit, Binding, BodyRule, Risk, Uses,
};

use super::field;
use crate::reader::{Fields, Reader};

/// An action that nothing is wrong with, in the place of one that cannot be read: routes name
/// actions by number, and must not be told of for it.
pub(crate) fn sound(name: &str) -> Action {
    Action {
        name: name.to_owned(),
        risk: Risk::Low,
        scopes_all: Vec::new(),
        scopes_any: Vec::new(),
        assurance: Assurance::Static,
        binding: Binding::None,
        uses: Uses::Unlimited,
        max_age: None,
        staleness: Risk::Low.default_staleness(),
        body: BodyRule::None,
        content_types: vec![],
        encodings: vec![],
        approval: false,
        mode: ActionMode::Enforce,
        audit: Audit::Batched,
    }
}

/// Always an action, so that routes can name it whatever is wrong with it.
pub(super) fn action(reader: &mut Reader, name: &str, fields: &Fields<'_>) -> Action {
    let what = format!("action `{name}`");
    let risk = reader
        .needed(fields, "risk", &what, "write `risk: low`, `medium` or `high`")
        .and_then(|tree| reader.choice(tree, &RISKS));
    // Without a risk nothing else is held against one.
    let assumed = risk.unwrap_or(Risk::Low);
    let (scopes_all, scopes_any) = scopes(reader, fields);
    let assurance = field(fields, "assurance", |tree| {
        let assurance = reader.choice(tree, &ASSURANCES)?;
        if assurance == Assurance::Static && assumed > Risk::Low {
            reader.tell(
                tree.referenced,
                "`assurance: static` is for low-risk actions only",
                "write `federated` or `attested`",
            );
            return None;
        }
        Some(assurance)
    });
    let default_assurance = match assumed {
        Risk::Low => Assurance::Static,
        Risk::Medium | Risk::High => Assurance::Federated,
    };
    let approval = field(fields, "approval", |tree| reader.boolean(tree)).unwrap_or(false);
    let body = field(fields, "body", |tree| {
        let body = reader.choice(tree, &BODIES)?;
        if body == BodyRule::Unread && approval {
            reader.tell(
                tree.referenced,
                format!("{what} asks for approval of what it does not read"),
                "write `body: json`, `digest` or `none`, or leave out `approval`",
            );
            return None;
        }
        Some(body)
    });
    Action {
        name: name.to_owned(),
        risk: assumed,
        scopes_all,
        scopes_any,
        assurance: assurance.unwrap_or(default_assurance),
        binding: Binding::None,
        uses: field(fields, "uses", |tree| reader.choice(tree, &USES)).unwrap_or(Uses::Unlimited),
        max_age: field(fields, "max_age", |tree| reader.duration(tree)),
        staleness: field(fields, "staleness", |tree| reader.duration(tree))
            .unwrap_or(assumed.default_staleness()),
        body: body.unwrap_or(BodyRule::None),
        content_types: field(fields, "content_types", |tree| {
            Some(reader.texts(tree, "media types"))
        })
        .unwrap_or_default(),
        encodings: field(fields, "encodings", |tree| Some(reader.texts(tree, "content codings")))
            .unwrap_or_default(),
        approval,
        mode: field(fields, "mode", |tree| reader.choice(tree, &MODES))
            .unwrap_or(ActionMode::Enforce),
        audit: field(fields, "audit", |tree| reader.choice(tree, &AUDITS))
            .unwrap_or(Audit::Batched),
    }
}

fn scopes(reader: &mut Reader, fields: &Fields<'_>) -> (Vec<String>, Vec<String>) {
    let Some(tree) = fields.find("scopes") else {
        return (Vec::new(), Vec::new());
    };
    let Some(fields) = reader.fields(tree, "`scopes`", &["all", "any"]) else {
        return (Vec::new(), Vec::new());
    };
    let mut list = |name| {
        let found = fields.find(name);
        found.map_or_else(Vec::new, |tree| reader.texts(tree, "scopes"))
    };
    (list("all"), list("any"))
}

pub(super) const ACTION_FIELDS: [&str; 12] = [
    "risk",
    "scopes",
    "assurance",
    "uses",
    "max_age",
    "staleness",
    "body",
    "content_types",
    "encodings",
    "approval",
    "mode",
    "audit",
];
const RISKS: [(&str, Risk); 3] =
    [("low", Risk::Low), ("medium", Risk::Medium), ("high", Risk::High)];
const ASSURANCES: [(&str, Assurance); 3] = [
    ("static", Assurance::Static),
    ("federated", Assurance::Federated),
    ("attested", Assurance::Attested),
];
const BODIES: [(&str, BodyRule); 5] = [
    ("none", BodyRule::None),
    ("unread", BodyRule::Unread),
    ("digest", BodyRule::Digest),
    ("json", BodyRule::Json),
    ("form", BodyRule::Form),
];
const USES: [(&str, Uses); 2] = [("unlimited", Uses::Unlimited), ("once", Uses::Once)];
const AUDITS: [(&str, Audit); 2] = [("batched", Audit::Batched), ("confirmed", Audit::Confirmed)];
const MODES: [(&str, ActionMode); 2] =
    [("enforce", ActionMode::Enforce), ("shadow", ActionMode::Shadow)];
