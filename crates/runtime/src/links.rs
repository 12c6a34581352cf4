//! Symbolic links in a root that is not the node's own.

use std::path::{Component, Path, PathBuf};

/// So many links are followed on one way, as the kernel does.
pub(crate) const MAX_LINKS: u32 = 40;

/// Where a link in `directory` that says `link` leads, from the root and never above it. By the letter: whether the kernel
/// comes to the same place is for the caller to see.
pub(crate) fn leads_to(directory: &Path, link: &Path) -> PathBuf {
    let mut way = PathBuf::new();
    for part in directory.join(link).components() {
        match part {
            Component::Normal(name) => way.push(name),
            Component::ParentDir => drop(way.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    way
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_places_below_the_root() {
        for (directory, link, want) in [
            ("/var", "/run", "run"),
            ("/var", "../run", "run"),
            ("var", "run/./lock", "var/run/lock"),
            ("/var", "../../../etc", "etc"),
            ("a/b", "../../..", ""),
        ] {
            assert_eq!(leads_to(Path::new(directory), Path::new(link)), Path::new(want), "{directory} {link}");
        }
    }
}
