//! `sampan up`: a cluster on this machine, ready to use.

use anyhow::{Result, bail};
use tokio::time::Instant;

use crate::config::Flags;
use crate::{daemon, preflight, progress};

#[derive(Debug, clap::Args)]
pub(super) struct Up {
    #[command(flatten)]
    flags: Flags,
}

impl Up {
    pub(super) fn run(self) -> Result<()> {
        if let Some(root) = preflight::root() {
            bail!("{root}");
        }
        let config = super::which(&self.flags)?;
        if let Some(pid) = daemon::running_on(&config)? {
            println!("The cluster runs already (process {pid}).");
            return super::status::tell(&config);
        }
        let start = Instant::now();
        daemon::start(&config, &server_args())?;
        progress::print_step("cluster ready", progress::millis(start));
        super::status::tell(&config)
    }
}

/// The flags of `sampan up` are those of `sampan server`: they are passed on as they were given.
fn server_args() -> Vec<String> {
    std::env::args().skip_while(|arg| arg != "up").skip(1).collect()
}
