//! A real HTTP/1.1 server whose exchanges last until the test lets them end: event streams, gRPC
//! responses, uploads and WebSockets.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Listens on a port of the system's choice until the process ends.
#[derive(Clone, Debug)]
pub struct Lasting {
    address: SocketAddr,
    shared: Arc<(Mutex<Progress>, Condvar)>,
}

#[derive(Debug, Default)]
struct Progress {
    began: usize,
    /// Tasks whose exchange broke off before its end.
    broken: Vec<String>,
    over: bool,
}

/// What a stream that was let go on to its end ends with.
pub const LAST: &str = "data: last\n\n";

impl Lasting {
    /// # Errors
    /// No port could be had.
    pub fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let lasting = Self { address: listener.local_addr()?, shared: Arc::default() };
        let server = lasting.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                std::thread::spawn(move || server.serve(stream));
            }
        });
        Ok(lasting)
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until so many exchanges have begun. False when that takes too long.
    #[must_use]
    pub fn began(&self, count: usize) -> bool {
        self.wait(|progress| progress.began >= count)
    }

    /// Waits until the exchange of that task broke off. False when that takes too long.
    #[must_use]
    pub fn broke(&self, task: &str) -> bool {
        self.wait(|progress| progress.broken.iter().any(|known| known == task))
    }

    /// Lets every exchange end.
    pub fn end(&self) {
        self.lock().over = true;
        self.shared.1.notify_all();
    }

    #[must_use]
    pub fn is_over(&self) -> bool {
        self.lock().over
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, done: impl Fn(&Progress) -> bool) -> bool {
        let waited =
            self.shared.1.wait_timeout_while(self.lock(), PATIENCE, |progress| !done(progress));
        waited.is_ok_and(|(_, timeout)| !timeout.timed_out())
    }

    fn note(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.lock());
        self.shared.1.notify_all();
    }

    /// One exchange; an error on its connection is the peer's.
    fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut writer = stream.try_clone().ok()?;
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let field = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(known, _)| *known == name).map(|(_, value)| value.trim().to_owned())
        };
        let task = field("x-gatepass-task").unwrap_or_default();
        self.note(|progress| progress.began = progress.began.saturating_add(1));
        let whole = if let Some(length) = field("content-length") {
            let mut body = vec![0; length.parse().ok()?];
            reader.read_exact(&mut body).is_ok()
                && writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_ok()
        } else if field("upgrade").is_some() {
            let switched = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: \
                            websocket\r\n\r\n";
            writer.write_all(switched.as_bytes()).ok()?;
            self.echo(reader, &mut writer)
        } else {
            let kind = field("content-type").unwrap_or_else(|| "text/event-stream".to_owned());
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: \
                 chunked\r\n\r\nd\r\ndata: first\n\n\r\n"
            );
            writer.write_all(head.as_bytes()).ok()?;
            self.stay(reader, &mut writer)
        };
        if !whole {
            self.note(|progress| progress.broken.push(task));
        }
        Some(())
    }

    /// Whether the response came to its end before the peer went away.
    fn stay(&self, mut reader: BufReader<TcpStream>, writer: &mut TcpStream) -> bool {
        let _ = reader.get_ref().set_read_timeout(Some(GLANCE));
        let mut rest = [0; 1024];
        while !self.is_over() {
            match reader.read(&mut rest) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) if is_timeout(&error) => {}
                Err(_) => return false,
            }
        }
        let last = format!("{:x}\r\n{LAST}\r\n0\r\n\r\n", LAST.len());
        writer.write_all(last.as_bytes()).is_ok()
    }

    fn echo(&self, mut reader: BufReader<TcpStream>, writer: &mut TcpStream) -> bool {
        let mut bytes = [0; 1024];
        loop {
            match reader.read(&mut bytes) {
                Ok(0) | Err(_) => return self.is_over(),
                Ok(count) => {
                    if writer.write_all(bytes.get(..count).unwrap_or_default()).is_err() {
                        return false;
                    }
                }
            }
        }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between looks at whether it is over.
const GLANCE: Duration = Duration::from_millis(20);
