//! The program itself: where it is in the container, and the words for when it cannot be run.

use std::ffi::CString;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use oci_spec::runtime::Process;

use super::rootfs::Result;

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command ready to be run.
pub(super) struct Program {
    path: CString,
    args: Vec<CString>,
    env: Vec<CString>,
}

impl Program {
    /// Finds what `process` runs, as the user it runs as, with the wording that runc has for failures.
    pub(super) fn find(process: &Process) -> Result<Self> {
        let args = process.args().as_deref().unwrap_or_default();
        let env = process.env().as_deref().unwrap_or_default();
        let name = args.first().ok_or("no command specified")?;
        let path = locate(name, env).map_err(|error| format!("exec: {name:?}: {error}"))?;
        let strings = |words: &[String]| {
            let string =
                |word: &String| CString::new(word.as_str()).map_err(|_| format!("{word:?} contains a zero byte"));
            words.iter().map(string).collect::<Result<Vec<_>>>()
        };
        let path =
            CString::new(path.into_os_string().into_encoded_bytes()).map_err(|_| "zero byte in path".to_owned())?;
        Ok(Self { path, args: strings(args)?, env: strings(env)? })
    }

    /// Runs it; returns only to say why that failed.
    pub(super) fn run(&self) -> String {
        let Err(error) = nix::unistd::execve(&self.path, &self.args, &self.env);
        let why = match error {
            Errno::ENOEXEC => "exec format error".to_owned(),
            Errno::EACCES => "permission denied".to_owned(),
            // The file was there a moment ago: what is missing is its interpreter.
            Errno::ENOENT => "no such file or directory".to_owned(),
            other => other.desc().to_lowercase(),
        };
        format!("exec {}: {why}", self.path.to_string_lossy())
    }
}

/// The container's working directory must be in the container, whatever the image put on its path.
pub(super) fn enter_directory(path: &Path) -> Result<()> {
    let enter = |error: io::Error| format!("chdir to cwd ({path:?}) set in config.json failed: {}", words(&error));
    match std::env::set_current_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(path).map_err(enter)?;
            std::env::set_current_dir(path).map_err(enter)?;
        }
        other => other.map_err(enter)?,
    }
    match rustix::process::getcwd(Vec::new()) {
        Ok(real) if real.as_bytes().starts_with(b"/") => Ok(()),
        _ => Err(format!("current working directory {path:?} is outside of the container's root")),
    }
}

fn locate(name: &str, env: &[String]) -> std::result::Result<PathBuf, String> {
    if name.contains('/') {
        return runnable(Path::new(name)).map(|()| name.into()).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            _ => format!("stat {name}: {}", words(&error)),
        });
    }
    let path = env.iter().rev().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    let mut denied = false;
    for directory in path.split(':') {
        let candidate = Path::new(if directory.is_empty() { "." } else { directory }).join(name);
        match runnable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(error) => denied |= error.kind() == io::ErrorKind::PermissionDenied,
        }
    }
    Err(if denied { "permission denied" } else { "executable file not found in $PATH" }.to_owned())
}

fn runnable(path: &Path) -> io::Result<()> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(())
}

/// The system's words for an error, in lower case and without its number, as other runtimes print them.
fn words(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |number| Errno::from_raw(number).desc().to_lowercase())
}
