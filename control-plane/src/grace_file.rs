//! Grace documents as files: signed by as many root keys as it takes, wherever those are. Nothing here
//! needs a database or a network, because the control plane is what is gone.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::envelope::{PayloadType, Unverified};
use gatepass_engine::grace::Document;
use gatepass_engine::root::{RootKeys, public_key};

use crate::keys::{Signer as _, public_text};
use crate::root_file::{self, root_keys_in};
use crate::setup::{SetupError, write_new};

/// A grace to be signed.
#[derive(Clone, Debug)]
pub struct Granting {
    /// The root document in force: whose keys must sign, and of which environment.
    pub root: PathBuf,
    /// Where root keys are: `root-1.key`, ...
    pub root_dirs: Vec<PathBuf>,
    pub what: What,
    pub out: PathBuf,
}

/// What is signed.
#[derive(Clone, Debug)]
pub enum What {
    /// A new document for these actions, for so many seconds from now.
    New { actions: Vec<String>, seconds: u64 },
    /// The envelope that other root keys have signed.
    Begun(PathBuf),
}

/// A grace as far as it is signed.
#[derive(Clone, Debug)]
pub struct Granted {
    pub document: Document,
    /// Distinct root keys that signed, and how many must.
    pub signed: usize,
    pub threshold: usize,
    /// As the member `grace` of the plugin's configuration takes it.
    pub base64: String,
}

impl Granted {
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.signed >= self.threshold
    }
}

impl Granting {
    /// Signs with the root keys that are here and writes the envelope.
    ///
    /// # Errors
    /// [`SetupError`] names the file, or what no gate would take.
    pub fn sign(&self, now: UnixSeconds) -> Result<Granted, SetupError> {
        let root = root_file::read(&self.root)?;
        let mut envelope = match &self.what {
            What::New { actions, seconds } => {
                let document = Document {
                    environment: root.environment.clone(),
                    issued_at: now,
                    expires: now.plus(*seconds),
                    actions: actions.clone(),
                };
                let payload = serde_json::to_vec(&document).map_err(|error| wrong(&error))?;
                Unverified::new(PayloadType::Grace, payload)
            }
            What::Begun(path) => {
                let shown = path.display();
                let text =
                    std::fs::read(path).map_err(|error| wrong(&format!("`{shown}`: {error}")))?;
                Unverified::from_json(&text)
                    .map_err(|refusal| wrong(&format!("`{shown}`: {refusal}")))?
            }
        };
        let document: Document = gatepass_engine::json::from_slice(envelope.unverified_payload())
            .map_err(|error| wrong(&error))?;
        document.check().map_err(|refusal| wrong(&refusal.detail))?;
        if document.environment != root.environment {
            return Err(wrong(&format!(
                "the grace is for `{}`, the root is of `{}`",
                document.environment, root.environment
            )));
        }
        let before = signers(&envelope, &root.root);
        for key in root_keys_in(&self.root_dirs)? {
            let public = public_text(&key.public());
            if root.root.keys.contains(&public) && !has_signed(&envelope, &public) {
                envelope = envelope.sign_with(|message| key.sign(message));
            }
        }
        let signed = signers(&envelope, &root.root);
        if signed == before {
            return Err(wrong(
                &"none of these keys is a root key in force that has not signed yet",
            ));
        }
        let json = envelope.to_json();
        write_new(&self.out, &json)?;
        let threshold = root.root.threshold;
        Ok(Granted { document, signed, threshold, base64: STANDARD.encode(&json) })
    }
}

fn signers(envelope: &Unverified, root: &RootKeys) -> usize {
    root.keys.iter().filter(|public| has_signed(envelope, public)).count()
}

fn has_signed(envelope: &Unverified, public: &str) -> bool {
    public_key(public).is_ok_and(|key| envelope.clone().verify(PayloadType::Grace, &[key]).is_ok())
}

fn wrong(what: &impl ToString) -> SetupError {
    SetupError::Wrong(what.to_string())
}
