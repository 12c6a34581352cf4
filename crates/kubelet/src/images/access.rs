//! Who may use an image that is here already: whoever could pull it, or shows what it was pulled with. What was not
//! pulled by this node's kubelet (imported, or here before) is for everybody.
//!
//! The records survive the kubelet. A pull is noted before it begins, so that an image whose pull nobody saw the end of
//! is not taken for one that was here before.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parking_lot::Mutex;
use sampan_cri::v1::{AuthConfig, Image};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::names;
use crate::Error;

/// Below the kubelet's directory.
const FILE: &str = "image_access.json";
/// Proofs that are remembered for one image by one name.
const MOST_PROOFS: usize = 100;

/// Pulls that are remembered as begun. Most of them end; if as many do not, all that has no record counts as pulled.
const MOST_PULLING: usize = 1000;

/// What is remembered of credentials that a registry has accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Proof {
    /// The Secret.
    namespace: String,
    name: String,
    uid: String,
    /// The SHA-256 of the credentials.
    digest: String,
}

impl Proof {
    /// Of `auth`, from the Secret with this metadata.
    pub(super) fn of(secret: &ObjectMeta, auth: &AuthConfig) -> Self {
        // Lengths keep apart what stands in different fields.
        let fields = [&auth.username, &auth.password, &auth.server_address, &auth.identity_token];
        let text: String = fields.iter().map(|field| format!("{}:{field}", field.len())).collect();
        Self {
            namespace: secret.namespace.clone().unwrap_or_default(),
            name: secret.name.clone().unwrap_or_default(),
            uid: secret.uid.clone().unwrap_or_default(),
            digest: hex::encode(Sha256::digest(text)),
        }
    }

    /// Whether both are from one Secret, whatever it says now.
    fn is_of_same_secret(&self, other: &Self) -> bool {
        (&self.namespace, &self.name, &self.uid) == (&other.namespace, &other.name, &other.uid)
    }
}

/// Who may use an image by one name.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Access {
    /// It was pulled without credentials.
    everybody: bool,
    proofs: Vec<Proof>,
}

impl Access {
    fn note(&mut self, proof: Option<&Proof>) {
        let Some(proof) = proof else {
            self.everybody = true;
            return;
        };
        self.proofs.retain(|known| !known.is_of_same_secret(proof));
        if self.proofs.len() < MOST_PROOFS {
            self.proofs.push(proof.clone());
        }
    }
}

/// Whether a Pod may use an image that is here.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may.
    Open,
    /// It may, by a Secret that is to be remembered as it is now.
    Proved(Proof),
    /// The registry has to be asked.
    Ask,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Records {
    /// Names in full of images whose pull has begun and was not seen to end.
    pulling: BTreeSet<String>,
    /// By the image's id, by its registry and repository.
    pulled: BTreeMap<String, BTreeMap<String, Access>>,
    /// Records were lost: what has none was not necessarily here before.
    incomplete: bool,
}

impl Records {
    fn verdict(&self, name: &str, image: &Image, own: &[Proof]) -> Verdict {
        if image.pinned {
            return Verdict::Open;
        }
        let Some(record) = self.pulled.get(&image.id) else {
            let mut names = image.repo_tags.iter().chain(&image.repo_digests).map(String::as_str).chain([name]);
            let begun = self.incomplete || names.any(|name| self.pulling.contains(&names::full(name)));
            return if begun { Verdict::Ask } else { Verdict::Open };
        };
        let Some(access) = record.get(&names::repository(name)) else { return Verdict::Ask };
        if access.everybody {
            return Verdict::Open;
        }
        let known = |proof: &&Proof| {
            access.proofs.iter().any(|known| known.digest == proof.digest || known.is_of_same_secret(proof))
        };
        match own.iter().find(known) {
            Some(proof) if access.proofs.contains(proof) => Verdict::Open,
            Some(proof) => Verdict::Proved(proof.clone()),
            None => Verdict::Ask,
        }
    }
}

/// The records, and the file that they are in.
pub(super) struct Ledger {
    file: PathBuf,
    records: Mutex<Records>,
}

