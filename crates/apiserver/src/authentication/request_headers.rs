//! Users of whom a front proxy tells: it has authenticated them, and says in headers of each request who they are.
//!
//! Only a connection that showed a front proxy's certificate is believed (`server/tls.rs`); from everyone else the same
//! headers are taken out and mean nothing.

use http::{HeaderMap, HeaderName};
use sampan_auth::Identity;

use crate::request::decode_lossy;

/// The headers, and who may send them. Names of headers are compared without regard to case.
#[derive(Clone, Debug)]
pub struct RequestHeaders {
    /// Common names that a front proxy's certificate may have; any when empty.
    pub allowed_names: Vec<String>,
    /// The user's name: the first of these that says something.
    pub username: Vec<String>,
    /// The user's UID, likewise.
    pub uid: Vec<String>,
    /// The user's groups: all that all of these say.
    pub group: Vec<String>,
    /// What is known more of the user: all headers that begin so; the rest of the name is the key.
    pub extra_prefix: Vec<String>,
}

impl Default for RequestHeaders {
    /// What this server sends itself to aggregated ones.
    fn default() -> Self {
        let one = |name: &str| vec![name.to_owned()];
        Self {
            allowed_names: one("front-proxy-client"),
            username: one("X-Remote-User"),
            uid: one("X-Remote-Uid"),
            group: one("X-Remote-Group"),
            extra_prefix: one("X-Remote-Extra-"),
        }
    }
}

impl RequestHeaders {
    /// Takes the headers out of a request. Returns the user that they name, if they name one and are `believed`.
    pub(crate) fn take(&self, headers: &mut HeaderMap, believed: bool) -> Option<Identity> {
        let taken: Vec<HeaderName> = headers.keys().filter(|name| self.is_one(name.as_str())).cloned().collect();
        let named = if believed && !taken.is_empty() { self.user(headers) } else { None };
        taken.iter().for_each(|name| drop(headers.remove(name)));
        named
    }

    fn is_one(&self, name: &str) -> bool {
        let mut names = [&self.username, &self.uid, &self.group].into_iter().flatten();
        names.any(|own| own.eq_ignore_ascii_case(name))
            || self.extra_prefix.iter().any(|prefix| key(name, prefix).is_some())
    }

    fn user(&self, headers: &HeaderMap) -> Option<Identity> {
        let first = |names: &[String]| names.iter().find_map(|name| text(headers, name).next()).unwrap_or_default();
        let mut user = Identity {
            name: first(&self.username),
            uid: first(&self.uid),
            groups: self.group.iter().flat_map(|name| text(headers, name)).collect(),
            ..Identity::default()
        };
        for prefix in &self.extra_prefix {
            for name in headers.keys().map(HeaderName::as_str) {
                let Some(key) = key(name, prefix) else { continue };
                // One that is encoded badly stands for itself.
                let key = decode_lossy(key).unwrap_or_else(|| key.to_owned());
                user.extra.entry(key).or_default().extend(text(headers, name));
            }
        }
        (!user.name.is_empty()).then_some(user)
    }
}

/// What is left of a header's name behind `prefix`.
fn key<'n>(name: &'n str, prefix: &str) -> Option<&'n str> {
    let (head, key) = name.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(key)
}

/// What a header says, leaving out what says nothing.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = String> + use<'a> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.filter(|value| !value.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(told: &[(&str, &str)], want: Value, left: &[&str]) {
        let headers = RequestHeaders {
            username: vec!["X-Remote-User".to_owned(), "X-User".to_owned()],
            extra_prefix: vec!["X-Remote-Extra-".to_owned(), "X-More-".to_owned()],
            ..RequestHeaders::default()
        };
        let mut sent = HeaderMap::new();
        for (name, value) in told {
            sent.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let user = headers.take(&mut sent, true).map(|who| json!([who.name, who.uid, who.groups, who.extra]));
        assert_eq!(user.unwrap_or_default(), want, "{told:?}");
        assert_eq!(sent.keys().map(HeaderName::as_str).collect::<Vec<_>>(), left, "{told:?}");
    }

    #[test]
    fn headers_name_a_user() {
        check(&[("x-remote-user", "ann")], json!(["ann", "", [], {}]), &[]);
        check(&[("X-User", "bob"), ("x-remote-user", "")], json!(["bob", "", [], {}]), &[]);
        check(&[("X-User", "bob"), ("x-remote-user", "ann")], json!(["ann", "", [], {}]), &[]);
        let groups =
            [("x-remote-user", "ann"), ("x-remote-group", "a"), ("x-remote-group", ""), ("x-remote-group", "b")];
        check(&groups, json!(["ann", "", ["a", "b"], {}]), &[]);
        check(&[("x-remote-user", "ann"), ("x-remote-uid", "7")], json!(["ann", "7", [], {}]), &[]);
        let extra = [
            ("x-remote-user", "ann"),
            ("X-Remote-Extra-Example.org%2fKey", "v"),
            ("x-more-k", "2"),
            ("x-remote-extra-k", "1"),
            ("x-remote-extra-bad%2", "w"),
        ];
        check(&extra, json!(["ann", "", [], { "example.org/key": ["v"], "k": ["1", "2"], "bad%2": ["w"] }]), &[]);
    }

    #[test]
    fn headers_that_name_nobody_are_taken_out() {
        let told = [("accept", "*/*"), ("x-remote-group", "system:masters"), ("x-remote-extra-a", "b")];
        check(&told, Value::Null, &["accept"]);
        check(&[("x-remote-userx", "root")], Value::Null, &["x-remote-userx"]);
        let mut sent = HeaderMap::new();
        sent.insert("x-remote-user", HeaderValue::from_static("root"));
        assert!(RequestHeaders::default().take(&mut sent, false).is_none() && sent.is_empty());
    }
}
