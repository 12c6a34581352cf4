//! A real etcd for tests: a process of its own on loopback, which ends with the value, and with the test's process at
//! the latest.

#![allow(dead_code, reason = "shared by test programs of which each uses a part")]

use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sampan_store::etcd::{Etcd, Options, Tls};
use tokio::time::{Instant, sleep};

/// A running etcd.
pub(crate) struct EtcdServer {
    /// `HOST:PORT` for clients.
    pub(crate) address: String,
    dir: PathBuf,
    process: Child,
}

/// How long etcd may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

impl EtcdServer {
    /// Starts one, and returns when it answers.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[], None).await
    }

    /// The same with TLS, for which `files` are: authority, certificate, key.
    pub(crate) async fn start_with_tls(files: [&Path; 3], client: &Tls) -> Self {
        let [authority, certificate, key] = files.map(|path| path.to_str().unwrap().to_owned());
        let flags = [
            format!("--trusted-ca-file={authority}"),
            format!("--cert-file={certificate}"),
            format!("--key-file={key}"),
            "--client-cert-auth".to_owned(),
        ];
        Self::start_with(&flags, Some(client)).await
    }

    async fn start_with(flags: &[String], client: Option<&Tls>) -> Self {
        // In memory where that is possible: these tests are not about the disk.
        let parent = Some(PathBuf::from("/dev/shm")).filter(|path| path.is_dir()).unwrap_or_else(std::env::temp_dir);
        let dir = tempfile::Builder::new().prefix("sampan-test-etcd-").tempdir_in(parent).unwrap().keep();
        let address = free_address();
        let process = spawn(&dir, &address, flags);
        let server = Self { address, dir, process };
        server.answers(client).await;
        server
    }

    /// Kills it and starts it again on the same data.
    pub(crate) async fn restart(&mut self) {
        self.end("restart\n");
        self.process = spawn(&self.dir, &self.address, &[]);
        self.answers(None).await;
    }

    async fn answers(&self, tls: Option<&Tls>) {
        let until = Instant::now() + PATIENCE;
        let options = Options { location: format!("etcd://{}", self.address).parse().unwrap(), tls: tls.cloned() };
        while let Err(error) = Etcd::connect(options.clone()).await {
            assert!(Instant::now() < until, "etcd does not start: {error}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn end(&mut self, word: &str) {
        self.process.stdin.take().unwrap().write_all(word.as_bytes()).unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for EtcdServer {
    fn drop(&mut self) {
        self.end("");
    }
}

/// Kills etcd as soon as nobody holds the other end of the pipe, however that came about, and removes its data unless
/// it was told a word.
const KEEPER: &str = r#"
dir=$1; shift
etcd --data-dir "$dir/data" "$@" </dev/null &
read -r word
kill -9 $!
wait $!
[ -n "$word" ] || rm -rf "$dir"
"#;

fn spawn(dir: &Path, address: &str, flags: &[String]) -> Child {
    let scheme = if flags.is_empty() { "http" } else { "https" };
    // Nobody else belongs to the cluster, but etcd wants an address for it.
    let peer = format!("http://{}", free_address());
    let mut command = Command::new("sh");
    command.args(["-c", KEEPER, "sh"]).arg(dir).args(["--log-level", "error", "--name", "only"]);
    command.args([format!("--listen-client-urls={scheme}://{address}")]);
    command.args([format!("--advertise-client-urls={scheme}://{address}")]);
    command.args([format!("--listen-peer-urls={peer}"), format!("--initial-advertise-peer-urls={peer}")]);
    command.args([format!("--initial-cluster=only={peer}")]).args(flags);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// An address that was free a moment ago.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
