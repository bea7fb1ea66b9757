//! Where the time of a revocation went: what the control plane's log says of it, and for how long its
//! threads and Envoy's waited for a core meanwhile.
//!
//! Nothing is added to what is measured but two lines of log on the server's way. That the leader has
//! taken an answer shows in its next poll, which names the new position.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::kit::{Served, Site};

/// What the control plane has logged so far.
#[derive(Clone, Default)]
pub(crate) struct Timeline(Arc<Mutex<Vec<Event>>>);

#[derive(Clone)]
struct Event {
    /// Of the day: the log has no other clock in common with us.
    at: Duration,
    what: String,
    position: String,
}

/// Milliseconds of one revocation, counted from its answer; before it they are negative.
pub(crate) struct Phases {
    pub(crate) asked: f64,
    committed: Option<f64>,
    time_to_disk: Option<f64>,
    /// The poll that brought it: before the revocation where it was waiting.
    polled: Option<f64>,
    told: Option<f64>,
    taken: Option<f64>,
    pub(crate) first: f64,
    pub(crate) last: f64,
    waited: Waited,
}

/// Starts a server that logs what it does, and reads along.
pub(crate) fn serve(site: &Site) -> (Served, Timeline) {
    let mut command = site.command();
    command.env("GATEPASS_LOG", LOG).arg("--log-json").stderr(Stdio::piped());
    let mut child: Child = command.spawn().unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let timeline = Timeline::default();
    let events = Arc::clone(&timeline.0);
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            match Event::read(&line) {
                Some(event) => events.lock().unwrap().push(event),
                None => eprintln!("{line}"),
            }
        }
    });
    (site.until_it_serves(child), timeline)
}

impl Timeline {
    /// Of the revocation that led to `position` and was asked for at `asked`, answered at `answered`.
    pub(crate) fn phases(
        &self,
        position: &str,
        asked: SystemTime,
        answered: SystemTime,
        (first, last): (Duration, Duration),
        waited: Waited,
    ) -> Phases {
        let (asked, answered) = (of_day(asked), of_day(answered));
        let end = answered + last + SETTLES;
        let events = self.0.lock().unwrap();
        let meanwhile = events.iter().rev().take_while(|event| event.at >= asked);
        let meanwhile: Vec<&Event> = meanwhile.filter(|event| event.at <= end).collect();
        let since =
            |event: &&Event| rounded((event.at.as_secs_f64() - answered.as_secs_f64()) * 1000.0);
        let earliest =
            |is: &dyn Fn(&Event) -> bool| meanwhile.iter().rev().find(|event| is(event)).map(since);
        let told = meanwhile
            .iter()
            .rev()
            .find(|event| event.what == "told" && event.position != position)
            .copied();
        // It may have come long before the revocation was asked for.
        let polled = told.and_then(|told| {
            let mut before = events.iter().rev().filter(|event| event.at <= told.at);
            before.find(|event| event.what == "polled" && event.position == told.position)
        });
        Phases {
            asked: rounded((asked.as_secs_f64() - answered.as_secs_f64()) * 1000.0),
            committed: earliest(&|event| event.what == "committed" && event.position == position),
            time_to_disk: earliest(&|event| event.what.starts_with("a time goes to the disk")),
            polled: polled.as_ref().map(since),
            told: told.as_ref().map(since),
            taken: earliest(&|event| event.what == "polled" && event.position == position),
            first: rounded(first.as_secs_f64() * 1000.0),
            last: rounded(last.as_secs_f64() * 1000.0),
            waited,
        }
    }
}

impl Phases {
    pub(crate) fn report(&self, sample: usize) -> Value {
        json!({
            "sample": sample,
            "asked_ms": self.asked,
            "committed_ms": self.committed,
            "time_to_disk_ms": self.time_to_disk,
            "polled_ms": self.polled,
            "told_ms": self.told,
            "leader_polls_again_ms": self.taken,
            "first_worker_ms": self.first,
            "last_worker_ms": self.last,
            "waited_for_a_core_ms": { "server": self.waited.server, "envoy": self.waited.envoy },
            "stolen_by_the_host_ms": self.waited.stolen,
        })
    }
}

impl Event {
    fn read(line: &str) -> Option<Self> {
        let line: Value = serde_json::from_str(line).ok()?;
        if line["level"] != "DEBUG" {
            return None;
        }
        let fields = &line["fields"];
        // `2026-11-22T17:29:00.123456Z`
        let clock = line["timestamp"].as_str()?.split_once('T')?.1.strip_suffix('Z')?;
        let mut parts = clock.split(':');
        let hours: f64 = parts.next()?.parse().ok()?;
        let minutes: f64 = parts.next()?.parse().ok()?;
        let seconds: f64 = parts.next()?.parse().ok()?;
        let position = fields["position"].as_str().or(fields["after"].as_str()).unwrap_or_default();
        Some(Self {
            at: Duration::from_secs_f64((hours * 60.0 + minutes) * 60.0 + seconds),
            what: fields["message"].as_str()?.to_owned(),
            position: position.to_owned(),
        })
    }
}

/// How long all threads of the two processes were ready to run and did not (proc(5), `schedstat`), in
/// milliseconds, summed over the threads; and how long the host ran something else.
#[derive(Clone, Copy, Default)]
pub(crate) struct Waited {
    server: f64,
    envoy: f64,
    stolen: f64,
}

impl Waited {
    pub(crate) fn so_far(server: u32, envoy: u32) -> Self {
        Self { server: ready(server), envoy: ready(envoy), stolen: stolen() }
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            server: rounded(self.server - before.server),
            envoy: rounded(self.envoy - before.envoy),
            stolen: rounded(self.stolen - before.stolen),
        }
    }
}

fn ready(process: u32) -> f64 {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{process}/task")) else { return 0.0 };
    let waited = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').nth(1)?.parse::<f64>().ok()
    });
    waited.sum::<f64>() / 1_000_000.0
}

/// The eighth number of the line of all cores, in hundredths.
fn stolen() -> f64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let all = text.lines().next().and_then(|line| line.split_ascii_whitespace().nth(8));
    all.and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or_default() * 10.0
}

fn of_day(at: SystemTime) -> Duration {
    let since = at.duration_since(UNIX_EPOCH).unwrap();
    Duration::new(since.as_secs() % 86_400, since.subsec_nanos())
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

const LOG: &str = "error,sqlx=warn,gatepass::db=debug,gatepass::api::feed=debug";
/// The leader's next poll may be read a little after the last worker's refusal.
const SETTLES: Duration = Duration::from_millis(50);
