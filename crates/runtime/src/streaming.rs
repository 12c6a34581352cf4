//! Exec, attach and port-forward: a small HTTP server on loopback, where the streaming protocols end.
//!
//! CRI answers such a request with a URL. It carries a token that cannot be guessed, works once, and for a minute.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use sampan_streams::remotecommand::{self, ExitStatus, TerminalSize};
use sampan_streams::{Body, BoxError, Sessions, portforward};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::node::Node;
use crate::sessions::{self, Sizing, Streams, Wanted};
use crate::terminal::Terminal;

const TOKEN_LIFE: Duration = Duration::from_secs(60);
/// Requests that were made and not yet come back for.
const MAX_TOKENS: usize = 1000;
const TOKEN_BYTES: usize = 32;
/// What a container still says after its end, when nobody closes its output.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// What a URL stands for.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Exec { container: String, command: Vec<String>, wanted: Wanted },
    Attach { container: String, wanted: Wanted },
    PortForward { sandbox: String, ports: Vec<u16> },
}

/// Hands out URLs.
#[derive(Clone)]
pub(crate) struct Urls {
    address: SocketAddr,
    tokens: Arc<Mutex<HashMap<String, (Target, Instant)>>>,
}

impl Urls {
    /// A URL for `target`; `None` when too many are waiting already.
    pub(crate) fn issue(&self, target: Target) -> Option<String> {
        let mut tokens = self.tokens.lock();
        let now = Instant::now();
        tokens.retain(|_, (_, end)| *end > now);
        if tokens.len() >= MAX_TOKENS {
            return None;
        }
        let token = hex::encode(rand::random::<[u8; TOKEN_BYTES]>());
        let url = format!("http://{}/stream/{token}", self.address);
        tokens.insert(token, (target, now + TOKEN_LIFE));
        Some(url)
    }

    fn redeem(&self, path: &str) -> Option<Target> {
        let token = path.strip_prefix("/stream/")?;
        let (target, end) = self.tokens.lock().remove(token)?;
        (end > Instant::now()).then_some(target)
    }
}

/// Sessions at once, of everybody together: each holds a dozen descriptors along its way.
const MAX_SESSIONS: usize = 1000;

