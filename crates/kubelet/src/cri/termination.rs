//! A container's last words: its termination message file or, if it asks for that, the end of its log.

use std::path::PathBuf;

use sampan_cri::v1::ContainerStatus;
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};

use crate::config::labels;

/// Upstream's bound on a termination message.
const MESSAGE_BYTES: u64 = 4096;
/// Upstream's bounds on a message taken from the log.
const LOG_BYTES: u64 = 2048;
const LOG_LINES: usize = 80;

/// What the ended container left; the runtime's own message if nothing.
pub(super) async fn message(status: &ContainerStatus) -> String {
    let path = status.annotations.get(labels::TERMINATION_PATH);
    let file = path.and_then(|path| status.mounts.iter().find(|mount| mount.container_path == *path));
    if let Some(file) = file {
        let message = head(PathBuf::from(&file.host_path)).await;
        if !message.is_empty() {
            return message;
        }
    }
    let policy = status.annotations.get(labels::TERMINATION_POLICY).map(String::as_str);
    if policy == Some("FallbackToLogsOnError") && status.exit_code != 0 {
        let message = tail(PathBuf::from(&status.log_path)).await;
        if !message.is_empty() {
            return message;
        }
    }
    status.message.clone()
}

async fn head(path: PathBuf) -> String {
    let Some(file) = open(path).await else { return String::new() };
    let mut bytes = Vec::new();
    let _ = file.take(MESSAGE_BYTES).read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The end of a CRI log, without the prefix of each line.
async fn tail(path: PathBuf) -> String {
    let Some(mut file) = open(path).await else { return String::new() };
    let length = file.seek(SeekFrom::End(0)).await.unwrap_or(0);
    // Every line carries a prefix of some 40 bytes.
    let from = length.saturating_sub(LOG_BYTES * 4);
    if file.seek(SeekFrom::Start(from)).await.is_err() {
        return String::new();
    }
    let mut bytes = Vec::new();
    let _ = file.take(LOG_BYTES * 4).read_to_end(&mut bytes).await;
    let text = String::from_utf8_lossy(&bytes);
    let whole = text.lines().skip(usize::from(from > 0));
    let lines: Vec<(&str, &str)> = whole.filter_map(tag_and_text).collect();
    let kept = lines[lines.len().saturating_sub(LOG_LINES)..].iter().fold(String::new(), |all, (tag, text)| {
        // A partial line goes on in the next one, or has no end.
        let end = if tag.starts_with('P') { "" } else { "\n" };
        all + text + end
    });
    let from = kept.len().saturating_sub(LOG_BYTES as usize);
    let from = (from..=kept.len()).find(|at| kept.is_char_boundary(*at)).unwrap_or(kept.len());
    kept[from..].to_owned()
}

/// The tag and the text of a line of a CRI log.
fn tag_and_text(line: &str) -> Option<(&str, &str)> {
    let mut fields = line.splitn(4, ' ').skip(2);
    Some((fields.next()?, fields.next()?))
}

/// Opens a regular file, following no symlink in its last step: containers can write where it stands.
async fn open(path: PathBuf) -> Option<tokio::fs::File> {
    let mut options = tokio::fs::OpenOptions::new();
    options.read(true).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK);
    let file = options.open(path).await.ok()?;
    file.metadata().await.ok()?.is_file().then_some(file)
}
