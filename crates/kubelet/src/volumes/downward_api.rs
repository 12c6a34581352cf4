//! `downwardAPI`: facts about the Pod as files.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{DownwardAPIVolumeSource, Volume};

use super::{Context, Provider, SetUp, atomic, payload};
use crate::Error;

struct DownwardApi(DownwardAPIVolumeSource);

pub(super) fn of(volume: &Volume) -> Option<Box<dyn Provider>> {
    volume.downward_api.clone().map(|source| Box::new(DownwardApi(source)) as Box<dyn Provider>)
}

#[async_trait]
impl Provider for DownwardApi {
    async fn set_up(&self, name: &str, context: &Context<'_>) -> Result<SetUp, Error> {
        let items = self.0.items.as_deref().unwrap_or_default();
        let payload = payload::downward(context, items, self.0.default_mode)?;
        let path = context.paths.volume("downward-api", name);
        atomic::provide(context, &path, payload, atomic::Medium::Memory).await?;
        Ok(SetUp::read_only(path))
    }
}
