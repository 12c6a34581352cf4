//! Scripts of requests and what comes back: `scripts/*.txt`, each on a server of its own.
//!
//! ```text
//! METHOD path [media type of the body] [as user] [bearer token] [accept media types]
//!     [impersonate user=bob;group=g]
//! > body, as many lines as it takes
//! = status [until .path = value]   (asks again until it is so)
//! .path = json      .path ~ part of a text     .path exists     .path absent     .path -> variable
//! ```

use std::collections::HashMap;

use axum::body::Body;
use http::Request;
use sampan_auth::Peer;
use serde_json::Value;

use crate::support::{Cluster, in_process, read};

/// How long a step may ask again.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

#[derive(Default)]
struct Step {
    line: usize,
    request: String,
    body: String,
    want: String,
    checks: Vec<String>,
}

fn steps(script: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (index, line) in script.lines().enumerate() {
        let last = steps.last_mut();
        match (line.split_at_checked(2), last) {
            (Some(("> ", text)), Some(step)) => step.body.extend([text, "\n"]),
            (Some(("= ", text)), Some(step)) => step.want = text.to_owned(),
            _ if line.is_empty() || line.starts_with('#') => {}
            (_, Some(step)) if line.starts_with('.') => step.checks.push(line.to_owned()),
            _ => steps.push(Step { line: index + 1, request: line.to_owned(), ..Step::default() }),
        }
    }
    steps
}

fn request(step: &Step, variables: &HashMap<String, String>) -> Request<Body> {
    let fill = |text: &str| variables.iter().fold(text.to_owned(), |t, (k, v)| t.replace(&format!("${{{k}}}"), v));
    let line = fill(&step.request);
    let mut words = line.split(' ');
    let mut builder = Request::builder().method(words.next().unwrap()).uri(words.next().unwrap());
    builder = builder.header("user-agent", "script/1");
    let (mut peer, mut media) = (Some(in_process("admin")), "application/json");
    let nobody =
        Peer::Remote { address: "192.0.2.9:1".parse().unwrap(), user: None, front_proxy: false, stranger: false };
    while let Some(word) = words.next() {
        match word {
            "as" => {
                let user = words.next().unwrap();
                peer = Some(if user == "nobody" { nobody.clone() } else { in_process(user) });
            }
            "bearer" => {
                peer = Some(nobody.clone());
                builder = builder.header("authorization", format!("Bearer {}", words.next().unwrap()));
            }
            "impersonate" => {
                for header in words.next().unwrap().split(';') {
                    let (name, value) = header.split_once('=').unwrap();
                    builder = builder.header(format!("impersonate-{name}"), value);
                }
            }
            "accept" => builder = builder.header("accept", words.next().unwrap()),
            word => media = Box::leak(word.to_owned().into_boxed_str()),
        }
    }
    builder = builder.header("content-type", media).extension(peer.take().unwrap());
    builder.body(Body::from(fill(&step.body))).unwrap()
}

fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    // A dot in a key is written `\.`.
    let path = path.trim_start_matches('.').replace("\\.", "\0");
    path.split('.').map(|key| key.replace('\0', ".")).try_fold(value, |value, key| match key.parse::<usize>() {
        Ok(index) if value.is_array() => value.get(index),
        _ => value.get(&key),
    })
}

fn check(text: &str, answer: &Value, variables: &mut HashMap<String, String>) -> Result<(), String> {
    let (path, rest) = text.split_once(' ').unwrap();
    let found = at(answer, path);
    let holds = match rest.split_once(' ') {
        None if rest == "exists" => found.is_some_and(|value| !value.is_null()),
        None if rest == "absent" => found.is_none(),
        Some(("=", want)) => {
            let want = variables.iter().fold(want.to_owned(), |t, (k, v)| t.replace(&format!("${{{k}}}"), v));
            found == Some(&serde_json::from_str(&want).unwrap())
        }
        Some(("~", part)) => found.and_then(Value::as_str).is_some_and(|text| text.contains(part)),
        Some(("->", name)) => {
            let text = found.and_then(Value::as_str).unwrap_or_default();
            variables.insert(name.to_owned(), text.to_owned());
            !text.is_empty()
        }
        _ => panic!("unknown check: {text}"),
    };
    if holds { Ok(()) } else { Err(format!("{text}\n  found {found:?}")) }
}

async fn run(name: &str, script: &str) {
    let cluster = Cluster::start().await;
    let mut variables = HashMap::new();
    for step in steps(script) {
        let (code, until) = step.want.split_once(" until ").unwrap_or((&step.want, ""));
        let started = tokio::time::Instant::now();
        let (got, answer) = loop {
            assert!(started.elapsed() < PATIENCE, "{name}:{}: {} never came true", step.line, step.want);
            let (got, answer) = read(cluster.send(request(&step, &variables)).await).await;
            if until.is_empty() || check(until, &answer, &mut variables).is_ok() {
                break (got, answer);
            }
            tokio::task::yield_now().await;
        };
        let place = format!("{name}:{}: {}", step.line, step.request);
        assert_eq!(got.to_string(), code, "{place}\n{answer:#}");
        for text in &step.checks {
            if let Err(why) = check(text, &answer, &mut variables) {
                panic!("{place}\n{why}\n{answer:#}");
            }
        }
    }
    cluster.handle.shutdown().await;
}

macro_rules! scripts {
    ($($name:ident)*) => {$(
        #[tokio::test]
        async fn $name() {
            run(stringify!($name), include_str!(concat!("scripts/", stringify!($name), ".txt"))).await;
        }
    )*};
}

// One a line, so that lines of several authors do not meet.
scripts! {
    admission
    admission_nodes
    apply
    certificates
    components
    configmaps
    crd
    crd_rules
    discovery
    evictions
    flow_control
    identity_access
    identity_certificates
    identity_nodes
    identity_pod_certificates
    identity_tokens
    lists
    namespaces
    pods
    policies
    ranges
    rights
    services
    status
    workloads
}
