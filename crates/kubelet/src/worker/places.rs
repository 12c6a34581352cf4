//! A Pod's files on the node: its directories, volumes, host names, and the mounts of a container.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use sampan_cri::v1::Mount;

use super::{Env, sandbox};
use crate::config::env::Env as Variables;
use crate::config::fields::Facts;
use crate::config::{dns, hosts, labels, mounts};
use crate::machine::Start;
use crate::{Error, spec, volumes};

/// Makes the Pod's directories and volumes, or brings them up to date; when they must be renewed.
pub(super) async fn set_up(env: &Env, pod: &Pod, facts: &Facts) -> Result<Option<Timestamp>, Vec<Error>> {
    prepare(env).await.map_err(|error| vec![error])?;
    let context = volumes::Context {
        pod,
        paths: &env.paths,
        objects: &env.hold,
        facts,
        tokens: &env.node.tokens,
        certificates: &env.node.certificates,
    };
    let ready = volumes::set_up(&context).await?;
    *env.places.lock() = ready.places;
    Ok(ready.renew_at)
}

async fn prepare(env: &Env) -> Result<(), Error> {
    env.hold.synced().await?;
    for dir in [&env.paths.dir, &env.paths.logs] {
        make_dir(dir).await?;
    }
    Ok(())
}

async fn make_dir(dir: &Path) -> Result<(), Error> {
    tokio::fs::create_dir_all(dir).await.map_err(Error::io("creating", dir))
}

async fn write(path: &Path, text: &str) -> Result<(), Error> {
    if tokio::fs::read_to_string(path).await.is_ok_and(|current| current == text) {
        return Ok(());
    }
    tokio::fs::write(path, text).await.map_err(Error::io("writing", path))
}

/// What the mounts of a container are made from.
pub(super) struct Sources<'a> {
    pub(super) pod: &'a Pod,
    pub(super) start: &'a Start,
    pub(super) facts: &'a Facts,
    /// The runtime's names of images that are volumes, by volume.
    pub(super) images: &'a BTreeMap<String, String>,
}

/// Everything that is mounted into the container.
pub(super) async fn mounts(env: &Env, sources: &Sources<'_>, variables: &Variables) -> Result<Vec<Mount>, Error> {
    let Sources { pod, start, facts, images } = *sources;
    let (_, container) = spec::container(pod, &start.name).ok_or_else(|| no_container(&start.name))?;
    let places = env.places.lock().clone();
    let recursive_read_only = mounts::ask_for_recursion(&container) && recursive_read_only(env, pod).await?;
    let inputs = mounts::Inputs { places: &places, env: variables, recursive_read_only };
    let mut all = Vec::new();
    for (index, wish) in mounts::wishes(&container, &inputs)?.into_iter().enumerate() {
        if wish.place.image {
            let reference = images.get(&wish.volume).map(String::as_str).unwrap_or_default();
            all.push(mounts::image_mount(&wish, reference));
            continue;
        }
        let from = match wish.sub_path.is_empty() {
            true => wish.place.path.clone(),
            false => sub_path(env, &container, index, &wish).await?,
        };
        all.push(mounts::volume_mount(&wish, from));
    }
    all.extend(managed_files(env, pod, &container, facts).await?);
    all.extend(termination_message(env, &container, start).await?);
    Ok(all)
}

/// Whether the Pod's handler can mount recursively read-only.
async fn recursive_read_only(env: &Env, pod: &Pod) -> Result<bool, Error> {
    let handler = sandbox::handler(env, pod).await?;
    Ok(env.node.runtime_features.borrow().recursive_read_only(&handler))
}

fn no_container(name: &str) -> Error {
    Error::Config(format!("the Pod has no container \"{name}\""))
}

async fn sub_path(env: &Env, container: &Container, index: usize, wish: &mounts::Wish) -> Result<PathBuf, Error> {
    let target = env.paths.subpath(&wish.volume, &container.name, index);
    let (volume, sub_path) = (wish.place.path.clone(), wish.sub_path.clone());
    let exposed = tokio::task::spawn_blocking(move || volumes::expose_subpath(&volume, &sub_path, &target)).await;
    let exposed = exposed.map_err(|panic| Error::Config(format!("preparing a subPath: {panic}")))?;
    exposed.map_err(|error| {
        let name = &container.name;
        Error::Config(format!(
            "failed to prepare subPath for volumeMount \"{}\" of container \"{name}\": {error}",
            wish.volume
        ))
    })
}

/// `/etc/hosts` and `/etc/hostname`.
async fn managed_files(env: &Env, pod: &Pod, container: &Container, facts: &Facts) -> Result<Vec<Mount>, Error> {
    let node = &env.node;
    let mut files = Vec::new();
    let text = match spec::host_network(pod) {
        true => hosts::of_host(pod, &tokio::fs::read_to_string("/etc/hosts").await.unwrap_or_default()),
        false => hosts::of_pod(pod, &facts.pod_ips, &node.cluster_dns),
    };
    write(&env.paths.etc_hosts(), &text).await?;
    files.extend(mounts::managed_file(container, "/etc/hosts", env.paths.etc_hosts()));
    let hostname = dns::hostname(pod, &node.cluster_dns);
    if !hostname.is_empty() {
        write(&env.paths.hostname(), &format!("{hostname}\n")).await?;
        files.extend(mounts::managed_file(container, "/etc/hostname", env.paths.hostname()));
    }
    Ok(files)
}

/// The file for the container's last words: new for every attempt, writable by whoever it runs as.
async fn termination_message(env: &Env, container: &Container, start: &Start) -> Result<Option<Mount>, Error> {
    let file = env.paths.termination_message(&container.name, start.attempt);
    if let Some(parent) = file.parent() {
        make_dir(parent).await?;
    }
    tokio::fs::write(&file, "").await.map_err(Error::io("creating", &file))?;
    let writable = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    tokio::fs::set_permissions(&file, writable).await.map_err(Error::io("setting the mode of", &file))?;
    Ok(mounts::managed_file(container, labels::termination_path(container), file))
}
