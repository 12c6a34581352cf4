//! AppArmor: the profile that confines a container, be it one of the node's or the runtime's own.
//!
//! Which one it is, [`decide`] says, as containerd would: who names none has the runtime's own, where the node can load
//! it. That one (`profile.rs`) is given to the kernel when the first container of a runtime's life wants it, so that it is
//! always this build's, and again if somebody has taken it away. Where the kernel has no AppArmor, nothing is ever looked
//! at again.

mod kernel;
mod profile;

use std::path::PathBuf;

use sampan_cri::v1::LinuxContainerSecurityContext;
use sampan_cri::v1::security_profile::ProfileType;
use tokio::sync::Mutex;

/// How clients that do not send the newer field name a profile of the node.
const LOCALHOST: &str = "localhost/";

/// Why a container cannot be confined as it is asked for; mostly in containerd's words.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The node has no AppArmor, or nothing that could load the runtime's own profile.
    #[error("apparmor is not supported")]
    Unsupported,
    /// The kernel does not know the profile.
    #[error("apparmor profile not found {0}")]
    NotFound(String),
    /// What was asked for names no profile.
    #[error("invalid apparmor profile {0:?}")]
    Invalid(String),
    /// The kernel was not given the runtime's own profile.
    #[error("load apparmor profile {name}: {why}")]
    Load {
        /// The profile's name.
        name: String,
        /// What the parser said.
        why: String,
    },
}

/// What the node offers to a decision.
struct Host<'a> {
    enabled: bool,
    /// Whether profiles can be loaded.
    loads: bool,
    /// What the kernel has.
    profiles: &'a [String],
    /// The name of the runtime's own.
    own: &'a str,
}

/// What confines a container.
#[derive(Debug, PartialEq, Eq)]
enum Confinement {
    Nothing,
    /// The runtime's own profile.
    Own,
    /// One that the kernel has.
    Named(String),
}

/// What a container asks for.
enum Wish<'a> {
    Unconfined,
    RuntimeDefault,
    Localhost(&'a str),
}

fn decide(security: &LinuxContainerSecurityContext, host: &Host<'_>) -> Result<Confinement, Error> {
    let wish = wish(security)?;
    let has = |name: &str| host.profiles.iter().any(|profile| profile == name);
    match wish {
        Some(Wish::Unconfined) => Ok(Confinement::Nothing),
        None if !host.enabled => Ok(Confinement::Nothing),
        // Nobody may believe to be confined who is not.
        Some(_) if !host.enabled => Err(Error::Unsupported),
        Some(Wish::Localhost("")) => Err(Error::Invalid(String::new())),
        Some(Wish::Localhost(name)) if has(name) => Ok(Confinement::Named(name.to_owned())),
        Some(Wish::Localhost(name)) => Err(Error::NotFound(name.to_owned())),
        _ if security.privileged => Ok(Confinement::Nothing),
        _ if host.loads || has(host.own) => Ok(Confinement::Own),
        None => Ok(Confinement::Nothing),
        Some(Wish::RuntimeDefault) => Err(Error::Unsupported),
    }
}

fn wish(security: &LinuxContainerSecurityContext) -> Result<Option<Wish<'_>>, Error> {
    if let Some(profile) = &security.apparmor {
        return Ok(Some(match profile.profile_type() {
            ProfileType::Unconfined => Wish::Unconfined,
            ProfileType::RuntimeDefault => Wish::RuntimeDefault,
            ProfileType::Localhost => {
                let name = &profile.localhost_ref;
                Wish::Localhost(name.strip_prefix(LOCALHOST).unwrap_or(name))
            }
        }));
    }
    #[expect(deprecated, reason = "clients older than the field above send this one")]
    let old = security.apparmor_profile.as_str();
    match (old, old.strip_prefix(LOCALHOST)) {
        ("", _) => Ok(None),
        ("unconfined", _) => Ok(Some(Wish::Unconfined)),
        ("runtime/default", _) => Ok(Some(Wish::RuntimeDefault)),
        (_, Some(name)) => Ok(Some(Wish::Localhost(name))),
        (other, None) => Err(Error::Invalid(other.to_owned())),
    }
}

/// The node's AppArmor, as the containers of one runtime have it.
pub(crate) struct AppArmor {
    enabled: bool,
    /// What loads profiles, where it is installed.
    parser: Option<PathBuf>,
    /// The name of the runtime's own profile.
    own: String,
    /// Whether this runtime has given it to the kernel. Held by whoever does.
    loaded: Mutex<bool>,
}

impl AppArmor {
    /// That of this node, with a profile of the runtime's own that begins with the name of the instance.
    pub(crate) fn new(instance: &str) -> Self {
        let enabled = kernel::is_enabled();
        let parser = enabled.then(kernel::parser).flatten();
        if enabled && parser.is_none() {
            tracing::warn!(
                "AppArmor is on, but containers that name no profile are not confined: apparmor_parser is missing; \
                 install the package apparmor and start this again"
            );
        }
        Self { enabled, parser, own: format!("{instance}-default"), loaded: Mutex::new(false) }
    }

