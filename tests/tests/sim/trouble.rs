//! What goes wrong, and how it ends.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gatepass::server::Door;

use super::audience::AUDIENCES;
use super::clock::{HOUR, MINUTE, Moment, SECOND};
use super::envoy::Link;
use super::host::VM_ID;
use super::world::{LONGEST_TROUBLE, World, configuration};

/// What is wrong until it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    Link {
        envoy: usize,
    },
    /// Every Envoy's.
    Links,
    Sleep {
        envoy: usize,
    },
    /// The process is not there.
    Down {
        envoy: usize,
    },
    Wall {
        envoy: usize,
        was: i64,
    },
    /// It comes back by itself, or from a copy.
    PlaneDown {
        restored: bool,
    },
    PlaneWall {
        was: i64,
    },
    BadBundle,
    /// Of the feed's key, on this Envoy's line.
    Theft {
        envoy: usize,
    },
}

impl World {
    /// Something goes wrong.
    pub(crate) fn trouble(&mut self) {
        let envoy = self.chance.index(self.envoys.len());
        match self.chance.below(100) {
            0..25 => self.bad_link(envoy),
            25..30 => self.bad_links(),
            30..42 => self.sleep(envoy),
            42..57 => self.die(envoy),
            57..65 => self.go_down(envoy),
            65..72 => self.jump(envoy),
            72..78 => self.overwrite(envoy),
            78..88 => self.plane_down(),
            88..92 => self.plane_jumps(),
            92..94 => self.many_changes(),
            94..96 => self.steal(envoy),
            _ => self.bad_bundle(),
        }
    }

    pub(crate) fn begins(
        &mut self,
        name: &'static str,
        envoy: Option<usize>,
        lasts: Moment,
        over: Trouble,
    ) {
        self.report.count(name);
        self.report.note(self.now, format_args!("{name}: {over:?} for {lasts} ms"));
        match envoy {
            Some(envoy) => self.envoys[envoy].troubles += 1,
            None => self.troubles += 1,
        }
        self.after(lasts, super::world::Event::Over(over));
    }

    pub(crate) fn ends(&mut self, envoy: Option<usize>) {
        match envoy {
            Some(envoy) => {
                self.envoys[envoy].troubles -= 1;
                self.envoys[envoy].troubled = self.now;
            }
            None => {
                self.troubles -= 1;
                self.troubled = self.now;
            }
        }
    }

    pub(crate) fn lasts(&mut self) -> Moment {
        self.chance.of_any_size(SECOND, LONGEST_TROUBLE)
    }

    fn any_bad_link(&mut self) -> Link {
        self.chance.pick(&[Link::Refused, Link::Silent, Link::Lossy, Link::Slow, Link::Hostile])
    }

    fn bad_link(&mut self, envoy: usize) {
        if self.envoys[envoy].link == Link::Good {
            self.envoys[envoy].link = self.any_bad_link();
            let name = match self.envoys[envoy].link {
                Link::Refused | Link::Good => "link refused",
                Link::Silent => "link silent",
                Link::Lossy => "link lossy",
                Link::Slow => "link slow",
                Link::Hostile | Link::Thief => "link hostile",
            };
            let lasts = self.lasts();
            self.begins(name, Some(envoy), lasts, Trouble::Link { envoy });
        }
    }

    fn bad_links(&mut self) {
        if self.envoys.iter().all(|envoy| envoy.link == Link::Good) {
            let link = self.any_bad_link();
            for envoy in &mut self.envoys {
                envoy.link = link;
            }
            let lasts = self.lasts();
            self.begins("all links", None, lasts, Trouble::Links);
        }
    }

    fn sleep(&mut self, envoy: usize) {
        let place = self.chance.index(self.envoys[envoy].workers.len());
        let lasts = self.lasts();
        let worker = &mut self.envoys[envoy].workers[place];
        worker.sleeps_until = worker.sleeps_until.max(self.now + lasts);
        self.envoys[envoy].kept_answer = Some(self.now + lasts);
        self.begins("worker asleep", Some(envoy), lasts, Trouble::Sleep { envoy });
    }

    /// One VM, or all but the main thread's, after some more host calls.
    fn die(&mut self, envoy: usize) {
        let one = 1 + self.chance.index(self.envoys[envoy].workers.len() - 1);
        let all = self.chance.percent(20);
        let leader = self.envoys[envoy].workers.iter().position(|worker| worker.leads);
        let one = leader.filter(|_| self.chance.percent(40)).unwrap_or(one);
        self.report.count("vm to die");
        for place in 0..self.envoys[envoy].workers.len() {
            if all || place == one {
                let calls = self.chance.of_any_size(1, 300);
                self.envoys[envoy].workers[place].host.borrow_mut().dies_in = Some(calls);
            }
        }
        // It may take a while; from when it dies it is troubled.
        self.report
            .note(self.now, format_args!("envoy {envoy}: worker {one} will die (all: {all})"));
    }

