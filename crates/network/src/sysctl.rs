//! The kernel settings that routing for Pods needs, and the one of them that is the whole machine's.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Error;

const IP_FORWARD: &str = "net/ipv4/ip_forward";

/// Lets the node route. Where it did not, that is noted in `state_dir`, so that [`restore_forwarding`] can undo it.
pub(crate) fn allow_forwarding(state_dir: &Path) -> Result<(), Error> {
    if read(IP_FORWARD)? != "0" {
        return Ok(());
    }
    let note = note(state_dir);
    fs::write(&note, "0\n").map_err(|source| Error::State { path: note, source })?;
    write(IP_FORWARD, "1")
}

/// Undoes [`allow_forwarding`] where it changed something, unless `needed` by someone else by now.
pub(crate) fn restore_forwarding(state_dir: &Path, needed: bool) -> Result<(), Error> {
    let note = note(state_dir);
    if !note.exists() {
        return Ok(());
    }
    if !needed {
        write(IP_FORWARD, "0")?;
    }
    fs::remove_file(&note).map_err(|source| Error::State { path: note, source })
}

/// Settings of one link. No redirects: Pods share a link but must meet in the node's routing. No IPv6 for now: a link
/// that carries none shall not announce itself either. What comes from the node's 127.0.0.1 for a host port leaves over
/// the bridge; nothing comes in for such addresses (the guard in `rules.rs`).
pub(crate) fn prepare_bridge(bridge: &str) -> Result<(), Error> {
    write(&format!("net/ipv4/conf/{bridge}/route_localnet"), "1")?;
    write(&format!("net/ipv4/conf/{bridge}/send_redirects"), "0")?;
    let disable_v6 = format!("net/ipv6/conf/{bridge}/disable_ipv6");
    if path(&disable_v6).exists() { write(&disable_v6, "1") } else { Ok(()) }
}

fn note(state_dir: &Path) -> PathBuf {
    state_dir.join("ip_forward")
}

fn path(key: &str) -> PathBuf {
    Path::new("/proc/sys").join(key)
}

fn read(key: &str) -> Result<String, Error> {
    let text = fs::read_to_string(path(key)).map_err(|source| Error::Sysctl { key: key.into(), source })?;
    Ok(text.trim().to_owned())
}

fn write(key: &str, value: &str) -> Result<(), Error> {
    fs::write(path(key), value).map_err(|source| Error::Sysctl { key: key.into(), source })
}
