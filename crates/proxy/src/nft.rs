//! The `nft` program: one atomic transaction from text on its standard input.

use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::Error;

/// Applies `rules` all at once or not at all. `doing` says what they are for, should they be refused.
pub(crate) async fn apply(rules: &str, doing: &'static str) -> Result<(), Error> {
    let failed = |reason: String| Error::Nft { doing, reason };
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| failed(format!("cannot run nft, install the package nftables: {source}")))?;
    let mut input = child.stdin.take().expect("invariant: stdin is piped");
    let written = input.write_all(rules.as_bytes()).await;
    drop(input);
    let output = child.wait_with_output().await.map_err(|source| failed(source.to_string()))?;
    if output.status.success() && written.is_ok() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// A map of the inet table `table` in nft's JSON form.
pub(crate) async fn list_map(table: &str, map: &str) -> Result<Vec<u8>, Error> {
    let failed = |reason: String| Error::Nft { doing: "list a map", reason };
    let listing = Command::new("nft").args(["-j", "list", "map", "inet", table, map]).output();
    let output = listing.await.map_err(|source| failed(source.to_string()))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