    fn go_down(&mut self, envoy: usize) {
        if self.is_down(envoy) {
            return;
        }
        let drained = self.chance.percent(50);
        for place in 0..self.envoys[envoy].workers.len() {
            if drained {
                self.envoys[envoy].call(place, self.now, |vm| vm.shut_down());
            }
            self.envoys[envoy].workers[place].vanish();
        }
        let lasts = self.chance.of_any_size(SECOND, MINUTE);
        self.begins("envoy restarted", Some(envoy), lasts, Trouble::Down { envoy });
        self.envoys[envoy].down = true;
    }

    pub(crate) fn is_down(&self, envoy: usize) -> bool {
        self.envoys[envoy].down
    }

    fn come_up(&mut self, envoy: usize) {
        self.envoys[envoy].down = false;
        // A baseline is of today, and a gate refuses one that is dated ahead of its clock.
        let own = self.envoys[envoy].clock.unix(self.now).0;
        let ahead = self.plane.now(self.now).saturating_sub(own);
        // It may be given to others meanwhile.
        let audience = match self.chance.percent(20) {
            true => self.chance.index(AUDIENCES.len()),
            false => self.envoys[envoy].audience,
        };
        let has_baseline = self.chance.percent(50) && ahead < 20;
        let baseline = if has_baseline { self.baseline(audience) } else { None };
        self.report.note(
            self.now,
            format_args!(
                "envoy {envoy} is up, of `{}`, with a baseline: {}",
                AUDIENCES[audience],
                baseline.is_some()
            ),
        );
        // What was granted stays in the configuration, or not.
        let grace = self.envoys[envoy].grace.take().filter(|_| self.chance.percent(50));
        let least_root = self.least_root();
        let configured = configuration(&self.plane, audience, least_root, baseline, grace.as_ref());
        self.envoys[envoy].grace = grace;
        let configured = (audience, configured);
        self.envoys[envoy].restart(configured, self.now);
        for place in 0..self.envoys[envoy].workers.len() {
            self.ticks_from_now(envoy, place);
            self.follow_up(envoy, place);
        }
    }

    fn baseline(&mut self, audience: usize) -> Option<String> {
        if !self.plane.is_running() || self.bad_bundle.is_some() {
            return None;
        }
        let path = format!("/v1/feed?audience={}&wait=0", AUDIENCES[audience]);
        let answer = self.plane.ask(Door::Feed, &path, &[], None, self.now);
        (answer.status == 200).then(|| STANDARD.encode(answer.body))
    }

    /// The wall of an Envoy jumps by up to an hour, either way.
    fn jump(&mut self, envoy: usize) {
        let was = self.envoys[envoy].clock.ahead;
        if was.unsigned_abs() > 10 * SECOND {
            return;
        }
        self.envoys[envoy].clock.ahead += self.leap();
        let lasts = self.lasts();
        self.begins("clock jumped", Some(envoy), lasts, Trouble::Wall { envoy, was });
    }

    fn leap(&mut self) -> i64 {
        let size = self.chance.of_any_size(10 * SECOND, HOUR) as i64;
        if self.chance.percent(50) { size } else { -size }
    }

    /// Another plugin writes into what the VMs share: garbage, or what was there before.
    fn overwrite(&mut self, envoy: usize) {
        let shared = self.envoys[envoy].shared.clone();
        let keys = shared.keys(VM_ID);
        if keys.is_empty() {
            return;
        }
        if self.chance.percent(50) {
            return self.turn_back(envoy, keys);
        }
        let key = match self.chance.percent(40) {
            true => keys.iter().find(|key| key.ends_with(b"/log")).cloned(),
            false => None,
        };
        let key = key.unwrap_or_else(|| self.chance.pick(&keys));
        let length = self.chance.below(200);
        let value: Vec<u8> = (0..length).map(|_| self.chance.next() as u8).collect();
        shared.overwrite(VM_ID, &key, &value);
        self.report.count("shared data overwritten");
        let name = String::from_utf8_lossy(&key).into_owned();
        self.report.note(self.now, format_args!("envoy {envoy}: `{name}` is overwritten"));
        self.is_forged(envoy);
    }

