//! The tests of a policy folder: `tests/*.yaml`, each a request, a gatepass and what is expected.
//!
//! Read here, with the place of all that is wrong; run by the control plane, with the engine itself.

use std::collections::BTreeMap;

use gatepass_engine::bundle::Assurance;
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::denial::Code;
use gatepass_engine::revocation::Kind;
use serde_json::Value;

use crate::problem::{Problem, in_order};
use crate::reader::Reader;
use crate::sources::SourceFile;

mod expect;
mod pass;
mod request;
mod rules;
mod scene;
mod value;

pub use rules::{ExpectedRules, RuleName, check_rules};

/// One test.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    pub name: String,
    /// Where it stands; lines count from 1.
    pub file: String,
    pub line: u64,
    pub request: Asked,
    /// `None`: the request bears none.
    pub gatepass: Option<Pass>,
    pub scene: Scene,
    pub expected: Expected,
    pub expected_rules: ExpectedRules,
}

/// The request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub method: String,
    /// `None`: the only guarded host.
    pub host: Option<String>,
    /// With its query.
    pub path: String,
    /// In lower case, in the order of the text.
    pub headers: Vec<(String, String)>,
    /// `None`: the request ends with its headers.
    pub body: Option<String>,
    /// The caller's address; `None`: the proxy does not know it.
    pub source: Option<core::net::IpAddr>,
}

/// The gatepass that it bears.
#[derive(Clone, Debug, PartialEq)]
pub struct Pass {
    pub agent: String,
    pub owner: String,
    pub blueprint: String,
    /// `None`: the agent acts for itself.
    pub subject: Option<String>,
    pub task: String,
    pub actions: Vec<String>,
    pub scopes: Vec<String>,
    /// `None`: that of the request's host.
    pub audiences: Option<Vec<String>>,
    /// By input, then by `max`, `min`, `equals`, `in` or `prefix`.
    pub constraints: BTreeMap<String, BTreeMap<String, Value>>,
    /// What is taken of budgets with it, by name; of the others this gatepass alone.
    pub budgets: BTreeMap<String, String>,
    pub uses: Option<u32>,
    pub assurance: Assurance,
    pub approval: Consent,
    /// Seconds before the request.
    pub issued: u32,
    /// Seconds.
    pub lifetime: u32,
}

/// What a human has agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// Nothing.
    None,
    /// This very request.
    Same,
    /// Another one.
    Other,
}

/// What the gate knows at that time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scene {
    pub now: UnixSeconds,
    /// Seconds since the gate last heard from the control plane.
    pub age: u32,
    /// What was revoked after the gatepass was issued; without an id, that of the gatepass itself.
    pub revoked: Vec<(Kind, Option<String>)>,
}

/// What must come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    Allow,
    /// With this code, or any.
    Deny(Option<Code>),
    /// Let through in shadow mode; enforced, it would be denied with this code, or any.
    Shadow(Option<Code>),
}

/// Reads the tests of all files.
///
/// # Errors
/// All problems that could be found at once; at most [`crate::MAX_PROBLEMS`].
pub fn read(files: &[SourceFile]) -> Result<Vec<Case>, Vec<Problem>> {
    let mut reader = Reader::new(files.iter().map(|file| file.name.clone()).collect());
    let mut cases: Vec<Case> = Vec::new();
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    for (nth, file) in files.iter().enumerate() {
        let Some(tree) = reader.document(nth, &file.text) else { continue };
        let Some(fields) = reader.fields(&tree, "a file of tests", &["tests"]) else { continue };
        let tests = reader.needed(&fields, "tests", "a file of tests", "list the tests");
        for tree in tests.map_or(&[] as &[_], |tests| reader.list(tests, "tests")) {
            let Some(fields) = reader.fields(tree, "a test", &CASE_FIELDS) else { continue };
            let name = reader.needed(&fields, "name", "a test", "say what it is about");
            let name = name.and_then(|tree| Some((tree, reader.text(tree, "a name")?)));
            if let Some((tree, name)) = name
                && let Some(earlier) = names.insert(name.to_owned(), nth)
            {
                let message = format!("a test in `{}` has this name", reader.name(earlier));
                reader.tell(tree.referenced, message, "give each a name of its own");
            }
            let request = request::read(&mut reader, &fields);
            let gatepass = pass::read(&mut reader, &fields);
            let scene = scene::read(&mut reader, &fields);
            let expected = expect::read(&mut reader, &fields);
            if let (Some((_, name)), Some(request), Some(gatepass), Some(expected)) =
                (name, request, gatepass, expected)
            {
                let (expected, expected_rules) = expected;
                cases.push(Case {
                    name: name.to_owned(),
                    file: file.name.clone(),
                    line: tree.referenced.line(),
                    request,
                    gatepass,
                    scene,
                    expected,
                    expected_rules,
                });
            }
        }
    }
    let mut problems = reader.take_problems();
    if cases.len() > MAX_CASES {
        let file = files.first().map_or("", |file| file.name.as_str());
        problems.push(Problem::error(file, (1, 1), format!("more than {MAX_CASES} tests"), ""));
    }
    if problems.is_empty() {
        return Ok(cases);
    }
    in_order(&mut problems, files);
    Err(problems)
}

const CASE_FIELDS: [&str; 5] = ["name", "request", "gatepass", "state", "expect"];
const MAX_CASES: usize = 10_000;
