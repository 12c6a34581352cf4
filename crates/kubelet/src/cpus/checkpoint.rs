//! The ledger on disk: a file that is replaced as a whole, and believed only if its checksum is right.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::CpuSet;
use super::ledger::Ledger;
use crate::{Error, checkpoint};

/// Upstream's name and fields; the checksum is our own.
pub(super) const FILE: &str = "cpu_manager_state";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    policy_name: String,
    default_cpu_set: String,
    #[serde(default)]
    entries: BTreeMap<String, BTreeMap<String, String>>,
    checksum: String,
}

impl State {
    fn of(ledger: &Ledger) -> Self {
        let sets =
            |own: &BTreeMap<String, CpuSet>| own.iter().map(|(name, set)| (name.clone(), set.to_string())).collect();
        let mut state = Self {
            policy_name: "static".to_owned(),
            default_cpu_set: ledger.shared.to_string(),
            entries: ledger.held.iter().map(|(uid, own)| (uid.clone(), sets(own))).collect(),
            checksum: String::new(),
        };
        state.checksum = state.digest();
        state
    }

    fn digest(&self) -> String {
        hex::encode(Sha256::digest(format!("{} {} {:?}", self.policy_name, self.default_cpu_set, self.entries)))
    }

    fn ledger(&self) -> Result<Ledger, String> {
        let mut held = BTreeMap::new();
        for (uid, own) in &self.entries {
            let own = own.iter().map(|(name, set)| Ok((name.clone(), set.parse()?)));
            held.insert(uid.clone(), own.collect::<Result<BTreeMap<_, _>, String>>()?);
        }
        Ok(Ledger { shared: self.default_cpu_set.parse()?, held })
    }
}

/// What was written last; nothing if there is no file, or none that can be believed.
pub(super) fn read(file: &Path) -> Option<Ledger> {
    let text = std::fs::read_to_string(file).ok()?;
    let state = serde_json::from_str::<State>(&text).ok().filter(|state| state.checksum == state.digest());
    let ledger = state.and_then(|state| state.ledger().ok());
    if ledger.is_none() {
        tracing::error!(file = %file.display(), "who has which processors cannot be read; it begins anew");
    }
    ledger
}

/// Writes the ledger down.
pub(super) fn write(file: &Path, ledger: &Ledger) -> Result<(), Error> {
    let wrong = |error: serde_json::Error| Error::io("writing", file)(std::io::Error::from(error));
    let text = serde_json::to_string(&State::of(ledger)).map_err(wrong)?;
    checkpoint::replace(file, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_unless_it_was_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE);
        assert_eq!(read(&file), None);
        let own: BTreeMap<String, CpuSet> = [("c".to_owned(), "1-2".parse().unwrap())].into();
        let ledger = Ledger { shared: "0,3".parse().unwrap(), held: [("u".to_owned(), own)].into() };
        write(&file, &ledger).unwrap();
        assert_eq!(read(&file), Some(ledger));
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(r#""policyName":"static","defaultCpuSet":"0,3","entries":{"u":{"c":"1-2"}}"#), "{text}");
        std::fs::write(&file, text.replace("1-2", "1-3")).unwrap();
        assert_eq!(read(&file), None);
    }
}
