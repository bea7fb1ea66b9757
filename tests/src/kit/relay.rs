//! A TCP relay that can lose what passes, as a network does: nothing is closed, nothing is refused, and
//! nothing comes.
//!
//! What is on its way while the way is cut waits in the relay and comes when it is healed, as a peer's
//! retransmissions would; of a connection that the network has forgotten in the meantime (a NAT that was
//! restarted) nothing ever comes.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Which of two peers' bytes are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    Nothing,
    /// What who connected says.
    Requests,
    /// What it was answered.
    Answers,
    Both,
}

/// What becomes of the connections that there are when the way is healed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    GoOn,
    /// They stay open at both ends and carry nothing any more.
    Forgotten,
}

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    way: Mutex<Way>,
    changed: Condvar,
}

#[derive(Debug)]
struct Way {
    lost: Lost,
    /// Connections taken so far.
    taken: u64,
    /// Those before this number are forgotten.
    forgotten: u64,
    over: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Request,
    Answer,
}

impl Relay {
    /// From a port of 127.0.0.1 to `target`.
    ///
    /// # Errors
    /// No port could be had.
    pub fn to(target: SocketAddr) -> std::io::Result<Self> {
        Self::between(([127, 0, 0, 1], 0).into(), target)
    }

    /// From an address of this machine (port 0: any) to `target`.
    ///
    /// # Errors
    /// The address cannot be had.
    pub fn between(listen: SocketAddr, target: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        let way = Way { lost: Lost::Nothing, taken: 0, forgotten: 0, over: false };
        let shared = Arc::new(Shared { way: Mutex::new(way), changed: Condvar::new() });
        let relay = Self { address: listener.local_addr()?, shared: Arc::clone(&shared) };
        std::thread::spawn(move || {
            for taken in listener.incoming().flatten() {
                let number = {
                    let mut way = shared.lock();
                    if way.over {
                        break;
                    }
                    way.taken = way.taken.saturating_add(1);
                    way.taken
                };
                // Nobody there is the peer's to hear: the connection that was taken is closed.
                let Ok(made) = TcpStream::connect(target) else { continue };
                shared.pump(&taken, &made, number, Direction::Request);
                shared.pump(&made, &taken, number, Direction::Answer);
            }
        });
        Ok(relay)
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// When this comes back, nothing more passes that way.
    pub fn cut(&self, lost: Lost) {
        self.shared.lock().lost = lost;
    }

    pub fn heal(&self, known: Known) {
        let mut way = self.shared.lock();
        way.lost = Lost::Nothing;
        if known == Known::Forgotten {
            way.forgotten = way.taken.saturating_add(1);
        }
        drop(way);
        self.shared.changed.notify_all();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.changed.notify_all();
        // Who waits for connections looks once more.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Way> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pump(self: &Arc<Self>, from: &TcpStream, to: &TcpStream, number: u64, direction: Direction) {
        let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else { return };
        let shared = Arc::clone(self);
        std::thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            loop {
                // An end and a reset are news as well: they wait as bytes do.
                let read = from.read(&mut buffer).unwrap_or(0);
                let Some(way) = shared.passes(number, direction) else { return };
                let bytes = buffer.get(..read).unwrap_or_default();
                // Under the lock, so that a cut comes before or after it.
                if read == 0 || to.write_all(bytes).is_err() {
                    let _ = to.shutdown(Shutdown::Write);
                    return;
                }
                drop(way);
            }
        });
    }

    /// Waits until what is in hand may pass; `None` when the relay is dropped.
    fn passes(&self, number: u64, direction: Direction) -> Option<MutexGuard<'_, Way>> {
        let stays = |way: &mut Way| !way.over && (way.loses(direction) || number < way.forgotten);
        let waited = self.changed.wait_while(self.lock(), stays);
        Some(waited.unwrap_or_else(PoisonError::into_inner)).filter(|way| !way.over)
    }
}

impl Way {
    const fn loses(&self, direction: Direction) -> bool {
        match self.lost {
            Lost::Nothing => false,
            Lost::Requests => matches!(direction, Direction::Request),
            Lost::Answers => matches!(direction, Direction::Answer),
            Lost::Both => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Says what it hears.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut byte = [0];
                    while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
                });
            }
        });
        address
    }

    fn hears(stream: &mut TcpStream, within: Duration) -> Option<u8> {
        stream.set_read_timeout(Some(within)).unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).ok().map(|()| byte[0])
    }

    const A_WHILE: Duration = Duration::from_millis(100);
    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn what_is_cut_comes_when_it_is_healed_and_to_who_is_forgotten_never() {
        let relay = Relay::to(echo()).unwrap();
        for lost in [Lost::Requests, Lost::Answers, Lost::Both] {
            let mut stream = TcpStream::connect(relay.address()).unwrap();
            stream.write_all(b"1").unwrap();
            assert_eq!(hears(&mut stream, SOON), Some(b'1'));
            relay.cut(lost);
            stream.write_all(b"2").unwrap();
            assert_eq!(hears(&mut stream, A_WHILE), None, "{lost:?}");
            relay.heal(Known::GoOn);
            assert_eq!(hears(&mut stream, SOON), Some(b'2'), "{lost:?}");
            relay.cut(lost);
            stream.write_all(b"3").unwrap();
            relay.heal(Known::Forgotten);
            assert_eq!(hears(&mut stream, A_WHILE), None, "{lost:?}");
            let mut fresh = TcpStream::connect(relay.address()).unwrap();
            fresh.write_all(b"4").unwrap();
            assert_eq!(hears(&mut fresh, SOON), Some(b'4'), "{lost:?}");
        }
    }
}
