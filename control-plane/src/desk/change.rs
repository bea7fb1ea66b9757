//! Everything that an operator can change, as values: what the API takes, what a proposal keeps
//! until a second person agrees, and what is carried out.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ceiling::Ceiling;
use super::operators::{Need, Role};

/// One kind of change, before there is one: what a role must allow to ask for it.
pub trait Asked: Into<Change> {
    const NEED: Need;
}

/// Declares one struct for each change and the enum of them all.
macro_rules! changes {
    ($($(#[$doc:meta])* $name:ident = $tag:literal, $need:ident {
        $($(#[$field_doc:meta])* $field:ident: $kind:ty,)*
    })+) => {
        $($(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $kind,)*
        }

        impl From<$name> for Change {
            fn from(change: $name) -> Self {
                Self::$name(change)
            }
        }

        impl Asked for $name {
            const NEED: Need = Need::$need;
        })+

        /// One change.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "change")]
        pub enum Change {
            $(#[serde(rename = $tag)] $name($name),)+
        }

        impl Change {
            /// Its name in the audit record.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => $tag,)+
                }
            }

            /// What a role must allow for it.
            #[must_use]
            pub const fn need(&self) -> Need {
                match self {
                    $(Self::$name(_) => $name::NEED,)+
                }
            }
        }
    };
}

changes! {
    /// A person who may own agents.
    AddPerson = "person.add", Operate {
        /// `user:<directory>/<id>`.
        id: String,
        name: String,
        /// How to reach them.
        contact: String,
    }
    /// They left or lost their authority: what their agents hold is dead, their agents are orphaned.
    EndPerson = "person.end", Operate {
        id: String,
    }
    /// They are back. Their former agents stay orphaned.
    ReturnPerson = "person.return", Operate {
        id: String,
    }
    /// A type of agents: its purpose and the ceiling of what they may ask for.
    AddBlueprint = "blueprint.add", Operate {
        id: String,
        purpose: String,
        /// The group that answers for it.
        owners: String,
        #[schema(value_type = Object)]
        ceiling: Ceiling,
    }
    /// Replaces a ceiling. Gatepasses issued under the old one are dead.
    SetCeiling = "blueprint.ceiling", Operate {
        id: String,
        #[schema(value_type = Object)]
        ceiling: Ceiling,
    }
    /// Stops all agents of a type.
    DisableBlueprint = "blueprint.disable", Operate {
        id: String,
    }
    /// Lets them work again.
    EnableBlueprint = "blueprint.enable", Operate {
        id: String,
    }
    /// Registers an agent; it is staged until it is activated.
    RegisterAgent = "agent.register", Operate {
        name: String,
        blueprint: String,
        /// `user:<directory>/<id>`: who answers for it.
        owner: String,
        department: String,
        purpose: String,
        contact: String,
        project: String,
        /// Unix seconds after which nothing is issued to it.
        valid_until: u64,
        /// The public key that it proves itself with (RFC 7517).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<Object>)]
        key: Option<serde_json::Value>,
    }
    /// Changes what is known of an agent.
    DescribeAgent = "agent.describe", Operate {
        agent: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        department: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        purpose: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        contact: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        project: Option<String>,
    }
    /// Lets an agent ask for gatepasses.
    ActivateAgent = "agent.activate", Operate {
        agent: String,
    }
    /// Stops an agent: what it holds is dead, and it is issued nothing.
    SuspendAgent = "agent.suspend", Operate {
        agent: String,
    }
    /// Ends an agent for good.
    RetireAgent = "agent.retire", Operate {
        agent: String,
    }
    /// Stops all active agents of a project or a blueprint.
    SuspendAgents = "agents.suspend", Operate {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        project: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        blueprint: Option<String>,
    }
    /// Ends all agents of a project or a blueprint for good.
    RetireAgents = "agents.retire", Operate {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        project: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        blueprint: Option<String>,
    }
    /// Asks a person to become an agent's owner.
    ProposeOwner = "agent.propose_owner", Operate {
        agent: String,
        owner: String,
    }
    /// The person who was asked accepts. Only their own token can.
    AcceptOwner = "agent.accept_owner", Read {
        agent: String,
    }
    /// Another public key for an agent.
    AddAgentKey = "agent.add_key", Operate {
        agent: String,
        #[schema(value_type = Object)]
        key: serde_json::Value,
    }
    /// Takes a key away; what the agent holds is dead.
    RemoveAgentKey = "agent.remove_key", Operate {
        agent: String,
        thumbprint: String,
    }
    /// Kills gatepasses by what they carry.
    RevokeThing = "revoke", Operate {
        /// `credential`, `task`, `subject`, `agent`, `owner`, `blueprint` or `key`.
        kind: String,
        id: String,
    }
    /// Ends a task: every gatepass under it is dead.
    EndTask = "task.end", Operate {
        task: String,
    }
    /// Puts a policy in force.
    PublishPolicy = "policy.publish", Operate {
        /// The YAML document, or the archive of a folder.
        content: String,
        /// In this cohort alone, until it is promoted or withdrawn.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cohort: Option<String>,
    }
    /// Puts the policy that a cohort tries in force for all.
    PromotePolicy = "policy.promote", Operate {
        /// The only one that tries a policy unless stated.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cohort: Option<String>,
        /// The version that it tries; refused where that is another by then. What it tries when this
        /// is asked for unless stated.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
        /// The position that put it in force there: tried again later, it is another trial.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<String>,
        /// Also where denials of verified gatepasses jumped, or where too little was seen to say.
        #[serde(default)]
        despite_denials: bool,
    }
    /// Gives a cohort the policy of all again.
    WithdrawPolicy = "policy.withdraw", Operate {
        /// The only one that tries a policy unless stated.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cohort: Option<String>,
        /// The version that it tries; refused where that is another by then. What it tries when this
        /// is asked for unless stated.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
        /// The position that put it in force there: tried again later, it is another trial.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<String>,
    }
    /// Puts an older policy in force again, at a new position.
    RollbackPolicy = "policy.rollback", Operate {
        version: u64,
    }
    /// Kills every gatepass and closes issuance.
    StopEverything = "environment.stop", Operate {}
    /// Opens issuance again.
    OpenIssuance = "environment.open", Administer {}
    /// An operator of this control plane.
    AddOperator = "operator.add", Administer {
        id: String,
        /// The person they are, so that they can accept agents.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        person: Option<String>,
    }
    /// Ends an operator and their tokens.
    EndOperator = "operator.end", Administer {
        id: String,
    }
    /// A token for an operator. The server never sees it: whoever asks makes 256 random bits and
    /// sends their SHA-256.
    AddToken = "token.add", Administer {
        operator: String,
        role: Role,
        /// SHA-256 of the token, hexadecimal.
        digest: String,
        /// At most 90 days away.
        expires_at: u64,
    }
    /// Ends a token.
    EndToken = "token.end", Administer {
        id: String,
    }
    /// Followers with a feed audience of their own, which may have a policy before all others.
    AddCohort = "cohort.add", Administer {
        /// The feed audience too.
        name: String,
    }
    /// Nothing is said to a cohort any more; its join tokens end.
    RemoveCohort = "cohort.remove", Administer {
        name: String,
        /// Also while Envoys follow it: they refuse everything once they are stale.
        #[serde(default)]
        despite_followers: bool,
    }
    /// A token with which a fleet of Envoys may read the feed.
    AddJoinToken = "join_token.add", Administer {
        fleet: String,
        /// Whose feed; that of those in no cohort unless stated.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cohort: Option<String>,
        digest: String,
        expires_at: u64,
    }
    /// Ends a fleet's token.
    EndJoinToken = "join_token.end", Administer {
        id: String,
    }
    /// Puts a newer root document in force.
    AdoptRoot = "root.adopt", Administer {
        /// The DSSE JSON envelope, as `gatepass root sign` writes it.
        envelope: String,
    }
}

