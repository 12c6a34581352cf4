//! The loops: bytes in, the pure decision, bytes out. What is ours is answered on the spot; what others know is asked
//! for in a task of its own, so that a slow server holds nobody up.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::Record;
use parking_lot::RwLock;
use sampan_client::Tasks;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::answer::{Answer, answer, start_of_authority};
use crate::forward::Forwarder;
use crate::table::Table;
use crate::wire::{MAX_QUERY_BYTES, Received, Request, Response, Transport, receive};

/// How many TCP connections are served at once; further ones wait.
const CONNECTIONS: usize = 256;
/// How long a TCP connection may say nothing.
const IDLE: Duration = Duration::from_secs(10);
/// How many names may lead to one another.
const ALIASES: usize = 8;
/// How many tasks read one UDP socket.
const READERS: usize = 2;
/// How many UDP questions wait for other servers at once; further ones fail at once.
const WAITING: usize = 2048;
/// A failed accept (no file descriptors, say) is tried again after this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all loops share.
#[derive(Clone)]
pub(crate) struct Server {
    table: Arc<RwLock<Table>>,
    forwarder: Arc<Forwarder>,
    waiting: Arc<Semaphore>,
    tasks: Tasks,
}

impl Server {
    pub(crate) fn new(table: Arc<RwLock<Table>>, forwarder: Forwarder, tasks: &Tasks) -> Self {
        let waiting = Arc::new(Semaphore::new(WAITING));
        Self { table, forwarder: Arc::new(forwarder), waiting, tasks: tasks.clone() }
    }

    /// Serves a UDP socket until the component stops.
    pub(crate) fn serve_udp(&self, socket: UdpSocket) {
        let socket = Arc::new(socket);
        for _ in 0..READERS {
            let (server, socket) = (self.clone(), Arc::clone(&socket));
            self.tasks.spawn(async move { server.read_udp(&socket).await });
        }
    }

    /// Serves a TCP listener until the component stops.
    pub(crate) fn serve_tcp(&self, listener: TcpListener) {
        let server = self.clone();
        self.tasks.spawn(async move { server.accept(&listener).await });
    }

    async fn read_udp(&self, socket: &Arc<UdpSocket>) {
        // One byte more than is allowed tells what is too long.
        let mut buffer = vec![0; MAX_QUERY_BYTES + 1];
        loop {
            // Errors are of earlier answers, to clients that are gone.
            let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
            match receive(&buffer[..length]) {
                Received::Nothing => {}
                Received::Refused(bytes) => send(socket, &bytes, client).await,
                Received::Request(request) => self.answer_udp(socket, *request, client).await,
            }
        }
    }

    async fn answer_udp(&self, socket: &Arc<UdpSocket>, request: Request, client: SocketAddr) {
        let response = match self.decide(&request.question, client.ip()) {
            Decision::Done(response) => response,
            Decision::Ask { .. } => match Arc::clone(&self.waiting).try_acquire_owned() {
                Ok(slot) => {
                    let (server, socket) = (self.clone(), Arc::clone(socket));
                    self.tasks.spawn(async move {
                        let response = server.resolve(&request.question, client.ip()).await;
                        respond(&socket, &request, &response, client).await;
                        drop(slot);
                    });
                    return;
                }
                Err(_) => Response::of(ResponseCode::ServFail),
            },
        };
        respond(socket, &request, &response, client).await;
    }

    async fn accept(&self, listener: &TcpListener) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, client)) => {
                    let server = self.clone();
                    self.tasks.spawn(async move {
                        if let Err(error) = server.converse(stream, client.ip()).await {
                            tracing::trace!(%client, %error, "connection ended");
                        }
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a TCP connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn converse(&self, mut stream: TcpStream, client: IpAddr) -> std::io::Result<()> {
        loop {
            let length: usize = timeout(IDLE, stream.read_u16()).await??.into();
            let mut bytes = vec![0; length];
            timeout(IDLE, stream.read_exact(&mut bytes)).await??;
            let answer = match receive(&bytes) {
                Received::Nothing => return Ok(()),
                Received::Refused(bytes) => bytes,
                Received::Request(request) => {
                    let response = self.resolve(&request.question, client).await;
                    request.respond(&response, Transport::Tcp).map_err(std::io::Error::other)?
                }
            };
            let length = u16::try_from(answer.len()).map_err(std::io::Error::other)?;
            timeout(IDLE, stream.write_all(&[&length.to_be_bytes(), &answer[..]].concat())).await??;
        }
    }

    /// The whole answer, with the help of others where needed.
    async fn resolve(&self, question: &Query, client: IpAddr) -> Response {
        match self.decide(question, client) {
            Decision::Done(response) => response,
            Decision::Ask { question, aliases } => {
                let mut response = self.forwarder.ask(&question).await;
                response.answers.splice(..0, aliases);
                response
            }
        }
    }

    /// Follows names that lead to names, as far as the table goes.
    fn decide(&self, question: &Query, client: IpAddr) -> Decision {
        let table = self.table.read();
        let mut question = question.clone();
        let mut aliases: Vec<Record> = Vec::new();
        while aliases.len() <= ALIASES {
            let (code, answers, additionals) = match answer(&question, client, &table) {
                Answer::Forward => return Decision::Ask { question, aliases },
                Answer::Alias { record, target } => {
                    aliases.push(*record);
                    question.set_name(target);
                    continue;
                }
                Answer::NotYet => return Decision::Done(Response::of(ResponseCode::ServFail)),
                Answer::NoName => (ResponseCode::NXDomain, Vec::new(), Vec::new()),
                Answer::NoData => (ResponseCode::NoError, Vec::new(), Vec::new()),
                Answer::Records { answers, additionals } => (ResponseCode::NoError, answers, additionals),
            };
            let authorities = if answers.is_empty() { vec![start_of_authority(&table)] } else { Vec::new() };
            aliases.extend(answers);
            return Decision::Done(Response { code, authoritative: true, answers: aliases, authorities, additionals });
        }
        Decision::Done(Response::of(ResponseCode::ServFail))
    }
}

/// How far the table alone gets.
enum Decision {
    Done(Response),
    /// Others know the rest; `aliases` led there.
    Ask {
        question: Query,
        aliases: Vec<Record>,
    },
}

async fn respond(socket: &UdpSocket, request: &Request, response: &Response, client: SocketAddr) {
    match request.respond(response, Transport::Udp) {
        Ok(bytes) => send(socket, &bytes, client).await,
        Err(error) => tracing::warn!(%error, name = %request.question.name(), "an answer could not be written"),
    }
}

async fn send(socket: &UdpSocket, bytes: &[u8], client: SocketAddr) {
    if let Err(error) = socket.send_to(bytes, client).await {
        tracing::trace!(%client, %error, "an answer could not be sent");
    }
}
