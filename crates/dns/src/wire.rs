//! Messages as bytes: what is accepted as a question, and how an answer is written. Pure.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Record, RecordType};

use crate::Error;

/// No question needs more; a longer one is malformed to us.
pub const MAX_QUERY_BYTES: usize = 4096;
/// What a UDP answer may have without EDNS.
const PLAIN_UDP_BYTES: u16 = 512;
/// What a UDP answer may have at most: it passes everywhere without fragments.
pub const MAX_UDP_BYTES: u16 = 1232;
const HEADER_BYTES: usize = 12;

/// A question that can be answered.
#[derive(Debug, Clone)]
pub struct Request {
    /// The message's number, which the answer repeats.
    pub id: u16,
    /// Whether the client wants us to ask others; the answer repeats it.
    pub recursion_desired: bool,
    /// The question.
    pub question: Query,
    /// The size of answers that the client takes over UDP, where it said so.
    pub edns: Option<u16>,
}

/// What bytes from a client are.
#[derive(Debug)]
pub enum Received {
    /// A question.
    Request(Box<Request>),
    /// Not a question that is answered: say so with these bytes.
    Refused(Vec<u8>),
    /// Not even that: silence.
    Nothing,
}

/// Reads a client's message.
pub fn receive(bytes: &[u8]) -> Received {
    let Some([first, second, flags, ..]) = bytes.get(..HEADER_BYTES) else { return Received::Nothing };
    let (id, is_response) = (u16::from_be_bytes([*first, *second]), flags & 0x80 != 0);
    if is_response {
        return Received::Nothing;
    }
    let op_code = OpCode::from_u8(flags >> 3 & 0xf);
    let refuse = |code| refusal(id, op_code, code).map_or(Received::Nothing, Received::Refused);
    if bytes.len() > MAX_QUERY_BYTES {
        return refuse(ResponseCode::FormErr);
    }
    let Ok(message) = Message::from_vec(bytes) else { return refuse(ResponseCode::FormErr) };
    if message.metadata.op_code != OpCode::Query {
        return refuse(ResponseCode::NotImp);
    }
    if message.edns.as_ref().is_some_and(|edns| edns.version() != 0) {
        return refuse_with_edns(id, ResponseCode::BADVERS);
    }
    let [question] = &message.queries[..] else { return refuse(ResponseCode::FormErr) };
    let transfer = matches!(question.query_type(), RecordType::AXFR | RecordType::IXFR);
    if question.query_class() != DNSClass::IN || transfer {
        return refuse(ResponseCode::Refused);
    }
    Received::Request(Box::new(Request {
        id,
        recursion_desired: message.metadata.recursion_desired,
        question: question.clone(),
        edns: message.edns.as_ref().map(Edns::max_payload),
    }))
}

/// An answer's contents.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// How it went.
    pub code: ResponseCode,
    /// Whether it comes from the cluster's own table.
    pub authoritative: bool,
    /// The answer section.
    pub answers: Vec<Record>,
    /// The authority section.
    pub authorities: Vec<Record>,
    /// The additional section.
    pub additionals: Vec<Record>,
}

impl Response {
    /// Without records.
    pub fn of(code: ResponseCode) -> Self {
        Self { code, authoritative: false, answers: Vec::new(), authorities: Vec::new(), additionals: Vec::new() }
    }
}

/// Over what an answer travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Bounded by what the client takes.
    Udp,
    /// Unbounded, for our purposes.
    Tcp,
}

impl Request {
    /// Writes the answer. One that is too long for UDP goes without records and says so: the client asks again over
    /// TCP.
    pub fn respond(&self, response: &Response, transport: Transport) -> Result<Vec<u8>, Error> {
        let mut message = Message::response(self.id, OpCode::Query);
        message.metadata.recursion_desired = self.recursion_desired;
        message.metadata.recursion_available = true;
        message.metadata.authoritative = response.authoritative;
        message.metadata.response_code = response.code;
        message.add_query(self.question.clone());
        message.answers.clone_from(&response.answers);
        message.authorities.clone_from(&response.authorities);
        message.additionals.clone_from(&response.additionals);
        if self.edns.is_some() {
            message.set_edns(our_edns());
        }
        let bytes = message.to_vec()?;
        if transport == Transport::Tcp || bytes.len() <= self.udp_bytes() {
            return Ok(bytes);
        }
        message.additionals.clear();
        let bytes = message.to_vec()?;
        if bytes.len() <= self.udp_bytes() {
            return Ok(bytes);
        }
        message.answers.clear();
        message.authorities.clear();
        message.metadata.truncation = true;
        Ok(message.to_vec()?)
    }

    fn udp_bytes(&self) -> usize {
        self.edns.unwrap_or(PLAIN_UDP_BYTES).clamp(PLAIN_UDP_BYTES, MAX_UDP_BYTES).into()
    }
}

fn refusal(id: u16, op_code: OpCode, code: ResponseCode) -> Option<Vec<u8>> {
    Message::error_msg(id, op_code, code).to_vec().ok()
}

fn refuse_with_edns(id: u16, code: ResponseCode) -> Received {
    let mut message = Message::new(id, MessageType::Response, OpCode::Query);
    message.metadata.response_code = code;
    message.set_edns(our_edns());
    message.to_vec().map_or(Received::Nothing, Received::Refused)
}

fn our_edns() -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(MAX_UDP_BYTES).set_version(0);
    edns
}
