//! The image service of CRI.

use std::sync::Arc;

use sampan_cri::v1::image_service_server::ImageService;
use sampan_cri::v1::{
    self, FilesystemIdentifier, FilesystemUsage, ImageFsInfoRequest, ImageFsInfoResponse, ImageSpec,
    ImageStatusRequest, ImageStatusResponse, ListImagesRequest, ListImagesResponse, PullImageRequest,
    PullImageResponse, RemoveImageRequest, RemoveImageResponse, StreamImagesRequest, StreamImagesResponse, UInt64Value,
};
use tonic::{Request, Response, Status};

use super::{Listed, Service, once, required};
use crate::containers::blocking;
use crate::error::Error;
use crate::{stats, status};

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
        let image = self.node.images.find(&name(request.into_inner().image)?);
        Ok(Response::new(ImageStatusResponse { image: image.as_ref().map(status::image), ..Default::default() }))
    }

    async fn pull_image(&self, request: Request<PullImageRequest>) -> Result<Response<PullImageResponse>, Status> {
        let name = name(request.into_inner().image)?;
        // An image that is here needs no pulling, even where the policy is to always ask the registry.
        match self.node.images.find(&name) {
            Some(image) => Ok(Response::new(PullImageResponse { image_ref: image.id })),
            None => Err(Error::ImageMissing(name).into()),
        }
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
