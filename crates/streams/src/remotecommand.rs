//! Exec and attach, served: one entry for both dialects.
//!
//! ```text
//! request --> negotiate --> 101, then in the background: streams --> handler --> status --> close
//!                \-> 400, 403, 429
//! ```
//! The session ends when the handler does, or when the client goes: then the handler's future is dropped, and what it
//! runs is to end with it.

mod resize;
mod status;
mod streams;

use std::{future::Future, time::Duration};

use http::{Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};

pub use status::ExitStatus;
use status::StatusForm;
use streams::Streams;

use crate::{
    Body, BoxError, Error, Sessions,
    handshake::{self, Refusal},
    spdy, websocket,
    websocket::Codec,
};

/// How long a client may take to open the streams its request announced, as upstream.
const STREAM_CREATION_TIMEOUT: Duration = Duration::from_secs(30);
/// The SPDY stream protocols served, newest first. The last is what a client gets that names none.
const SPDY_PROTOCOLS: [&str; 5] =
    ["v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];
/// The WebSocket subprotocols served, newest first.
const WEBSOCKET_PROTOCOLS: [&str; 5] =
    ["v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io", "base64.channel.k8s.io"];

/// Which streams the client asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The client will send input.
    pub stdin: bool,
    /// The client wants the output.
    pub stdout: bool,
    /// The client wants the error output; never together with a terminal, which has but one output.
    pub stderr: bool,
    /// The process has a terminal.
    pub tty: bool,
}

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TerminalSize {
    /// Columns.
    #[serde(default)]
    pub width: u16,
    /// Rows.
    #[serde(default)]
    pub height: u16,
}

/// What the client types. Ends when the client says so, fails when the client is gone.
pub type Input = Box<dyn AsyncRead + Send + Unpin>;
/// Where output goes. Fails when the client is gone.
pub type Output = Box<dyn AsyncWrite + Send + Unpin>;

/// The streams of one session, as [`Options`] asked for them.
pub struct Session {
    /// What the client types.
    pub stdin: Option<Input>,
    /// The process's output.
    pub stdout: Option<Output>,
    /// The process's error output.
    pub stderr: Option<Output>,
    /// Sizes of the client's terminal, the newest always arrives; ends with the session, or at once without a terminal.
    pub resize: mpsc::Receiver<TerminalSize>,
}

/// Answers an exec or attach request: negotiates, answers `101`, and runs `handler` on the streams in the background,
/// owned by the [`Sessions`] in the request's extensions.
///
/// The handler's exit status goes to the client as upstream words it; its error as an internal error with its text.
pub fn serve<B, H, F>(mut request: Request<B>, options: Options, handler: H) -> Response<Body>
where
    H: FnOnce(Session) -> F + Send + 'static,
    F: Future<Output = Result<ExitStatus, BoxError>> + Send + 'static,
{
    let options = Options { stderr: options.stderr && !options.tty, ..options };
    let sessions = Sessions::of(&request);
    let (response, dialect) = match negotiate(request.headers()) {
        Ok(negotiated) => negotiated,
        Err(refusal) => return refusal.into(),
    };
    let upgrade = hyper::upgrade::on(&mut request);
    match sessions.spawn(run(upgrade, dialect, options, handler)) {
        Ok(()) => response,
        Err(error) => Refusal::new(StatusCode::TOO_MANY_REQUESTS, error.to_string()).into(),
    }
}

/// What client and server agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    WebSocket { codec: Codec, status: StatusForm },
    Spdy { status: StatusForm, resize: bool },
}

