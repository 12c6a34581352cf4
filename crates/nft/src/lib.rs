//! The `nft` program: rules go in as text on its standard input, all at once or not at all; what the kernel holds comes
//! out of it. `nft` needs the right to change the network of the namespace that it runs in (`CAP_NET_ADMIN`).

use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

/// The `nft` program is missing, or refused what it was asked for.
#[derive(Debug, thiserror::Error)]
#[error("nft ({doing}): {reason}")]
pub struct Error {
    /// What it was asked for.
    doing: &'static str,
    /// The program's own words.
    reason: String,
}

/// Applies `rules`, text in nft's language, all at once or not at all. `doing` says what they are for, should they be
/// refused.
pub async fn apply(rules: &str, doing: &'static str) -> Result<(), Error> {
    let mut child = start(&["-f", "-"], doing)?;
    let mut input = child.stdin.take().expect("invariant: stdin is piped");
    let written = input.write_all(rules.as_bytes()).await;
    drop(input);
    answer(child, doing).await?;
    written.map_err(|source| Error { doing, reason: source.to_string() })
}

/// The names of the inet tables that exist.
pub async fn inet_tables() -> Result<Vec<String>, Error> {
    let doing = "list tables";
    let output = answer(start(&["list", "tables", "inet"], doing)?, doing).await?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| line.strip_prefix("table inet ")).map(str::to_owned).collect())
}

/// A map of the inet table `table` in nft's JSON form.
pub async fn list_map(table: &str, map: &str) -> Result<Vec<u8>, Error> {
    let doing = "list a map";
    Ok(answer(start(&["-j", "list", "map", "inet", table, map], doing)?, doing).await?.stdout)
}

fn start(arguments: &[&str], doing: &'static str) -> Result<Child, Error> {
    Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| Error { doing, reason: format!("cannot run nft, install the package nftables: {source}") })
}

/// What `child` has said, if it did what it was asked for.
async fn answer(child: Child, doing: &'static str) -> Result<Output, Error> {
    let output = child.wait_with_output().await.map_err(|source| Error { doing, reason: source.to_string() })?;
    if output.status.success() {
        return Ok(output);
    }
    Err(Error { doing, reason: String::from_utf8_lossy(&output.stderr).trim().to_owned() })
}
