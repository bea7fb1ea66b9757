//! `gatepass dev serve`.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use gatepass::feed::{Feed, system_clock};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::{At, Outcome};

#[derive(Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    at: At,
    /// Loopback only; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8787", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Write the bound address here once polls are answered.
    #[arg(long, value_name = "FILE")]
    address_file: Option<PathBuf>,
}

impl ServeArgs {
    /// Until it is interrupted or terminated.
    pub(crate) fn serve(&self, out: &mut impl Write) -> Outcome<()> {
        let store = self.at.open()?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(async {
            let mut terminated = signal(SignalKind::terminate())?;
            let mut interrupted = signal(SignalKind::interrupt())?;
            let listener = TcpListener::bind(self.listen)
                .await
                .map_err(|error| format!("`{}`: {error}", self.listen))?;
            let mut serving = Feed::serve(listener, store, system_clock())?;
            let address = serving.address();
            writeln!(out, "listening on http://{address}")?;
            out.flush()?;
            if let Some(path) = &self.address_file {
                // Whole or not at all: whoever waits for it reads it as soon as it is there.
                let temporary = path.with_extension("new");
                std::fs::write(&temporary, format!("{address}\n"))?;
                std::fs::rename(&temporary, path)?;
            }
            tokio::select! {
                _ = terminated.recv() => {}
                _ = interrupted.recv() => {}
                () = serving.join() => {}
            }
            Ok(())
        })
    }
}
