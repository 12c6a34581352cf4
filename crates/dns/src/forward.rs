//! Questions that others answer: the node's own servers, one after the other.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::Error;
use crate::cache::Cache;
use crate::wire::{MAX_UDP_BYTES, Response};

/// How long one server may take for one question.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often each server is asked.
const ROUNDS: usize = 2;
/// How many questions are on their way at once; further ones fail at once.
const CONCURRENT: usize = 1024;

/// Asks other servers, and remembers what they said for a while.
pub struct Forwarder {
    servers: Vec<SocketAddr>,
    cache: Mutex<Cache>,
    slots: Semaphore,
}

impl Forwarder {
    /// Asks `servers` in this order, but never one of `own`: a question would go round for ever.
    pub fn new(servers: &[SocketAddr], own: &[SocketAddr]) -> Self {
        let servers = servers.iter().filter(|server| !own.contains(server)).copied().collect();
        Self { servers, cache: Mutex::default(), slots: Semaphore::new(CONCURRENT) }
    }

    /// The answer that others have, or a server failure.
    pub async fn ask(&self, question: &Query) -> Response {
        let now = Instant::now();
        let remembered = self.cache.lock().get(question, now);
        if let Some(response) = remembered {
            return response;
        }
        let Ok(_slot) = self.slots.try_acquire() else { return Response::of(ResponseCode::ServFail) };
        match self.ask_servers(question).await {
            Ok(response) => {
                self.cache.lock().put(question, &response, now);
                response
            }
            Err(error) => {
                tracing::debug!(name = %question.name(), %error, "no answer");
                Response::of(ResponseCode::ServFail)
            }
        }
    }

    async fn ask_servers(&self, question: &Query) -> Result<Response, Error> {
        let mut last = Error::NoUpstream;
        for _ in 0..ROUNDS {
            for server in &self.servers {
                let answer = timeout(PATIENCE, ask(*server, question)).await;
                let silent = |_| Err(failed(*server)(std::io::ErrorKind::TimedOut.into()));
                match answer.unwrap_or_else(silent) {
                    Ok(response) if response.code == ResponseCode::ServFail => last = Error::Mismatch(*server),
                    Ok(response) => return Ok(response),
                    Err(error) => last = error,
                }
            }
        }
        Err(last)
    }
}

/// Asks one server over UDP, and over TCP where the answer is too long for that.
async fn ask(server: SocketAddr, question: &Query) -> Result<Response, Error> {
    let id: u16 = rand::random();
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(question.clone());
    let mut edns = Edns::new();
    edns.set_max_payload(MAX_UDP_BYTES);
    message.set_edns(edns);
    let bytes = message.to_vec()?;
    let answer = over_udp(server, &bytes, id, question).await?;
    if !answer.metadata.truncation {
        return Ok(response(answer));
    }
    let answer = over_tcp(server, &bytes).await.map_err(failed(server))?;
    let answer = fits(&answer, id, question).ok_or(Error::Mismatch(server))?;
    Ok(response(answer))
}

/// A socket of its own for each question: its random port is half of what a forger has to guess.
async fn over_udp(server: SocketAddr, bytes: &[u8], id: u16, question: &Query) -> Result<Message, Error> {
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let exchange = async {
        let socket = UdpSocket::bind(any).await?;
        socket.connect(server).await?;
        socket.send(bytes).await?;
        let mut buffer = [0; MAX_UDP_BYTES as usize];
        loop {
            let length = socket.recv(&mut buffer).await?;
            if let Some(message) = fits(&buffer[..length], id, question) {
                return Ok(message);
            }
        }
    };
    exchange.await.map_err(failed(server))
}

async fn over_tcp(server: SocketAddr, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(bytes.len()).map_err(std::io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
    let mut answer = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// The message, if it answers this question.
fn fits(bytes: &[u8], id: u16, question: &Query) -> Option<Message> {
    let message = Message::from_vec(bytes).ok()?;
    let same = message.queries.first().is_some_and(|echo| {
        echo.name().to_lowercase() == question.name().to_lowercase() && echo.query_type() == question.query_type()
    });
    let answers = message.metadata.id == id && message.metadata.message_type == MessageType::Response;
    (same && answers).then_some(message)
}

fn response(message: Message) -> Response {
    Response {
        code: message.metadata.response_code,
        authoritative: false,
        answers: message.answers,
        authorities: message.authorities,
        additionals: message.additionals,
    }
}

fn failed(server: SocketAddr) -> impl Fn(std::io::Error) -> Error {
    move |source| Error::Upstream { server, source }
}
