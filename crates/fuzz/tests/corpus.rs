//! Every input of the corpus holds, on a stack no larger than the server's, and soon.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sampan_fuzz::{Target, targets};
use tokio::time::Instant;

/// The stack of tokio's threads, on which the server decodes.
const STACK_BYTES: usize = 2 << 20;
/// Far more than any input needs, far less than one that makes a decoder go wild.
const PATIENCE: Duration = Duration::from_secs(20);

fn inputs(target: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let entries = fs::read_dir(&dir).unwrap_or_else(|why| panic!("{}: {why}", dir.display()));
    entries.map(|entry| entry.expect("a directory can be read").path()).collect()
}

fn check(target: Target) {
    let inputs = inputs(target.name);
    assert!(!inputs.is_empty(), "{} has no corpus", target.name);
    for path in inputs {
        let input = fs::read(&path).expect("an input can be read");
        let began = Instant::now();
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || (target.run)(&input));
        let ended = thread.expect("a thread can be started").join();
        assert!(ended.is_ok(), "{} does not hold", path.display());
        assert!(began.elapsed() < PATIENCE, "{} took {:?}", path.display(), began.elapsed());
    }
}

#[test]
fn the_corpus_holds() {
    targets::ALL.iter().copied().for_each(check);
}

#[test]
fn the_corpus_is_of_known_targets() {
    let known: Vec<&str> = targets::ALL.iter().map(|target| target.name).collect();
    let dirs = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")).unwrap();
    for dir in dirs {
        let name = dir.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&name.as_str()), "{name} is no target");
    }
}
