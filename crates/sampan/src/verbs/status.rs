//! `sampan status`: whether a cluster runs here, and how to reach it.

use anyhow::{Result, bail};

use crate::config::{Config, Flags};
use crate::daemon;

#[derive(Debug, clap::Args)]
pub(super) struct Status {
    #[command(flatten)]
    flags: Flags,
}

impl Status {
    pub(super) fn run(self) -> Result<()> {
        let config = super::which(&self.flags)?;
        match daemon::running(&config) {
            Some(pid) => {
                println!("The cluster runs (process {pid}).");
                tell(&config)
            }
            None => bail!("no cluster runs here; start one with `sampan up`"),
        }
    }
}

/// Says how to reach the running cluster.
pub(super) fn tell(config: &Config) -> Result<()> {
    println!("  API server   {}", config.server_url());
    println!("  kubeconfig   {}  (and context {:?} in ~/.kube/config)", config.kubeconfig.display(), config.instance);
    println!("  log          {}", daemon::log_path(config).display());
    if sampan_kubelet::disk_is_scarce(&config.data_dir) {
        println!(
            "  disk         nearly full: no new Pods start here until there is room below {}",
            config.data_dir.display()
        );
    }
    Ok(())
}
