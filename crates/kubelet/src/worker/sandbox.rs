//! Making a Pod's sandbox.

use k8s_openapi::api::core::v1::Pod;
use sampan_cri::v1::PodSandboxConfig;

use super::Env;
use crate::Error;
use crate::config::{dns, sandbox, users};
use crate::spec;

/// Makes and starts the sandbox.
pub(super) async fn create(env: &Env, pod: &Pod, attempt: u32) -> Result<(), Error> {
    let mut config = config(env, pod, attempt).await;
    if spec::of(pod).host_users == Some(false) {
        give_users(env, &mut config).await?;
    }
    let parent = config.linux.as_ref().map(|linux| linux.cgroup_parent.clone()).unwrap_or_default();
    if let Some(limit) = env.node.options.pod_pids_limit {
        env.node.cgroups.limit_pids(&parent, limit)?;
    }
    env.node.runtime.run_sandbox(config).await.map(drop)
}

/// Gives the sandbox users of its own; its containers have them from it.
async fn give_users(env: &Env, config: &mut PodSandboxConfig) -> Result<(), Error> {
    let paths = env.paths.clone();
    let chosen = tokio::task::spawn_blocking(move || users::of(&paths)).await.map_err(std::io::Error::other);
    let users = chosen.flatten().map_err(Error::io("choosing the users of", &env.paths.dir))?;
    let security = config.linux.get_or_insert_default().security_context.get_or_insert_default();
    security.namespace_options.get_or_insert_default().userns_options = Some(users);
    Ok(())
}

/// The sandbox's configuration; containers are made with the same one.
pub(super) async fn config(env: &Env, pod: &Pod, attempt: u32) -> PodSandboxConfig {
    let resolv_conf = tokio::fs::read_to_string(&env.node.options.resolv_conf).await.unwrap_or_default();
    let inputs = sandbox::Inputs {
        paths: &env.paths,
        cluster_dns: &env.node.cluster_dns,
        host_dns: &dns::parse(&resolv_conf),
        cgroup_root: &env.node.options.cgroup_root,
    };
    sandbox::config(pod, attempt, &inputs)
}