impl Ledger {
    /// Opens the records in the kubelet's directory `root`. Those that cannot be read are as good as none: then a registry
    /// is asked for everything that was not imported.
    pub(super) fn open(root: &Path) -> Self {
        let file = root.join(FILE);
        let records = match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::error!(file = %file.display(), %error, "who may use which image cannot be read; registries are asked again");
                Records { incomplete: true, ..Records::default() }
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Records::default(),
            Err(error) => {
                tracing::error!(file = %file.display(), %error, "who may use which image cannot be read; registries are asked again");
                Records { incomplete: true, ..Records::default() }
            }
        };
        Self { file, records: Mutex::new(records) }
    }

    /// Whether a Pod with the credentials `own` may use `image` by `name`.
    pub(super) fn verdict(&self, name: &str, image: &Image, own: &[Proof]) -> Verdict {
        self.records.lock().verdict(name, image, own)
    }

    /// A pull of `name` begins. Blocks: what this says is on the disk when it returns.
    pub(super) fn begin(&self, name: &str) -> Result<(), Error> {
        self.change(|records| {
            if records.pulling.len() >= MOST_PULLING {
                records.pulling.clear();
                records.incomplete = true;
            }
            records.pulling.insert(names::full(name))
        })
    }

    /// A pull of `name` has failed, and there was no image of that name before it. Blocks.
    pub(super) fn give_up(&self, name: &str) -> Result<(), Error> {
        self.change(|records| records.pulling.remove(&names::full(name)))
    }

    /// A pull has brought `image` by `name`, with credentials or without. Blocks.
    pub(super) fn note(&self, name: &str, image: &Image, proof: Option<&Proof>) -> Result<(), Error> {
        self.change(|records| {
            let access =
                records.pulled.entry(image.id.clone()).or_default().entry(names::repository(name)).or_default();
            access.note(proof);
            records.pulling.remove(&names::full(name));
            true
        })
    }

    /// Forgets images that are not among `images`. Blocks.
    pub(super) fn keep(&self, images: &[Image]) -> Result<(), Error> {
        let ids: BTreeSet<&str> = images.iter().map(|image| image.id.as_str()).collect();
        self.change(|records| {
            let before = records.pulled.len();
            records.pulled.retain(|id, _| ids.contains(id.as_str()));
            records.pulled.len() < before
        })
    }

    /// Changes the records, and the file if `change` says that it did.
    fn change(&self, change: impl FnOnce(&mut Records) -> bool) -> Result<(), Error> {
        let mut records = self.records.lock();
        if !change(&mut records) {
            return Ok(());
        }
        let wrong = |error: serde_json::Error| Error::io("writing", &self.file)(std::io::Error::from(error));
        crate::checkpoint::replace(&self.file, &serde_json::to_vec(&*records).map_err(wrong)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(secret: &str, password: &str) -> Proof {
        let meta = ObjectMeta { name: Some(secret.to_owned()), ..ObjectMeta::default() };
        Proof::of(&meta, &AuthConfig { password: password.to_owned(), ..AuthConfig::default() })
    }

    fn image(id: &str) -> Image {
        Image { id: id.to_owned(), repo_tags: vec![format!("r.io/{id}:1")], ..Image::default() }
    }

    #[test]
    fn an_image_is_for_those_who_could_pull_it() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path());
        let (a, own) = (image("a"), [proof("s", "1")]);
        assert_eq!(ledger.verdict("r.io/a:1", &a, &[]), Verdict::Open, "it was here before");
        ledger.begin("r.io/a:1").unwrap();
        assert_eq!(ledger.verdict("r.io/a:1", &a, &own), Verdict::Ask, "its pull has not ended");
        assert_eq!(ledger.verdict("r.io/other@sha256:0", &a, &own), Verdict::Ask, "by any of its names");
        ledger.note("r.io/a:1", &a, Some(&own[0])).unwrap();
        for (name, shown, want) in [
            ("r.io/a:1", vec![], Verdict::Ask),
            ("r.io/a:1", vec![proof("s", "1")], Verdict::Open),
            ("r.io/a@sha256:0", vec![proof("s", "1")], Verdict::Open),
            ("r.io/b:1", vec![proof("s", "1")], Verdict::Ask),
            ("r.io/a:1", vec![proof("other", "0")], Verdict::Ask),
            ("r.io/a:1", vec![proof("other", "0"), proof("copy", "1")], Verdict::Proved(proof("copy", "1"))),
            ("r.io/a:1", vec![proof("s", "changed")], Verdict::Proved(proof("s", "changed"))),
        ] {
            assert_eq!(ledger.verdict(name, &a, &shown), want, "{name} {shown:?}");
        }
        let reopened = Ledger::open(dir.path());
        assert_eq!(*reopened.records.lock(), *ledger.records.lock());
        ledger.note("r.io/a:1", &a, None).unwrap();
        assert_eq!(ledger.verdict("r.io/a:1", &a, &[]), Verdict::Open, "somebody could pull it without any");
    }

    #[test]
    fn what_was_imported_is_for_everybody() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path());
        ledger.begin("r.io/a:1").unwrap();
        assert_eq!(ledger.verdict("r.io/a:1", &Image { pinned: true, ..image("a") }, &[]), Verdict::Open);
    }

    #[test]
    fn lost_records_open_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "{\"pulled\":").unwrap();
        let ledger = Ledger::open(dir.path());
        assert_eq!(ledger.verdict("r.io/a:1", &image("a"), &[]), Verdict::Ask);
        ledger.note("r.io/a:1", &image("a"), None).unwrap();
        assert_eq!(Ledger::open(dir.path()).verdict("r.io/b:1", &image("b"), &[]), Verdict::Ask, "even later");
    }

    #[test]
    fn pulls_that_nobody_saw_the_end_of_do_not_pile_up() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path());
        ledger.begin("r.io/a:1").unwrap();
        ledger.give_up("r.io/a:1").unwrap();
        assert_eq!(ledger.verdict("r.io/a:1", &image("a"), &[]), Verdict::Open);
        (0..=MOST_PULLING).for_each(|number| ledger.begin(&format!("r.io/x:{number}")).unwrap());
        assert_eq!(ledger.records.lock().pulling.len(), 1);
        assert_eq!(ledger.verdict("r.io/a:1", &image("a"), &[]), Verdict::Ask);
    }

    #[test]
    fn records_end_with_their_images_and_have_a_bound() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path());
        for number in 0..=MOST_PROOFS {
            ledger.note("r.io/a:1", &image("a"), Some(&proof(&format!("s{number}"), "1"))).unwrap();
        }
        assert_eq!(ledger.records.lock().pulled["a"]["r.io/a"].proofs.len(), MOST_PROOFS);
        ledger.note("r.io/b:1", &image("b"), None).unwrap();
        ledger.keep(&[image("b")]).unwrap();
        assert_eq!(ledger.records.lock().pulled.keys().collect::<Vec<_>>(), ["b"]);
    }
}