impl Change {
    /// What the change is done to, for the audit record.
    #[must_use]
    pub fn target(&self) -> &str {
        match self {
            Self::AddPerson(AddPerson { id, .. })
            | Self::EndPerson(EndPerson { id })
            | Self::ReturnPerson(ReturnPerson { id })
            | Self::AddBlueprint(AddBlueprint { id, .. })
            | Self::SetCeiling(SetCeiling { id, .. })
            | Self::DisableBlueprint(DisableBlueprint { id })
            | Self::EnableBlueprint(EnableBlueprint { id })
            | Self::AddOperator(AddOperator { id, .. })
            | Self::EndOperator(EndOperator { id })
            | Self::EndToken(EndToken { id })
            | Self::EndJoinToken(EndJoinToken { id })
            | Self::RevokeThing(RevokeThing { id, .. }) => id,
            Self::RegisterAgent(change) => &change.name,
            Self::DescribeAgent(DescribeAgent { agent, .. })
            | Self::ActivateAgent(ActivateAgent { agent })
            | Self::SuspendAgent(SuspendAgent { agent })
            | Self::RetireAgent(RetireAgent { agent })
            | Self::ProposeOwner(ProposeOwner { agent, .. })
            | Self::AcceptOwner(AcceptOwner { agent })
            | Self::AddAgentKey(AddAgentKey { agent, .. })
            | Self::RemoveAgentKey(RemoveAgentKey { agent, .. }) => agent,
            Self::SuspendAgents(SuspendAgents { project, blueprint })
            | Self::RetireAgents(RetireAgents { project, blueprint }) => {
                project.as_deref().or(blueprint.as_deref()).unwrap_or_default()
            }
            Self::EndTask(change) => &change.task,
            Self::AddToken(change) => &change.operator,
            Self::AddJoinToken(change) => &change.fleet,
            Self::AddCohort(AddCohort { name }) | Self::RemoveCohort(RemoveCohort { name, .. }) => {
                name
            }
            Self::PublishPolicy(_)
            | Self::RollbackPolicy(_)
            | Self::PromotePolicy(_)
            | Self::WithdrawPolicy(_) => "policy",
            Self::StopEverything(_) | Self::OpenIssuance(_) => "environment",
            Self::AdoptRoot(_) => "root",
        }
    }

    /// Which trial of a policy it ends, for whoever reads what waits.
    #[must_use]
    pub fn trial(&self) -> Option<String> {
        match self {
            Self::PromotePolicy(PromotePolicy { cohort, version, since, .. })
            | Self::WithdrawPolicy(WithdrawPolicy { cohort, version, since }) => Some(format!(
                "version {} that `{}` tries since {}",
                (*version)?,
                cohort.as_deref()?,
                since.as_deref()?
            )),
            _ => None,
        }
    }
}
