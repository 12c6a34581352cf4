//! The options of a connection as an object, which is what admission sees of it.

use sampan_api::kind::KindRef;
use sampan_api::status::Status;
use serde_json::{Value, json};

use crate::admission::{self, Request};
use crate::request::Query;
use crate::server::{Call, Server};
use crate::verbs::attempt;

/// Has a connection admitted; reading a log is none.
pub(super) async fn admit(server: &Server, kind: &KindRef, call: &Call) -> Result<(), Status> {
    let mut attempt = attempt(kind, call)?;
    if attempt.subresource == "log" {
        return Ok(());
    }
    // The proxies take `scheme:name:port` for a name.
    if attempt.subresource == "proxy" {
        attempt = attempt.named(super::target::split_name(&call.info.name)?.1);
    }
    server.registry.cache.fresh().await?;
    let request = Request::connect(&attempt);
    let (group, version, word) = request.gvk();
    let mut object = of_query(attempt.subresource, &call.query, &call.info.rest);
    object["kind"] = word.into();
    object["apiVersion"] = if group.is_empty() { version.into() } else { format!("{group}/{version}").into() };
    admission::pass(&server.registry, &request, object).await.map(drop)
}

/// What the query says, with upstream's defaults.
fn of_query(subresource: &str, query: &Query, rest: &str) -> Value {
    let flag = |name: &str, unsaid: bool| query.get(name).map_or(unsaid, |_| query.flag(name));
    match subresource {
        "exec" | "attach" => {
            let mut options = json!({});
            for (name, unsaid) in [("stdin", false), ("stdout", true), ("stderr", true), ("tty", false)] {
                if flag(name, unsaid) {
                    options[name] = true.into();
                }
            }
            if !query.text("container").is_empty() {
                options["container"] = query.text("container").into();
            }
            if subresource == "exec" {
                options["command"] = query.all("command").collect();
            }
            options
        }
        "portforward" => {
            let ports =
                query.all("ports").flat_map(|ports| ports.split(',')).filter_map(|port| port.parse::<u32>().ok());
            let ports: Vec<u32> = ports.collect();
            if ports.is_empty() { json!({}) } else { json!({ "ports": ports }) }
        }
        _ => json!({ "path": rest }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(subresource: &str, query: &str, want: Value) {
        let query = Query::of(&format!("/?{query}").parse().unwrap()).unwrap();
        assert_eq!(of_query(subresource, &query, "/metrics"), want);
    }

    #[test]
    fn options() {
        check(
            "exec",
            "command=sh&command=-c&stdin=true&stderr=false&container=c",
            json!({
                "stdin": true, "stdout": true, "container": "c", "command": ["sh", "-c"],
            }),
        );
        check("attach", "tty=1", json!({ "stdout": true, "stderr": true, "tty": true }));
        check("portforward", "ports=80,81", json!({ "ports": [80, 81] }));
        check("proxy", "", json!({ "path": "/metrics" }));
    }
}
