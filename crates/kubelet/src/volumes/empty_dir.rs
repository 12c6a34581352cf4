//! `emptyDir`: a directory that lives as long as the Pod, on disk, in memory or in huge pages.

use std::collections::BTreeSet;
use std::path::Path;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Volume};

use super::{Context, Provider, SetUp, blocking, mounting, ownership};
use crate::config::resources;
use crate::{Error, quantity, spec};

struct EmptyDir(EmptyDirVolumeSource);

pub(super) fn of(volume: &Volume) -> Option<Box<dyn Provider>> {
    volume.empty_dir.clone().map(|source| Box::new(EmptyDir(source)) as Box<dyn Provider>)
}

#[async_trait]
impl Provider for EmptyDir {
    async fn set_up(&self, name: &str, context: &Context<'_>) -> Result<SetUp, Error> {
        let path = context.paths.volume("empty-dir", name);
        let medium = medium(&self.0, context)?;
        let in_memory = medium != Medium::Disk;
        let group = spec::of(context.pod).security_context.as_ref().and_then(|security| security.fs_group);
        let at = path.clone();
        blocking(move || {
            if at.exists() && (!in_memory || mounting::is_mounted(&at)?) {
                return Ok(());
            }
            match &medium {
                Medium::Disk => make(&at, group),
                Medium::Memory(limit_bytes) => {
                    mounting::make_dir(&at, 0o777)?;
                    mounting::mount_tmpfs(&at, group, *limit_bytes)
                }
                Medium::HugePages(page_size) => {
                    mounting::make_dir(&at, 0o777)?;
                    mounting::mount_huge_pages(&at, group, page_size)
                }
            }
        })
        .await?;
        Ok(SetUp::writable(path))
    }
}

/// Makes the directory under another name first: one that is there is whole, and whatever modes and owners it has then
/// are what the Pod made of it.
fn make(path: &Path, group: Option<i64>) -> Result<(), Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = path.with_file_name(format!("..{name}"));
    mounting::make_dir(&unfinished, 0o777)?;
    ownership::give_to_group(&unfinished, group, ownership::Access::ReadWrite)?;
    std::fs::rename(&unfinished, path).map_err(Error::io("putting in its place", path))
}

/// What the directory is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Medium {
    Disk,
    /// With a bound in bytes.
    Memory(Option<i64>),
    /// Of pages of this size, as the API writes it (`2Mi`).
    HugePages(String),
}

fn medium(source: &EmptyDirVolumeSource, context: &Context<'_>) -> Result<Medium, Error> {
    let medium = source.medium.as_deref().unwrap_or_default();
    if medium == "Memory" {
        return Ok(Medium::Memory(bound(source, context)));
    }
    let Some(size) = medium.strip_prefix("HugePages") else { return Ok(Medium::Disk) };
    let size = size.strip_prefix('-').map(str::to_owned).or_else(|| page_size(context));
    size.map(Medium::HugePages).ok_or_else(|| {
        Error::Config(
            "any medium other than HugePages-<size> needs a Pod that asks for huge pages of one size".to_owned(),
        )
    })
}

/// A directory in memory is no larger than the volume says, nor than all the memory that the Pod can have.
fn bound(source: &EmptyDirVolumeSource, context: &Context<'_>) -> Option<i64> {
    let own = source.size_limit.as_ref().and_then(quantity::value);
    let of_pod = resources::of_pod(context.pod).memory_limit_in_bytes;
    let of_node = context.facts.allocatable.get("memory").and_then(quantity::value);
    let pods = Some(of_pod).filter(|limit| *limit > 0).or(of_node);
    own.into_iter().chain(pods).filter(|limit| *limit > 0).min()
}

/// The one size of huge pages that the Pod's containers ask for.
fn page_size(context: &Context<'_>) -> Option<String> {
    let amounts =
        spec::containers(context.pod).filter_map(|(_, container)| container.resources.as_ref()?.requests.as_ref());
    let sizes: BTreeSet<&str> = amounts.flatten().filter_map(|(name, _)| name.strip_prefix("hugepages-")).collect();
    sizes.first().filter(|_| sizes.len() == 1).map(|size| (*size).to_owned())
}
