//! `Status`: the one form in which the API says no, with upstream's reasons and texts. Built here and nowhere else.

use serde::{Deserialize, Serialize};

use crate::field;

/// A failed request, as the client reads it (`meta/v1 Status`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// One word for programs: `NotFound`, `Conflict`, `Invalid`, ...
    pub reason: String,
    /// One sentence for people.
    pub message: String,
    /// What the request was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<Details>>,
}

/// What a failed request was about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Details {
    /// Name of the object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// API group of the resource.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The resource's plural name or, for `Invalid`, its kind.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// UID of the object, for precondition failures.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The single faults.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// When to try again, in seconds; 0 for not at all.
    #[serde(skip_serializing_if = "is_zero")]
    pub retry_after_seconds: u32,
}

/// One fault of a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cause {
    /// One word for programs: `FieldValueInvalid`, ...
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// One sentence for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The field at fault.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// A resource as `Status` texts name it: `deployments.apps`, `pods`.
#[derive(Clone, Copy, Debug)]
pub struct Resource<'a> {
    /// API group; empty for core.
    pub group: &'a str,
    /// Plural name (or the kind, for `Invalid`).
    pub name: &'a str,
}

impl std::fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.group.is_empty() { f.write_str(self.name) } else { write!(f, "{}.{}", self.name, self.group) }
    }
}

impl Status {
    fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self { code, reason: reason.to_owned(), message: message.into(), details: None }
    }

    fn about(mut self, resource: Resource<'_>, name: &str) -> Self {
        let details = self.details.get_or_insert_default();
        details.group = resource.group.to_owned();
        details.kind = resource.name.to_owned();
        details.name = name.to_owned();
        self
    }

    /// 404: no object of that name.
    pub fn not_found(resource: Resource<'_>, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{resource} \"{name}\" not found")).about(resource, name)
    }

    /// 404: no such path.
    pub fn no_such_path() -> Self {
        let mut status = Self::new(404, "NotFound", "the server could not find the requested resource");
        status.details = Some(Box::default());
        status
    }

    /// 409: the name is taken.
    pub fn already_exists(resource: Resource<'_>, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{resource} \"{name}\" already exists")).about(resource, name)
    }

    /// 409: `why` the write cannot be applied to what is there now.
    pub fn conflict(resource: Resource<'_>, name: &str, why: &str) -> Self {
        Self::new(409, "Conflict", format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}"))
            .about(resource, name)
    }

    /// 409: written by someone else since it was read.
    pub fn modified(resource: Resource<'_>, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 422: the object breaks its kind's rules. `kind` is group and kind.
    pub fn invalid(kind: Resource<'_>, name: &str, errors: &[field::Error]) -> Self {
        let text = format!("{kind} \"{name}\" is invalid: {}", field::aggregate(errors));
        let mut status = Self::new(422, "Invalid", text).about(kind, name);
        status.details.get_or_insert_default().causes = errors
            .iter()
            .map(|e| Cause { reason: e.reason.as_cause().to_owned(), message: e.body(), field: e.path.to_string() })
            .collect();
        status
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(why: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", why)
    }

    /// 401: nobody known sent this.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 403: `why` the user may not do this to the named object.
    pub fn forbidden(resource: Resource<'_>, name: &str, why: &str) -> Self {
        let subject = if name.is_empty() { resource.to_string() } else { format!("{resource} \"{name}\"") };
        Self::new(403, "Forbidden", format!("{subject} is forbidden: {why}")).about(resource, name)
    }

    /// 403 for a path that is no resource.
    pub fn forbidden_path(why: &str) -> Self {
        let mut status = Self::new(403, "Forbidden", format!("forbidden: {why}"));
        status.details = Some(Box::default());
        status
    }

    /// 405: the resource has no such verb.
    pub fn method_not_allowed() -> Self {
        let mut status =
            Self::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource");
        status.details = Some(Box::default());
        status
    }

    /// 406: none of the accepted media types can be made.
    pub fn not_acceptable(accepted: &str) -> Self {
        Self::new(406, "NotAcceptable", format!("only the following media types are accepted: {accepted}"))
    }

    /// 415: the body's media type cannot be read.
    pub fn unsupported_media_type(accepted: &str) -> Self {
        Self::new(
            415,
            "UnsupportedMediaType",
            format!("the body of the request was in an unknown format - accepted media types include: {accepted}"),
        )
    }

    /// 413: the body has more bytes than `limit_bytes`.
    pub fn too_large(limit_bytes: usize) -> Self {
        Self::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit_bytes}"))
    }

    /// 410: the revision or continue token is compacted away.
    pub fn expired(why: impl Into<String>) -> Self {
        Self::new(410, "Expired", why)
    }

    /// 429: try again after `retry_after_seconds`.
    pub fn too_many_requests(why: impl Into<String>, retry_after_seconds: u32) -> Self {
        let mut status = Self::new(429, "TooManyRequests", why);
        status.details.get_or_insert_default().retry_after_seconds = retry_after_seconds;
        status
    }

    /// 504: the server gave up waiting; the caller may try again.
    pub fn timeout(why: impl Into<String>, retry_after_seconds: u32) -> Self {
        let mut status = Self::new(504, "Timeout", why);
        status.details.get_or_insert_default().retry_after_seconds = retry_after_seconds;
        status
    }

    /// 500: our fault. `why` must hold nothing internal; the log has the rest.
    pub fn internal(why: &str) -> Self {
        let mut status = Self::new(500, "InternalError", format!("Internal error occurred: {why}"));
        status.details.get_or_insert_default().causes.push(Cause { message: why.to_owned(), ..Cause::default() });
        status
    }

    /// 503: a part that the request needs is not there.
    pub fn unavailable(why: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", why)
    }

    /// The same with these single faults.
    #[must_use]
    pub fn with_causes(mut self, causes: Vec<Cause>) -> Self {
        self.details.get_or_insert_default().causes = causes;
        self
    }

    /// The object on the wire, with the line's end that Go's encoder writes: clients compare and show it as a text.
    pub fn to_json(&self) -> Vec<u8> {
        let wire = Wire {
            kind: "Status",
            api_version: "v1",
            metadata: NoMetadata {},
            status: "Failure",
            message: &self.message,
            reason: &self.reason,
            details: self.details.as_deref(),
            code: self.code,
        };
        let mut body = serde_json::to_vec(&wire).unwrap_or_default();
        body.push(b'\n');
        body
    }
}

/// The fields in upstream's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: NoMetadata,
    status: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Details>,
    code: u16,
}

#[derive(Serialize)]
struct NoMetadata {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_is_upstreams_byte_for_byte() {
        let status = Status::already_exists(Resource { group: "", name: "services" }, "mock");
        let want = concat!(
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","#,
            r#""message":"services \"mock\" already exists","reason":"AlreadyExists","#,
            r#""details":{"name":"mock","kind":"services"},"code":409}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(status.to_json()).unwrap(), want);
    }
}
