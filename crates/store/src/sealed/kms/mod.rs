//! Keys that somebody else keeps: a KMS plugin behind a Unix socket, version 2 of its API. What lies in the store is what
//! upstream's API server would write, so either reads what the other wrote.
//!
//! The plugin seals and opens nothing but seeds ([`seed`]); a value lies with its sealed seed beside it:
//!
//! ```text
//! k8s:enc:kms:v2:<provider's name>:<EncryptedObject: key id, sealed seed, annotations, data>
//! ```
//! The plugin is asked how it is by who writes, if nobody has for a minute ([`FRESH`]), by who asks for the server's health,
//! if nobody has for 20 seconds ([`HEALTHY`]), and by the server itself once a minute. Another key than before means a new
//! seed, and that what is stored is sealed anew ([`Kms::turned`]). While it does not answer, the seed that is known is used
//! for three minutes ([`GOOD`]); then nothing more is written. What was opened once is read on: open seeds stay in memory.

pub(crate) mod figures;
mod plugin;
mod seed;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message as _;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::Notify;
use tokio::time::Instant;

use self::figures::{Figures, Use};
use self::plugin::Plugin;
use self::seed::{SEED_BYTES, SEED_TYPE, Seed};
use self::wire::{EncryptResponse, EncryptedObject};
use crate::Error;

const SCHEME: &[u8] = b"k8s:enc:kms:v2:";
/// The version of the API.
const VERSION: &str = "v2";
/// The most bytes of a key's id, of a sealed seed, and of all annotations: they lie beside every value.
const MAX_ID: usize = 1 << 10;
const MAX_SEED: usize = 1 << 10;
const MAX_ANNOTATIONS: usize = 32 << 10;
/// So long what the plugin said of itself is believed,
const FRESH: Duration = Duration::from_secs(60);
/// and so long it is left alone after it has failed.
const RETRY: Duration = Duration::from_secs(10);
/// For the server's health, the same two.
const HEALTHY: Duration = Duration::from_secs(20);
const UNHEALTHY: Duration = Duration::from_secs(3);
/// So long after the plugin was last well a seed is sealed with.
const GOOD: Duration = Duration::from_secs(180);
/// No more opened seeds are kept; beyond that all are forgotten, and opened anew.
const MAX_SEEDS: usize = 4096;

/// A KMS provider.
pub struct Kms {
    name: String,
    header: Vec<u8>,
    plugin: Plugin,
    state: Mutex<State>,
    /// The turn to ask the plugin.
    turn: tokio::sync::Mutex<()>,
    seeds: Mutex<HashMap<[u8; 32], Arc<Seed>>>,
    turned: Notify,
}

/// With what is sealed now.
#[derive(Clone)]
struct State {
    sealing: Option<Arc<Sealing>>,
    good_until: Instant,
    /// When the plugin was asked last, if ever.
    asked: Option<Instant>,
    /// Why it was not well then.
    fault: Option<String>,
}

/// A seed in use, and what lies beside the values that it seals.
struct Sealing {
    beside: EncryptedObject,
    seed: Arc<Seed>,
}