/// The streaming server.
pub(crate) struct Server {
    urls: Urls,
    sessions: Sessions,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// Listens on a free port of loopback.
    pub(crate) async fn start(node: Arc<Node>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let urls = Urls { address: listener.local_addr()?, tokens: Arc::default() };
        let server = Self {
            urls,
            sessions: Sessions::new(MAX_SESSIONS),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let service = Service { node, urls: server.urls.clone(), sessions: server.sessions.clone() };
        let (stop, tasks) = (server.stop.clone(), server.tasks.clone());
        server.tasks.spawn(async move {
            while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
                match accepted {
                    Ok((stream, _)) => drop(tasks.spawn(service.clone().connection(stream, stop.clone()))),
                    // Out of descriptors: the next attempt may find some.
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        });
        Ok(server)
    }

    pub(crate) fn urls(&self) -> Urls {
        self.urls.clone()
    }

    pub(crate) async fn shutdown(&self) {
        self.stop.cancel();
        self.sessions.shutdown().await;
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[derive(Clone)]
struct Service {
    node: Arc<Node>,
    urls: Urls,
    sessions: Sessions,
}

impl Service {
    async fn connection(self, stream: tokio::net::TcpStream, stop: CancellationToken) {
        let serve = service_fn(move |request| {
            let response = named(self.answer(request));
            async move { Ok::<_, std::convert::Infallible>(response) }
        });
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), serve);
        let _ = stop.run_until_cancelled(connection.with_upgrades()).await;
    }

    fn answer(&self, mut request: Request<Incoming>) -> Response<Body> {
        let Some(target) = self.urls.redeem(request.uri().path()) else {
            return refusal(StatusCode::NOT_FOUND, "unknown or used token");
        };
        request.extensions_mut().insert(self.sessions.clone());
        let node = Arc::clone(&self.node);
        match target {
            Target::Exec { container, command, wanted } => {
                remotecommand::serve(request, options(wanted), move |session| {
                    exec(node, container, command, wanted, session)
                })
            }
            Target::Attach { container, wanted } => {
                remotecommand::serve(request, options(wanted), move |session| attach(node, container, wanted, session))
            }
            Target::PortForward { sandbox, ports } => portforward::serve(request, ports, move |port| {
                let (node, sandbox) = (Arc::clone(&node), sandbox.clone());
                async move { sessions::dial(&node, &sandbox, port).await.map_err(|error| Box::new(error) as BoxError) }
            }),
        }
    }
}

/// A response whose body failed; a name for hyper, which wants a type of its own.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Broken(BoxError);

fn named(response: Response<Body>) -> Response<UnsyncBoxBody<Bytes, Broken>> {
    response.map(|body| body.map_err(Broken).boxed_unsync())
}

fn options(wanted: Wanted) -> remotecommand::Options {
    remotecommand::Options { stdin: wanted.stdin, stdout: wanted.stdout, stderr: wanted.stderr, tty: wanted.terminal }
}

fn refusal(status: StatusCode, words: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::from(words).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response
}

async fn exec(
    node: Arc<Node>,
    container: String,
    command: Vec<String>,
    wanted: Wanted,
    client: remotecommand::Session,
) -> Result<ExitStatus, BoxError> {
    let (mut session, streams) = sessions::start(&node, &container, &command, wanted)
        .await
        .map_err(|error| format!("error executing command in container: {error}"))?;
    let remotecommand::Session { stdin, stdout, stderr, resize } = client;
    let sizing = session.sizing();
    let Ends { input, stdout: own_stdout, stderr: own_stderr } = ends(streams)?;
    let output = async { tokio::join!(pump(own_stdout, stdout), pump(own_stderr, stderr)) };
    let ending = async {
        let mut output = std::pin::pin!(output);
        let early = tokio::select! {
            exit = session.wait() => Some(exit),
            _ = &mut output => None,
        };
        match early {
            None => session.wait().await,
            Some(exit) => {
                let _ = tokio::time::timeout(DRAIN_TIMEOUT, output).await;
                exit
            }
        }
    };
    let exit = alongside(ending, pump(stdin, input), follow(resize, sizing)).await?;
    Ok(ExitStatus(exit.code))
}

async fn attach(
    node: Arc<Node>,
    container: String,
    wanted: Wanted,
    client: remotecommand::Session,
) -> Result<ExitStatus, BoxError> {
    let (attachment, streams) = sessions::attach(&node, &container, wanted)
        .await
        .map_err(|error| format!("error attaching to container: {error}"))?;
    let remotecommand::Session { stdin, stdout, stderr, resize } = client;
    let sizing = attachment.sizing();
    let Ends { input, .. } = ends(Streams { stdin: streams.stdin, terminal: streams.terminal, ..Streams::default() })?;
    let output =
        async { tokio::join!(pump(streams.stdout.map(boxed), stdout), pump(streams.stderr.map(boxed), stderr)) };
    let typed = async {
        let typing = input.is_some() && stdin.is_some();
        pump(stdin, input).await;
        if typing {
            attachment.close_stdin().await;
        }
    };
    alongside(output, typed, follow(resize, sizing)).await;
    Ok(ExitStatus::SUCCESS)
}

type Source = Box<dyn AsyncRead + Send + Unpin>;
type Sink = Box<dyn AsyncWrite + Send + Unpin>;

/// Our ends of a process's streams, whatever they are made of.
struct Ends {
    input: Option<Sink>,
    stdout: Option<Source>,
    stderr: Option<Source>,
}

fn ends(streams: Streams) -> io::Result<Ends> {
    if let Some(master) = streams.terminal {
        let (read, write) = tokio::io::split(Terminal::new(master)?);
        return Ok(Ends { input: Some(Box::new(write)), stdout: Some(Box::new(read)), stderr: None });
    }
    let input = streams.stdin.map(|sender| Box::new(sender) as Sink);
    Ok(Ends { input, stdout: streams.stdout.map(boxed), stderr: streams.stderr.map(boxed) })
}

fn boxed(receiver: tokio::net::unix::pipe::Receiver) -> Source {
    Box::new(receiver)
}

/// Runs `main` to its end; the other two go on beside it as long as that takes.
async fn alongside<T>(main: impl Future<Output = T>, first: impl Future, second: impl Future) -> T {
    let beside = async {
        tokio::join!(first, second);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = main => result,
        () = beside => unreachable!("invariant: what runs beside never ends"),
    }
}

/// Copies everything, then ends the sink. A side that is gone ends it too.
async fn pump(source: Option<Source>, sink: Option<Sink>) {
    let (Some(mut source), Some(mut sink)) = (source, sink) else { return };
    let _ = copy(&mut source, &mut sink).await;
    let _ = sink.shutdown().await;
}

async fn follow(mut sizes: mpsc::Receiver<TerminalSize>, sizing: Sizing) {
    while let Some(TerminalSize { width, height }) = sizes.recv().await {
        sizing.set(width, height).await;
    }
}