    /// What was kept the time before is put back, genuine in all its parts; what is there now is kept for the
    /// next.
    fn turn_back(&mut self, envoy: usize, keys: Vec<Vec<u8>>) {
        let shared = self.envoys[envoy].shared.clone();
        let now = keys.into_iter().filter_map(|key| {
            let entry = shared.peek(VM_ID, &key)?;
            Some((key, entry.value))
        });
        let kept = std::mem::replace(&mut self.envoys[envoy].kept, now.collect());
        if kept.is_empty() {
            return;
        }
        for (key, value) in kept {
            shared.overwrite(VM_ID, key, &value);
        }
        self.report.count("shared data turned back");
        self.report.note(self.now, format_args!("envoy {envoy}: its shared data is turned back"));
        self.is_forged(envoy);
    }

    fn is_forged(&mut self, envoy: usize) {
        self.envoys[envoy].troubled = self.now;
        self.envoys[envoy].forged = Some(self.now);
    }

    fn plane_down(&mut self) {
        if !self.plane.is_running() {
            return;
        }
        self.gone = self.goes();
        if self.chance.percent(70) {
            self.plane.kill()
        } else {
            self.plane.stop()
        }
        self.hang_up();
        let restored = self.chance.percent(30)
            && self.desk.restore(&mut self.plane, &mut self.chance, self.now);
        let lasts = self.lasts();
        let name = if restored { "control plane restored" } else { "control plane down" };
        self.begins(name, None, lasts, Trouble::PlaneDown { restored });
        self.expect_grace();
    }

    fn plane_jumps(&mut self) {
        let was = self.plane.clock.ahead;
        if was.unsigned_abs() > 10 * SECOND {
            return;
        }
        let leap = self.leap();
        self.set_plane_clock(was + leap);
        let lasts = self.lasts();
        self.begins("control plane's clock jumped", None, lasts, Trouble::PlaneWall { was });
    }

    /// So many at once that the log of the workers asks for a new base.
    fn many_changes(&mut self) {
        if !self.plane.is_running() {
            return;
        }
        self.report.count("many changes");
        self.report.note(self.now, "many changes");
        for _ in 0..200 {
            // Refused where nothing was issued yet.
            let _ = self.desk.revoke(&mut self.plane, &mut self.chance, self.now);
        }
        self.wake();
    }

    /// The next policy is signed, and no gate can read it.
    fn bad_bundle(&mut self) {
        if self.bad_bundle.is_some() || !self.plane.is_running() {
            return;
        }
        let published = self.desk.publish_anywhere(&mut self.plane, &mut self.chance, self.now);
        if let Ok(did) = published {
            self.report.note(self.now, format_args!("{} {}", did.name, did.what));
            self.doubt(did.name, &did.what, did.doubt);
            self.bad_bundle = self.plane.position();
            let lasts = self.chance.of_any_size(SECOND, 10 * MINUTE);
            self.begins("bad bundle", None, lasts, Trouble::BadBundle);
        }
        self.wake();
    }

    pub(crate) fn over(&mut self, trouble: Trouble) {
        self.report.note(self.now, format_args!("over: {trouble:?}"));
        match trouble {
            Trouble::Link { envoy } => {
                self.envoys[envoy].link = Link::Good;
                self.ends(Some(envoy));
            }
            Trouble::Links => {
                for envoy in self.envoys.iter_mut().filter(|envoy| envoy.link != Link::Thief) {
                    envoy.link = Link::Good;
                }
                self.ends(None);
            }
            Trouble::Sleep { envoy } => self.ends(Some(envoy)),
            Trouble::Down { envoy } => {
                self.come_up(envoy);
                self.ends(Some(envoy));
            }
            Trouble::Wall { envoy, was } => {
                self.envoys[envoy].clock.ahead = was;
                self.ends(Some(envoy));
            }
            Trouble::PlaneDown { restored } => {
                self.gone = None;
                self.plane.start(self.now);
                if restored {
                    self.desk.restored(&mut self.plane, self.now);
                }
                self.look_at_cohorts();
                self.ends(None);
            }
            Trouble::PlaneWall { was } => {
                self.set_plane_clock(was);
                self.ends(None);
            }
            Trouble::Theft { envoy } => self.theft_is_over(envoy),
            Trouble::BadBundle => {
                // Its successor mends it, once the control plane can be asked.
                let mended = self.plane.is_running()
                    && self
                        .desk
                        .replace_policies(&mut self.plane, &mut self.chance, self.now)
                        .is_ok();
                if mended {
                    self.bad_bundle = None;
                    self.mended = self.now;
                    self.ends(None);
                    self.wake();
                } else {
                    self.after(MINUTE, super::world::Event::Over(Trouble::BadBundle));
                }
            }
        }
    }
}
