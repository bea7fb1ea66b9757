//! `gatepass dev explain`: the engine's own decision on one request, check by check.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use gatepass::store::{News, Store};
use gatepass_engine::clock::{Milliseconds, Now, UnixSeconds};
use gatepass_engine::decision::Header;
use gatepass_engine::trace::Outcome as Checked;
use gatepass_engine::{Decision, Gate, Mode, Reason, Request, Settings, explain};

use super::{At, Outcome};

#[derive(Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    at: At,
    /// A file with the request as HTTP/1.1 writes it, such as `curl -v` shows.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["method", "host", "path", "header", "token"])]
    request: Option<PathBuf>,
    #[arg(long, default_value = "GET")]
    method: String,
    #[arg(long, required_unless_present = "request")]
    host: Option<String>,
    /// With its query.
    #[arg(long, required_unless_present = "request")]
    path: Option<String>,
    /// `NAME: VALUE`; repeat for each.
    #[arg(long)]
    header: Vec<String>,
    /// Sent as `Authorization: Bearer`.
    #[arg(long)]
    token: Option<String>,
    /// The request has a body.
    #[arg(long)]
    body: bool,
    /// Seconds since the gate was told anything: what would it do with the control plane gone?
    #[arg(long, default_value_t = 0)]
    age: u64,
}

/// A request as it would reach the gate.
struct Sent {
    headers: Vec<(String, String)>,
    has_body: bool,
}

impl ExplainArgs {
    /// Success when the request would go on; 2 when it is denied.
    pub(crate) fn explain(&self, now: UnixSeconds, out: &mut impl Write) -> Outcome {
        let sent = self.sent()?;
        let mut gate = gate(&mut self.at.open()?, now)?;
        let headers: Vec<Header<'_>> = sent
            .headers
            .iter()
            .map(|(name, value)| Header { name: name.as_bytes(), value: value.as_bytes() })
            .collect();
        let request = Request { headers: &headers, ends_with_headers: !sent.has_body };
        gate.grow_older(self.age);
        let at = Now { monotonic: Milliseconds(self.age.saturating_mul(1_000)), ..moment(now) };
        if let (Some(position), Some(age)) = (gate.position(), gate.age(at)) {
            writeln!(out, "state: position {position}, {age} ms old")?;
        }
        let (decision, recorded) = explain(&request, &gate, at);
        for (check, outcome) in &recorded.0 {
            let check = check.as_str();
            match outcome {
                Checked::Passed => writeln!(out, "  ok      {check}")?,
                Checked::NotAsked(why) => writeln!(out, "  --      {check}: {why}")?,
                Checked::Failed(code, detail) => {
                    writeln!(out, "  FAILED  {check}: {code}: {detail}")?
                }
            }
        }
        Ok(match decision {
            Decision::Allow(permit) => {
                match permit.reason() {
                    Reason::Decided(who) => writeln!(
                        out,
                        "allowed: `{}` by {}, owned by {}, task {}",
                        permit.action().unwrap_or_default(),
                        who.agent,
                        who.owner,
                        who.task
                    )?,
                    Reason::Shadow(denial) => writeln!(out, "allowed in shadow mode: {denial}")?,
                    Reason::Public => writeln!(out, "allowed: the route is public")?,
                    Reason::PassedThrough => writeln!(out, "allowed: the host is passed through")?,
                }
                ExitCode::SUCCESS
            }
            Decision::Redeem(redemption) => {
                let needs = redemption.needs();
                let asked = match (needs.one_use, needs.record) {
                    (true, true) => "its one use is spent and the record is stored",
                    (true, false) => "its one use is spent",
                    (false, _) => "the record is stored",
                };
                writeln!(
                    out,
                    "allowed once the control plane confirms that {asked}: `{}` by {}",
                    redemption.action(),
                    redemption.identity().agent
                )?;
                ExitCode::SUCCESS
            }
            Decision::Deny(denial) => {
                let code = denial.code();
                writeln!(out, "denied: {code} ({}): {}", code.status(), denial.detail())?;
                writeln!(out, "next: {}", code.next_step())?;
                ExitCode::from(2)
            }
        })
    }

    fn sent(&self) -> Outcome<Sent> {
        if let Some(path) = &self.request {
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("`{}`: {error}", path.display()))?;
            return parse(&text, self.body);
        }
        let mut headers = vec![
            (":method".to_owned(), self.method.clone()),
            (":authority".to_owned(), self.host.clone().unwrap_or_default()),
            (":path".to_owned(), self.path.clone().unwrap_or_default()),
        ];
        for text in &self.header {
            headers.push(header(text)?);
        }
        if let Some(token) = &self.token {
            headers.push(("authorization".to_owned(), format!("Bearer {token}")));
        }
        Ok(Sent { headers, has_body: self.body })
    }
}

/// Request line, headers, an empty line, perhaps a body.
fn parse(text: &str, has_body: bool) -> Outcome<Sent> {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let mut words = first.split(' ');
    let (Some(method), Some(path), Some(_version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(
            format!("`{first}`: expected a request line such as `GET /orders HTTP/1.1`").into()
        );
    };
    let mut sent = Sent {
        headers: vec![
            (":method".to_owned(), method.to_owned()),
            (":path".to_owned(), path.to_owned()),
        ],
        has_body,
    };
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        let (name, value) = header(line)?;
        sent.has_body |= match name.as_str() {
            "content-length" => value != "0",
            "transfer-encoding" => true,
            _ => false,
        };
        // Envoy holds `Host` as `:authority`.
        let name = if name == "host" { ":authority".to_owned() } else { name };
        sent.headers.push((name, value));
    }
    sent.has_body |= lines.next().is_some();
    Ok(sent)
}

/// Names in lower case, as Envoy holds them.
fn header(text: &str) -> Outcome<(String, String)> {
    let (name, value) =
        text.split_once(':').ok_or_else(|| format!("`{text}`: expected `NAME: VALUE`"))?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

/// A gate that follows the store's feed and has just heard of everything.
fn gate(store: &mut Store, now: UnixSeconds) -> Outcome<Gate> {
    let state = store.publisher().state();
    let settings = Settings {
        environment: state.environment.clone(),
        feed_audience: state.audience.clone(),
        mode: Mode::Enforce,
    };
    let pinned = store.pinned_roots()?.pinned(&settings.environment)?;
    let mut gate = Gate::new(settings, pinned);
    let roots: Vec<&[u8]> = store.roots().iter().map(String::as_bytes).collect();
    gate.take_roots(&roots, now)?;
    if let News::Batches(batches) = store.news(None, now)? {
        for batch in &batches {
            gate.apply(batch, Milliseconds(0), moment(now))?;
        }
    }
    Ok(gate)
}

const fn moment(unix: UnixSeconds) -> Now {
    Now { unix, monotonic: Milliseconds(0) }
}
