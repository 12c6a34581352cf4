//! Starting a container: image, configuration, create, start, hook.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};
use sampan_cri::v1::{Mount, PodSandboxConfig};

use super::{Env, env_files, places, sandbox};
use crate::config::env::{self, Sources};
use crate::config::fields::Facts;
use crate::config::paths::log_path;
use crate::config::{container, service_env};
use crate::hooks::{self, Hook};
use crate::images::{Ready, Wish};
use crate::log_links::Link;
use crate::machine::Start;
use crate::spec::Role;
use crate::{Error, spec};

/// A container that runs.
pub(crate) struct Started {
    pub(super) id: String,
    /// Its hook after start failed: it must be killed, and this is what the event says.
    pub(super) hook_failed: Option<String>,
}

/// Why a container does not run: its waiting reason and message.
pub(crate) struct Failed {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// Starts the container.
pub(super) async fn start(env: &Env, pod: &Pod, start: &Start, facts: &Facts) -> Result<Started, Failed> {
    let Some((role, container)) = spec::container(pod, &start.name) else {
        return Err(Failed { reason: "CreateContainerConfigError", message: "no such container".to_owned() });
    };
    let job = Job { env, pod, container: &container, role, start, facts };
    match env.cancel_starts.run_until_cancelled(job.run()).await {
        Some(result) => result,
        None => Err(Failed { reason: "ContainerCreating", message: String::new() }),
    }
}

struct Job<'a> {
    env: &'a Env,
    pod: &'a Pod,
    container: &'a Container,
    role: Role,
    start: &'a Start,
    facts: &'a Facts,
}

impl Job<'_> {
    async fn run(&self) -> Result<Started, Failed> {
        let sandbox_config = sandbox::config(self.env, self.pod, 0).await;
        let container = self.container;
        let named = container.image.as_deref().unwrap_or_default();
        let image = self.image(&sandbox_config, named, container.image_pull_policy.as_deref()).await?;
        let volumes = self.image_volumes(&sandbox_config).await?;
        let config =
            self.config(&image, &volumes).await.map_err(|error| self.failed("CreateContainerConfigError", &error))?;
        let runtime = &self.env.node.runtime;
        let created = runtime.create_container(&self.start.sandbox, config, sandbox_config).await;
        let id = created.map_err(|error| self.failed("CreateContainerError", &error))?;
        self.normal("Created", "Container created");
        if let Err(error) = runtime.start_container(&id).await {
            return Err(self.failed("RunContainerError", &error));
        }
        self.env.node.cpus.look_again();
        self.link_log(&id).await;
        self.normal("Started", "Container started");
        let hook_failed = self.post_start(&id).await;
        Ok(Started { id, hook_failed })
    }

    /// Names the container's log for log agents. A container runs without that too.
    async fn link_log(&self, id: &str) {
        let log = self.env.paths.logs.join(log_path(&self.container.name, self.start.attempt));
        let link = Link::of(&self.env.node.options.log_links, self.pod, (&self.container.name, id), log);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || link.make()).await {
            tracing::warn!(pod = %spec::describe(self.pod), %error, "a container's log has no link");
        }
    }

    /// Has the images on the node that are volumes of the container; the runtime's names for them, by volume.
    async fn image_volumes(&self, sandbox_config: &PodSandboxConfig) -> Result<BTreeMap<String, String>, Failed> {
        let mut references = BTreeMap::new();
        let mounts = self.container.volume_mounts.as_deref().unwrap_or_default();
        for volume in spec::of(self.pod).volumes.iter().flatten() {
            let Some(source) = volume.image.as_ref() else { continue };
            if mounts.iter().any(|mount| mount.name == volume.name) {
                let named = source.reference.as_deref().unwrap_or_default();
                let image = self.image(sandbox_config, named, source.pull_policy.as_deref()).await?;
                references.insert(volume.name.clone(), image.reference);
            }
        }
        Ok(references)
    }

    async fn image(
        &self,
        sandbox_config: &PodSandboxConfig,
        image: &str,
        policy: Option<&str>,
    ) -> Result<Ready, Failed> {
        let env = self.env;
        let wish = Wish { pod: self.pod, image, policy, sandbox_config, objects: &env.hold };
        match env.node.images.ensure(&wish, |text| self.normal("Pulling", text)).await {
            Ok(ready) => {
                self.normal("Pulled", &ready.message);
                Ok(ready)
            }
            Err(missing) => {
                self.warning("Failed", &missing.event);
                self.warning("Failed", &format!("Error: {}", missing.reason));
                Err(Failed { reason: missing.reason, message: missing.message })
            }
        }
    }

    async fn config(
        &self,
        image: &Ready,
        volumes: &BTreeMap<String, String>,
    ) -> Result<sampan_cri::v1::ContainerConfig, Error> {
        let node = &self.env.node;
        self.env.hold.synced().await?;
        let links = spec::of(self.pod).enable_service_links != Some(false);
        let services = service_env::variables(&node.services.list(), spec::namespace(self.pod), links);
        let files = env_files::read(self.env, self.container).await?;
        let sources = Sources { pod: self.pod, facts: self.facts, objects: &self.env.hold, files: &files, services };
        let variables = env::environment(&sources, self.container)?;
        let inputs = container::Inputs {
            start: self.start,
            image_ref: &image.reference,
            image_user: &image.user,
            mounts: self.mounts(&variables, volumes).await?,
            env: &variables,
            unified: node.cgroups.is_unified(),
            machine: &node.facts.machine,
            seccomp_profiles: &node.options.root_dir.join("seccomp"),
        };
        let mut config = container::config(self.pod, self.container, inputs)?;
        let (uid, name) = (spec::uid(self.pod), &self.container.name);
        node.devices.before_start(uid, name).await?;
        node.devices.of_container(uid, name).apply(&mut config);
        if let Some(given) = node.cpus.of_container(uid, name) {
            given.apply(config.linux.get_or_insert_default().resources.get_or_insert_default());
        }
        Ok(config)
    }

    async fn mounts(&self, variables: &env::Env, images: &BTreeMap<String, String>) -> Result<Vec<Mount>, Error> {
        let sources = places::Sources { pod: self.pod, start: self.start, facts: self.facts, images };
        places::mounts(self.env, &sources, variables).await
    }

    /// Runs the hook after start; what the event says if it fails.
    async fn post_start(&self, id: &str) -> Option<String> {
        let handler = self.container.lifecycle.as_ref()?.post_start.as_ref()?;
        let (node, pod_ips) = (&self.env.node, &self.facts.pod_ips);
        let hook = Hook { node, pod: self.pod, id, container: self.container, pod_ips };
        let error = hooks::run(&hook, handler).await.err()?;
        self.warning("FailedPostStartHook", "PostStartHook failed");
        tracing::info!(pod = %spec::describe(self.pod), container = %self.container.name, %error, "hook after start failed");
        Some("FailedPostStartHook".to_owned())
    }

    fn failed(&self, reason: &'static str, error: &Error) -> Failed {
        self.warning("Failed", &format!("Error: {error}"));
        Failed { reason, message: error.to_string() }
    }

    fn normal(&self, reason: &str, message: &str) {
        let regarding = spec::container_reference(self.pod, self.role, &self.container.name);
        self.env.node.recorder.normal(&regarding, reason, message);
    }

    fn warning(&self, reason: &str, message: &str) {
        let regarding = spec::container_reference(self.pod, self.role, &self.container.name);
        self.env.node.recorder.warning(&regarding, reason, message);
    }
}
