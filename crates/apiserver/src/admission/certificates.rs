//! Who may approve and sign certificate requests: those who have that right for the request's signer. And nobody gets a
//! certificate of `system:masters` from the signer of clients.

use sampan_api::status::Status;
use sampan_auth::signing::{CLIENT, Subject};
use sampan_auth::{Attributes, Authorizer as _, Decision};
use serde_json::Value;

use super::{Operation, Plugin, Request};
use crate::registry::{Attempt, Registry};

const GROUP: &str = "certificates.k8s.io";

/// Upstream's CertificateApproval, CertificateSigning and CertificateSubjectRestriction.
pub(super) struct Certificates;

impl Plugin for Certificates {
    fn validate(&self, registry: &Registry, request: &Request<'_>, new: &Value) -> Result<(), Status> {
        let signer = request.old.unwrap_or(new)["spec"]["signerName"].as_str().unwrap_or_default();
        match request.operation {
            Operation::Create if request.is_about(GROUP, "certificatesigningrequests") => {
                restrict_subject(request.attempt, signer, new)
            }
            Operation::Update if request.is_about(GROUP, "certificatesigningrequests/approval") => {
                require(registry, request.attempt, "approve", signer)
            }
            Operation::Update if request.is_about(GROUP, "certificatesigningrequests/status") => {
                let same = request.old.is_some_and(|old| decided(old) == decided(new));
                if same { Ok(()) } else { require(registry, request.attempt, "sign", signer) }
            }
            _ => Ok(()),
        }
    }
}

/// What only a signer writes.
fn decided(request: &Value) -> (&Value, &Value) {
    (&request["status"]["certificate"], &request["status"]["conditions"])
}

fn require(registry: &Registry, attempt: &Attempt, verb: &str, signer: &str) -> Result<(), Status> {
    let domain = signer.split_once('/').map_or(signer, |(domain, _)| domain);
    let allowed = [signer.to_owned(), format!("{domain}/*")].into_iter().any(|name| {
        let attributes = Attributes {
            verb: verb.to_owned(),
            group: GROUP.to_owned(),
            version: "*".to_owned(),
            resource: "signers".to_owned(),
            name,
            ..Attributes::default()
        };
        matches!(registry.rights.authorize(&attempt.identity, &attributes), Decision::Allow(_))
    });
    if allowed {
        return Ok(());
    }
    Err(attempt.forbidden(&format!("user not permitted to {verb} requests with signerName {signer:?}")))
}

fn restrict_subject(attempt: &Attempt, signer: &str, request: &Value) -> Result<(), Status> {
    use base64::Engine as _;
    if signer != CLIENT {
        return Ok(());
    }
    let encoded = request["spec"]["request"].as_str().unwrap_or_default();
    let pem = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap_or_default();
    match Subject::of(&pem) {
        Ok(subject) if subject.is_master() => {
            Err(attempt.forbidden(&format!("use of {CLIENT} signer with system:masters group is not allowed")))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(attempt.forbidden(&format!("failed to parse CSR: {error}"))),
    }
}
