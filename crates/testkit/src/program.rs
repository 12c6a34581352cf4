//! The programs that tests run: sampan as it was built, and kubectl as it is found.

use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// The top of the source tree.
pub fn tree() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// The released program; `SAMPAN` names another.
pub fn sampan() -> Result<PathBuf> {
    let path = std::env::var_os("SAMPAN").map_or_else(|| tree().join("target/release/sampan"), PathBuf::from);
    if !path.is_file() {
        bail!("{} is not built; run `make build` first", path.display());
    }
    Ok(path)
}

/// The kubectl to test with; `KUBECTL` names another than the one on the path.
pub fn kubectl() -> PathBuf {
    std::env::var_os("KUBECTL").map_or_else(|| "kubectl".into(), PathBuf::from)
}

/// Runs `command` to its end and returns what it printed on standard output; it must succeed.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}\n{}", output.status, printed(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The same with `input` on the command's standard input.
pub fn run_with(command: &mut Command, input: &[u8]) -> Result<String> {
    let mut file = tempfile::tempfile()?;
    file.write_all(input)?;
    file.rewind()?;
    run(command.stdin(file))
}

/// Runs `command`, which must fail, and returns everything that it printed.
pub fn refused(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    ensure!(!output.status.success(), "{command:?} succeeded: {}", printed(&output));
    Ok(printed(&output))
}

/// Everything that a command printed.
pub fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A program that a test needs beside the cluster. It ends when this is dropped, and with the thread that has started it,
/// so that nothing of a test that was killed stays.
pub struct Helper(Child);

impl Helper {
    /// Starts what `command` says, with the variables that it sets; what it prints goes to `output`.
    pub fn start(command: &Command, output: impl Into<Stdio>) -> Result<Self> {
        let mut mortal = Command::new("setpriv");
        mortal.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
        mortal.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).stdout(output);
        Ok(Self(mortal.spawn().with_context(|| format!("starting {command:?}"))?))
    }

    /// Sends it a signal: `-USR1`.
    pub fn signal(&self, signal: &str) -> Result<()> {
        run(Command::new("kill").args([signal, &self.0.id().to_string()])).map(drop)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}
