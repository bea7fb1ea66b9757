//! The parameters of a poll. Each at most once; unknown ones are passed over, so that a newer
//! filter can be asked by an older control plane.

use std::time::Duration;

use axum::extract::Query as Pairs;
use axum::http::Uri;
use gatepass_engine::ids::is_token;
use gatepass_engine::position::Position;

/// What a follower asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) audience: String,
    /// What it has; `None` at first contact.
    pub(crate) after: Option<Position>,
    /// How long it is ready to wait.
    pub(crate) wait: Duration,
}

impl Query {
    pub(crate) fn read(uri: &Uri) -> Result<Self, QueryError> {
        let Ok(Pairs(pairs)) = Pairs::<Vec<(String, String)>>::try_from_uri(uri) else {
            return Err(QueryError::new("audience", "the query does not parse"));
        };
        let audience = once(&pairs, "audience")?
            .filter(|audience| is_token(audience))
            .ok_or_else(|| QueryError::new("audience", "state the feed audience"))?;
        let after = once(&pairs, "after")?.map(|text| match text.parse::<Position>() {
            // One spelling: `01.2` and `+1.2` parse too.
            Ok(position) if position.to_string() == text => Ok(position),
            _ => Err(QueryError::new(
                "after",
                "a position is written `<epoch>.<sequence>`, both decimal numbers",
            )),
        });
        let wait = match once(&pairs, "wait")? {
            None => 0,
            Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse::<u32>().map_err(|_| QueryError::new("wait", EXPECTED_WAIT))?
            }
            Some(_) => return Err(QueryError::new("wait", EXPECTED_WAIT)),
        };
        if let Some(formats) = once(&pairs, "formats")? {
            let reads = |format: &str| formats.split(',').any(|one| one == format);
            if !FORMATS.iter().all(|format| reads(format)) {
                return Err(QueryError::new(
                    "formats",
                    "this control plane signs `batch.v1` and `root.v1`, and the filter must read both",
                ));
            }
        }
        Ok(Self {
            audience: audience.to_owned(),
            after: after.transpose()?,
            wait: Duration::from_secs(wait.into()),
        })
    }
}

/// A parameter that is wrong.
#[derive(Debug)]
pub(crate) struct QueryError {
    pub(crate) parameter: &'static str,
    pub(crate) why: &'static str,
}

impl QueryError {
    pub(crate) const fn new(parameter: &'static str, why: &'static str) -> Self {
        Self { parameter, why }
    }
}

fn once<'q>(
    pairs: &'q [(String, String)],
    name: &'static str,
) -> Result<Option<&'q str>, QueryError> {
    let mut found = pairs.iter().filter(|(key, _)| key == name);
    match (found.next(), found.next()) {
        (one, None) => Ok(one.map(|(_, value)| value.as_str())),
        (_, Some(_)) => Err(QueryError::new(name, "state it once")),
    }
}

const EXPECTED_WAIT: &str = "expected a number of seconds";
/// What is signed here, as filters list what they read.
const FORMATS: [&str; 2] = ["batch.v1", "root.v1"];
