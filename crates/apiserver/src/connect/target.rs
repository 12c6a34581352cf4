//! Where a connection goes: pure functions from objects and options to an address and a path.

use sampan_api::status::Status;
use serde_json::Value;

use crate::request::Query;

/// Where a request about a Pod goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OfPod {
    /// To the kubelet, under this path and query.
    Kubelet(String),
    /// Nowhere: there is nothing to say yet.
    Nothing,
}

/// Longest command line of an exec, in bytes of its query.
const MAX_QUERY_BYTES: usize = 256 << 10;

/// The kubelet's path for log, exec, attach or portforward of `pod`.
pub(super) fn of_pod(subresource: &str, pod: &Value, query: &Query) -> Result<OfPod, Status> {
    let meta = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
    let (namespace, name) = (meta("namespace"), meta("name"));
    let scheduled = pod["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
    if subresource == "portforward" {
        check_scheduled(scheduled, name)?;
        let ports = pairs(query, &["ports"]);
        return Ok(OfPod::Kubelet(with_query(format!("/portForward/{namespace}/{name}"), ports)?));
    }
    let container = container(pod, query.text("container"))?;
    if subresource == "log" {
        if !scheduled {
            return Ok(OfPod::Nothing);
        }
        check_log_options(query)?;
        let options = pairs(query, &LOG_OPTIONS);
        return Ok(OfPod::Kubelet(with_query(format!("/containerLogs/{namespace}/{name}/{container}"), options)?));
    }
    check_scheduled(scheduled, name)?;
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    if matches!(phase, "Succeeded" | "Failed") {
        let verb = if subresource == "exec" { "exec into" } else { "attach to" };
        return Err(Status::bad_request(format!(
            "cannot {verb} a container in a completed pod; current phase is {phase}"
        )));
    }
    let mut options: Vec<(String, String)> = Vec::new();
    for (ours, theirs) in [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")] {
        if query.flag(ours) {
            options.push((theirs.to_owned(), "1".to_owned()));
        }
    }
    if subresource == "exec" {
        let commands = query.all("command").map(|word| ("command".to_owned(), word.to_owned()));
        options.extend(commands);
    }
    Ok(OfPod::Kubelet(with_query(format!("/{subresource}/{namespace}/{name}/{container}"), options)?))
}

const LOG_OPTIONS: [&str; 9] = [
    "follow",
    "previous",
    "sinceSeconds",
    "sinceTime",
    "timestamps",
    "tailLines",
    "limitBytes",
    "insecureSkipTLSVerifyBackend",
    "stream",
];

fn check_scheduled(scheduled: bool, name: &str) -> Result<(), Status> {
    if scheduled { Ok(()) } else { Err(Status::bad_request(format!("pod {name} does not have a host assigned"))) }
}

fn check_log_options(query: &Query) -> Result<(), Status> {
    use sampan_api::field::{Error, Path};
    let mut faults = Vec::new();
    let numbers = [("tailLines", 0), ("limitBytes", 1), ("sinceSeconds", 1)];
    for (name, least) in numbers {
        let why = if least == 0 { "must be greater than or equal to 0" } else { "must be greater than 0" };
        match query.number::<i64>(name)? {
            Some(number) if number < least => faults.push(Error::invalid(&Path::new(name), number, why)),
            _ => {}
        }
    }
    if query.get("sinceSeconds").is_some() && query.get("sinceTime").is_some() {
        let why = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        faults.push(Error::forbidden(&Path::root(), why));
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(sampan_api::status::Resource { group: "", name: "PodLogOptions" }, "", &faults))
}

/// The container that is meant: as asked, the annotated default, or the only one.
fn container(pod: &Value, asked: &str) -> Result<String, Status> {
    let names = |list: &str| -> Vec<String> {
        let containers = pod["spec"][list].as_array().into_iter().flatten();
        containers.filter_map(|container| container["name"].as_str()).map(str::to_owned).collect()
    };
    let pod_name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let (main, init, ephemeral) = (names("containers"), names("initContainers"), names("ephemeralContainers"));
    let known = |name: &str| [&main, &init, &ephemeral].into_iter().flatten().any(|other| other == name);
    if !asked.is_empty() {
        let invalid = || Status::bad_request(format!("container {asked} is not valid for pod {pod_name}"));
        return known(asked).then(|| asked.to_owned()).ok_or_else(invalid);
    }
    let default = pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].as_str();
    if let Some(default) = default.filter(|name| known(name)) {
        return Ok(default.to_owned());
    }
    if let [only] = main.as_slice() {
        return Ok(only.clone());
    }
    let mut why = format!("a container name must be specified for pod {pod_name}, choose one of: [{}]", main.join(" "));
    for (kind, names) in [("init", init), ("ephemeral", ephemeral)] {
        if !names.is_empty() {
            why.push_str(&format!(" or one of the {kind} containers: [{}]", names.join(" ")));
        }
    }
    Err(Status::bad_request(why))
}