    /// The profile that a container has to be confined by, which the kernel then has; `None` for none.
    pub(crate) async fn confinement(&self, security: &LinuxContainerSecurityContext) -> Result<Option<String>, Error> {
        let profiles = if self.enabled { kernel::profiles() } else { Vec::new() };
        let (enabled, loads) = (self.enabled, self.parser.is_some());
        match decide(security, &Host { enabled, loads, profiles: &profiles, own: &self.own })? {
            Confinement::Nothing => Ok(None),
            Confinement::Named(name) => Ok(Some(name)),
            Confinement::Own => {
                self.load().await?;
                Ok(Some(self.own.clone()))
            }
        }
    }

    /// Has the kernel know the runtime's own profile, in place of one that an earlier build has left.
    async fn load(&self) -> Result<(), Error> {
        let Some(parser) = &self.parser else { return Ok(()) };
        let mut loaded = self.loaded.lock().await;
        if *loaded && kernel::profiles().contains(&self.own) {
            return Ok(());
        }
        let text = profile::text(&self.own, kernel::confined_by().as_deref());
        kernel::load(parser, &text).await.map_err(|why| Error::Load { name: self.own.clone(), why })?;
        tracing::info!(profile = self.own, "the kernel has the containers' AppArmor profile");
        *loaded = true;
        Ok(())
    }

    /// Takes the runtime's own profile out of the kernel; no container may be confined by it any more.
    pub(crate) fn remove(&self) {
        if !self.enabled || !kernel::profiles().contains(&self.own) {
            return;
        }
        if let Err(error) = kernel::remove(&self.own) {
            tracing::warn!(profile = self.own, %error, "the containers' AppArmor profile could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use sampan_cri::v1::SecurityProfile;

    use super::*;

    const ON: Host<'_> = Host { enabled: true, loads: true, profiles: &[], own: "sampan-default" };
    const OFF: Host<'_> = Host { enabled: false, ..ON };
    const NO_PARSER: Host<'_> = Host { loads: false, ..ON };

    fn security(kind: ProfileType, name: &str) -> LinuxContainerSecurityContext {
        let profile = SecurityProfile { profile_type: kind.into(), localhost_ref: name.to_owned() };
        LinuxContainerSecurityContext { apparmor: Some(profile), ..Default::default() }
    }

    fn privileged(security: LinuxContainerSecurityContext) -> LinuxContainerSecurityContext {
        LinuxContainerSecurityContext { privileged: true, ..security }
    }

    #[track_caller]
    fn check(security: LinuxContainerSecurityContext, host: &Host<'_>, want: &str) {
        let got = match decide(&security, host) {
            Ok(Confinement::Nothing) => "nothing".to_owned(),
            Ok(Confinement::Own) => "own".to_owned(),
            Ok(Confinement::Named(name)) => format!("named {name}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, want);
    }

    #[test]
    fn who_names_no_profile_has_the_runtimes_own() {
        let silent = LinuxContainerSecurityContext::default;
        let asks = || security(ProfileType::RuntimeDefault, "");
        check(silent(), &ON, "own");
        check(asks(), &ON, "own");
        check(security(ProfileType::Unconfined, ""), &ON, "nothing");
        check(privileged(silent()), &ON, "nothing");
        check(privileged(asks()), &ON, "nothing");

        check(silent(), &OFF, "nothing");
        check(asks(), &OFF, "apparmor is not supported");
        check(security(ProfileType::Unconfined, ""), &OFF, "nothing");

        check(silent(), &NO_PARSER, "nothing");
        check(asks(), &NO_PARSER, "apparmor is not supported");
        let own = [ON.own.to_owned()];
        check(asks(), &Host { profiles: &own, ..NO_PARSER }, "own");
    }

    #[test]
    fn a_profile_of_the_node_has_to_be_loaded() {
        let profiles = ["mine".to_owned(), "/usr/bin/man".to_owned()];
        let host = Host { profiles: &profiles, ..ON };
        let named = |name| security(ProfileType::Localhost, name);
        check(named("mine"), &host, "named mine");
        check(named("localhost//usr/bin/man"), &host, "named /usr/bin/man");
        check(privileged(named("mine")), &host, "named mine");
        check(named("mine"), &Host { loads: false, ..host }, "named mine");
        check(named("min"), &host, "apparmor profile not found min");
        check(named("mine"), &OFF, "apparmor is not supported");
        check(named(""), &host, "invalid apparmor profile \"\"");
    }

    #[test]
    #[expect(deprecated, reason = "clients older than its successor send this field")]
    fn the_older_field_is_read_where_there_is_no_newer_one() {
        let old =
            |name: &str| LinuxContainerSecurityContext { apparmor_profile: name.to_owned(), ..Default::default() };
        let profiles = ["mine".to_owned()];
        let host = Host { profiles: &profiles, ..ON };
        check(old("localhost/mine"), &host, "named mine");
        check(old("localhost/none"), &host, "apparmor profile not found none");
        check(old("runtime/default"), &host, "own");
        check(old("unconfined"), &host, "nothing");
        check(old("mine"), &host, "invalid apparmor profile \"mine\"");
        let both = LinuxContainerSecurityContext {
            apparmor_profile: "unconfined".to_owned(),
            ..security(ProfileType::Localhost, "mine")
        };
        check(both, &host, "named mine");
    }
}
