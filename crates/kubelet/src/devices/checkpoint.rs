//! The ledger on disk: a file that is replaced as a whole, and believed only if its digest is right.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ledger::{Held, Known, Ledger};
use crate::{Error, checkpoint};

/// Upstream's name; the content is our own.
const FILE: &str = "kubelet_internal_checkpoint";

#[derive(Serialize, Deserialize)]
struct Checkpoint {
    /// Resources that were registered: their devices are told again by the plugins.
    registered: Vec<String>,
    held: Vec<Held>,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    data: String,
    sha256: String,
}

fn digest(data: &str) -> String {
    hex::encode(Sha256::digest(data))
}

fn file(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

/// What was written last; nothing if there is no file, or none that can be believed.
pub(super) fn read(directory: &Path) -> Ledger {
    let file = file(directory);
    let Ok(text) = std::fs::read_to_string(&file) else { return Ledger::default() };
    let sealed = serde_json::from_str::<Sealed>(&text).ok().filter(|sealed| digest(&sealed.data) == sealed.sha256);
    let Some(checkpoint) = sealed.and_then(|sealed| serde_json::from_str::<Checkpoint>(&sealed.data).ok()) else {
        tracing::error!(file = %file.display(), "assignments of devices cannot be read; they begin anew");
        return Ledger::default();
    };
    let known = checkpoint.registered.into_iter().map(|resource| (resource, Known::default()));
    Ledger { known: known.collect(), held: checkpoint.held }
}

/// Writes the ledger down.
pub(super) fn write(directory: &Path, ledger: &Ledger) -> Result<(), Error> {
    let checkpoint = Checkpoint { registered: ledger.known.keys().cloned().collect(), held: ledger.held.clone() };
    let file = file(directory);
    let wrong = |error: serde_json::Error| Error::io("writing", &file)(std::io::Error::from(error));
    let data = serde_json::to_string(&checkpoint).map_err(wrong)?;
    let text = serde_json::to_string(&Sealed { sha256: digest(&data), data }).map_err(wrong)?;
    checkpoint::replace(&file, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::Allocation;

    #[test]
    fn what_is_written_is_read_unless_it_was_damaged() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()), Ledger::default());
        let held = Held {
            uid: "u".into(),
            container: "c".into(),
            resource: "a.test/b".into(),
            ids: ["1".to_owned()].into(),
            allocation: Allocation::default(),
        };
        let mut ledger = Ledger { held: vec![held], ..Ledger::default() };
        ledger.set("a.test/b", Known::default());
        write(dir.path(), &ledger).unwrap();
        assert_eq!(read(dir.path()), ledger);
        let text = std::fs::read_to_string(file(dir.path())).unwrap();
        std::fs::write(file(dir.path()), text.replace("uid", "UID")).unwrap();
        assert_eq!(read(dir.path()), Ledger::default());
    }
}