fn pairs(query: &Query, names: &[&str]) -> Vec<(String, String)> {
    let of = |name: &&str| query.all(name).map(|value| ((*name).to_owned(), value.to_owned())).collect::<Vec<_>>();
    names.iter().flat_map(of).collect()
}

fn with_query(path: String, pairs: Vec<(String, String)>) -> Result<String, Status> {
    if pairs.is_empty() {
        return Ok(path);
    }
    let text: Vec<String> = pairs.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
    let query = text.join("&");
    if query.len() > MAX_QUERY_BYTES {
        return Err(Status::bad_request("the command is too long"));
    }
    Ok(format!("{path}?{query}"))
}

/// Percent-encodes everything but unreserved characters.
fn escape(text: &str) -> String {
    let byte = |b: u8| match b {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(b).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// Address types in the order in which they are tried.
const ADDRESS_TYPES: [&str; 3] = ["InternalIP", "Hostname", "ExternalIP"];
/// The kubelet's port if the node does not say.
const KUBELET_PORT: u16 = 10250;

/// Where a node's kubelet listens.
pub(super) fn kubelet_address(node: &Value) -> Result<(String, u16), Status> {
    let name = node["metadata"]["name"].as_str().unwrap_or_default();
    let addresses = node["status"]["addresses"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of_type = |kind: &&str| addresses.iter().find(|address| address["type"] == **kind)?["address"].as_str();
    let host = ADDRESS_TYPES.iter().find_map(of_type).filter(|host| !host.is_empty());
    let host = host.ok_or_else(|| Status::unavailable(format!("no preferred addresses found for node {name}")))?;
    let port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64();
    Ok((host.to_owned(), port.and_then(|port| u16::try_from(port).ok()).unwrap_or(KUBELET_PORT)))
}

/// `scheme:name:port` as the proxies take it, of which only the name must be there.
pub(super) fn split_name(text: &str) -> Result<(&str, &str, &str), Status> {
    let parts: Vec<&str> = text.split(':').collect();
    let (scheme, name, port) = match parts.as_slice() {
        [name] => ("", *name, ""),
        [name, port] => ("", *name, *port),
        [scheme, name, port] => (*scheme, *name, *port),
        _ => ("", "", ""),
    };
    if name.is_empty() || !matches!(scheme, "" | "http" | "https") {
        return Err(Status::bad_request(format!("invalid request {text:?}")));
    }
    Ok((scheme, name, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(containers: &[&str]) -> Value {
        let containers: Vec<Value> = containers.iter().map(|name| json!({ "name": name })).collect();
        json!({
            "metadata": { "name": "p", "namespace": "n" }, "spec": { "nodeName": "w", "containers": containers },
            "status": { "phase": "Running" },
        })
    }

    #[track_caller]
    fn check(subresource: &str, pod: &Value, query: &str, want: Result<&str, &str>) {
        let query = Query::of(&format!("/?{query}").parse().unwrap()).unwrap();
        let got = of_pod(subresource, pod, &query).map_err(|status| status.message);
        let want = want.map(|path| OfPod::Kubelet(path.to_owned())).map_err(str::to_owned);
        assert_eq!(got, want);
    }

    #[test]
    fn paths() {
        let one = pod(&["a"]);
        check(
            "exec",
            &one,
            "command=sh&command=-c&command=echo%20%22hi%22%26&stdin=true&stdout=true&tty=true",
            Ok("/exec/n/p/a?input=1&output=1&tty=1&command=sh&command=-c&command=echo%20%22hi%22%26"),
        );
        check("log", &one, "follow=true&tailLines=5", Ok("/containerLogs/n/p/a?follow=true&tailLines=5"));
        check("attach", &one, "stdout=1", Ok("/attach/n/p/a?output=1"));
        check("portforward", &one, "", Ok("/portForward/n/p"));
    }

    #[test]
    fn containers() {
        let two = pod(&["a", "b"]);
        check("log", &two, "container=b", Ok("/containerLogs/n/p/b"));
        check("log", &two, "container=c", Err("container c is not valid for pod p"));
        check("exec", &two, "", Err("a container name must be specified for pod p, choose one of: [a b]"));
    }

    #[test]
    fn pods_that_cannot() {
        let mut done = pod(&["a"]);
        done["status"]["phase"] = "Failed".into();
        check("exec", &done, "", Err("cannot exec into a container in a completed pod; current phase is Failed"));
        let mut pending = pod(&["a"]);
        pending["spec"]["nodeName"] = "".into();
        check("exec", &pending, "", Err("pod p does not have a host assigned"));
        assert_eq!(of_pod("log", &pending, &Query::default()), Ok(OfPod::Nothing));
    }
}
