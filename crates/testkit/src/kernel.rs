//! What the kernel holds of sampan's: to be compared before and after.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Processes, mounts, links, nftables tables, cgroups and namespaces whose names have `word` in them.
pub fn holdings(word: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    found.extend(processes(word));
    found.extend(lines("mount", &fs::read_to_string("/proc/self/mounts").unwrap_or_default(), word));
    found.extend(lines("link", &printed("ip", &["-o", "link"]), word));
    found.extend(lines("table", &printed("nft", &["list", "tables"]), word));
    found.extend(lines("netns", &printed("ip", &["netns"]), word));
    directories(Path::new("/sys/fs/cgroup"), word, &mut found);
    found
}

fn printed(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

fn lines<'a>(kind: &'a str, text: &'a str, word: &'a str) -> impl Iterator<Item = String> + 'a {
    text.lines().filter(move |line| line.contains(word)).map(move |line| format!("{kind} {line}"))
}

/// Processes whose program is sampan's, told by their command line.
fn processes(word: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let command = |entry: fs::DirEntry| {
        let line = fs::read_to_string(entry.path().join("cmdline")).ok()?.replace('\0', " ");
        let own = entry.file_name().to_string_lossy().parse() == Ok(std::process::id());
        (line.contains(word) && !own).then_some(line)
    };
    // Programs that merely look (an editor, a build) do not count: only those that run the program itself.
    let is_program = |line: &String| line.split(' ').next().is_some_and(|program| program.ends_with("/sampan"));
    entries.filter_map(command).filter(is_program).map(|line| format!("process {line}")).collect()
}

fn directories(dir: &Path, word: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if entry.file_name().to_string_lossy().contains(word) {
                found.insert(format!("cgroup {}", entry.path().display()));
            }
            directories(&entry.path(), word, found);
        }
    }
}
