//! A Pod's log as messages of a WebSocket: for pages and programs that can read a stream in no other way. The kubelet is
//! asked for the log as ever.

use std::pin::Pin;

use axum::body::Body;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::request::Parts;
use http::{HeaderMap, Request, header};
use sampan_api::status::Status;
use sampan_streams::websocket::{self, Form};

use super::dial::Connection;
use super::{Goal, forward};
use crate::server::{Answer, Call, Server};

/// The subprotocol by which a client asks for text that it can take for bytes.
const BASE64: &str = "base64.binary.k8s.io";

/// Whether the log is to be told in messages.
pub(super) fn wants_messages(call: &Call) -> bool {
    call.info.subresource == "log" && websocket::is_upgrade(call.headers())
}

/// Reads the log from its kubelet and tells it.
pub(super) async fn tell(server: &Server, head: &Parts, connection: Pin<Box<dyn Connection>>, goal: Goal) -> Answer {
    let request = Request::get("/").body(Body::empty());
    let request = request.map_err(|_| Status::internal("the kubelet's address makes no request"))?;
    let pieces = pieces(forward(request, connection, goal).await?.into_body());
    Ok(websocket::tell(head, &server.kubelets.sessions, form(&head.headers), pieces).map(Body::new))
}

/// The body's pieces, up to where it ends or breaks off.
fn pieces(body: Body) -> impl Stream<Item = Bytes> + Send {
    body.into_data_stream()
        .take_while(|piece| std::future::ready(piece.is_ok()))
        .filter_map(|piece| std::future::ready(piece.ok()))
}

fn form(headers: &HeaderMap) -> Form {
    let first = headers.get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|list| list.to_str().ok()?.split(',').next());
    if first.map(str::trim) == Some(BASE64) { Form::Base64 } else { Form::Binary }
}
