//! `image`: the content of an image. It is pulled and mounted with each container that uses it, by the runtime; there is
//! nothing to set up before.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Volume;

use super::{Context, Provider, SetUp};
use crate::Error;

struct Image;

pub(super) fn of(volume: &Volume) -> Option<Box<dyn Provider>> {
    volume.image.as_ref().map(|_| Box::new(Image) as Box<dyn Provider>)
}

#[async_trait]
impl Provider for Image {
    async fn set_up(&self, _name: &str, _context: &Context<'_>) -> Result<SetUp, Error> {
        Ok(SetUp::image())
    }
}
