//! The CRI configuration of one container.

use std::path::Path;

use k8s_openapi::api::core::v1::{Container, Pod};
use sampan_cri::v1::security_profile::ProfileType;
use sampan_cri::v1::{ContainerConfig, ContainerMetadata, ImageSpec, KeyValue, LinuxContainerConfig, Mount, Signal};

use super::env::{self, Env};
use super::expand::expand_all;
use super::resources::Machine;
use super::security::{self, ImageUser};
use super::{labels, paths, resources};
use crate::machine::Start;
use crate::{Error, spec};

/// What a container is made from besides the Pod and its specification.
pub(crate) struct Inputs<'a> {
    pub(crate) start: &'a Start,
    /// The image as the runtime identifies it.
    pub(crate) image_ref: &'a str,
    pub(crate) image_user: &'a ImageUser,
    pub(crate) env: &'a Env,
    pub(crate) mounts: Vec<Mount>,
    /// Whether control groups are of version 2.
    pub(crate) unified: bool,
    pub(crate) machine: &'a Machine,
    /// Where the node's own seccomp profiles lie.
    pub(crate) seccomp_profiles: &'a Path,
}

/// The container's configuration.
pub(crate) fn config(pod: &Pod, container: &Container, inputs: Inputs<'_>) -> Result<ContainerConfig, Error> {
    let target = inputs.start.target.as_deref();
    if let Some(name) = spec::target(pod, &container.name).filter(|_| target.is_none()) {
        return Err(Error::Config(format!("unable to find target container {name}")));
    }
    let mut security_context = security::of_container(pod, container, inputs.image_user, target)?;
    if let Some(profile) = &mut security_context.seccomp
        && profile.profile_type() == ProfileType::Localhost
    {
        profile.localhost_ref =
            inputs.seccomp_profiles.join(profile.localhost_ref.trim_start_matches('/')).display().to_string();
    }
    let mut resources = resources::of_container(pod, container, inputs.machine);
    if inputs.unified {
        // What is left of a container that lost one process for want of memory would serve nobody.
        resources.unified.insert("memory.oom.group".to_owned(), "1".to_owned());
    }
    let variables = env::by_name(inputs.env);
    let words = |texts: Option<&Vec<String>>| {
        expand_all(texts.map(Vec::as_slice).unwrap_or_default(), |name| variables.get(name).copied())
    };
    let envs = inputs.env.iter().map(|(key, value)| KeyValue { key: key.clone(), value: value.clone() });
    Ok(ContainerConfig {
        metadata: Some(ContainerMetadata { name: container.name.clone(), attempt: inputs.start.attempt }),
        image: Some(ImageSpec {
            image: inputs.image_ref.to_owned(),
            user_specified_image: container.image.clone().unwrap_or_default(),
            ..ImageSpec::default()
        }),
        command: words(container.command.as_ref())?,
        args: words(container.args.as_ref())?,
        working_dir: container.working_dir.clone().unwrap_or_default(),
        envs: envs.collect(),
        mounts: inputs.mounts,
        labels: labels::of_container(pod, container),
        annotations: labels::annotations_of_container(pod, container, inputs.start),
        log_path: paths::log_path(&container.name, inputs.start.attempt),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        tty: container.tty == Some(true),
        linux: Some(LinuxContainerConfig { resources: Some(resources), security_context: Some(security_context) }),
        stop_signal: stop_signal(container).into(),
        ..ContainerConfig::default()
    })
}

fn stop_signal(container: &Container) -> Signal {
    let wish = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.as_deref());
    let wish = wish.map(|signal| format!("SIGNAL_{}", signal.replace('+', "PLUS").replace('-', "MINUS")));
    wish.and_then(|signal| Signal::from_str_name(&signal)).unwrap_or(Signal::RuntimeDefault)
}
