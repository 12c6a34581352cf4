//! `Impersonate-*` headers: acting as someone else, for those who may.
//!
//! [`wish`] reads the headers, purely; each part of the wish is a right of its own that the caller must have.

use std::collections::BTreeMap;

use http::HeaderMap;
use sampan_api::status::Status;
use sampan_auth::{ANONYMOUS, AUTHENTICATED, Attributes, Decision, Identity, UNAUTHENTICATED};

use super::Server;
use crate::authorization;
use crate::request::decode_lossy;

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";
/// The API group of `uids` and `userextras`.
const AUTHENTICATION: &str = "authentication.k8s.io";

/// Who the caller wants to be.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wish {
    user: String,
    groups: Vec<String>,
    uid: String,
    extra: BTreeMap<String, Vec<String>>,
}

/// Who the request acts as, the caller or whom it impersonates, and whether it asked to; 403 if it may not. The
/// headers are taken out, so that nothing behind sees them.
pub(super) async fn acting(
    server: &Server,
    caller: Identity,
    headers: &mut HeaderMap,
) -> Result<(Identity, bool), Status> {
    let Some(wish) = wish(headers)? else { return Ok((caller, false)) };
    for attributes in wish.rights() {
        match server.registry.rights.decide(&caller, &attributes).await {
            Decision::Allow(_) => {}
            Decision::Deny(reason) | Decision::NoOpinion(reason) => {
                return Err(authorization::refusal(&caller, &attributes, true, &reason));
            }
        }
    }
    let ours =
        |name: &&http::HeaderName| [USER, GROUP, UID].contains(&name.as_str()) || name.as_str().starts_with(EXTRA);
    let names: Vec<_> = headers.keys().filter(ours).cloned().collect();
    names.iter().for_each(|name| drop(headers.remove(name)));
    Ok((wish.identity(), true))
}

fn wish(headers: &HeaderMap) -> Result<Option<Wish>, Status> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let mut wish = Wish { user: text(USER), uid: text(UID), ..Wish::default() };
    wish.groups = headers.get_all(GROUP).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect();
    for (name, value) in headers {
        let (Some(key), Ok(value)) = (name.as_str().strip_prefix(EXTRA), value.to_str()) else { continue };
        let key = decode_lossy(key).unwrap_or_else(|| key.to_owned()).to_lowercase();
        wish.extra.entry(key).or_default().push(value.to_owned());
    }
    if !wish.user.is_empty() {
        return Ok(Some(wish));
    }
    if wish == Wish::default() {
        return Ok(None);
    }
    let asked: Vec<&str> =
        [(!wish.groups.is_empty(), "groups"), (!wish.extra.is_empty(), "extra"), (!wish.uid.is_empty(), "uid")]
            .into_iter()
            .filter_map(|(given, what)| given.then_some(what))
            .collect();
    Err(Status::internal(&format!("requested [{}] without impersonating a user", asked.join(" "))))
}

impl Wish {
    /// Namespace and name of the ServiceAccount that is wanted, if it is one.
    fn service_account(&self) -> Option<(&str, &str)> {
        let (namespace, name) = self.user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
    }

    /// What the caller must be allowed, each as a right of its own.
    fn rights(&self) -> Vec<Attributes> {
        let mut rights = vec![match self.service_account() {
            Some((namespace, name)) => {
                Attributes { namespace: namespace.to_owned(), ..right("", "serviceaccounts", name) }
            }
            None => right("", "users", &self.user),
        }];
        rights.extend(self.groups.iter().map(|group| right("", "groups", group)));
        for (key, values) in &self.extra {
            let of =
                |value: &String| Attributes { subresource: key.clone(), ..right(AUTHENTICATION, "userextras", value) };
            rights.extend(values.iter().map(of));
        }
        if !self.uid.is_empty() {
            rights.push(right(AUTHENTICATION, "uids", &self.uid));
        }
        rights
    }

    fn identity(self) -> Identity {
        let mut groups = self.groups.clone();
        if let (Some((namespace, _)), true) = (self.service_account(), groups.is_empty()) {
            groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
        }
        let has = |group: &str| groups.iter().any(|own| own == group);
        let missing = match self.user.as_str() {
            ANONYMOUS => (!has(UNAUTHENTICATED)).then_some(UNAUTHENTICATED),
            _ => (!has(AUTHENTICATED) && !has(UNAUTHENTICATED)).then_some(AUTHENTICATED),
        };
        groups.extend(missing.map(str::to_owned));
        Identity { name: self.user, uid: self.uid, groups, extra: self.extra }
    }
}

fn right(group: &str, resource: &str, name: &str) -> Attributes {
    Attributes {
        verb: "impersonate".to_owned(),
        group: group.to_owned(),
        version: if group.is_empty() { String::new() } else { "v1".to_owned() },
        resource: resource.to_owned(),
        name: name.to_owned(),
        ..Attributes::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[(&'static str, &str)]) -> Result<Option<Wish>, Status> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        wish(&headers)
    }

    /// `resource[/subresource] namespace/name` for each right, and the groups of who comes out.
    #[track_caller]
    fn check(lines: &[(&'static str, &str)], rights: &[&str], groups: &[&str]) {
        let wish = read(lines).unwrap().unwrap();
        let line = |a: &Attributes| {
            let sub = if a.subresource.is_empty() { String::new() } else { format!("/{}", a.subresource) };
            format!("{}{sub} {}/{}", a.resource, a.namespace, a.name)
        };
        assert_eq!(wish.rights().iter().map(line).collect::<Vec<_>>(), rights);
        assert_eq!(wish.identity().groups, groups);
    }

    #[test]
    fn every_part_of_a_wish_is_a_right() {
        check(&[(USER, "bob")], &["users /bob"], &[AUTHENTICATED]);
        check(
            &[(USER, "bob"), (GROUP, "g"), (GROUP, "h"), (UID, "7"), ("impersonate-extra-acme.com%2fteam", "x")],
            &["users /bob", "groups /g", "groups /h", "userextras/acme.com/team /x", "uids /7"],
            &["g", "h", AUTHENTICATED],
        );
        check(
            &[(USER, "system:serviceaccount:ns:robot")],
            &["serviceaccounts ns/robot"],
            &["system:serviceaccounts", "system:serviceaccounts:ns", AUTHENTICATED],
        );
        check(&[(USER, "system:serviceaccount:ns")], &["users /system:serviceaccount:ns"], &[AUTHENTICATED]);
        check(&[(USER, ANONYMOUS)], &["users /system:anonymous"], &[UNAUTHENTICATED]);
        check(
            &[(USER, "x"), (GROUP, UNAUTHENTICATED)],
            &["users /x", "groups /system:unauthenticated"],
            &[UNAUTHENTICATED],
        );
    }

    #[test]
    fn nobody_is_impersonated_without_a_user() {
        assert_eq!(read(&[]).unwrap(), None);
        assert!(read(&[(GROUP, "system:masters")]).unwrap_err().message.contains("without impersonating a user"));
        assert!(read(&[(UID, "1")]).is_err());
    }
}
