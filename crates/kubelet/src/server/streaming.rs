//! Exec, attach, port-forward and run: the container runtime does the work, this finds the container and the way there.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    extract::{Path, Query, Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, Uri, header};
use sampan_cri::v1;
use sampan_streams::{Error as StreamError, portforward, proxy};
use tokio::{net::TcpStream, time::timeout};

use super::{PodEntry, failure::Failure};

/// How long the runtime's streaming server may take to be reached; it is on this machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a command of `/run` may take.
const RUN_TIMEOUT: Duration = Duration::from_secs(120);

pub(super) type Segments = HashMap<String, String>;
pub(super) type Parameters = Vec<(String, String)>;

/// `/exec/{namespace}/{pod}[/{uid}]/{container}?command=..&input=1&output=1&error=1&tty=1`
pub(super) async fn exec(
    State(state): State<Arc<super::State>>,
    Path(segments): Path<Segments>,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Result<Response, Failure> {
    let wanted = Wanted::of(&parameters)?;
    let cmd = values(&parameters, "command");
    if cmd.is_empty() {
        return Err(Failure::bad_request("you must specify a command"));
    }
    let target = Target::of(&state, &segments)?;
    let call = v1::ExecRequest {
        container_id: target.id.clone(),
        cmd,
        tty: wanted.tty,
        stdin: wanted.stdin,
        stdout: wanted.stdout,
        stderr: wanted.stderr,
    };
    match state.runtime.clone().exec(call).await {
        Ok(answer) => splice(&answer.into_inner().url, request).await,
        Err(error) => Err(target.refused(&state, error).await),
    }
}

/// `/attach/{namespace}/{pod}[/{uid}]/{container}?input=1&output=1&error=1&tty=1`
pub(super) async fn attach(
    State(state): State<Arc<super::State>>,
    Path(segments): Path<Segments>,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Result<Response, Failure> {
    let wanted = Wanted::of(&parameters)?;
    let target = Target::of(&state, &segments)?;
    let call = v1::AttachRequest {
        container_id: target.id.clone(),
        tty: wanted.tty,
        stdin: wanted.stdin,
        stdout: wanted.stdout,
        stderr: wanted.stderr,
    };
    match state.runtime.clone().attach(call).await {
        Ok(answer) => splice(&answer.into_inner().url, request).await,
        Err(error) => Err(target.refused(&state, error).await),
    }
}

/// `/portForward/{namespace}/{pod}[/{uid}]`
pub(super) async fn port_forward(
    State(state): State<Arc<super::State>>,
    Path(segments): Path<Segments>,
    request: Request,
) -> Result<Response, Failure> {
    let entry = pod(&state, &segments)?;
    let sandbox = entry.sandbox.ok_or_else(|| Failure::not_found("the Pod's sandbox is not running"))?;
    let ports = portforward::ports(request.uri().query().unwrap_or_default()).map_err(Failure::bad_request)?;
    let call = v1::PortForwardRequest { pod_sandbox_id: sandbox, port: ports.into_iter().map(i32::from).collect() };
    splice(&state.runtime.clone().port_forward(call).await?.into_inner().url, request).await
}

/// `/run/{namespace}/{pod}[/{uid}]/{container}?cmd=..`: runs a command to its end and answers with what it wrote.
pub(super) async fn run(
    State(state): State<Arc<super::State>>,
    Path(segments): Path<Segments>,
    Query(parameters): Query<Parameters>,
) -> Result<Vec<u8>, Failure> {
    let command = values(&parameters, "cmd").into_iter().next().unwrap_or_default();
    let target = Target::of(&state, &segments)?;
    let call = v1::ExecSyncRequest {
        container_id: target.id.clone(),
        cmd: command.split_whitespace().map(str::to_owned).collect(),
        timeout: RUN_TIMEOUT.as_secs() as i64,
    };
    match state.runtime.clone().exec_sync(call).await {
        Ok(done) => {
            let done = done.into_inner();
            Ok([done.stdout, done.stderr].concat())
        }
        Err(error) => Err(target.refused(&state, error).await),
    }
}

/// Which streams the client wants.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

impl Wanted {
    fn of(parameters: &Parameters) -> Result<Self, Failure> {
        let set = |name| parameters.iter().any(|(key, value)| key == name && matches!(value.as_str(), "1" | "true"));
        let tty = set("tty");
        // A terminal has but one output.
        let wanted = Self { stdin: set("input"), stdout: set("output"), stderr: set("error") && !tty, tty };
        if !(wanted.stdin || wanted.stdout || wanted.stderr) {
            return Err(Failure::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
        }
        Ok(wanted)
    }
}

fn values(parameters: &Parameters, name: &str) -> Vec<String> {
    parameters.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
}

pub(super) fn segment<'a>(segments: &'a Segments, name: &str) -> &'a str {
    segments.get(name).map(String::as_str).unwrap_or_default()
}

/// The Pod of the path. A uid in the path must be its own, so that a client never reaches a Pod of the same name.
pub(super) fn pod(state: &super::State, segments: &Segments) -> Result<PodEntry, Failure> {
    let found = state.pods.find(segment(segments, "namespace"), segment(segments, "pod"));
    let of_uid = |entry: &PodEntry| segments.get("uid").is_none_or(|uid| entry.pod.metadata.uid.as_ref() == Some(uid));
    found.filter(of_uid).ok_or_else(|| Failure::not_found("pod does not exist"))
}

/// The CRI id of the Pod's container `name`, if it runs.
pub(super) fn running(entry: &PodEntry, name: &str) -> Option<String> {
    let current = entry.container(name)?.current.as_ref();
    current.filter(|instance| instance.running).map(|instance| instance.id.clone())
}

/// The container of a path, which must run.
struct Target {
    name: String,
    /// Its CRI id.
    id: String,
}

impl Target {
    fn of(state: &super::State, segments: &Segments) -> Result<Self, Failure> {
        let (entry, name) = (pod(state, segments)?, segment(segments, "container"));
        let id = running(&entry, name).ok_or_else(|| no_container(name))?;
        Ok(Self { name: name.to_owned(), id })
    }

    /// What the client reads when the runtime has refused. A container may have ended and nobody has told yet: whoever
    /// asks is told what they would be told a moment later.
    async fn refused(&self, state: &super::State, error: tonic::Status) -> Failure {
        let request = v1::ContainerStatusRequest { container_id: self.id.clone(), verbose: false };
        let ended = match state.runtime.clone().container_status(request).await {
            Ok(answer) => {
                let status = answer.into_inner().status;
                status.is_none_or(|status| status.state() != v1::ContainerState::ContainerRunning)
            }
            Err(status) => status.code() == tonic::Code::NotFound,
        };
        if ended { no_container(&self.name) } else { error.into() }
    }
}

/// Upstream's answer, which is no "not found" either.
fn no_container(name: &str) -> Failure {
    Failure::internal(format!("container not found ({name:?})"))
}

/// Joins the client's connection to the runtime's streaming server at `url`.
async fn splice(url: &str, mut request: Request) -> Result<Response, Failure> {
    let target: Uri = url.parse().map_err(|_| unusable(url))?;
    let (Some("http"), Some(authority)) = (target.scheme_str(), target.authority()) else { return Err(unusable(url)) };
    let connecting = TcpStream::connect((authority.host(), authority.port_u16().unwrap_or(80)));
    let stream = match timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(connected) => connected.map_err(unreachable)?,
        Err(_) => return Err(unreachable("it does not answer")),
    };
    // See listener: small pieces must not wait for one another.
    let _ = stream.set_nodelay(true);
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| unusable(url))?;
    request.headers_mut().insert(header::HOST, host);
    // The runtime has no use for the client's credentials.
    request.headers_mut().remove(header::AUTHORIZATION);
    *request.uri_mut() = target;
    match proxy::forward(request, stream).await {
        Ok(response) => Ok(response.map(axum::body::Body::new).into_response()),
        Err(error @ StreamError::Busy { .. }) => Err(Failure::new(StatusCode::TOO_MANY_REQUESTS, error.to_string())),
        Err(error) => Err(unreachable(error)),
    }
}

