//! `sampan server`: the control plane and this node, in the foreground, until told to end.

use anyhow::{Context, Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, Flags};
use crate::progress::{Line, Teller};
use crate::{components, daemon, preflight};

/// Threads that run tasks: the work is short and shared, and each thread costs memory.
const WORKERS: usize = 4;
/// Threads for file work that blocks.
const BLOCKING_THREADS: usize = 32;
/// Open files that a server has use for: every client and every session takes some.
const OPEN_FILES: u64 = 65_536;

#[derive(Debug, clap::Args)]
pub(super) struct Server {
    #[command(flatten)]
    flags: Flags,
    /// Started by `sampan up`: leave the terminal's session and tell the steps on standard output
    #[arg(long, hide = true)]
    background: bool,
}

impl Server {
    pub(super) fn run(self) -> Result<()> {
        let teller = if self.background { Teller::Pipe } else { Teller::Log };
        if self.background {
            nix::unistd::setsid().context("leaving the terminal's session")?;
        }
        let outcome = super::which(&self.flags).and_then(|config| serve(&config, teller));
        if let (Err(error), Teller::Pipe) = (&outcome, teller) {
            teller.tell(&Line::Failed(format!("{error:#}")));
        }
        outcome
    }
}

fn serve(config: &Config, teller: Teller) -> Result<()> {
    // The netlink library warns of every answer that nobody waits for any more; that is no news.
    let filter = EnvFilter::try_new(format!("netlink_proto=error,{}", config.log_level))
        .with_context(|| format!("log-level: {:?}", config.log_level))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    if let Some(root) = preflight::root() {
        bail!("{root}");
    }
    let _mark = daemon::mark(config)?;
    daemon::note_runtime(config)?;
    let lacks = preflight::check(config);
    if !lacks.is_empty() {
        let list: Vec<String> = lacks.iter().map(|lack| format!("  - {lack}")).collect();
        bail!("this machine lacks something:\n{}", list.join("\n"));
    }
    allow_open_files();
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()
        .context("starting the runtime")?
        .block_on(run(config, teller))
}

/// Lets this process have as many open files as it may; what was asked for less is seldom meant for a server.
fn allow_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(now, most)| match most.min(OPEN_FILES) {
        wanted if wanted > now => setrlimit(Resource::RLIMIT_NOFILE, wanted, most),
        _ => Ok(()),
    });
    if let Err(error) = raised {
        tracing::warn!(%error, "the bound on open files stays as it is");
    }
}

async fn run(config: &Config, teller: Teller) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for signals")?;
    let started = tokio::select! {
        started = components::start(config, teller) => started?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    teller.tell(&Line::Ready);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("ending; Pods run on");
    started.shutdown().await;
    Ok(())
}
