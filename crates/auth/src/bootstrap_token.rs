//! Bootstrap tokens: what a machine shows that is to become a node. Each lies in a Secret of kube-system that says what
//! it is good for and until when.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::hmac;

use crate::Identity;

/// The type of such a Secret.
pub const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";
/// The name of such a Secret is this and the token's id.
pub const SECRET_PREFIX: &str = "bootstrap-token-";
/// The group of all who show one.
const GROUP: &str = "system:bootstrappers";
/// The longest name of an extra group.
const MAX_GROUP_BYTES: usize = 256;

/// The id and the secret part of a token: `abcdef.0123456789abcdef`.
pub fn parts(token: &str) -> Option<(&str, &str)> {
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let (id, secret) = token.split_once('.')?;
    (id.len() == 6 && secret.len() == 16 && plain(id) && plain(secret)).then_some((id, secret))
}

/// Who shows the token (`id`, `secret`), by the data of the Secret it must be in; an error says why nobody.
pub fn identity(
    (id, secret): (&str, &str),
    data: &BTreeMap<String, Vec<u8>>,
    now: Timestamp,
) -> Result<Identity, &'static str> {
    let text = |key: &str| data.get(key).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
    if text("token-id") != id || !same(text("token-secret"), secret) {
        return Err("it is not the token of its Secret");
    }
    if has_expired(text("expiration"), now) {
        return Err("it has expired");
    }
    if text("usage-bootstrap-authentication") != "true" {
        return Err("it is not meant for authentication");
    }
    let mut groups = vec![GROUP.to_owned()];
    for group in text("auth-extra-groups").split(',').map(str::trim).filter(|group| !group.is_empty()) {
        if !is_bootstrap_group(group) {
            return Err("it names a group that is not for bootstrapping");
        }
        groups.push(group.to_owned());
    }
    Ok(Identity { name: format!("system:bootstrap:{id}"), groups, ..Identity::default() })
}

/// Whether `expiration` is past; what cannot be read is past.
pub fn has_expired(expiration: &str, now: Timestamp) -> bool {
    !expiration.is_empty() && !expiration.parse::<Timestamp>().is_ok_and(|end| end > now)
}

/// Signs `text` with a token: a compact JSON Web Signature without its payload, which the reader has.
pub fn sign((id, secret): (&str, &str), text: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(serde_json::json!({ "alg": "HS256", "kid": id }).to_string());
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(text));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("{header}..{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes())))
}

fn is_bootstrap_group(group: &str) -> bool {
    let Some(rest) = group.strip_prefix("system:bootstrappers:") else { return false };
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    rest.len() <= MAX_GROUP_BYTES
        && rest.bytes().all(|b| plain(b) || b == b':' || b == b'-')
        && rest.bytes().last().is_some_and(plain)
}

/// Compares without telling by its time how much is equal.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(changes: &[(&str, &str)], want: Result<&[&str], &str>) {
        let mut data = BTreeMap::from(
            [("token-id", "abcdef"), ("token-secret", "0123456789abcdef"), ("usage-bootstrap-authentication", "true")]
                .map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec())),
        );
        data.extend(changes.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())));
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let got = identity(parts("abcdef.0123456789abcdef").unwrap(), &data, now);
        assert_eq!(got.map(|who| who.groups), want.map(|groups| groups.iter().map(|g| (*g).to_owned()).collect()));
    }

    #[test]
    fn a_secret_says_what_its_token_is_good_for() {
        check(&[], Ok(&["system:bootstrappers"]));
        check(&[("expiration", "2026-01-01T00:00:01Z")], Ok(&["system:bootstrappers"]));
        check(&[("expiration", "2026-01-01T00:00:00Z")], Err("it has expired"));
        check(&[("expiration", "soon")], Err("it has expired"));
        check(&[("usage-bootstrap-authentication", "false")], Err("it is not meant for authentication"));
        check(&[("token-secret", "0123456789abcdee")], Err("it is not the token of its Secret"));
        let groups: &[&str] = &["system:bootstrappers", "system:bootstrappers:workers"];
        check(&[("auth-extra-groups", "system:bootstrappers:workers")], Ok(groups));
        check(&[("auth-extra-groups", "system:masters")], Err("it names a group that is not for bootstrapping"));
    }

    #[test]
    fn what_is_signed_verifies_by_any_library() {
        let (text, secret) = ("some\ntext", "0123456789abcdef");
        let signature = sign(("abcdef", secret), text);
        let (header, mac) = signature.split_once("..").unwrap();
        assert_eq!(URL_SAFE_NO_PAD.decode(header).unwrap(), br#"{"alg":"HS256","kid":"abcdef"}"#);
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(text));
        let key = jsonwebtoken::DecodingKey::from_secret(secret.as_bytes());
        let verify = |signed: &str| {
            jsonwebtoken::crypto::verify(mac, signed.as_bytes(), &key, jsonwebtoken::Algorithm::HS256).unwrap()
        };
        assert!(verify(&signed) && !verify(&format!("{signed}x")));
    }

    #[test]
    fn tokens_have_one_form() {
        for bad in ["abcdef", "abcde.0123456789abcdef", "ABCDEF.0123456789abcdef", "abcdef.0123456789abcde/", ""] {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }
}
