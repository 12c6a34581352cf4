//! What is served beside the kinds: which groups, versions and resources there are, and who signs tokens.

use std::collections::BTreeSet;

use super::kind::OBJECTS;
use super::{Answer, Body, Operation, Route, pascal, prefix, short_group, tag};
use crate::kind::KindRef;

const VERSIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.APIVersions";
const GROUP_LIST: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.APIGroupList";
const GROUP: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.APIGroup";
const RESOURCE_LIST: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList";
const VERSION: &str = "io.k8s.apimachinery.pkg.version.Info";

/// The forms of lists of groups.
const GROUPS: &[&str] = &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const JSON: &[&str] = &["application/json"];
const KEY_SET: &[&str] = &["application/jwk-set+json"];

/// The resources of one group and version.
pub(super) fn of_version(group: &str, version: &str) -> Route {
    let noun = format!("{}{}", pascal(short_group(group)), pascal(version));
    let operation = get(format!("get{noun}APIResources"), "get available resources", tag(group, version));
    let answer = Answer::Object(RESOURCE_LIST);
    let path = format!("{}/", prefix(group, version));
    alone(path, Operation { consumes: OBJECTS, produces: OBJECTS, answer, ..operation })
}

/// The versions of one group with a name.
pub(in super::super) fn of_group(group: &str) -> Route {
    let (noun, tag) = (pascal(short_group(group)), tag(group, ""));
    let operation =
        get(format!("get{noun}APIGroup"), "get information of a group", tag.trim_end_matches('_').to_owned());
    alone(format!("/apis/{group}/"), Operation { answer: Answer::Object(GROUP), ..operation })
}

/// What belongs to no group, by the path of its document in version 3.
pub(in super::super) fn served_beside_kinds() -> [(&'static str, Route); 5] {
    let of = |id: &str, description: &str, tag: &str| get(id.to_owned(), description, tag.to_owned());
    let versions = of("getCoreAPIVersions", "get available API versions", "core");
    let groups = of("getAPIVersions", "get available API versions", "apis");
    let version = of("getCodeVersion", "get the version information for this server", "version");
    let issuer = of(
        "getServiceAccountIssuerOpenIDConfiguration",
        "get the OpenID configuration of the issuer of service account tokens",
        "WellKnown",
    );
    let keys = of(
        "getServiceAccountIssuerOpenIDKeyset",
        "get the public keys by which service account tokens are verified",
        "openid",
    );
    let text = |operation, produces| Operation { consumes: &[], produces, answer: Answer::Text, ..operation };
    let version = Operation { consumes: JSON, produces: JSON, answer: Answer::Object(VERSION), ..version };
    [
        ("api", alone("/api/", Operation { answer: Answer::Object(VERSIONS), ..versions })),
        ("apis", alone("/apis/", Operation { answer: Answer::Object(GROUP_LIST), ..groups })),
        ("version", alone("/version/", version)),
        (".well-known/openid-configuration", alone("/.well-known/openid-configuration/", text(issuer, JSON))),
        ("openid/v1/jwks", alone("/openid/v1/jwks/", text(keys, KEY_SET))),
    ]
}

/// The groups that have a name, and every group with each of its versions.
pub(in super::super) fn groups(kinds: &[KindRef]) -> (BTreeSet<&'static str>, BTreeSet<(&'static str, &'static str)>) {
    let named = kinds.iter().map(|kind| kind.group).filter(|group| !group.is_empty()).collect();
    (named, kinds.iter().map(|kind| (kind.group, kind.version)).collect())
}

fn get(id: String, description: &str, tag: String) -> Operation {
    Operation {
        method: "get",
        id,
        description: description.to_owned(),
        body: Body::Nothing,
        consumes: GROUPS,
        parameters: &[],
        statuses: &[200],
        answer: Answer::Text,
        produces: GROUPS,
        action: None,
        tag,
    }
}

fn alone(path: impl Into<String>, operation: Operation) -> Route {
    Route { path: path.into(), parameters: Vec::new(), operations: vec![operation] }
}
