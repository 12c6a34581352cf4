//! The service for what CRI has no words for: images from files, and pulls that are watched.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use sampan_cri::v1::AuthConfig;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Service;
use crate::archive::image_archive_server::ImageArchive;
use crate::archive::pull_progress::Phase as Shown;
use crate::archive::{ImportRequest, ImportResponse, ImportedImage, Layer, PullProgress, PullRequest, RootfsConfig};
use crate::containers::blocking;
use crate::error::Error;
use crate::images::progress::{Phase, State};
use crate::images::pull::Pull;
use crate::images::{Config, Image, Import};

/// Nobody can read faster than this.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

#[tonic::async_trait]
impl ImageArchive for Service {
    async fn import(&self, request: Request<ImportRequest>) -> Result<Response<ImportResponse>, Status> {
        let ImportRequest { path, name, rootfs } = request.into_inner();
        if !Path::new(&path).is_absolute() {
            return Err(Status::invalid_argument(format!("{path:?} is not an absolute path")));
        }
        let name = Some(name).filter(|name| !name.is_empty());
        let import = Import { path: path.into(), name, rootfs: rootfs.map(config) };
        let node = Arc::clone(&self.node);
        let images = blocking(move || {
            let images = node.images.import(&import)?;
            node.sweep_layers()?;
            Ok::<_, Error>(images)
        })
        .await?;
        Ok(Response::new(ImportResponse { images: images.into_iter().map(imported).collect() }))
    }

    type PullStream = Pin<Box<dyn Stream<Item = Result<PullProgress, Status>> + Send>>;

    async fn pull(&self, request: Request<PullRequest>) -> Result<Response<Self::PullStream>, Status> {
        let PullRequest { name, username, password } = request.into_inner();
        let pull = self.begin_pull(&name, &AuthConfig { username, password, ..AuthConfig::default() })?;
        let (sender, receiver) = mpsc::channel(1);
        self.node.tasks.spawn(tell(pull, sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// Tells `listener` how far `pull` has come until it is over. A listener that goes away is one less who wants it.
async fn tell(pull: Pull, listener: mpsc::Sender<Result<PullProgress, Status>>) {
    let Pull { mut outcome, mut progress } = pull;
    let mut interval = tokio::time::interval(PROGRESS_INTERVAL);
    let last = loop {
        tokio::select! {
            biased;
            outcome = &mut outcome => break outcome,
            () = listener.closed() => return,
            Ok(()) = async { interval.tick().await; progress.changed().await } => {
                let state = progress.borrow_and_update().clone();
                // One that is slow to read sees fewer steps.
                let _ = listener.try_send(Ok(shown(state)));
            }
        }
    };
    let last = match last {
        Ok(image) => Ok(PullProgress { phase: Shown::Done.into(), layers: Vec::new(), image: Some(imported(image)) }),
        Err(error) => Err(Error::Pull(error).into()),
    };
    let _ = listener.send(last).await;
}

fn shown(state: State) -> PullProgress {
    let phase = match state.phase {
        Phase::Resolving => Shown::Resolving,
        Phase::Downloading => Shown::Downloading,
        Phase::Unpacking => Shown::Unpacking,
    };
    let layers = state.layers.into_iter().map(|layer| Layer {
        digest: layer.digest,
        size_bytes: layer.size_bytes,
        received_bytes: layer.received_bytes,
    });
    PullProgress { phase: phase.into(), layers: layers.collect(), image: None }
}

fn imported(image: Image) -> ImportedImage {
    ImportedImage { id: image.id, names: image.names, size_bytes: image.size_bytes }
}

fn config(rootfs: RootfsConfig) -> Config {
    Config {
        entrypoint: rootfs.entrypoint,
        cmd: rootfs.cmd,
        env: rootfs.env,
        working_dir: rootfs.working_dir,
        user: rootfs.user,
        ..Config::default()
    }
}
