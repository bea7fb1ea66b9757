//! `gatepass verify`: at the target system, is this a gatepass for me and for this action?
//!
//! Signature, issuer, environment, audience, time and entry, with public keys only. It knows no
//! revocations: those are the gate's. Who runs it wants a second look at what came through.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::gatepass::{Present, Token};
use gatepass_engine::keyring::{Algorithm, IssuerKey, Listed};
use serde_json::Value;

use super::{Outcome, now};

#[derive(Args)]
pub(crate) struct VerifyArgs {
    /// The gatepass, or a file that holds it; `-` reads the standard input.
    gatepass: String,
    /// The issuer's JWK Set (RFC 7517) in a file.
    #[arg(long, value_name = "FILE")]
    jwks: PathBuf,
    #[arg(long)]
    issuer: String,
    #[arg(long)]
    environment: String,
    /// This system, as its audience.
    #[arg(long)]
    audience: String,
    /// The action that is asked for.
    #[arg(long)]
    action: Option<String>,
}

impl VerifyArgs {
    pub(crate) fn run(self) -> Outcome {
        let token = self.token()?;
        match self.check(token.trim()) {
            Ok(claims) => {
                println!("{claims:#}");
                Ok(ExitCode::SUCCESS)
            }
            Err(why) => {
                eprintln!("denied: {why}");
                Ok(ExitCode::FAILURE)
            }
        }
    }

    fn token(&self) -> Outcome<String> {
        if self.gatepass == "-" {
            return Ok(std::io::read_to_string(std::io::stdin())?);
        }
        let path = std::path::Path::new(&self.gatepass);
        // A file first: its name may have as many dots as a gatepass.
        if path.exists() || self.gatepass.split('.').count() != 3 {
            let read = std::fs::read_to_string(path);
            return read.map_err(|error| format!("`{}`: {error}", self.gatepass).into());
        }
        Ok(self.gatepass.clone())
    }

    fn check(&self, token: &str) -> Result<Value, String> {
        let keys = self.keys()?;
        let text = |denial: gatepass_engine::Denial| denial.to_string();
        let split = Token::split(token.as_bytes()).map_err(text)?;
        let unverified = split.read().map_err(text)?;
        let listed = Listed { keys: &keys, now: now() };
        let signed = unverified.verify(&listed, |_| false).map_err(text)?;
        let authentic = signed.authentic(&listed, |_| false).map_err(text)?;
        let audience = Some(self.audience.as_str());
        let verified = authentic.check(&self.environment, audience, now()).map_err(text)?;
        let details = &verified.claims().authorization_details;
        let claims = verified.claims();
        for (name, present) in
            [("cnf", claims.cnf), ("req_wl", claims.req_wl), ("uses", claims.uses)]
        {
            if present == Present::Yes {
                return Err(format!("unsupported_restriction: `{name}` cannot be checked here"));
            }
        }
        if let Some(what) = details.unsupported() {
            return Err(format!("unsupported_restriction: {what}"));
        }
        if details.has_uses() {
            return Err("unsupported_restriction: a use is spent at a gate, not here".to_owned());
        }
        if let Some(action) = &self.action {
            let named = details.named().any(|(name, locations)| {
                name == action && locations.is_none_or(|all| all.contains(&self.audience.as_str()))
            });
            if !named {
                return Err(format!("action_not_granted: no entry names `{action}` here"));
            }
        }
        let payload = token.split('.').nth(1).and_then(gatepass::issue::payload);
        payload.ok_or_else(|| "malformed: its claims are not JSON".to_owned())
    }

    fn keys(&self) -> Result<Vec<IssuerKey>, String> {
        let wrong = |what: &str| format!("`{}`: {what}", self.jwks.display());
        let text =
            std::fs::read_to_string(&self.jwks).map_err(|error| wrong(&error.to_string()))?;
        let set: Value = serde_json::from_str(&text).map_err(|error| wrong(&error.to_string()))?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or_else(|| wrong("no `keys`"))?;
        let key = |jwk: &Value| {
            let member = |name: &str| jwk.get(name).and_then(Value::as_str);
            let public = gatepass_engine::root::public_key(member("x")?).ok()?;
            Some(IssuerKey {
                public: *public.as_bytes(),
                issuer: self.issuer.clone(),
                algorithm: Algorithm::parse(member("alg")?)?,
                not_before: UnixSeconds(0),
                not_after: UnixSeconds(u64::MAX),
            })
        };
        let keys: Vec<IssuerKey> = keys.iter().filter_map(key).collect();
        if keys.is_empty() {
            return Err(wrong("no Ed25519 key"));
        }
        Ok(keys)
    }
}
