//! What a client says when there is no answer.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustls::CertificateError;

/// Each says what to do where there is something to do. None holds the token.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("`{url}` is not the URL of a control plane: {what}")]
    Url { url: String, what: &'static str },
    #[error("the URL holds a user or password: give the token in its own place")]
    UserInUrl,
    #[error("the token has characters that no token has: is it the right file?")]
    Token,
    #[error("`{0}` is not a path of a control plane")]
    Path(String),
    #[error(
        "`{host}` is not this machine, and without TLS anyone on the way could read the token: use https://"
    )]
    InClear { host: String },
    #[error("the CA file `{}` cannot be read: {source}", .path.display())]
    CaFile { path: PathBuf, source: io::Error },
    #[error("the CA file `{}` cannot be used: {what}", .path.display())]
    Ca { path: PathBuf, what: &'static str },
    #[error("the TLS settings are not accepted: {0}")]
    Settings(rustls::Error),
    #[error("the host `{host}` is not known: {source}")]
    Resolve { host: String, source: io::Error },
    #[error("`{host}` cannot be reached: {source}; is the control plane running there?")]
    Connect { host: String, source: io::Error },
    #[error(
        "the certificate of `{host}` is of an authority that is not believed here: name its CA file"
    )]
    UnknownAuthority { host: String },
    #[error("the certificate of `{host}` is for another name: use the name that it has")]
    OtherName { host: String },
    #[error("the certificate of `{host}` is out of date, or the clock of one of the two is wrong")]
    OutOfDate { host: String },
    #[error("`{host}` does not speak TLS: is it the right port, or an http:// one?")]
    NoTls { host: String },
    #[error("`{host}` asks for a client certificate: use the address of its command-line API")]
    ClientCertificate { host: String },
    #[error("no TLS with `{host}`: {source}")]
    Tls { host: String, source: io::Error },
    #[error("`{host}` did not answer within {time:?}")]
    Overdue { host: String, time: Duration },
    #[error("`{host}` answers with more than {most} bytes")]
    TooLong { host: String, most: usize },
    #[error(
        "the connection to `{host}` broke before the answer was whole: {what}; look whether the request was carried out before repeating it"
    )]
    Broken { host: String, what: String },
    #[error(
        "`{host}` does not answer as a control plane does: is it the right port, or an https:// one?"
    )]
    NotHttp { host: String },
}

impl ClientError {
    pub(super) fn of_handshake(host: &str, error: io::Error) -> Self {
        let host = host.to_owned();
        match tls(&error) {
            Some(rustls::Error::InvalidCertificate(why)) => match why {
                // The second: another authority of the same name, as one that was made anew has.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    Self::UnknownAuthority { host }
                }
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Self::OtherName { host },
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::OutOfDate { host },
                _ => Self::Tls { host, source: error },
            },
            Some(rustls::Error::InvalidMessage(_)) => Self::NoTls { host },
            _ => Self::Tls { host, source: error },
        }
    }

    pub(super) fn of_http(host: &str, error: hyper::Error) -> Self {
        let host = host.to_owned();
        let alert = error.source().and_then(|source| source.downcast_ref()).and_then(tls);
        if matches!(
            alert,
            Some(rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired))
        ) {
            return Self::ClientCertificate { host };
        }
        if error.is_parse() {
            return Self::NotHttp { host };
        }
        Self::Broken { host, what: error.to_string() }
    }
}

fn tls(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}
