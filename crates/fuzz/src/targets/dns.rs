//! DNS messages.

use std::net::{IpAddr, Ipv4Addr};

use hickory_proto::op::{Message, ResponseCode};
use sampan_dns::answer::{self, Answer};
use sampan_dns::table::Table;
use sampan_dns::wire::{self, MAX_UDP_BYTES, Received, Response, Transport};

use crate::Target;

pub(super) const TARGET: Target = Target { name: "dns", run };

/// A message from a client: whatever is answered can be read, repeats the question, and fits.
fn run(data: &[u8]) {
    let request = match wire::receive(data) {
        Received::Request(request) => request,
        Received::Refused(bytes) => {
            Message::from_vec(&bytes).expect("a refusal can be read");
            return;
        }
        Received::Nothing => return,
    };
    let Ok(mut table) = Table::new("cluster.local") else { return };
    table.complete();
    let mut response = Response::of(ResponseCode::NoError);
    if let Answer::Records { answers, additionals } =
        answer::answer(&request.question, IpAddr::from(Ipv4Addr::LOCALHOST), &table)
    {
        (response.answers, response.additionals) = (answers, additionals);
    }
    let bytes = request.respond(&response, Transport::Udp).expect("an answer can be written");
    assert!(bytes.len() <= usize::from(MAX_UDP_BYTES), "{} bytes are too many for UDP", bytes.len());
    let read = Message::from_vec(&bytes).expect("an answer can be read");
    assert_eq!(read.queries, std::slice::from_ref(&request.question), "the answer repeats another question");
}
