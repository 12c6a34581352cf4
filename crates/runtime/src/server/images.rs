//! The image service of CRI.

use std::sync::Arc;

use sampan_cri::v1::image_service_server::ImageService;
use sampan_cri::v1::{
    self, AuthConfig, FilesystemIdentifier, FilesystemUsage, ImageFsInfoRequest, ImageFsInfoResponse, ImageSpec,
    ImageStatusRequest, ImageStatusResponse, ListImagesRequest, ListImagesResponse, PullImageRequest,
    PullImageResponse, RemoveImageRequest, RemoveImageResponse, StreamImagesRequest, StreamImagesResponse, UInt64Value,
};
use tonic::{Request, Response, Status};

use super::{Listed, Service, once, required};
use crate::containers::blocking;
use crate::error::Error;
use crate::images::pull::{self, Pull};
use crate::images::{Credentials, Image};
use crate::{stats, status, verbose};

impl Service {
    fn images(&self, filter: Option<v1::ImageFilter>) -> Vec<v1::Image> {
        let wanted = filter.and_then(|filter| filter.image).map(|image| image.image).filter(|name| !name.is_empty());
        let images = match wanted {
            Some(name) => self.node.images.find(&name).into_iter().collect(),
            None => self.node.images.list(),
        };
        images.iter().map(status::image).collect()
    }
}

impl Service {
    /// An image that came from a file under this name: its source is this machine, and no registry is asked for it.
    pub(super) fn imported(&self, name: &str) -> Option<Image> {
        self.node.images.find(name).filter(|image| image.pinned)
    }

    /// Begins to pull an image, or joins a pull of it.
    pub(super) fn begin_pull(&self, name: &str, auth: &AuthConfig) -> Result<Pull, Status> {
        let credentials = Credentials::of(auth).map_err(|error| Error::Image(error.into()))?;
        Ok(pull::start(&self.node.images, name, credentials).map_err(Error::Image)?)
    }
}

fn name(image: Option<ImageSpec>) -> Result<String, Status> {
    Ok(required(image, "image")?.image)
}

#[tonic::async_trait]
impl ImageService for Service {
    async fn list_images(&self, request: Request<ListImagesRequest>) -> Result<Response<ListImagesResponse>, Status> {
        Ok(Response::new(ListImagesResponse { images: self.images(request.into_inner().filter) }))
    }

    type StreamImagesStream = Listed<StreamImagesResponse>;

    async fn stream_images(
        &self,
        request: Request<StreamImagesRequest>,
    ) -> Result<Response<Self::StreamImagesStream>, Status> {
        once(self.images(request.into_inner().filter), |images| StreamImagesResponse { images })
    }

    async fn image_status(
        &self,
        request: Request<ImageStatusRequest>,
    ) -> Result<Response<ImageStatusResponse>, Status> {
        let ImageStatusRequest { image, verbose } = request.into_inner();
        let image = self.node.images.find(&name(image)?);
        let info = image.as_ref().filter(|_| verbose).map(verbose::image).unwrap_or_default();
        Ok(Response::new(ImageStatusResponse { image: image.as_ref().map(status::image), info }))
    }

    async fn pull_image(&self, request: Request<PullImageRequest>) -> Result<Response<PullImageResponse>, Status> {
        let PullImageRequest { image, auth, .. } = request.into_inner();
        let name = name(image)?;
        let image = match self.imported(&name) {
            Some(image) => image,
            None => self.begin_pull(&name, &auth.unwrap_or_default())?.outcome.await.map_err(Error::Pull)?,
        };
        Ok(Response::new(PullImageResponse { image_ref: image.id }))
    }

    async fn remove_image(
        &self,
        request: Request<RemoveImageRequest>,
    ) -> Result<Response<RemoveImageResponse>, Status> {
        let name = name(request.into_inner().image)?;
        let node = Arc::clone(&self.node);
        blocking(move || {
            if node.images.remove(&name)? {
                node.sweep_layers()?;
            }
            Ok(())
        })
        .await?;
        Ok(Response::new(RemoveImageResponse {}))
    }

    async fn image_fs_info(&self, _: Request<ImageFsInfoRequest>) -> Result<Response<ImageFsInfoResponse>, Status> {
        let node = Arc::clone(&self.node);
        let (images, containers) = blocking(move || {
            let now = status::nanoseconds(sampan_clock::now());
            // Layers do not change: their sizes were counted once, when they were unpacked.
            let images = FilesystemUsage {
                timestamp: now,
                fs_id: Some(FilesystemIdentifier { mountpoint: node.images.layers().display().to_string() }),
                used_bytes: Some(UInt64Value { value: node.images.size_bytes() }),
                inodes_used: None,
            };
            Ok((images, stats::filesystem(&node.places.writable(), now)))
        })
        .await?;
        Ok(Response::new(ImageFsInfoResponse {
            image_filesystems: vec![images],
            container_filesystems: vec![containers],
        }))
    }
}
