//! `hostPath`: a file or directory of the node, checked against the type it should have.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{HostPathVolumeSource, Volume};

use super::{Context, Provider, SetUp, blocking};
use crate::Error;

struct HostPath(HostPathVolumeSource);

pub(super) fn of(volume: &Volume) -> Option<Box<dyn Provider>> {
    volume.host_path.clone().map(|source| Box::new(HostPath(source)) as Box<dyn Provider>)
}

#[async_trait]
impl Provider for HostPath {
    async fn set_up(&self, _name: &str, _context: &Context<'_>) -> Result<SetUp, Error> {
        let path = PathBuf::from(&self.0.path);
        let (at, kind) = (path.clone(), self.0.type_.clone().unwrap_or_default());
        blocking(move || check(&at, &kind)).await?;
        Ok(SetUp::writable(path))
    }
}

fn check(path: &Path, kind: &str) -> Result<(), Error> {
    let failed = |is: &str| Error::Config(format!("hostPath type check failed: {} is not {is}", path.display()));
    match kind {
        "DirectoryOrCreate" if !path.exists() => super::mounting::make_dir(path, 0o755)?,
        "FileOrCreate" if !path.exists() => {
            std::fs::File::create_new(path).map_err(Error::io("creating", path))?;
        }
        _ => {}
    }
    let is = |test: fn(&std::fs::FileType) -> bool| path.metadata().is_ok_and(|metadata| test(&metadata.file_type()));
    let (good, what) = match kind {
        "" => (true, ""),
        "Directory" | "DirectoryOrCreate" => (is(std::fs::FileType::is_dir), "a directory"),
        "File" | "FileOrCreate" => (is(std::fs::FileType::is_file), "a file"),
        "Socket" => (is(FileTypeExt::is_socket), "a socket file"),
        "CharDevice" => (is(FileTypeExt::is_char_device), "a character device"),
        "BlockDevice" => (is(FileTypeExt::is_block_device), "a block device"),
        other => return Err(Error::Config(format!("{other} is an invalid volume type"))),
    };
    if good { Ok(()) } else { Err(failed(what)) }
}
