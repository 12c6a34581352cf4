//! `configMap`: the keys of a ConfigMap as files that follow it.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{ConfigMapVolumeSource, Volume};

use super::payload::{self, Selection};
use super::{Context, Provider, SetUp, atomic};
use crate::Error;

struct ConfigMapVolume(ConfigMapVolumeSource);

pub(super) fn of(volume: &Volume) -> Option<Box<dyn Provider>> {
    volume.config_map.clone().map(|source| Box::new(ConfigMapVolume(source)) as Box<dyn Provider>)
}

#[async_trait]
impl Provider for ConfigMapVolume {
    async fn set_up(&self, name: &str, context: &Context<'_>) -> Result<SetUp, Error> {
        let selection = Selection {
            items: self.0.items.as_deref(),
            default_mode: self.0.default_mode,
            optional: self.0.optional == Some(true),
            kind: "configmap",
        };
        let payload = payload::config_map(context, &self.0.name, &selection)?;
        let path = context.paths.volume("configmap", name);
        atomic::provide(context, &path, payload, atomic::Medium::Disk).await?;
        Ok(SetUp::read_only(path))
    }
}