impl Kms {
    /// The provider `name` at `endpoint` (`unix:///path`), whose calls may take `timeout`. Nothing is asked yet. Fails if
    /// the name is empty or has a colon, or the endpoint is of another form.
    pub fn new(name: &str, endpoint: &str, timeout: Duration) -> Result<Self, Error> {
        let fault = |why: String| Error::Kms { name: name.to_owned(), why };
        if name.is_empty() || name.contains(':') {
            return Err(fault("a name is needed, without colons".to_owned()));
        }
        let plugin = Plugin::new(endpoint, timeout).map_err(fault)?;
        let now = Instant::now();
        Ok(Self {
            name: name.to_owned(),
            header: [SCHEME, name.as_bytes(), b":"].concat(),
            plugin,
            state: Mutex::new(State { sealing: None, good_until: now, asked: None, fault: None }),
            turn: tokio::sync::Mutex::default(),
            seeds: Mutex::default(),
            turned: Notify::new(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the plugin is well, as it says itself; believed for a while.
    pub async fn check(&self) -> Result<(), Error> {
        let recent = |state: &State| {
            let age = state.asked?.elapsed();
            let keeps = if state.fault.is_none() { HEALTHY } else { UNHEALTHY };
            (age < keeps).then(|| state.clone())
        };
        let known = recent(&self.state.lock());
        let state = match known {
            Some(state) => state,
            None => {
                let _turn = self.turn.lock().await;
                let known = recent(&self.state.lock());
                match known {
                    Some(state) => state,
                    None => self.ask_anew().await,
                }
            }
        };
        state.fault.map_or(Ok(()), |why| Err(self.fault(why)))
    }

    /// Returns when the plugin has another key than before, so that what is stored waits to be sealed anew.
    pub async fn turned(&self) {
        self.turned.notified().await;
    }

    /// What was counted of it.
    pub fn figures(&self) -> Figures {
        let seeds = self.seeds.lock().len();
        self.plugin.counting.read(seeds)
    }

    /// Whether a value says that this provider sealed it.
    pub(super) fn sealed(&self, value: &[u8]) -> bool {
        value.starts_with(&self.header)
    }

    /// Whether a value is sealed as it would be now.
    pub(super) async fn is_current(&self, value: &Bytes) -> Result<bool, Error> {
        let beside = &self.sealing().await?.beside;
        Ok(self
            .decode(value)
            .is_some_and(|object| object.key_id == beside.key_id && object.encrypted_dek_source_type == SEED_TYPE))
    }

    /// Seals `plain` for the place `at`.
    pub(super) async fn seal(&self, at: &[u8], plain: &[u8]) -> Result<Bytes, Error> {
        let sealing = self.sealing().await?;
        let sealed = sealing.seed.seal(at, plain);
        let encrypted_data = sealed.ok_or_else(|| self.fault("the system gives no randomness".to_owned()))?;
        let object = EncryptedObject { encrypted_data, ..sealing.beside.clone() };
        let mut value = self.header.clone();
        object.encode(&mut value).map_err(|error| self.fault(error.to_string()))?;
        self.plugin.counting.used(Use::ToStorage, &object.key_id, Instant::now());
        Ok(value.into())
    }

    /// Opens a value that [`Kms::sealed`] says is this provider's. `None` if it was changed or moved; an error if the
    /// plugin does not open its seed.
    pub(super) async fn open(&self, at: &[u8], value: &Bytes) -> Result<Option<Bytes>, Error> {
        let Some(object) = self.decode(value) else { return Ok(None) };
        let id = id(&object);
        let kept = self.seeds.lock().get(&id).map(Arc::clone);
        let seed = match kept {
            Some(seed) => seed,
            None => {
                let opened = self.plugin.decrypt(&object).await.map_err(|why| self.fault(why))?;
                let Some(seed) = Seed::of(object.encrypted_dek_source_type, &opened) else { return Ok(None) };
                self.keep(id, Arc::new(seed))
            }
        };
        self.plugin.counting.used(Use::FromStorage, &object.key_id, Instant::now());
        Ok(seed.open(at, &object.encrypted_data))
    }

    /// The parts of a value, which share its bytes.
    fn decode(&self, value: &Bytes) -> Option<EncryptedObject> {
        let object = self.sealed(value).then(|| value.slice(self.header.len()..))?;
        EncryptedObject::decode(object).ok()
    }

    fn keep(&self, id: [u8; 32], seed: Arc<Seed>) -> Arc<Seed> {
        let mut seeds = self.seeds.lock();
        if seeds.len() >= MAX_SEEDS {
            seeds.clear();
        }
        seeds.insert(id, Arc::clone(&seed));
        seed
    }

    fn fault(&self, why: String) -> Error {
        Error::Kms { name: self.name.clone(), why }
    }

    /// With what to seal now.
    async fn sealing(&self) -> Result<Arc<Sealing>, Error> {
        if let Some(answer) = self.state.lock().believed(Instant::now()) {
            return answer.map_err(|why| self.fault(why));
        }
        let _turn = match self.turn.try_lock() {
            Ok(turn) => turn,
            // Another one asks: whoever can go on with what is known does so, the others wait.
            Err(_) => {
                if let Ok(known) = self.state.lock().good(Instant::now()) {
                    return Ok(known);
                }
                self.turn.lock().await
            }
        };
        if let Some(answer) = self.state.lock().believed(Instant::now()) {
            return answer.map_err(|why| self.fault(why));
        }
        let state = self.ask_anew().await;
        state.good(Instant::now()).map_err(|why| self.fault(why))
    }

    /// Asks the plugin, whoever's turn it is, and keeps what it says.
    async fn ask_anew(&self) -> State {
        let now = Instant::now();
        let known = self.state.lock().sealing.clone();
        let asked = self.ask(known.clone()).await;
        let mut state = self.state.lock();
        match asked {
            Ok(sealing) => {
                if known.is_some_and(|known| !Arc::ptr_eq(&known, &sealing)) {
                    self.turned.notify_one();
                }
                *state = State { sealing: Some(sealing), good_until: now + GOOD, asked: Some(now), fault: None };
            }
            Err(why) => {
                tracing::warn!(provider = self.name, why, "a KMS plugin is not well");
                // The question may have taken longer than the pause before the next one.
                (state.fault, state.asked) = (Some(why), Some(Instant::now()));
            }
        }
        state.clone()
    }

    /// Asks the plugin how it is; `known` goes on if its key is still the same.
    async fn ask(&self, known: Option<Arc<Sealing>>) -> Result<Arc<Sealing>, String> {
        let status = self.plugin.status().await?;
        if status.version != VERSION {
            return Err(format!("expected KMSv2 API version {VERSION}, got {}", status.version));
        }
        if status.healthz != "ok" {
            return Err(format!("got unexpected healthz status: {}", status.healthz));
        }
        self.note_key(&status.key_id)?;
        if let Some(known) = known.filter(|known| known.beside.key_id == status.key_id) {
            return Ok(known);
        }
        let mut secret = [0; SEED_BYTES];
        SystemRandom::new().fill(&mut secret).map_err(|_| "the system gives no randomness")?;
        let answer = self.plugin.encrypt(Bytes::copy_from_slice(&secret)).await?;
        check(&answer)?;
        if answer.key_id != status.key_id {
            return Err("the plugin sealed with another key than it said it has".to_owned());
        }
        let beside = EncryptedObject {
            encrypted_data: Bytes::new(),
            key_id: answer.key_id,
            encrypted_dek_source: answer.ciphertext,
            annotations: answer.annotations,
            encrypted_dek_source_type: SEED_TYPE,
        };
        let seed = Seed::of(SEED_TYPE, &secret).ok_or("invariant: a seed of that many bytes is one")?;
        let seed = self.keep(id(&beside), Arc::new(seed));
        Ok(Arc::new(Sealing { beside, seed }))
    }

    /// Counts the key that the plugin says it has.
    fn note_key(&self, id: &str) -> Result<(), String> {
        let counting = &self.plugin.counting;
        match id.len() {
            0 => {
                counting.invalid_id("empty");
                Err("keyID is empty".to_owned())
            }
            length if length > MAX_ID => {
                counting.invalid_id("too_long");
                Err(format!("keyID is {length} bytes, which exceeds the max size of {MAX_ID}"))
            }
            _ => {
                counting.used(Use::Status, id, Instant::now());
                Ok(())
            }
        }
    }
}

impl State {
    fn good(&self, now: Instant) -> Result<Arc<Sealing>, String> {
        match &self.sealing {
            Some(sealing) if now <= self.good_until => Ok(Arc::clone(sealing)),
            _ => Err(self.fault.clone().unwrap_or_default()),
        }
    }

    /// What is known, if the plugin need not be asked yet.
    fn believed(&self, now: Instant) -> Option<Result<Arc<Sealing>, String>> {
        let keeps = if self.fault.is_none() { FRESH } else { RETRY };
        (now < self.asked? + keeps).then(|| self.good(now))
    }
}

/// What lies beside every value has bounds.
fn check(answer: &EncryptResponse) -> Result<(), String> {
    let EncryptResponse { ciphertext, key_id, annotations } = answer;
    let annotations: usize = annotations.iter().map(|(name, value)| name.len() + value.len()).sum();
    for (what, bytes, least, most) in [
        ("key id", key_id.len(), 1, MAX_ID),
        ("sealed seed", ciphertext.len(), 1, MAX_SEED),
        ("annotations", annotations, 0, MAX_ANNOTATIONS),
    ] {
        if !(least..=most).contains(&bytes) {
            return Err(format!("the plugin's {what} has {bytes} bytes, which is not between {least} and {most}"));
        }
    }
    Ok(())
}

/// What a sealed seed is known by.
fn id(object: &EncryptedObject) -> [u8; 32] {
    let beside = EncryptedObject { encrypted_data: Bytes::new(), ..object.clone() };
    let mut id = [0; 32];
    id.copy_from_slice(digest(&SHA256, &beside.encode_to_vec()).as_ref());
    id
}
