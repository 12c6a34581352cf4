//! `emptyDir`: a directory that lives as long as the Pod, on disk or in memory.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Volume};

use super::{Context, Provider, SetUp, blocking, mounting, ownership};
use crate::{Error, quantity, spec};

struct EmptyDir(EmptyDirVolumeSource);

pub(super) fn of(volume: &Volume) -> Option<Box<dyn Provider>> {
    volume.empty_dir.clone().map(|source| Box::new(EmptyDir(source)) as Box<dyn Provider>)
}

#[async_trait]
impl Provider for EmptyDir {
    async fn set_up(&self, name: &str, context: &Context<'_>) -> Result<SetUp, Error> {
        let path = context.paths.volume("empty-dir", name);
        let limit = self.0.size_limit.as_ref().and_then(quantity::value).filter(|limit| *limit > 0);
        let in_memory = self.0.medium.as_deref() == Some("Memory");
        let group = spec::of(context.pod).security_context.as_ref().and_then(|security| security.fs_group);
        let at = path.clone();
        blocking(move || {
            if at.exists() && (!in_memory || mounting::is_mounted(&at)?) {
                return Ok(());
            }
            mounting::make_dir(&at, 0o777)?;
            if in_memory {
                mounting::mount_tmpfs(&at, 0o777, limit)?;
            }
            ownership::give_to_group(&at, group, ownership::Access::ReadWrite)
        })
        .await?;
        Ok(SetUp::writable(path))
    }
}
