//! Bodies that come slowly: a thousand that send a part and no more until their time is over, and what Envoy
//! holds meanwhile.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use gatepass_envoy::Envoy;
use gatepass_tests::kit::documents;
use serde_json::{Value, json};

use super::super::Failed;
use super::super::envoys::{DIRECT, Site, Subject};
use super::super::request::AUTHORITY;
use super::super::tokens::Mint;
use super::granted;

/// Who uploads, and how much of it comes.
struct Case {
    name: &'static str,
    agents: usize,
    each: usize,
}

/// Each in an Envoy of its own, with one worker.
pub(super) fn measure(site: &Site<'_>, mint: &Mint) -> Result<Value, Failed> {
    let all: Result<Vec<Value>, Failed> = CASES.iter().map(|case| one(site, mint, case)).collect();
    Ok(Value::Array(all?))
}

fn one(site: &Site<'_>, mint: &Mint, case: &Case) -> Result<Value, Failed> {
    let envoy = site.launch(Subject::Gatepass, 1)?;
    let tokens = mint.granting(&granted(), documents::SCOPE, case.agents, case.agents)?;
    // Whoever waits for the gate's state waits for another reason.
    settled(&envoy, tokens.first().ok_or("no gatepass")?)?;
    let before = resident(envoy.id())?;
    let body = documents::order(2 * case.each, "1.00");
    let part = body.get(..case.each).ok_or("a longer body")?;
    let start = Instant::now();
    let mut streams = Vec::with_capacity(UPLOADS);
    for token in tokens.iter().cycle().take(UPLOADS) {
        let mut stream = TcpStream::connect(envoy.address(DIRECT)?)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(head(token, body.len()).as_bytes())?;
        // Who was refused already may have been cut.
        let _ = stream.write_all(part);
        streams.push(stream);
    }
    let sent_in = start.elapsed();
    std::thread::sleep(SETTLING);
    let during = resident(envoy.id())?;
    let mut answers: Vec<(String, Duration)> = Vec::new();
    for stream in &mut streams {
        let code = code(stream).map_err(|error| {
            format!("`{}` after {:?}: {error}\n{}", case.name, start.elapsed(), envoy.log())
        })?;
        answers.push((code, start.elapsed()));
    }
    let after = resident(envoy.id())?;
    drop(streams);
    let of = |code: &str| answers.iter().filter(|(said, _)| said == code).count();
    let [late, refused] = [of("body_too_slow"), of("gate_busy")];
    if late + refused != UPLOADS || late == 0 {
        let other = answers.iter().find(|(said, _)| said != "body_too_slow" && said != "gate_busy");
        return Err(format!("`{}`: {late} late, {refused} refused, {other:?}", case.name).into());
    }
    let last = answers.iter().map(|(_, at)| *at).max().unwrap_or_default();
    Ok(json!({
        "name": case.name,
        "uploads": UPLOADS,
        "bytes": case.each,
        "agents": case.agents,
        "waited": late,
        "refused_gate_busy": refused,
        "sent_in_ms": sent_in.as_millis() as u64,
        "last_answered_after_ms": last.as_millis() as u64,
        "envoy_rss_kib": { "before": before, "during": during, "after": after },
        "grew_kib": during.saturating_sub(before),
        "bytes_sent_kib": late * case.each / 1024,
    }))
}

fn head(token: &str, length: usize) -> String {
    format!(
        "POST {} HTTP/1.1\r\nhost: {AUTHORITY}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nauthorization: Bearer {token}\r\n\r\n",
        documents::ORDERS
    )
}

/// Until a whole order is allowed.
pub(super) fn settled(envoy: &Envoy, token: &str) -> Result<(), Failed> {
    let body = documents::order(1 << 10, "1.00");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut stream = TcpStream::connect(envoy.address(DIRECT)?)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(head(token, body.len()).as_bytes())?;
        stream.write_all(&body)?;
        let mut answer = [0; 1 << 12];
        let count = stream.read(&mut answer)?;
        let answer = String::from_utf8_lossy(answer.get(..count).unwrap_or_default());
        if answer.starts_with("HTTP/1.1 200") {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("a good order is not allowed: {answer}").into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The code of a denial, once it comes.
fn code(stream: &mut TcpStream) -> Result<String, Failed> {
    let mut unread = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&unread);
        if let Some((_, rest)) = text.split_once("\"code\":\"")
            && let Some((code, _)) = rest.split_once('"')
        {
            return Ok(code.to_owned());
        }
        match stream.read(&mut buffer)? {
            0 => return Err(format!("cut without a code: {text}").into()),
            count => unread.extend(buffer.iter().take(count)),
        }
    }
}

/// KiB of memory that a process has (proc(5), `status`).
fn resident(process: u32) -> Result<u64, Failed> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no such line")?;
    Ok(line.split_whitespace().next().ok_or("no number")?.parse()?)
}

/// 16 KiB of each fit all bounds; one agent has an eighth of them; and all of them at their bound of 64 MiB.
const CASES: [Case; 3] = [
    Case { name: "slow_uploads", agents: 8, each: 16 << 10 },
    Case { name: "slow_uploads_one_agent", agents: 1, each: 16 << 10 },
    Case { name: "slow_uploads_at_the_bound", agents: 8, each: 256 << 10 },
];
const UPLOADS: usize = 1_000;
/// Until all that was sent has been read.
const SETTLING: Duration = Duration::from_secs(3);
/// Longer than a body may take.
const PATIENCE: Duration = Duration::from_secs(20);
