//! The numbers of the proxy-wasm 0.2.1 ABI.

/// What a host call returns. The numbers are the ABI's.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ok = 0,
    NotFound = 1,
    BadArgument = 2,
    InvalidMemoryAccess = 6,
    Empty = 7,
    CasMismatch = 8,
    InternalFailure = 10,
    Unimplemented = 12,
}

/// The level of a log line, least severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Critical,
}

impl LogLevel {
    pub(super) fn from_abi(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Trace),
            1 => Some(Self::Debug),
            2 => Some(Self::Info),
            3 => Some(Self::Warn),
            4 => Some(Self::Error),
            5 => Some(Self::Critical),
            _ => None,
        }
    }
}

/// The header maps that this host fills; the other kinds of the ABI are always absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MapKind {
    RequestHeaders,
    ResponseHeaders,
    CallResponseHeaders,
    Absent,
}

impl MapKind {
    pub(super) fn from_abi(number: u32) -> Result<Self, Status> {
        match number {
            0 => Ok(Self::RequestHeaders),
            2 => Ok(Self::ResponseHeaders),
            6 => Ok(Self::CallResponseHeaders),
            1 | 3..=5 | 7 => Ok(Self::Absent),
            _ => Err(Status::BadArgument),
        }
    }
}

/// The buffers that this host fills; the other kinds of the ABI are always absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BufferKind {
    RequestBody,
    CallResponseBody,
    VmConfiguration,
    PluginConfiguration,
    Absent,
}

impl BufferKind {
    pub(super) fn from_abi(number: u32) -> Result<Self, Status> {
        match number {
            0 => Ok(Self::RequestBody),
            4 => Ok(Self::CallResponseBody),
            6 => Ok(Self::VmConfiguration),
            7 => Ok(Self::PluginConfiguration),
            1..=3 | 5 | 8 => Ok(Self::Absent),
            _ => Err(Status::BadArgument),
        }
    }
}

/// Which half of an HTTP stream `proxy_continue_stream` and `proxy_close_stream` mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    Request,
    Response,
}

impl Half {
    /// The TCP kinds of the ABI (2 and 3) are refused: this host has HTTP streams only.
    pub(super) fn from_abi(number: u32) -> Result<Self, Status> {
        match number {
            0 => Ok(Self::Request),
            1 => Ok(Self::Response),
            _ => Err(Status::BadArgument),
        }
    }
}
