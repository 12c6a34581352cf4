//! The image archive service.

use std::path::Path;
use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::Service;
use crate::archive::image_archive_server::ImageArchive;
use crate::archive::{ImportRequest, ImportResponse, ImportedImage, RootfsConfig};
use crate::containers::blocking;
use crate::error::Error;
use crate::images::{Config, Import};

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
        let imported = images.into_iter().map(|image| ImportedImage {
            id: image.id,
            names: image.names,
            size_bytes: image.size_bytes,
        });
        Ok(Response::new(ImportResponse { images: imported.collect() }))
    }
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
