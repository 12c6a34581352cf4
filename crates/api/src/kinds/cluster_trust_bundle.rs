//! ClusterTrustBundle: certificates to trust, of a signer or of none.

use jiff::Timestamp;
use serde_json::Value;

use super::{cells, read};
use crate::field;
use crate::kind::{Kind, NameRule, Rules, Scope, Verbs};
use crate::validation::{Cursor, certificates, check, names, signer_name};

/// `clustertrustbundles.certificates.k8s.io`
pub static CLUSTER_TRUST_BUNDLE: Kind = Kind {
    group: "certificates.k8s.io",
    version: "v1",
    kind: "ClusterTrustBundle",
    plural: "clustertrustbundles",
    singular: "clustertrustbundle",
    short_names: &[],
    categories: &[],
    scope: Scope::Cluster,
    verbs: Verbs::All,
    names: NameRule::PathSegment,
    subresources: &[],
    schema: "io.k8s.api.certificates.v1.ClusterTrustBundle",
    storage: "clustertrustbundles",
    columns: &[cells::NAME, cells::text("SignerName")],
    rules: &BundleRules,
};

struct BundleRules;

impl Rules for BundleRules {
    fn validate(&self, object: &Value) -> Vec<field::Error> {
        check(object, |bundle| {
            let signer = bundle.get("spec").get("signerName");
            name(&bundle.get("metadata").get("name"), signer.text());
            if !signer.is_empty() {
                signer_name(&signer);
            }
        })
    }

    fn validate_create(&self, object: &Value) -> Vec<field::Error> {
        check(object, |bundle| certificates::trust_bundle(&bundle.get("spec").get("trustBundle")))
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<field::Error> {
        check(new, |bundle| {
            let spec = bundle.get("spec");
            if spec.get("trustBundle").value() != &old["spec"]["trustBundle"] {
                certificates::trust_bundle(&spec.get("trustBundle"));
            }
            spec.get("signerName").immutable(&old["spec"]["signerName"]);
        })
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        vec![("spec.signerName", read::text(object, "/spec/signerName").to_owned())]
    }

    fn selectable_names(&self) -> &'static [&'static str] {
        &["spec.signerName"]
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        vec![cells::name(object), cells::or_none(read::text(object, "/spec/signerName"))]
    }

    fn updates_say_version(&self) -> bool {
        true
    }
}

/// A signer's bundles begin with its name; no others look like a signer's.
fn name(name: &Cursor<'_>, signer: &str) {
    if signer.is_empty() {
        if name.text().contains(':') {
            return name.invalid("ClusterTrustBundle without signer name must not have \":\" in its name");
        }
        return name.follows(names::subdomain);
    }
    let prefix = format!("{}:", signer.replace('/', ":"));
    match name.text().strip_prefix(&prefix) {
        Some(rest) => {
            for fault in names::subdomain(rest) {
                name.invalid(fault);
            }
        }
        None => name.invalid(format!("ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}")),
    }
}

#[cfg(test)]
mod tests {
    use super::CLUSTER_TRUST_BUNDLE;
    use crate::kinds::testing::{check, check_row};

    #[test]
    fn names_follow_the_signer() {
        check(
            &CLUSTER_TRUST_BUNDLE,
            "{metadata: {name: 'a:b'}, spec: {trustBundle: ''}}",
            &[
                "metadata.name: Invalid value: \"a:b\": ClusterTrustBundle without signer name must not have \":\" in its \
                 name",
                "spec.trustBundle: Invalid value: \"<value omitted>\": at least one trust anchor must be provided",
            ],
        );
        check(
            &CLUSTER_TRUST_BUNDLE,
            "{metadata: {name: 'a.b:c:d'}, spec: {signerName: a.b/x, trustBundle: ''}}",
            &[
                "metadata.name: Invalid value: \"a.b:c:d\": ClusterTrustBundle for signerName a.b/x must be named with \
                 prefix a.b:x:",
                "spec.trustBundle: Invalid value: \"<value omitted>\": at least one trust anchor must be provided",
            ],
        );
    }

    #[test]
    fn rows() {
        check_row(&CLUSTER_TRUST_BUNDLE, "{metadata: {name: a}}", "a | <none>");
    }
}
