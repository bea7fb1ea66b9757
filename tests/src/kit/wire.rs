//! An HTTP/1.1 client on a raw socket: it sends the bytes that it is given and parses what comes,
//! so that nothing between a test and Envoy tidies a request up.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// A kept-alive connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// Names in lower case, in the order in which they came.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What went wrong on the wire.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
    #[error("the server closed the connection after {0:?}")]
    Closed(String),
    #[error("the answer does not parse: {0:?}")]
    Unreadable(String),
}

impl Connection {
    /// # Errors
    /// Nobody listens there.
    pub fn open(address: SocketAddr) -> Result<Self, WireError> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, unread: Vec::new() })
    }

    /// Sends bytes as they are and reads one answer.
    ///
    /// # Errors
    /// The connection broke, or what came is no HTTP.
    pub fn exchange(&mut self, request: &[u8]) -> Result<Response, WireError> {
        self.send(request)?;
        self.receive()
    }

    /// Whether the connection is still open when nothing more came for `time`.
    ///
    /// # Errors
    /// The socket cannot be set up.
    pub fn is_open_for(&mut self, time: Duration) -> Result<bool, WireError> {
        self.stream.set_read_timeout(Some(time))?;
        loop {
            let mut buffer = [0; 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(false),
                Ok(_) => {}
                Err(error) => {
                    let kind = error.kind();
                    self.stream.set_read_timeout(Some(PATIENCE))?;
                    return Ok(matches!(
                        kind,
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ));
                }
            }
        }
    }

    /// # Errors
    /// The connection broke.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
        self.stream.write_all(bytes).map_err(|error| match error.kind() {
            // The other side went first: what was open when it was revoked is cut.
            BrokenPipe | ConnectionReset => WireError::Closed(String::new()),
            _ => WireError::Io(error),
        })
    }

    /// Says that nothing more will be sent; answers can still be received.
    ///
    /// # Errors
    /// The connection broke.
    pub fn end(&mut self) -> Result<(), WireError> {
        Ok(self.stream.shutdown(Shutdown::Write)?)
    }

    /// # Errors
    /// The connection broke, or what came is no HTTP.
    pub fn receive(&mut self) -> Result<Response, WireError> {
        let mut response = self.receive_head()?;
        response.body = if response.header("transfer-encoding") == Some("chunked") {
            self.chunked()?
        } else {
            let length = response
                .header("content-length")
                .and_then(|length| length.parse().ok())
                .unwrap_or(0);
            self.take(length)?
        };
        Ok(response)
    }

    /// Reads an answer that has no body whatever its headers say: the one to HEAD.
    ///
    /// # Errors
    /// The connection broke, or what came is no HTTP.
    pub fn receive_head(&mut self) -> Result<Response, WireError> {
        let head_end = loop {
            if let Some(at) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break at;
            }
            self.read_more()?;
        };
        let head: Vec<u8> = self.unread.drain(..head_end.saturating_add(4)).collect();
        let head = String::from_utf8_lossy(&head).into_owned();
        let unreadable = || WireError::Unreadable(head.clone());
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .and_then(|status| status.parse().ok())
            .ok_or_else(unreadable)?;
        let headers: Vec<(String, String)> = lines
            .filter(|line| !line.is_empty())
            .map(|line| line.split_once(':').ok_or_else(unreadable))
            .map(|line| {
                line.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            })
            .collect::<Result<_, _>>()?;
        Ok(Response { status, headers, body: Vec::new() })
    }

    fn chunked(&mut self) -> Result<Vec<u8>, WireError> {
        let mut body = Vec::new();
        loop {
            let line_end = loop {
                if let Some(at) = self.unread.windows(2).position(|window| window == b"\r\n") {
                    break at;
                }
                self.read_more()?;
            };
            let line = self.take(line_end.saturating_add(2))?;
            let text = String::from_utf8_lossy(&line).trim().to_owned();
            let size = usize::from_str_radix(&text, 16).map_err(|_| WireError::Unreadable(text))?;
            body.extend(self.take(size)?);
            self.take(2)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn take(&mut self, count: usize) -> Result<Vec<u8>, WireError> {
        while self.unread.len() < count {
            self.read_more()?;
        }
        Ok(self.unread.drain(..count).collect())
    }

    fn read_more(&mut self) -> Result<(), WireError> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer)? {
            0 => Err(WireError::Closed(String::from_utf8_lossy(&self.unread).into_owned())),
            count => {
                self.unread.extend(buffer.iter().take(count));
                Ok(())
            }
        }
    }
}

impl Response {
    /// The first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The `code` of a problem body; empty when there is none.
    #[must_use]
    pub fn code(&self) -> String {
        serde_json::from_slice::<serde_json::Value>(&self.body)
            .ok()
            .and_then(|body| body.get("code").and_then(|code| code.as_str()).map(str::to_owned))
            .unwrap_or_default()
    }

    /// Status and code, as tables of expectations write them: `401 no_credential`, `200`.
    #[must_use]
    pub fn verdict(&self) -> String {
        format!("{} {}", self.status, self.code()).trim().to_owned()
    }
}

/// The bytes of a request without a body.
#[must_use]
pub fn request(method: &str, authority: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut out = format!("{method} {path} HTTP/1.1\r\nhost: {authority}\r\n");
    for (name, value) in headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    out.push_str("\r\n");
    out.into_bytes()
}

/// How long an answer may take: longer than any hold.
const PATIENCE: Duration = Duration::from_secs(15);
