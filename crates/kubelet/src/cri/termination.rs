//! A container's last words: its termination message file or, if it asks for that, the end of its log.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use sampan_cri::v1::ContainerStatus;

use crate::config::labels;
use crate::regular_file;

/// Upstream's bound on a termination message.
const MESSAGE_BYTES: usize = 4096;
/// Upstream's bounds on a message taken from the log.
const LOG_BYTES: usize = 2048;
const LOG_LINES: usize = 80;

/// What the ended container left; the runtime's own message if nothing.
pub(super) async fn message(status: &ContainerStatus) -> String {
    let status = status.clone();
    tokio::task::spawn_blocking(move || read(&status)).await.unwrap_or_default()
}

fn read(status: &ContainerStatus) -> String {
    let path = status.annotations.get(labels::TERMINATION_PATH);
    let file = path.and_then(|path| status.mounts.iter().find(|mount| mount.container_path == *path));
    let message = file.map(|file| of_file(Path::new(&file.host_path))).unwrap_or_default();
    if !message.is_empty() {
        return message;
    }
    let policy = status.annotations.get(labels::TERMINATION_POLICY).map(String::as_str);
    if policy == Some("FallbackToLogsOnError") && status.exit_code != 0 {
        let message = of_log(Path::new(&status.log_path));
        if !message.is_empty() {
            return message;
        }
    }
    status.message.clone()
}

/// The end of the file. What stands there, the container may have chosen.
fn of_file(path: &Path) -> String {
    match regular_file::open(path).and_then(|file| end(file, MESSAGE_BYTES)) {
        Ok((text, _)) => last(&text, MESSAGE_BYTES).to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => format!("Error on reading termination log {}: {error}", path.display()),
    }
}

/// The end of a CRI log, without the prefix of each line.
fn of_log(path: &Path) -> String {
    // Every line carries a prefix of some 40 bytes.
    let Ok((text, cut)) = regular_file::open(path).and_then(|file| end(file, LOG_BYTES * 4)) else {
        return String::new();
    };
    let whole = text.lines().skip(usize::from(cut));
    let lines: Vec<(&str, &str)> = whole.filter_map(tag_and_text).collect();
    let kept = lines[lines.len().saturating_sub(LOG_LINES)..].iter().fold(String::new(), |all, (tag, text)| {
        // A partial line goes on in the next one, or has no end.
        let end = if tag.starts_with('P') { "" } else { "\n" };
        all + text + end
    });
    last(&kept, LOG_BYTES).to_owned()
}

/// The last `bytes` of a file, as text, and whether there was more before.
fn end(mut file: File, bytes: usize) -> io::Result<(String, bool)> {
    let from = file.seek(SeekFrom::End(0))?.saturating_sub(bytes as u64);
    file.seek(SeekFrom::Start(from))?;
    let mut read = Vec::new();
    file.take(bytes as u64).read_to_end(&mut read)?;
    // A character that was cut in two is left out.
    let torn = read.iter().take(3).take_while(|byte| from > 0 && (**byte & 0xc0) == 0x80).count();
    Ok((String::from_utf8_lossy(&read[torn..]).into_owned(), from > 0))
}

/// The last `bytes` of `text`, and no torn character.
fn last(text: &str, bytes: usize) -> &str {
    let from = text.len().saturating_sub(bytes);
    let from = (from..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    &text[from..]
}

/// The tag and the text of a line of a CRI log.
fn tag_and_text(line: &str) -> Option<(&str, &str)> {
    let mut fields = line.splitn(4, ' ').skip(2);
    Some((fields.next()?, fields.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("message");
        let check = |written: &str, want: &str| {
            std::fs::write(&path, written).unwrap();
            assert_eq!(of_file(&path), want);
        };
        check("", "");
        check("short", "short");
        check(&("a".repeat(MESSAGE_BYTES) + "end"), &("a".repeat(MESSAGE_BYTES - 3) + "end"));
        // The bound falls into the middle of a character.
        check(&("ä".repeat(MESSAGE_BYTES) + "!"), &("ä".repeat(MESSAGE_BYTES / 2 - 1) + "!"));
        assert_eq!(of_file(&dir.path().join("none")), "");
        let text = of_file(dir.path());
        assert_eq!(text, format!("Error on reading termination log {}: is a directory", dir.path().display()));
    }

    #[test]
    fn the_end_of_a_log_is_told_without_prefixes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let check = |lines: &[(&str, &str)], want: &str| {
            let text = lines.iter().map(|(tag, text)| format!("2026-01-01T00:00:00.000000000Z stderr {tag} {text}\n"));
            std::fs::write(&path, text.collect::<String>()).unwrap();
            assert_eq!(of_log(&path), want);
        };
        check(&[("F", "one"), ("P", "two, "), ("F", "three")], "one\ntwo, three\n");
        let many: Vec<(&str, &str)> = std::iter::repeat_n(("F", "x"), 100).collect();
        check(&many, &"x\n".repeat(LOG_LINES));
        let long = "y".repeat(LOG_BYTES);
        check(&[("F", "before"), ("F", &long)], &(long[1..].to_owned() + "\n"));
    }
}
