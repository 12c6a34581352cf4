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

/// The names of the inet tables that exist.
pub(crate) async fn inet_tables() -> Result<Vec<String>, Error> {
    let doing = "list tables";
    let output = Command::new("nft")
        .args(["list", "tables", "inet"])
        .output()
        .await
        .map_err(|source| Error::Nft { doing, reason: source.to_string() })?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| line.strip_prefix("table inet ")).map(str::to_owned).collect())
}
