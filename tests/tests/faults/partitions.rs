//! Envoys that are cut off from their control plane, each in another way, at the same time: one cable
//! loses packets between network namespaces where the machine lets us have them, and everywhere a relay
//! stops passing bytes without closing anything. Both must show the same.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gatepass::fleet::State;
use gatepass_envoy::{Bootstrap, Envoy};
use gatepass_tests::kit::edge::Edge;
use gatepass_tests::kit::namespace::Namespace;
use gatepass_tests::kit::relay::{Known, Lost, Relay};

use crate::watched::{ALLOWED, Gatepasses, REVOKED, SOON, Watched, bootstrap, edge, turn};

#[test]
fn who_is_cut_off_serves_until_each_bound_and_nothing_revoked_comes_back() {
    let _turn = turn();
    let edge = edge();
    let gatepasses = Gatepasses::issue(&edge);
    let mut cut_off = Vec::new();
    for (lost, known) in [
        (Lost::Both, Known::GoOn),
        (Lost::Both, Known::Forgotten),
        (Lost::Requests, Known::GoOn),
        (Lost::Answers, Known::GoOn),
    ] {
        cut_off.push(Place::start(&edge, &gatepasses, Way::relay(&edge), lost, known));
    }
    match Way::cable(&edge) {
        Ok(first) => {
            println!("partitions: by network namespaces and by relays");
            let mut way = Some(first);
            for lost in [Lost::Both, Lost::Requests, Lost::Answers] {
                let way = way.take().unwrap_or_else(|| Way::cable(&edge).unwrap());
                cut_off.push(Place::start(&edge, &gatepasses, way, lost, Known::GoOn));
            }
        }
        Err(why) => println!("partitions: by relays alone, no network namespaces here: {why}"),
    }
    let whole = Place::start(&edge, &gatepasses, Way::relay(&edge), Lost::Nothing, Known::GoOn);
    let all = || cut_off.iter().chain([&whole]);
    all().for_each(|place| place.watched.until_all_are_allowed());

    cut_off.iter().for_each(Place::cut);
    let cut = Instant::now();
    let answered = gatepasses.revoke_victims(&edge);
    for victim in whole.watched.victims() {
        victim.until(REVOKED, SOON).unwrap();
    }
    cut_off.iter().for_each(|place| place.watched.turns_stale(cut));
    // The control plane knows who enforces the revocation.
    let enforces = |state: State| state == State::Enforcing;
    edge.until_fleet(SOON, |fleet| {
        let mut states = fleet.envoys.iter().map(|envoy| envoy.state);
        fleet.envoys.len() == all().count() && states.by_ref().filter(|s| enforces(*s)).count() == 1
    })
    .unwrap();

    cut_off.iter().for_each(Place::heal);
    let healed = Instant::now();
    for place in &cut_off {
        place.watched.recovers(healed, BACK_WITHIN);
    }
    edge.until_fleet(SOON, |fleet| fleet.envoys.iter().all(|envoy| enforces(envoy.state))).unwrap();
    whole.watched.low.until(ALLOWED, SOON).unwrap();
    whole.watched.was_undisturbed(answered);
}

/// One Envoy and its way to the control plane.
struct Place {
    watched: Watched,
    // Before the way that it uses.
    _envoy: Envoy,
    way: Way,
    lost: Lost,
    known: Known,
}

enum Way {
    Relay(Relay),
    /// Envoy stands in a namespace; a relay that loses nothing stands at our end, because the control
    /// plane listens in clear on loopback only.
    Cable {
        space: Namespace,
        front: Relay,
    },
}

impl Way {
    fn relay(edge: &Edge) -> Self {
        Self::Relay(Relay::to(edge.desk.feed()).unwrap())
    }

    fn cable(edge: &Edge) -> Result<Self, gatepass_tests::kit::world::Failed> {
        let space = Namespace::start()?;
        let front = Relay::between((space.outside(), 0).into(), edge.desk.feed())?;
        Ok(Self::Cable { space, front })
    }

    fn feed(&self) -> SocketAddr {
        match self {
            Self::Relay(relay) | Self::Cable { front: relay, .. } => relay.address(),
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Relay(_) => "relay",
            Self::Cable { .. } => "cable",
        }
    }

    fn launch(&self, bootstrap: Bootstrap) -> Envoy {
        match self {
            Self::Relay(_) => Envoy::launch(&bootstrap).unwrap(),
            Self::Cable { space, .. } => {
                space.run(move || Envoy::launch(&bootstrap)).unwrap().unwrap()
            }
        }
    }

    fn watch(&self, name: String, listener: SocketAddr, gatepasses: &Gatepasses) -> Watched {
        match self {
            Self::Relay(_) => Watched::start(&name, listener, gatepasses),
            Self::Cable { space, .. } => {
                let gatepasses = gatepasses.clone();
                space.run(move || Watched::start(&name, listener, &gatepasses)).unwrap()
            }
        }
    }
}

impl Place {
    fn start(edge: &Edge, gatepasses: &Gatepasses, way: Way, lost: Lost, known: Known) -> Self {
        let envoy = way.launch(bootstrap(edge, way.feed()));
        let name = format!("{} that loses {lost:?}, {known:?}", way.name());
        let watched = way.watch(name, envoy.address("in").unwrap(), gatepasses);
        Self { watched, _envoy: envoy, way, lost, known }
    }

    fn cut(&self) {
        match &self.way {
            Way::Relay(relay) => relay.cut(self.lost),
            Way::Cable { space, .. } => space.lose(self.lost).unwrap(),
        }
    }

    fn heal(&self) {
        match &self.way {
            Way::Relay(relay) => relay.heal(self.known),
            Way::Cable { space, .. } => space.lose(Lost::Nothing).unwrap(),
        }
    }
}

/// A poll that was under way on a connection that is dead is given up after 25 s at the latest; all
/// others are back at the next try.
const BACK_WITHIN: Duration = Duration::from_secs(40);
