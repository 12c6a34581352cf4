//! Who may use an image that is here already: whoever could pull it, or shows what it was pulled with. What was not
//! pulled by this node's kubelet (imported, or here before) is for everybody.
//!
//! The records survive the kubelet. A pull is noted before it begins, so that an image whose pull nobody saw the end of
//! is not taken for one that was here before.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parking_lot::Mutex;
use sampan_cri::v1::{AuthConfig, Image};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::names;
use crate::{Error, checkpoint};

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
    /// Remembers what was accepted; whether that was news.
    fn note(&mut self, proof: Option<&Proof>) -> bool {
        let Some(proof) = proof else { return !std::mem::replace(&mut self.everybody, true) };
        if self.proofs.contains(proof) {
            return false;
        }
        self.proofs.retain(|known| !known.is_of_same_secret(proof));
        let has_room = self.proofs.len() < MOST_PROOFS;
        if has_room {
            self.proofs.push(proof.clone());
        }
        has_room
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

/// A name whose pull is under way.
#[derive(Debug, Default)]
struct Pulls {
    /// How many there are.
    count: usize,
    /// It was noted as begun before the first of them.
    was_begun: bool,
    /// One of them has brought an image, and that is recorded.
    succeeded: bool,
    /// Nobody waits for one of them any more: the runtime may finish it.
    given_up: bool,
}

/// The records, and what need not survive.
#[derive(Debug, Default)]
struct State {
    records: Records,
    /// By names in full.
    under_way: BTreeMap<String, Pulls>,
    /// The file does not say what these records say.
    is_unwritten: bool,
    /// Counts what was recorded.
    moment: u64,
    /// When something was last recorded of an image, by its id.
    last: BTreeMap<String, u64>,
}

impl State {
    fn begin(&mut self, name: &str) -> bool {
        if self.records.pulling.len() >= MOST_PULLING {
            self.records.pulling.clear();
            self.records.incomplete = true;
        }
        let is_new = self.records.pulling.insert(name.to_owned());
        let pulls = self.under_way.entry(name.to_owned()).or_default();
        if pulls.count == 0 {
            pulls.was_begun = !is_new;
        }
        pulls.count += 1;
        is_new
    }

    /// A pull of `name` has ended. The last one takes the note along that it has begun, unless an earlier pull is still
    /// not known to have ended.
    fn end(&mut self, name: &str) -> bool {
        let Some(pulls) = self.under_way.get_mut(name) else { return false };
        pulls.count -= 1;
        if pulls.count > 0 {
            return false;
        }
        let done = !pulls.given_up && (pulls.succeeded || !pulls.was_begun);
        self.under_way.remove(name);
        done && self.records.pulling.remove(name)
    }

    fn note(&mut self, name: &str, image: &str, proof: Option<&Proof>) -> bool {
        self.moment += 1;
        self.last.insert(image.to_owned(), self.moment);
        let record = self.records.pulled.entry(image.to_owned()).or_default();
        let is_new = !record.contains_key(&names::repository(name));
        record.entry(names::repository(name)).or_default().note(proof) || is_new
    }

    fn keep(&mut self, images: &[Image], moment: u64) -> bool {
        let ids: BTreeSet<&str> = images.iter().map(|image| image.id.as_str()).collect();
        let last = &self.last;
        let before = self.records.pulled.len();
        let is_later = |id: &str| last.get(id).is_some_and(|last| *last > moment);
        self.records.pulled.retain(|id, _| ids.contains(id.as_str()) || is_later(id));
        let records = &self.records;
        self.last.retain(|id, _| records.pulled.contains_key(id));
        records.pulled.len() < before
    }
}

/// The records, and the file that they are in.
pub(super) struct Ledger {
    file: PathBuf,
    state: Mutex<State>,
    /// Held by who writes the file, from before the records change until they are written.
    writing: Mutex<()>,
}

impl Ledger {
    /// Opens the records in the kubelet's directory `root`. Those that cannot be read are as good as none: then a registry
    /// is asked for everything that was not imported.
    pub(super) fn open(root: &Path) -> Self {
        let file = root.join(FILE);
        let records = read(&file).unwrap_or_else(|error| {
            tracing::error!(file = %file.display(), %error, "who may use which image cannot be read; registries are asked again");
            Records { incomplete: true, ..Records::default() }
        });
        Self { file, state: Mutex::new(State { records, ..State::default() }), writing: Mutex::default() }
    }

    /// Whether a Pod with the credentials `own` may use `image` by `name`.
    pub(super) fn verdict(&self, name: &str, image: &Image, own: &[Proof]) -> Verdict {
        self.state.lock().records.verdict(name, image, own)
    }

    /// A pull of `name` begins, and goes on as long as the answer lives. Blocks: that it has begun is on the disk then.
    pub(super) fn begin(self: &Arc<Self>, name: &str) -> Result<Pulling, Error> {
        let name = names::full(name);
        let pulling = Pulling { ledger: Arc::clone(self), name: name.clone(), is_over: false };
        self.change(checkpoint::replace_durably, |state| state.begin(&name))?;
        Ok(pulling)
    }

    /// By `name`, `image` is for those who show `proof`, or for everybody. Blocks.
    pub(super) fn note(&self, name: &str, image: &Image, proof: Option<&Proof>) -> Result<(), Error> {
        self.change(checkpoint::replace, |state| state.note(name, &image.id, proof))
    }

    /// The moment before what is recorded from now on.
    pub(super) fn moment(&self) -> u64 {
        self.state.lock().moment
    }

    /// Forgets images that are not among `images`, but for what was recorded after `moment`. Blocks.
    pub(super) fn keep(&self, images: &[Image], moment: u64) -> Result<(), Error> {
        self.change(checkpoint::replace, |state| state.keep(images, moment))
    }

    /// Changes the records, and with `write` the file if `change` says that it did. Only that a pull has begun has to
    /// survive a loss of power: without the rest, registries are asked again.
    fn change(&self, write: Write, change: impl FnOnce(&mut State) -> bool) -> Result<(), Error> {
        let _writing = self.writing.lock();
        let text = {
            let mut state = self.state.lock();
            state.is_unwritten |= change(&mut state);
            if !state.is_unwritten {
                return Ok(());
            }
            serde_json::to_vec(&state.records)
        };
        let wrong = |error: serde_json::Error| Error::io("writing", &self.file)(std::io::Error::from(error));
        write(&self.file, &text.map_err(wrong)?)?;
        self.state.lock().is_unwritten = false;
        Ok(())
    }
}

/// How a file is replaced.
type Write = fn(&Path, &[u8]) -> Result<(), Error>;

fn read(file: &Path) -> std::io::Result<Records> {
    match std::fs::read(file) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Records::default()),
        Err(error) => Err(error),
    }
}