fn negotiate(headers: &http::HeaderMap) -> Result<(Response<Body>, Dialect), Refusal> {
    let Some(protocol) = handshake::requested(headers) else { return Err(handshake::not_an_upgrade()) };
    if protocol.eq_ignore_ascii_case("websocket") {
        let (response, subprotocol) = websocket::accept(headers, &WEBSOCKET_PROTOCOLS)?;
        return Ok((response, websocket_dialect(subprotocol.unwrap_or("channel.k8s.io"))));
    }
    if protocol.eq_ignore_ascii_case(handshake::SPDY) {
        let fallback = SPDY_PROTOCOLS[SPDY_PROTOCOLS.len() - 1];
        let version = handshake::spdy_protocol(headers, &SPDY_PROTOCOLS, fallback)?;
        return Ok((handshake::spdy_response(version), spdy_dialect(version)));
    }
    Err(handshake::not_an_upgrade())
}

fn websocket_dialect(subprotocol: &str) -> Dialect {
    let codec = match subprotocol {
        "base64.channel.k8s.io" | "v4.base64.channel.k8s.io" => Codec::Base64,
        _ => Codec::Binary { close_signal: subprotocol == "v5.channel.k8s.io" },
    };
    let json = subprotocol.starts_with("v4.") || subprotocol.starts_with("v5.");
    Dialect::WebSocket { codec, status: if json { StatusForm::Json } else { StatusForm::Text } }
}

fn spdy_dialect(version: &str) -> Dialect {
    let (status, resize) = match version {
        "v5.channel.k8s.io" | "v4.channel.k8s.io" => (StatusForm::Json, true),
        "v3.channel.k8s.io" => (StatusForm::Text, true),
        _ => (StatusForm::Text, false),
    };
    Dialect::Spdy { status, resize }
}

/// The session, from the moment the client sees the `101`.
async fn run<H, F>(upgrade: OnUpgrade, dialect: Dialect, options: Options, handler: H) -> Result<(), Error>
where
    H: FnOnce(Session) -> F,
    F: Future<Output = Result<ExitStatus, BoxError>>,
{
    let io = TokioIo::new(upgrade.await.map_err(Error::Upgrade)?);
    match dialect {
        Dialect::WebSocket { codec, status } => {
            let mut multiplex = websocket::Multiplex::new(websocket::server(io).await, codec);
            if codec != (Codec::Binary { close_signal: true }) {
                Streams::announce(&multiplex, options);
            }
            let streams = Streams::of_channels(&mut multiplex, options);
            let work = work(async { Ok(streams) }, status, handler);
            until_either(multiplex.drive(), work).await
        }
        Dialect::Spdy { status, resize } => {
            let (connection, driver) = spdy::Connection::new(io, spdy::Role::Server);
            let streams = Streams::of_spdy(connection, options, resize);
            until_either(driver.run(), work(streams, status, handler)).await
        }
    }
}

/// The client leaving ends the work; the work done, the connection goes on until all is sent and closed.
async fn until_either(
    connection: impl Future<Output = Result<(), Error>>,
    work: impl Future<Output = Result<(), Error>>,
) -> Result<(), Error> {
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = &mut connection => ended,
        worked = work => {
            connection.await?;
            worked
        }
    }
}

/// Runs the handler on the streams and sends the outcome. All streams are dropped, and so ended, on return.
async fn work<H, F>(
    streams: impl Future<Output = Result<Streams, Error>>,
    form: StatusForm,
    handler: H,
) -> Result<(), Error>
where
    H: FnOnce(Session) -> F,
    F: Future<Output = Result<ExitStatus, BoxError>>,
{
    let Streams { stdin, stdout, stderr, mut error, resize, _connection } =
        tokio::time::timeout(STREAM_CREATION_TIMEOUT, streams).await.map_err(|_| Error::CreationTimeout)??;
    let (sizes, resize_receiver) = mpsc::channel(1);
    let session = Session { stdin, stdout, stderr, resize: resize_receiver };
    let outcome = {
        let mut handling = std::pin::pin!(handler(session));
        tokio::select! {
            outcome = &mut handling => outcome,
            () = resize::pump(resize, sizes) => handling.await,
        }
    };
    error.write_all(&form.encode(&outcome)).await?;
    error.shutdown().await?;
    Ok(())
}
