//! Mount options, from the words of an OCI spec to what the kernel is told. Pure.

use rustix::mount::MountAttrFlags;

/// One mount's options, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    /// Attributes of the mount itself.
    pub(super) attributes: MountAttrFlags,
    /// `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`, or 0 for "as it comes".
    pub(super) propagation: libc::c_ulong,
    /// A bind brings the mounts below it along.
    pub(super) recursive: bool,
    /// The attributes hold for the mounts below too.
    pub(super) recursive_attributes: bool,
    /// What is left is the filesystem's own: `key` or `key=value`.
    pub(super) filesystem: Vec<(String, Option<String>)>,
}

/// Takes `words` apart.
pub(super) fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Options {
    let mut options = Options {
        attributes: MountAttrFlags::empty(),
        propagation: 0,
        recursive: false,
        recursive_attributes: false,
        filesystem: Vec::new(),
    };
    for word in words {
        match word {
            "rbind" => options.recursive = true,
            "bind" | "rw" | "suid" | "dev" | "exec" | "relatime" | "defaults" => {}
            "ro" => options.attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY,
            "rro" => {
                options.attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
                options.recursive_attributes = true;
            }
            "nosuid" => options.attributes |= MountAttrFlags::MOUNT_ATTR_NOSUID,
            "nodev" => options.attributes |= MountAttrFlags::MOUNT_ATTR_NODEV,
            "noexec" => options.attributes |= MountAttrFlags::MOUNT_ATTR_NOEXEC,
            "noatime" => options.attributes |= MountAttrFlags::MOUNT_ATTR_NOATIME,
            "private" | "rprivate" => options.propagation = libc::MS_PRIVATE,
            "slave" | "rslave" => options.propagation = libc::MS_SLAVE,
            "shared" | "rshared" => options.propagation = libc::MS_SHARED,
            own => options.filesystem.push(match own.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (own.to_owned(), None),
            }),
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_sorted_out() {
        let options = parse(["rbind", "rprivate", "ro", "nosuid"]);
        assert!(options.recursive && !options.recursive_attributes);
        assert_eq!(options.attributes, MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOSUID);
        assert_eq!(options.propagation, libc::MS_PRIVATE);

        let options = parse(["noexec", "mode=1777", "size=65536k", "newinstance"]);
        assert_eq!(options.attributes, MountAttrFlags::MOUNT_ATTR_NOEXEC);
        let own: Vec<_> = options.filesystem.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        assert_eq!(own, [("mode", Some("1777")), ("size", Some("65536k")), ("newinstance", None)]);
    }
}