/// A pull that is under way. One that is given up half way stays noted as begun: the runtime may finish it.
pub(super) struct Pulling {
    ledger: Arc<Ledger>,
    name: String,
    is_over: bool,
}

impl Pulling {
    /// The pull has ended, and has `brought` an image with these credentials, or with none. Blocks.
    pub(super) fn end(mut self, brought: Option<(&Image, Option<&Proof>)>) -> Result<(), Error> {
        self.is_over = true;
        self.ledger.change(checkpoint::replace, |state| {
            let is_new = brought.is_some_and(|(image, proof)| {
                if let Some(pulls) = state.under_way.get_mut(&self.name) {
                    pulls.succeeded = true;
                }
                state.note(&self.name, &image.id, proof)
            });
            state.end(&self.name) || is_new
        })
    }
}

impl Drop for Pulling {
    fn drop(&mut self) {
        if !self.is_over {
            let mut state = self.ledger.state.lock();
            if let Some(pulls) = state.under_way.get_mut(&self.name) {
                pulls.given_up = true;
            }
            state.end(&self.name);
        }
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
        let ledger = Arc::new(Ledger::open(dir.path()));
        let (a, own) = (image("a"), [proof("s", "1")]);
        assert_eq!(ledger.verdict("r.io/a:1", &a, &[]), Verdict::Open, "it was here before");
        let pulling = ledger.begin("r.io/a:1").unwrap();
        assert_eq!(ledger.verdict("r.io/a:1", &a, &own), Verdict::Ask, "its pull has not ended");
        assert_eq!(ledger.verdict("r.io/other@sha256:0", &a, &own), Verdict::Ask, "by any of its names");
        pulling.end(Some((&a, Some(&own[0])))).unwrap();
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
        assert_eq!(reopened.state.lock().records, ledger.state.lock().records);
        ledger.note("r.io/a:1", &a, None).unwrap();
        assert_eq!(ledger.verdict("r.io/a:1", &a, &[]), Verdict::Open, "somebody could pull it without any");
    }

