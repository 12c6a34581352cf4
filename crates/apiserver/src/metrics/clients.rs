//! What the components of this process asked of the server, as their own clients would count it.

use std::collections::BTreeMap;

use http::Method;
use parking_lot::Mutex;

use super::text::{Form, Text};

/// Answers by method and code. There are as many as there are methods and codes.
#[derive(Default)]
pub(crate) struct Clients(Mutex<BTreeMap<(&'static str, u16), u64>>);

impl Clients {
    /// Counts an answer.
    pub(crate) fn answered(&self, method: &Method, code: u16) {
        *self.0.lock().entry((name(method), code)).or_default() += 1;
    }

    /// Writes all of it. `host` is where the server is.
    pub(super) fn write(&self, host: &str, text: &mut Text) {
        text.family(
            Form::Counter,
            "rest_client_requests_total",
            "Number of HTTP requests, partitioned by status code, method, and host.",
        );
        for ((method, code), count) in self.0.lock().iter() {
            text.sample(&[("code", &code.to_string()), ("host", host), ("method", method)], count);
        }
    }
}

fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "OTHER",
    }
}
