//! Prints how many durable puts per second an etcd makes, as one line of JSON: the peer of `store-bench`.
//!
//! `etcd-bench [ADDRESS [CLIENTS...]]`, by default 127.0.0.1:2379, without TLS, and 1 client, then 64. It speaks etcd's own gRPC rather than its JSON gateway,
//! which would cost etcd a second hop, and only as much HTTP/2 as one put after the other on a connection of its own
//! needs: a client that costs next to nothing leaves the machine to the server it measures.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

const VALUE_BYTES: usize = 1_024;
const LENGTH: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:2379".into());
    let mut clients = args.map(|clients| clients.parse()).collect::<Result<Vec<usize>, _>>()?;
    if clients.is_empty() {
        clients = vec![1, 64];
    }
    let mut line = format!(r#"{{"value_bytes":{VALUE_BYTES}"#);
    for clients in clients {
        let per_s = puts_per_second(&address, clients).await?;
        line.push_str(&format!(r#","clients_{clients}_writes_per_s":{per_s}"#));
    }
    println!("{line}}}");
    Ok(())
}

async fn puts_per_second(address: &str, clients: usize) -> io::Result<u64> {
    let mut connections = Vec::new();
    for _ in 0..clients {
        connections.push(Connection::open(address).await?);
    }
    let start = Instant::now();
    let mut tasks: JoinSet<_> = connections.into_iter().enumerate().map(|(n, c)| put_for(LENGTH, c, n)).collect();
    let mut puts = 0;
    while let Some(result) = tasks.join_next().await {
        puts += result.map_err(io::Error::other)??;
    }
    Ok((puts as f64 / start.elapsed().as_secs_f64()) as u64)
}

/// Puts new keys one after the other, each durable before the next.
async fn put_for(length: Duration, mut connection: Connection, client: usize) -> io::Result<u64> {
    let value = vec![b'x'; VALUE_BYTES];
    let start = Instant::now();
    let mut puts = 0;
    while start.elapsed() < length {
        let key = format!("/bench/{}/{client}/{puts}", connection.address);
        connection.put(key.as_bytes(), &value).await?;
        puts += 1;
    }
    Ok(puts)
}

/// The frames of HTTP/2 (RFC 9113, section 6) that occur here.
mod frame {
    pub(super) const DATA: u8 = 0x0;
    pub(super) const HEADERS: u8 = 0x1;
    pub(super) const RESET: u8 = 0x3;
    pub(super) const SETTINGS: u8 = 0x4;
    pub(super) const PING: u8 = 0x6;
    pub(super) const GOAWAY: u8 = 0x7;
    pub(super) const WINDOW_UPDATE: u8 = 0x8;
    pub(super) const ACK: u8 = 0x1;
    pub(super) const END_STREAM: u8 = 0x1;
    pub(super) const END_HEADERS: u8 = 0x4;
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One HTTP/2 connection with at most one call on it.
struct Connection {
    stream: TcpStream,
    address: String,
    headers: Vec<u8>,
    next_id: u32,
}

impl Connection {
    async fn open(address: &str) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        stream.write_all(&[PREFACE, &frame(frame::SETTINGS, 0, 0, &[])].concat()).await?;
        let own = stream.local_addr()?.port().to_string();
        Ok(Self { stream, address: own, headers: call_headers(address), next_id: 1 })
    }

    async fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let id = self.next_id;
        self.next_id += 2;
        let headers = frame(frame::HEADERS, frame::END_HEADERS, id, &self.headers);
        let data = frame(frame::DATA, frame::END_STREAM, id, &put_message(key, value));
        self.stream.write_all(&[headers, data].concat()).await?;
        let mut answered = false;
        loop {
            let (kind, flags, of, payload) = self.read().await?;
            match kind {
                frame::SETTINGS if flags & frame::ACK == 0 => self.send(frame::SETTINGS, frame::ACK, &[]).await?,
                frame::PING if flags & frame::ACK == 0 => self.send(frame::PING, frame::ACK, &payload).await?,
                frame::GOAWAY | frame::RESET => return Err(io::Error::other("etcd ended the connection or the call")),
                frame::DATA if of == id && !payload.is_empty() => {
                    answered = true;
                    self.send(frame::WINDOW_UPDATE, 0, &(payload.len() as u32).to_be_bytes()).await?;
                }
                // Trailers. A call that failed has no message, which spares us reading the status out of them.
                frame::HEADERS if of == id && flags & frame::END_STREAM != 0 => break,
                _ => {}
            }
        }
        if answered { Ok(()) } else { Err(io::Error::other("etcd refused a put")) }
    }

    async fn read(&mut self) -> io::Result<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.stream.read_exact(&mut payload).await?;
        Ok((kind, flags, u32::from_be_bytes(id), payload))
    }

    /// Sends a frame about the connection as a whole.
    async fn send(&mut self, kind: u8, flags: u8, payload: &[u8]) -> io::Result<()> {
        self.stream.write_all(&frame(kind, flags, 0, payload)).await
    }
}

fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &id.to_be_bytes(), payload].concat()
}

/// The headers of a call, each a literal that enters no table (RFC 7541, section 6.2.2).
fn call_headers(authority: &str) -> Vec<u8> {
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/etcdserverpb.KV/Put"),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let short = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    headers.iter().flat_map(|(name, value)| [vec![0], short(name), short(value)].concat()).collect()
}

/// A `PutRequest` (key is field 1, value field 2) in gRPC's envelope.
fn put_message(key: &[u8], value: &[u8]) -> Vec<u8> {
    let message = [&[0x0a], &*varint(key.len()), key, &[0x12], &varint(value.len()), value].concat();
    [&[0], &(message.len() as u32).to_be_bytes()[..], &message].concat()
}

fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}