/// The URL holds a one-time token: it is not told to anybody.
fn unusable(_: &str) -> Failure {
    Failure::internal("the container runtime answered with a URL that is not http://host:port/path")
}

fn unreachable(error: impl std::fmt::Display) -> Failure {
    Failure::new(StatusCode::BAD_GATEWAY, format!("the container runtime's streaming server: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_a_query() {
        let check = |query: &str, want: Result<(bool, bool, bool, bool), &str>| {
            let uri: Uri = format!("/?{query}").parse().expect("uri");
            let Query(parameters) = Query::<Parameters>::try_from_uri(&uri).expect("query");
            let got = Wanted::of(&parameters);
            match want {
                Ok((stdin, stdout, stderr, tty)) => {
                    assert_eq!(got, Ok(Wanted { stdin, stdout, stderr, tty }), "{query}")
                }
                Err(text) => assert_eq!(got.expect_err(query).message(), text),
            }
        };
        check("input=1&output=1&error=1", Ok((true, true, true, false)));
        check("output=1&error=1&tty=1", Ok((false, true, false, true)));
        check("output=true", Ok((false, true, false, false)));
        check("command=ls", Err("you must specify at least 1 of stdin, stdout, stderr"));
        check("error=1&tty=1", Err("you must specify at least 1 of stdin, stdout, stderr"));
    }
}
