//! How far a pull has come, for whoever wants to watch.

use tokio::sync::watch;

/// What is being done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Finding out what the name means.
    #[default]
    Resolving,
    Downloading,
    Unpacking,
}

/// A layer on its way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Layer {
    pub(crate) digest: String,
    pub(crate) size_bytes: u64,
    pub(crate) received_bytes: u64,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    /// Those that are not here yet, lowest first.
    pub(crate) layers: Vec<Layer>,
}

/// The side that tells.
#[derive(Debug, Default)]
pub(crate) struct Progress(watch::Sender<State>);

impl Progress {
    /// The side that watches.
    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.0.subscribe()
    }

    pub(super) fn downloading(&self, layers: Vec<Layer>) {
        self.0.send_modify(|state| *state = State { phase: Phase::Downloading, layers });
    }

    pub(super) fn unpacking(&self) {
        self.0.send_modify(|state| state.phase = Phase::Unpacking);
    }

    /// So much of a layer is here now.
    pub(super) fn received(&self, digest: &str, bytes: u64) {
        self.0.send_modify(|state| {
            let layers = state.layers.iter_mut().filter(|layer| layer.digest == digest);
            layers.for_each(|layer| layer.received_bytes = bytes);
        });
    }
}
