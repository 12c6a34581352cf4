//! Names of images, as Docker reads them: what is no registry's name is a repository of `docker.io`.

/// The registry of `image`, and its repository there with what tells its version.
pub(super) fn split(image: &str) -> (&str, String) {
    let (first, rest) = image.split_once('/').unwrap_or(("", image));
    let (registry, repository) = match first.contains(['.', ':']) || first == "localhost" {
        true => (first, rest),
        false => ("docker.io", image),
    };
    let registry = if registry == "index.docker.io" { "docker.io" } else { registry };
    let official = if registry == "docker.io" && !repository.contains('/') { "library/" } else { "" };
    (registry, format!("{official}{repository}"))
}

/// `image` in full: with its registry, and with its digest or else a tag.
pub(super) fn full(image: &str) -> String {
    let (registry, named) = split(image);
    let repository = without_version(&named);
    match named.split_once('@') {
        Some((_, digest)) => format!("{registry}/{repository}@{digest}"),
        None if repository.len() == named.len() => format!("{registry}/{repository}:latest"),
        None => format!("{registry}/{named}"),
    }
}

/// The registry and repository of `image`.
pub(super) fn repository(image: &str) -> String {
    let (registry, repository) = split(image);
    format!("{registry}/{}", without_version(&repository))
}

/// A repository without tag and digest.
fn without_version(repository: &str) -> &str {
    let tagged = repository.split_once('@').map_or(repository, |(tagged, _)| tagged);
    let last = tagged.rfind('/').map_or(0, |at| at + 1);
    tagged[last..].find(':').map_or(tagged, |at| &tagged[..last + at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_full_and_without_version() {
        for (image, whole, repo) in [
            ("busybox", "docker.io/library/busybox:latest", "docker.io/library/busybox"),
            ("team/app:1", "docker.io/team/app:1", "docker.io/team/app"),
            ("localhost:5000/a", "localhost:5000/a:latest", "localhost:5000/a"),
            ("r.io/a/b:1@sha256:0", "r.io/a/b@sha256:0", "r.io/a/b"),
            ("index.docker.io/library/b:1", "docker.io/library/b:1", "docker.io/library/b"),
            ("r.io/a@sha256:0", "r.io/a@sha256:0", "r.io/a"),
        ] {
            assert_eq!((full(image), repository(image)), (whole.to_owned(), repo.to_owned()), "{image}");
        }
    }
}
