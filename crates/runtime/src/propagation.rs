//! Whether a container's mounts can be seen from the node: only below a mount that the node shares.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Refuses `path` for a mount that is to be seen on the node, when it lies on a mount that is not shared.
pub(crate) fn check_shared(path: &Path) -> Result<()> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").map_err(Error::io("reading the mount table"))?;
    let real = path.canonicalize().map_err(Error::io_at("resolving", path))?;
    match private_mount(&table, &real) {
        Some(mount) => Err(Error::Invalid(format!(
            "path {:?} is mounted on {:?} but it is not a shared mount; make it one with `mount --make-rshared {}`",
            path,
            mount,
            mount.display()
        ))),
        None => Ok(()),
    }
}

/// The mount point that `path` lies on, if it is not shared. `table` is in the form of `/proc/self/mountinfo`.
fn private_mount(table: &str, path: &Path) -> Option<PathBuf> {
    let mounts = table.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let point = PathBuf::from(fields.nth(4)?);
        let shared = fields.skip(1).take_while(|field| *field != "-").any(|field| field.starts_with("shared:"));
        path.starts_with(&point).then_some((point, shared))
    });
    // Of two mounts on one point the later lies above.
    let (point, shared) = mounts
        .reduce(|best, next| if next.0.components().count() >= best.0.components().count() { next } else { best })?;
    (!shared).then_some(point)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_decides() {
        let table = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
                     42 27 254:0 /x /run/x rw,relatime shared:1 - ext4 /dev/vda rw\n";
        let check =
            |path: &str, want: Option<&str>| assert_eq!(private_mount(table, Path::new(path)), want.map(PathBuf::from));
        check("/run/x/y", None);
        check("/run/xy", Some("/"));
        check("/var", Some("/"));
    }
}
