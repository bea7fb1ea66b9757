//! `gatepass dev explain`: the engine's own decision on one request, check by check.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use gatepass::store::{News, Store};
use gatepass_engine::body::Body;
use gatepass_engine::clock::{Milliseconds, Now, UnixSeconds};
use gatepass_engine::decision::Header;
use gatepass_engine::policy::{Causes, Effect};
use gatepass_engine::trace::{Check, Outcome as Checked};
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
    /// A file with the request's body.
    #[arg(long, value_name = "FILE", conflicts_with = "request")]
    body: Option<PathBuf>,
    /// The caller's address, as Envoy would have it.
    #[arg(long, value_name = "ADDRESS")]
    source: Option<core::net::IpAddr>,
    /// Seconds since the gate was told anything: what would it do with the control plane gone?
    #[arg(long, default_value_t = 0)]
    age: u64,
}

/// The rules that had a part in a decision.
#[derive(Default)]
struct Rules {
    /// That it rests on: effect and id.
    decided: Vec<String>,
    /// In shadow mode.
    shadow: Vec<String>,
}

impl Rules {
    fn of(decision: &Decision, gate: &Gate) -> Self {
        let noted = match decision {
            Decision::Allow(permit) => permit.noted(),
            Decision::Deny(denial) => &denial.whom().noted,
            Decision::Redeem(redemption) => redemption.noted(),
            Decision::Read(_) => return Self::default(),
        };
        let Some(index) = gate.index() else { return Self::default() };
        let named = |causes: &Causes| {
            let rules = causes.iter().filter_map(|at| index.rules().rule(at));
            let named = rules.map(|rule| match rule.effect {
                Effect::Permit => format!("permit `{}`", rule.id),
                Effect::Forbid => format!("forbid `{}`", rule.id),
            });
            named.collect()
        };
        let (decided, shadow) = noted.rules();
        Self { decided: named(decided), shadow: named(shadow) }
    }

    fn write(&self, out: &mut impl Write) -> Outcome<()> {
        for (what, rules) in [("by", &self.decided), ("in shadow mode", &self.shadow)] {
            if !rules.is_empty() {
                writeln!(out, "            {what}: {}", rules.join(", "))?;
            }
        }
        Ok(())
    }
}

/// A request as it would reach the gate.
struct Sent {
    headers: Vec<(String, String)>,
    body: SentBody,
}

enum SentBody {
    None,
    /// The headers say that there is one.
    Announced,
    Whole(Vec<u8>),
}

impl SentBody {
    fn as_body(&self) -> Body<'_> {
        match self {
            Self::None => Body::None,
            Self::Announced => Body::ToCome,
            Self::Whole(bytes) => Body::Whole(bytes),
        }
    }
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
        let request = Request { headers: &headers, body: sent.body.as_body(), source: self.source };
        gate.grow_older(self.age);
        let at = Now { monotonic: Milliseconds(self.age.saturating_mul(1_000)), ..moment(now) };
        if let (Some(position), Some(age)) = (gate.position(), gate.age(at)) {
            writeln!(out, "state: position {position}, {age} ms old")?;
        }
        let (decision, recorded) = explain(&request, &gate, at);
        let rules = Rules::of(&decision, &gate);
        for (check, outcome) in &recorded.0 {
            let name = check.as_str();
            match outcome {
                Checked::Passed => writeln!(out, "  ok      {name}")?,
                Checked::NotAsked(why) => writeln!(out, "  --      {name}: {why}")?,
                Checked::Failed(code, detail) => {
                    writeln!(out, "  FAILED  {name}: {code}: {detail}")?
                }
            }
            if *check == Check::Rules {
                rules.write(out)?;
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
            Decision::Read(awaited) => {
                let most = awaited.most;
                writeln!(
                    out,
                    "so far so good: the gate would now read the body, {most} bytes at most"
                )?;
                writeln!(
                    out,
                    "next: give the body too (`--body FILE`, or in the `--request` file)"
                )?;
                ExitCode::from(2)
            }
        })
    }

    fn sent(&self) -> Outcome<Sent> {
        if let Some(path) = &self.request {
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("`{}`: {error}", path.display()))?;
            return parse(&text);
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
        let body = match &self.body {
            None => SentBody::None,
            Some(path) => SentBody::Whole(
                std::fs::read(path).map_err(|error| format!("`{}`: {error}", path.display()))?,
            ),
        };
        Ok(Sent { headers, body })
    }
}

/// Request line, headers, an empty line, perhaps a body.
fn parse(text: &str) -> Outcome<Sent> {
    let (head, body) = ["\r\n\r\n", "\n\n"]
        .iter()
        .find_map(|end| text.split_once(end))
        .map_or((text, ""), |(head, body)| (head, body));
    let text = head;
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
        body: SentBody::None,
    };
    for line in lines {
        let (name, value) = header(line)?;
        let announced = match name.as_str() {
            "content-length" => value != "0",
            "transfer-encoding" => true,
            _ => false,
        };
        if announced {
            sent.body = SentBody::Announced;
        }
        // Envoy holds `Host` as `:authority`.
        let name = if name == "host" { ":authority".to_owned() } else { name };
        sent.headers.push((name, value));
    }
    if !body.is_empty() {
        sent.body = SentBody::Whole(body.as_bytes().to_vec());
    }
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
