//! The programs that tests run: sampan as it was built, and kubectl as it is found.

use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

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

/// Everything that a command printed.
pub fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
