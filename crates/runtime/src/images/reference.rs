//! Image names, as people write them and as they are kept. Pure.

use super::Error;

const DEFAULT_HOST: &str = "docker.io";
const DEFAULT_NAMESPACE: &str = "library";
const DEFAULT_TAG: &str = "latest";
const MAX_BYTES: usize = 512;

/// The full form of a name: `busybox` is `docker.io/library/busybox:latest`.
pub(crate) fn normalize(name: &str) -> Result<String, Error> {
    let invalid = || Error::Reference(name.to_owned());
    if name.is_empty() || name.len() > MAX_BYTES {
        return Err(invalid());
    }
    let (rest, digest) = match name.split_once('@') {
        Some((rest, digest)) if is_digest(digest) => (rest, Some(digest)),
        Some(_) => return Err(invalid()),
        None => (name, None),
    };
    let (host, path) = match rest.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
        _ => (DEFAULT_HOST, rest),
    };
    let (path, tag) = match path.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (path, None),
    };
    let tag_is_valid = tag.is_none_or(|tag| !tag.is_empty() && tag.len() <= 128 && tag.bytes().all(is_tag_byte));
    if !path.split('/').all(is_component) || !tag_is_valid || !is_host(host) {
        return Err(invalid());
    }
    let path = if host == DEFAULT_HOST && !path.contains('/') {
        format!("{DEFAULT_NAMESPACE}/{path}")
    } else {
        path.to_owned()
    };
    Ok(match (tag, digest) {
        (Some(tag), None) => format!("{host}/{path}:{tag}"),
        (None, None) => format!("{host}/{path}:{DEFAULT_TAG}"),
        (_, Some(digest)) => format!("{host}/{path}@{digest}"),
    })
}

/// The name without tag and digest, for `name@digest`.
pub(super) fn repository(name: &str) -> &str {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

/// Registry, repository and target (a tag or a digest) of a name in its full form.
pub(super) fn parts(name: &str) -> (&str, &str, &str) {
    let (registry, rest) = name.split_once('/').unwrap_or((DEFAULT_HOST, name));
    let (repository, target) = rest.split_once('@').or_else(|| rest.rsplit_once(':')).unwrap_or((rest, DEFAULT_TAG));
    (registry, repository, target)
}

pub(super) fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

fn is_component(part: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let edges = |byte: Option<u8>| byte.is_some_and(inner);
    edges(part.bytes().next())
        && edges(part.bytes().last())
        && part.bytes().all(|byte| inner(byte) || matches!(byte, b'.' | b'_' | b'-'))
        && !part.contains("..")
}

fn is_tag_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

fn is_host(host: &str) -> bool {
    host.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[')
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'-' | b'[' | b']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_their_full_form() {
        let check = |name: &str, want: &str| assert_eq!(normalize(name).unwrap(), want);
        check("busybox", "docker.io/library/busybox:latest");
        check("busybox:1.36", "docker.io/library/busybox:1.36");
        check("me/app", "docker.io/me/app:latest");
        check("docker.io/busybox", "docker.io/library/busybox:latest");
        check("localhost/app", "localhost/app:latest");
        check("localhost:5000/app:v1", "localhost:5000/app:v1");
        check("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10");
        let digest = format!("sha256:{}", "a".repeat(64));
        check(&format!("app:v1@{digest}"), &format!("docker.io/library/app@{digest}"));
    }

    #[test]
    fn full_names_have_three_parts() {
        let check = |name: &str, want: (&str, &str, &str)| assert_eq!(parts(&normalize(name).unwrap()), want, "{name}");
        check("busybox", ("docker.io", "library/busybox", "latest"));
        check("localhost:5000/a/b:v1", ("localhost:5000", "a/b", "v1"));
        let digest = format!("sha256:{}", "a".repeat(64));
        check(&format!("r.io/app:v1@{digest}"), ("r.io", "app", &digest));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for name in ["", "UPPER", "a//b", "a:", "a@sha256:12", "../etc/passwd", "a/../b", "a b", "a:tag:tag"] {
            assert!(normalize(name).is_err(), "{name}");
        }
    }
}
