//! Bearer tokens of browsers, which can give a WebSocket no header: one of its subprotocols carries the token.

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderMap, HeaderValue, header};
use sampan_streams::websocket;

/// The subprotocol is this and the token, in base64 of the kind for URLs.
const PREFIX: &str = "base64url.bearer.authorization.k8s.io.";
/// Browsers may send no padding; some clients do.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Takes the token out of the subprotocols of a WebSocket. There must be another one: it is what the client is answered.
pub(super) fn take_token(headers: &mut HeaderMap) -> Result<Option<String>, &'static str> {
    if !websocket::is_upgrade(headers) {
        return Ok(None);
    }
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter().filter_map(|value| value.to_str().ok());
    let offered: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    let (tokens, others): (Vec<&str>, Vec<&str>) = offered.into_iter().partition(|offer| offer.starts_with(PREFIX));
    let [token] = tokens[..] else {
        return if tokens.is_empty() { Ok(None) } else { Err("multiple base64.bearer.authorization tokens specified") };
    };
    let token = BASE64.decode(&token[PREFIX.len()..]).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let others = others.join(",");
    match HeaderValue::from_str(&others) {
        Ok(others) if !others.is_empty() => headers.insert(header::SEC_WEBSOCKET_PROTOCOL, others),
        _ => headers.remove(header::SEC_WEBSOCKET_PROTOCOL),
    };
    let token = token.ok_or("invalid base64.bearer.authorization token encoding")?;
    if others.is_empty() { Err("missing additional subprotocol") } else { Ok(Some(token)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(offered: &[&'static str], want: Result<Option<&str>, &str>, left: Option<&str>) {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        for offer in offered {
            headers.append(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(offer));
        }
        assert_eq!(take_token(&mut headers), want.map(|token| token.map(str::to_owned)), "{offered:?}");
        let value = headers.get(header::SEC_WEBSOCKET_PROTOCOL).map(|value| value.to_str().unwrap());
        assert_eq!(value, left, "{offered:?}");
    }

    #[test]
    fn a_token_is_taken_and_the_others_stay() {
        // "a secret"
        const TOKEN: &str = "base64url.bearer.authorization.k8s.io.YSBzZWNyZXQ";
        check(&["v5.channel.k8s.io"], Ok(None), Some("v5.channel.k8s.io"));
        check(&[TOKEN, "v4.channel.k8s.io"], Ok(Some("a secret")), Some("v4.channel.k8s.io"));
        let list = "x,base64url.bearer.authorization.k8s.io.YSBzZWNyZXQ=, y";
        check(&[list], Ok(Some("a secret")), Some("x,y"));
        check(&[TOKEN], Err("missing additional subprotocol"), None);
        check(&[TOKEN, TOKEN, "x"], Err("multiple base64.bearer.authorization tokens specified"), Some(TOKEN));
        let bad = "base64url.bearer.authorization.k8s.io.*";
        check(&[bad, "x"], Err("invalid base64.bearer.authorization token encoding"), Some("x"));
    }

    #[test]
    fn other_requests_have_none() {
        let mut headers = HeaderMap::new();
        let offer = HeaderValue::from_static("base64url.bearer.authorization.k8s.io.YSBzZWNyZXQ,x");
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, offer);
        assert_eq!(take_token(&mut headers), Ok(None));
    }
}
