//! `secret`: the keys of a Secret as files in memory that follow it.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{SecretVolumeSource, Volume};

use super::payload::{self, Selection};
use super::{Context, Provider, SetUp, atomic};
use crate::Error;

struct SecretVolume(SecretVolumeSource);

pub(super) fn of(volume: &Volume) -> Option<Box<dyn Provider>> {
    volume.secret.clone().map(|source| Box::new(SecretVolume(source)) as Box<dyn Provider>)
}

#[async_trait]
impl Provider for SecretVolume {
    async fn set_up(&self, name: &str, context: &Context<'_>) -> Result<SetUp, Error> {
        let selection = Selection {
            items: self.0.items.as_deref(),
            default_mode: self.0.default_mode,
            optional: self.0.optional == Some(true),
            kind: "secret",
        };
        let secret = self.0.secret_name.as_deref().unwrap_or_default();
        let payload = payload::secret(context, secret, &selection)?;
        let path = context.paths.volume("secret", name);
        atomic::provide(context, &path, payload, atomic::Medium::Memory).await?;
        Ok(SetUp::read_only(path))
    }
}
