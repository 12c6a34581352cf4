//! What the kernel says of AppArmor, and how it is given profiles.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

const POLICY: &str = "/sys/kernel/security/apparmor";
/// Far more than the parser takes for one profile.
const LOAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Where the parser is, on machines whose administrators need not have it on their path.
const SYSTEM_DIRECTORIES: &str = "/usr/sbin:/sbin";

/// Whether the kernel enforces profiles, and lets us see them. Whoever is told by `container` that this is no machine of
/// its own leaves AppArmor to the machine, as containerd does.
pub(super) fn is_enabled() -> bool {
    let inside_another = std::env::var_os("container").is_some_and(|kind| !kind.is_empty());
    let parameter = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
    !inside_another && parameter.starts_with('Y') && Path::new(POLICY).is_dir()
}

/// The names of the profiles that the kernel has. A line is `name (mode)`.
pub(super) fn profiles() -> Vec<String> {
    let text = std::fs::read_to_string(format!("{POLICY}/profiles")).unwrap_or_default();
    text.lines().map(|line| without_mode(line).to_owned()).collect()
}

/// The profile that confines this process, and with it the shims; `None` for none.
pub(super) fn confined_by() -> Option<String> {
    let read = |file| std::fs::read_to_string(file);
    let own = read("/proc/self/attr/apparmor/current").or_else(|_| read("/proc/self/attr/current")).ok()?;
    let name = without_mode(own.trim_end_matches(['\n', '\0']));
    (!matches!(name, "" | "unconfined")).then(|| name.to_owned())
}

fn without_mode(line: &str) -> &str {
    line.rsplit_once(" (").map_or(line, |(name, _)| name)
}

/// The program that compiles profiles and gives them to the kernel.
pub(super) fn parser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(std::env::split_paths(SYSTEM_DIRECTORIES));
    directories.map(|directory| directory.join("apparmor_parser")).find(|program| program.is_file())
}

/// Gives the kernel the profiles in `text`, in place of older ones of their names; fails with the parser's words.
pub(super) async fn load(parser: &Path, text: &str) -> Result<(), String> {
    let mut command = Command::new(parser);
    command.args(["--replace", "--skip-cache"]).kill_on_drop(true);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("running {}: {error}", parser.display()))?;
    let mut input = child.stdin.take().ok_or("the parser has no input")?;
    let work = async {
        // Should the parser have ended before it has read all, it is its words that matter.
        let _ = input.write_all(text.as_bytes()).await;
        drop(input);
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(LOAD_TIMEOUT, work).await.map_err(|_| "the parser takes too long".to_owned())?;
    let output = output.map_err(|error| format!("waiting for the parser: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("parser error: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// Takes a profile out of the kernel.
pub(super) fn remove(name: &str) -> io::Result<()> {
    std::fs::write(format!("{POLICY}/.remove"), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_without_their_modes() {
        for (line, want) in [
            ("a (enforce)", "a"),
            ("/usr/bin/man (complain)", "/usr/bin/man"),
            ("with (space) (kill)", "with (space)"),
            ("unconfined", "unconfined"),
        ] {
            assert_eq!(without_mode(line), want);
        }
    }
}
