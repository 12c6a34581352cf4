//! Script tests: commands, and what they must print.
//!
//! ```text
//! # A comment. Files that the commands use follow after the last command.
//! $ kubectl create configmap a --from-literal=k=v
//! configmap/a created
//!
//! $? kubectl get configmap nope
//! Error from server (NotFound): configmaps "nope" not found
//!
//! $~ kubectl get pod p -o jsonpath={.status.phase}
//! Running
//!
//! -- pod.yaml --
//! apiVersion: v1
//! ...
//! ```
//! `$` must succeed, `$?` must fail, `$~` is tried again until it prints what is wanted. What is wanted is compared line
//! by line with what is printed, blanks folded; `...` in a line stands for anything, a line of `...` alone for any lines.
//! A command with nothing below it may print anything. Commands run in a shell, in a directory with the script's files.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::Instant;

use crate::program::printed;

/// A command that is tried again is given up after this long.
const PATIENCE: Duration = Duration::from_secs(90);
/// Time between two tries.
const PAUSE: Duration = Duration::from_millis(250);

/// How a command must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Succeeds,
    Fails,
    Comes,
}

/// A command with what it must print.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    line: usize,
    manner: Manner,
    command: String,
    want: Vec<String>,
}

/// A script as it was read.
#[derive(Debug, Default)]
pub struct Script {
    steps: Vec<Step>,
    files: Vec<(String, String)>,
}

impl Script {
    /// Reads a script.
    pub fn parse(text: &str) -> Result<Self> {
        let mut script = Self::default();
        let mut lines = text.lines().enumerate().peekable();
        while let Some((number, line)) = lines.next() {
            if let Some(name) = line.strip_prefix("-- ").and_then(|rest| rest.strip_suffix(" --")) {
                script.files.push((name.to_owned(), String::new()));
            } else if let Some((_, content)) = script.files.last_mut() {
                content.push_str(line);
                content.push('\n');
            } else if let Some((manner, command)) = command(line) {
                let mut command = command.to_owned();
                while command.ends_with('\\')
                    && let Some((_, more)) = lines.next()
                {
                    command.pop();
                    command.push_str(more.trim_start());
                }
                script.steps.push(Step { line: number + 1, manner, command, want: Vec::new() });
            } else if !line.trim().is_empty() && !line.starts_with('#') {
                let step = script.steps.last_mut();
                step.with_context(|| format!("line {}: output before any command", number + 1))?.want.push(fold(line));
            }
        }
        Ok(script)
    }

    /// Runs the script in `dir`. `command` makes the shell that runs one line.
    pub fn run(&self, dir: &Path, command: &dyn Fn(&str) -> Command) -> Result<()> {
        for (name, content) in &self.files {
            let path = dir.join(name);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(path, content)?;
        }
        self.steps.iter().try_for_each(|step| {
            step.run(dir, command).with_context(|| format!("line {}: {}", step.line, step.command))
        })
    }
}

fn command(line: &str) -> Option<(Manner, &str)> {
    let manners = [("$ ", Manner::Succeeds), ("$? ", Manner::Fails), ("$~ ", Manner::Comes)];
    manners.into_iter().find_map(|(mark, manner)| Some((manner, line.strip_prefix(mark)?)))
}

/// One blank for every run of blanks: columns may be as wide as they like.
fn fold(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Step {
    fn run(&self, dir: &Path, command: &dyn Fn(&str) -> Command) -> Result<()> {
        let start = Instant::now();
        loop {
            let output = command(&self.command).current_dir(dir).output().context("starting the command")?;
            let got = printed(&output);
            let ended = output.status.success() != (self.manner == Manner::Fails);
            let lines: Vec<String> = got.lines().map(fold).filter(|line| !line.is_empty()).collect();
            if ended && (self.want.is_empty() || matches(&self.want, &lines)) {
                return Ok(());
            }
            if self.manner != Manner::Comes || start.elapsed() > PATIENCE {
                let how = if ended { "printed" } else { "ended otherwise and printed" };
                bail!("it {how}:\n{got}\nwanted:\n{}\n({})", self.want.join("\n"), output.status);
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// Whether `lines` are what is wanted.
fn matches(want: &[String], lines: &[String]) -> bool {
    match want.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first == "..." => (0..=lines.len()).any(|skip| matches(rest, &lines[skip..])),
        Some((first, rest)) => lines.split_first().is_some_and(|(line, more)| like(first, line) && matches(rest, more)),
    }
}

/// Whether `line` is like `pattern`, where `...` stands for anything.
fn like(pattern: &str, line: &str) -> bool {
    let Some((head, rest)) = pattern.split_once("...") else { return pattern == line };
    let Some(mut tail) = line.strip_prefix(head) else { return false };
    let mut pieces: Vec<&str> = rest.split("...").collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        let Some(at) = tail.find(piece) else { return false };
        tail = &tail[at + piece.len()..];
    }
    tail.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> Result<()> {
        let dir = tempfile::tempdir().unwrap();
        Script::parse(text)?.run(dir.path(), &|line| {
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(line);
            shell
        })
    }

    #[test]
    fn what_is_printed_is_compared() {
        run("$ echo a; echo b\na\nb\n").unwrap();
        run("$ printf 'NAME   AGE\\nx  5s\\n'\nNAME AGE\nx ...s\n").unwrap();
        run("$ seq 9\n1\n...\n8\n9\n").unwrap();
        run("$? echo no; exit 3\nno\n").unwrap();
        run("$ cat f\nhello\n-- f --\nhello\n").unwrap();
        run("$~ echo x >> n; wc -l < n\n3\n").unwrap();
        run("$ echo \\\n  one\none\n").unwrap();
    }

    #[test]
    fn a_difference_is_told_with_its_line() {
        for (text, told) in [
            ("$ echo a\nb\n", "line 1"),
            ("$ true\n$ false\n", "line 2"),
            ("$? true\n", "line 1"),
            ("stray\n", "line 1"),
            ("$ seq 3\n1\n2\n", "line 1"),
        ] {
            let error = format!("{:#}", run(text).unwrap_err());
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