    #[test]
    fn what_was_imported_is_for_everybody() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Arc::new(Ledger::open(dir.path()));
        let _pulling = ledger.begin("r.io/a:1").unwrap();
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
    fn a_pull_is_noted_as_begun_until_the_last_of_its_name_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Arc::new(Ledger::open(dir.path()));
        let verdict = || ledger.verdict("r.io/a:1", &image("a"), &[]);
        let (one, other) = (ledger.begin("r.io/a:1").unwrap(), ledger.begin("r.io/a:1").unwrap());
        one.end(None).unwrap();
        assert_eq!(verdict(), Verdict::Ask, "another one may bring it");
        other.end(None).unwrap();
        assert_eq!(verdict(), Verdict::Open, "both have failed: the image was here before them");
        drop(ledger.begin("r.io/a:1").unwrap());
        assert_eq!(verdict(), Verdict::Ask, "the runtime may have gone on with it");
        ledger.begin("r.io/a:1").unwrap().end(None).unwrap();
        assert_eq!(verdict(), Verdict::Ask, "nor does a failure tell how that one ended");
        let reopened = Arc::new(Ledger::open(dir.path()));
        assert_eq!(reopened.verdict("r.io/a:1", &image("a"), &[]), Verdict::Ask);
        let (given_up, brings) = (reopened.begin("r.io/a:1").unwrap(), reopened.begin("r.io/a:1").unwrap());
        brings.end(Some((&image("b"), None))).unwrap();
        drop(given_up);
        assert_eq!(reopened.verdict("r.io/a:1", &image("a"), &[]), Verdict::Ask, "it may yet come");
        reopened.begin("r.io/a:1").unwrap().end(Some((&image("b"), None))).unwrap();
        assert!(reopened.state.lock().records.pulling.is_empty(), "it is known what the name means");
    }

    #[test]
    fn what_could_not_be_written_is_written_with_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("kubelet");
        let ledger = Arc::new(Ledger::open(&root));
        assert!(ledger.begin("r.io/a:1").is_err(), "there is no directory");
        std::fs::create_dir(&root).unwrap();
        let _pulling = ledger.begin("r.io/a:1").unwrap();
        assert_eq!(Ledger::open(&root).verdict("r.io/a:1", &image("a"), &[]), Verdict::Ask);
    }

    #[test]
    fn pulls_that_nobody_saw_the_end_of_do_not_pile_up() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Arc::new(Ledger::open(dir.path()));
        (0..=MOST_PULLING).for_each(|number| drop(ledger.begin(&format!("r.io/x:{number}")).unwrap()));
        {
            let state = ledger.state.lock();
            assert_eq!((state.records.pulling.len(), state.under_way.len()), (1, 0));
        }
        assert_eq!(ledger.verdict("r.io/a:1", &image("a"), &[]), Verdict::Ask);
    }

    #[test]
    fn records_end_with_their_images_and_have_a_bound() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path());
        for number in 0..=MOST_PROOFS {
            ledger.note("r.io/a:1", &image("a"), Some(&proof(&format!("s{number}"), "1"))).unwrap();
        }
        assert_eq!(ledger.state.lock().records.pulled["a"]["r.io/a"].proofs.len(), MOST_PROOFS);
        ledger.note("r.io/b:1", &image("b"), None).unwrap();
        let listed = ledger.moment();
        ledger.note("r.io/c:1", &image("c"), None).unwrap();
        ledger.keep(&[image("b")], listed).unwrap();
        let kept: Vec<String> = ledger.state.lock().records.pulled.keys().cloned().collect();
        assert_eq!(kept, ["b", "c"], "that one came after the list was made");
    }
}
