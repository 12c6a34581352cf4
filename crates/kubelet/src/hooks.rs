//! Lifecycle hooks: a command, an HTTP request or a pause after a container's start or before its stop.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, HTTPGetAction, LifecycleHandler, Pod};

use crate::node::Node;
use crate::probes::{http, target};
use crate::{Error, spec};

/// A hook without a bound of its own may take this long: nothing bounds one after start, and one before stop has the Pod's
/// grace.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Where a hook runs.
pub(crate) struct Hook<'a> {
    pub(crate) node: &'a Node,
    pub(crate) pod: &'a Pod,
    /// The container's CRI id.
    pub(crate) id: &'a str,
    pub(crate) container: &'a Container,
    pub(crate) pod_ips: &'a [String],
}

/// Runs the hook to its end.
pub(crate) async fn run(hook: &Hook<'_>, handler: &LifecycleHandler) -> Result<(), Error> {
    if let Some(exec) = &handler.exec {
        let command = exec.command.as_deref().unwrap_or_default();
        return match hook.node.runtime.exec(hook.id, command, LONGEST).await? {
            Some(done) if done.exit_code == 0 => Ok(()),
            Some(done) => {
                let output = String::from_utf8_lossy(&done.output);
                let code = done.exit_code;
                Err(Error::Config(format!("command '{}' exited with {code}: {output}", command.join(" "))))
            }
            None => Err(Error::Config(format!("command '{}' timed out", command.join(" ")))),
        };
    }
    if let Some(get) = &handler.http_get {
        return call(hook, get).await;
    }
    if let Some(sleep) = &handler.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
    }
    Ok(())
}

/// Calls the container; any answer will do. One that was thought to speak HTTPS and does not is asked over HTTP.
async fn call(hook: &Hook<'_>, get: &HTTPGetAction) -> Result<(), Error> {
    let ip = hook.pod_ips.first().map(String::as_str).unwrap_or("127.0.0.1");
    let mut request = target::http(get, hook.container, ip).map_err(Error::Config)?;
    let failed = match http::get(&request, LONGEST).await {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    let plain = matches!(failed.cause, http::Cause::PlainAnswer);
    let failed = Error::Config(failed.to_string());
    if !plain {
        return Err(failed);
    }
    request.tls = false;
    request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("authorization"));
    http::get(&request, LONGEST).await.map_err(|_| failed)?;
    let host = request.authority();
    let message = format!("request to HTTPS lifecycle hook {host} got HTTP response, retry with HTTP succeeded");
    hook.node.recorder.warning(&spec::reference(hook.pod), "LifecycleHTTPFallback", message);
    Ok(())
}
