//! `/var/lib/kubelet`: where device plugins, and whoever reads what the kubelet tells on its sockets, look for it. The
//! cluster that has no name of its own is found there by a link, unless another kubelet is at home.

use std::path::Path;

use anyhow::{Context, Result};

use crate::config::Config;

const KNOWN: &str = "/var/lib/kubelet";

/// Makes the link, if there is nothing under that name.
pub(crate) fn link(config: &Config) -> Result<()> {
    let own = config.kubelet_dir();
    if !config.is_default() || own == Path::new(KNOWN) {
        return Ok(());
    }
    match Path::new(KNOWN).symlink_metadata() {
        Ok(_) if std::fs::read_link(KNOWN).is_ok_and(|target| target == own) => Ok(()),
        Ok(_) => {
            tracing::info!("{KNOWN} is another's: device plugins have to be told to register in {}", own.display());
            Ok(())
        }
        Err(_) => std::os::unix::fs::symlink(&own, KNOWN).with_context(|| format!("linking {KNOWN}")),
    }
}

/// Removes it, if it is this cluster's.
pub(crate) fn unlink(config: &Config) -> Result<()> {
    if std::fs::read_link(KNOWN).is_ok_and(|target| target == config.kubelet_dir()) {
        std::fs::remove_file(KNOWN).with_context(|| format!("removing {KNOWN}"))?;
    }
    Ok(())
}
