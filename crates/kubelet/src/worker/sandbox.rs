//! Making a Pod's sandbox.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::Api;
use sampan_cri::v1::PodSandboxConfig;

use super::Env;
use crate::config::{dns, resources, sandbox, users};
use crate::{Error, spec};

/// Makes and starts the sandbox; its id.
pub(super) async fn create(env: &Env, pod: &Pod, attempt: u32) -> Result<String, Error> {
    dns::check_hostname(pod, &env.node.cluster_dns)?;
    let mut config = config(env, pod, attempt).await;
    let handler = handler(env, pod).await?;
    if spec::of(pod).host_users == Some(false) {
        env.node.runtime_features.borrow().check_users(&handler)?;
        give_users(env, &mut config).await?;
    }
    let parent = config.linux.as_ref().map(|linux| linux.cgroup_parent.clone()).unwrap_or_default();
    make_groups(env, pod, parent).await?;
    env.node.runtime.run_sandbox(config, &handler).await
}

/// Makes the Pod's control group at `parent`, with its weight and bounds. The kernel may take its time: every group that
/// comes or goes on the machine waits for one lock.
async fn make_groups(env: &Env, pod: &Pod, parent: String) -> Result<(), Error> {
    let (cgroups, pids) = (env.node.cgroups.clone(), env.node.options.pod_pids_limit);
    let (class, group) = (resources::class_group(&env.node.options.cgroup_root, pod), resources::group(pod));
    let work = move || {
        if let Some((class, limits)) = class {
            cgroups.limit(&class, &limits)?;
        }
        cgroups.limit(&parent, &group)?;
        pids.map_or(Ok(()), |limit| cgroups.limit_pids(&parent, limit))
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panic| Err(Error::Config(format!("making the Pod's control group: {panic}"))))
}

/// The runtime's handler that the Pod's class names; none for a Pod without a class.
pub(super) async fn handler(env: &Env, pod: &Pod) -> Result<String, Error> {
    let Some(class) = spec::of(pod).runtime_class_name.as_deref().filter(|class| !class.is_empty()) else {
        return Ok(String::new());
    };
    let api = Api::<RuntimeClass>::all(env.node.client.clone());
    match api.get_opt(class).await.map_err(Error::api("failed to get sandbox runtime"))? {
        Some(class) => Ok(class.handler),
        None => Err(Error::Missing(format!("failed to get sandbox runtime: RuntimeClass \"{class}\" not found"))),
    }
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
