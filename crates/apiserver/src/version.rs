//! Which Kubernetes the server speaks.

use serde_json::{Value, json};

/// The `/version` document's contents.
#[derive(Clone, Debug)]
pub struct Version {
    /// `v1.37.0+sampan`
    pub git_version: String,
    /// The commit the binary was built from; may be empty.
    pub git_commit: String,
    /// When it was built; may be empty.
    pub build_date: String,
}

impl Version {
    /// The version whose API this is.
    pub fn current() -> Self {
        Self { git_version: "v1.37.0+sampan".to_owned(), git_commit: String::new(), build_date: String::new() }
    }

    /// The document.
    pub(crate) fn document(&self) -> Value {
        let mut numbers = self.git_version.trim_start_matches('v').split('.');
        let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        json!({
            "major": major, "minor": minor, "gitVersion": self.git_version, "gitCommit": self.git_commit,
            "gitTreeState": "clean", "buildDate": self.build_date, "goVersion": "", "compiler": "rustc",
            "platform": format!("{}/{}", std::env::consts::OS, go_arch()),
        })
    }
}

/// The architecture in Go's words, which clients expect.
fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
