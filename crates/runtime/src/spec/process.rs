//! What a container runs: arguments, environment, directory, user and rights.

use oci_spec::runtime::{LinuxCapabilitiesBuilder, Process, ProcessBuilder, UserBuilder};
use sampan_cri::v1::{ContainerConfig, LinuxContainerSecurityContext};

use super::{Error, Inputs, security};
use crate::images::Config;

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) fn of(inputs: &Inputs<'_>, security: &LinuxContainerSecurityContext) -> Result<Process, Error> {
    let identity = inputs.identity;
    let user = UserBuilder::default().uid(identity.uid).gid(identity.gid).additional_gids(identity.groups.clone());
    let all = security::capabilities(security)?;
    let capabilities = LinuxCapabilitiesBuilder::default()
        .bounding(all.clone())
        .effective(all.clone())
        .permitted(all)
        .inheritable(security::ambient(security)?)
        .ambient(security::ambient(security)?);
    let resources = inputs.config.linux.as_ref().and_then(|linux| linux.resources.as_ref());
    let mut process = ProcessBuilder::default()
        .terminal(inputs.config.tty)
        .user(user.build().expect("invariant: a user has ids"))
        .args(arguments(inputs.config, inputs.image)?)
        .env(environment(inputs))
        .cwd(directory(inputs.config, inputs.image)?)
        .capabilities(capabilities.build().expect("invariant: no capability set is required"))
        .no_new_privileges(security.no_new_privs)
        .oom_score_adj(resources.map_or(0, |resources| resources.oom_score_adj as i32));
    if let Some(profile) = inputs.apparmor {
        process = process.apparmor_profile(profile);
    }
    Ok(process.build().expect("invariant: a process has a directory"))
}

/// The image's entrypoint and arguments, each replaced by what the container says: a command of the container's own
/// also drops the image's arguments.
fn arguments(config: &ContainerConfig, image: &Config) -> Result<Vec<String>, Error> {
    let mut words = if config.command.is_empty() { image.entrypoint.clone() } else { config.command.clone() };
    match (config.command.is_empty(), config.args.is_empty()) {
        (true, true) => words.extend(image.cmd.iter().cloned()),
        (_, false) => words.extend(config.args.iter().cloned()),
        (false, true) => {}
    }
    if words.first().is_none_or(String::is_empty) { Err(Error::NoCommand) } else { Ok(words) }
}

/// Later entries win: the runtime's own, the image's, the container's.
fn environment(inputs: &Inputs<'_>) -> Vec<String> {
    let mut env = vec![DEFAULT_PATH.to_owned()];
    if inputs.config.tty {
        env.push("TERM=xterm".to_owned());
    }
    if !inputs.sandbox.hostname.is_empty() {
        env.push(format!("HOSTNAME={}", inputs.sandbox.hostname));
    }
    env.push(format!("HOME={}", inputs.identity.home));
    let own = inputs.config.envs.iter().map(|pair| format!("{}={}", pair.key, String::from_utf8_lossy(&pair.value)));
    for entry in inputs.image.env.iter().cloned().chain(own) {
        let name = entry.split('=').next().unwrap_or_default();
        match env.iter_mut().find(|known| known.split('=').next() == Some(name)) {
            Some(known) => *known = entry,
            None => env.push(entry),
        }
    }
    env
}

fn directory(config: &ContainerConfig, image: &Config) -> Result<String, Error> {
    let path = [&config.working_dir, &image.working_dir].into_iter().find(|path| !path.is_empty());
    match path {
        None => Ok("/".to_owned()),
        Some(path) if path.starts_with('/') => Ok(path.clone()),
        // Images may say `WORKDIR app`; what a Pod says has to be absolute.
        Some(path) if config.working_dir.is_empty() => Ok(format!("/{path}")),
        Some(path) => Err(Error::Relative { what: "working directory", path: path.clone() }),
    }
}
