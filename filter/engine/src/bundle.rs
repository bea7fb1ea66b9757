//! The bundle: the compiled policy as bytes. Its index, [`crate::routes::Index`], is what is
//! decided on, and building that index is what validates a bundle, at publish and in the gate.

use serde::{Deserialize, Serialize};

/// A postcard bundle, version 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    pub actions: Vec<Action>,
    pub hosts: Vec<Host>,
    /// The policy IR lowered from Cedar. This engine evaluates none yet: anything but empty is
    /// refused.
    pub policy: Vec<u8>,
}

/// An action; routes name it by its index in [`Bundle::actions`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// `[a-z0-9_-]+(:[a-z0-9_-]+)*`, at most 64 bytes.
    pub name: String,
    pub risk: Risk,
    /// Every one is demanded.
    pub scopes_all: Vec<String>,
    /// One of them is demanded, when there are any.
    pub scopes_any: Vec<String>,
    /// The weakest assurance accepted.
    pub assurance: Assurance,
    pub binding: Binding,
    pub uses: Uses,
    /// Seconds since `iat`.
    pub max_age: Option<u32>,
    /// Seconds since the last proof of freshness.
    pub staleness: u32,
    pub body: BodyRule,
    /// A human's approval of exactly this action is demanded.
    pub approval: bool,
    pub mode: ActionMode,
    pub audit: Audit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    Low,
    Medium,
    High,
}

impl Risk {
    /// The longest `exp - iat`, in seconds, of a gatepass that this risk accepts.
    #[must_use]
    pub const fn longest_lifetime(self) -> u32 {
        match self {
            Self::Low => 3600,
            Self::Medium => 900,
            Self::High => 300,
        }
    }

    /// The staleness bound, in seconds, of an action that states none.
    #[must_use]
    pub const fn default_staleness(self) -> u32 {
        match self {
            Self::Low => 900,
            Self::Medium => 60,
            Self::High => 10,
        }
    }
}

/// How the agent proved itself, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assurance {
    Static,
    Federated,
    Attested,
}

/// What must present the gatepass. Only `None` can be checked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Binding {
    None,
    Key,
    Certificate,
    Workload,
}

/// How often a gatepass may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Uses {
    Unlimited,
    Once,
}

/// When the record of a decision must be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audit {
    /// Afterwards, with others.
    Batched,
    /// Before the request goes on; else it does not.
    Confirmed,
}

/// What the action does with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyRule {
    /// The request must end with its headers.
    None,
    /// A body passes unread, so nothing in it can be decided on.
    Unread,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionMode {
    Enforce,
    /// Decides, counts and logs, and lets through.
    Shadow,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Lower case, without port.
    pub names: Vec<String>,
    /// What `aud` must contain.
    pub audience: String,
    /// The origin as agents see it; DPoP's `htu` is compared with it.
    pub origin: Option<String>,
    pub treatment: Treatment,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Treatment {
    /// Not guarded: requests go on as they came.
    PassedThrough,
    /// Denied unless a route says otherwise.
    Guarded(Vec<Route>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Upper case.
    pub methods: Vec<String>,
    /// `/orders/{id}`: literal segments and whole-segment parameters.
    pub path: String,
    pub target: RouteTarget,
    pub inputs: Vec<Input>,
    /// An MCP method and tool; none can be matched yet.
    pub mcp: Option<McpSelector>,
    /// Seconds that a permit may last.
    pub max_duration: u32,
    /// The upgrade that may be asked for: `websocket`. A filter that knows none refuses the bundle.
    pub upgrade: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouteTarget {
    /// Health checks and CORS preflight: no gatepass is asked for.
    Public,
    /// Index into [`Bundle::actions`].
    Action(u32),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct McpSelector {
    pub method: String,
    pub tool: Option<String>,
}

/// One typed value of the request that constraints and policies may speak of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    pub name: String,
    pub kind: InputKind,
    pub source: Source,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputKind {
    Text,
    Integer,
    Decimal,
    /// A decimal with its currency.
    Money(Currency),
    Boolean,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Currency {
    /// Three upper-case letters (ISO 4217).
    Fixed(String),
    From(Source),
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// A parameter of the path template.
    Path(String),
    /// A query key.
    Query(String),
    /// A header, lower case.
    Header(String),
}
