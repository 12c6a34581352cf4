//! What a registry wants to see first: the `WWW-Authenticate` header. Pure.

/// One way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A user's name and password.
    Basic,
    /// A token from the service `realm`.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

/// The first challenge in `header` that can be met; a token is preferred.
pub(super) fn parse<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Challenge> {
    let mut found = None;
    for header in headers {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("bearer") {
            let parameters = parameters(rest);
            let value = |key: &str| parameters.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
            if let Some(realm) = value("realm") {
                return Some(Challenge::Bearer { realm, service: value("service"), scope: value("scope") });
            }
        } else if scheme.eq_ignore_ascii_case("basic") {
            found = Some(Challenge::Basic);
        }
    }
    found
}

/// `key="value",key=value`; commas in quotes belong to the value.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    let mut rest = text.trim_start();
    while let Some((key, after)) = rest.split_once('=') {
        let (value, left) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => after
                .split_once(',')
                .map_or((after.trim().to_owned(), ""), |(value, left)| (value.trim().to_owned(), left)),
        };
        parameters.push((key.trim().to_ascii_lowercase(), value));
        rest = left.trim_start().trim_start_matches(',').trim_start();
    }
    parameters
}

fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(letters.next().map(|(_, escaped)| escaped)),
            plain => value.push(plain),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            let own = |text: Option<&str>| text.map(str::to_owned);
            Some(Challenge::Bearer { realm: realm.to_owned(), service: own(service), scope: own(scope) })
        };
        let check = |header: &str, want: Option<Challenge>| assert_eq!(parse([header]), want, "{header}");
        check(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
            bearer("https://auth.docker.io/token", Some("registry.docker.io"), Some("repository:a/b:pull,push")),
        );
        check(r#"bearer Realm=https://a , service="x \"y\"""#, bearer("https://a", Some("x \"y\""), None));
        check(r#"Basic realm="Registry""#, Some(Challenge::Basic));
        check("Basic", Some(Challenge::Basic));
        check("Negotiate", None);
        check(r#"Bearer service="no realm""#, None);
        check(r#"Bearer realm="unfinished"#, bearer("unfinished", None, None));
        assert_eq!(parse([r#"Basic realm="x""#, r#"Bearer realm="https://t""#]), bearer("https://t", None, None));
    }
}
