//! Pods whose root is nobody on the node.

use std::fs;
use std::os::unix::fs::MetadataExt;

use sampan_cri::v1::*;

use super::fixture::Fixture;

const HOST: u32 = 200_000;
const LENGTH: u32 = 65_536;

fn map(container_id: u32, host_id: u32, length: u32) -> IdMapping {
    IdMapping { container_id, host_id, length }
}

fn options(mode: NamespaceMode, maps: &[IdMapping]) -> NamespaceOption {
    let users = UserNamespace { mode: mode.into(), uids: maps.to_vec(), gids: maps.to_vec() };
    NamespaceOption { pid: NamespaceMode::Container.into(), userns_options: Some(users), ..Default::default() }
}

fn own() -> NamespaceOption {
    options(NamespaceMode::Pod, &[map(0, HOST, LENGTH)])
}

async fn sandbox(fixture: &mut Fixture, options: NamespaceOption) -> String {
    let change = |config: &mut PodSandboxConfig| {
        let security = config.linux.as_mut().unwrap().security_context.as_mut().unwrap();
        security.namespace_options = Some(options);
    };
    fixture.sandbox_with(change).await
}

fn inside(options: NamespaceOption) -> impl FnOnce(&mut ContainerConfig) {
    move |config| {
        let security = config.linux.get_or_insert_default().security_context.get_or_insert_default();
        security.namespace_options = Some(options);
        security.masked_paths = ["/proc/kcore", "/sys/firmware"].map(str::to_owned).to_vec();
        security.readonly_paths = vec!["/proc/sys".to_owned()];
    }
}

pub(crate) async fn are_nobody_on_the_node(mut fixture: Fixture) -> Fixture {
    let sandbox = sandbox(&mut fixture, own()).await;
    let volume = fixture.directory.join("volume");
    fs::create_dir_all(&volume).unwrap();
    fs::write(volume.join("given"), "x").unwrap();
    let source = volume.display().to_string();
    let change = |config: &mut ContainerConfig| {
        inside(own())(config);
        config.mounts = vec![Mount { container_path: "/v".to_owned(), host_path: source, ..Default::default() }];
    };
    let script = "cat /proc/self/uid_map; id -u; ls -ln /etc/passwd /v/given | while read a b c d e; do echo $c $d; done; \
                  touch /data/mine /v/made && echo > /dev/null && echo out > /dev/stdout; cat /etc/resolv.conf; \
                  ls -l /dev/zero | head -c 1; echo; sleep 1000";
    let id = fixture.create_with(&sandbox, "inside", script, change).await.unwrap();
    fixture.start(&id).await.unwrap();
    while fixture.lines("inside.log").len() < 7 {
        tokio::task::yield_now().await;
    }
    let lines = fixture.lines("inside.log");
    let mapping: Vec<_> = lines[0].split_whitespace().collect();
    assert_eq!(mapping, ["0", &HOST.to_string(), &LENGTH.to_string()]);
    assert_eq!(lines[1..], ["0", "0 0", "0 0", "out", "nameserver 10.43.0.10", "c"]);
    // What it has made is its root's in the Pod, and the node's root's on the disk, which other Pods may see as theirs.
    assert_eq!(fs::metadata(volume.join("made")).unwrap().uid(), 0);
    let pid = fs::read_to_string(fixture.directory.join("state/containers").join(&id).join("started.json")).unwrap();
    let pid = serde_json::from_str::<serde_json::Value>(&pid).unwrap()["pid"].as_i64().unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains(&format!("Uid:\t{HOST}\t{HOST}")), "{status}");

    let (text, code) =
        fixture.exec(&id, "id -u; ps | grep -c '[s]leep 1000'; echo 1 > /proc/sys/kernel/hostname", 0).await.unwrap();
    assert!(text.starts_with("0\n1\n") && code != 0, "{text}");
    fixture.stop(&id, 0).await;
    assert_eq!(fixture.status(&id).await.exit_code, 137);
    fixture
}

pub(crate) async fn have_terminals_and_each_other(mut fixture: Fixture) -> Fixture {
    let shared = NamespaceOption { pid: NamespaceMode::Pod.into(), ..own() };
    let sandbox = sandbox(&mut fixture, shared.clone()).await;
    let first = fixture.create_with(&sandbox, "first", "sleep 1000", inside(shared.clone())).await.unwrap();
    fixture.start(&first).await.unwrap();
    let change = |config: &mut ContainerConfig| {
        inside(shared)(config);
        config.tty = true;
    };
    let script = "[ -t 0 ] && echo terminal; ps | grep -v grep | grep -c 'sleep 1000'; touch /dev/shm/x && echo shm";
    let status = fixture.run_with(&sandbox, "second", script, change).await;
    assert_eq!(
        (status.exit_code, fixture.lines("second.log")),
        (0, ["terminal", "1", "shm"].map(str::to_owned).to_vec())
    );
    // What cannot be run says so across both processes.
    let missing = |config: &mut ContainerConfig| {
        inside(own())(config);
        config.command = vec!["nothing".to_owned()];
    };
    let id = fixture.create_with(&sandbox, "missing", "", missing).await.unwrap();
    let error = fixture.start(&id).await.unwrap_err();
    assert!(error.message().contains(r#"exec: "nothing": executable file not found in $PATH"#), "{error}");
    fixture
}

pub(crate) async fn are_refused_where_they_make_no_sense(mut fixture: Fixture) -> Fixture {
    let network = NamespaceOption { network: NamespaceMode::Node.into(), ..own() };
    for (options, words) in [
        (options(NamespaceMode::Pod, &[]), "one mapping"),
        (options(NamespaceMode::Pod, &[map(0, 1000, 10), map(10, 5000, 10)]), "one mapping"),
        (options(NamespaceMode::Pod, &[map(1, 1000, 10)]), "begins with id 0"),
        (options(NamespaceMode::Pod, &[map(0, u32::MAX - 5, 10)]), "one mapping"),
        (options(NamespaceMode::Container, &[map(0, 1000, 10)]), "the Pod's or the node's"),
        (options(NamespaceMode::Target, &[map(0, 1000, 10)]), "the Pod's or the node's"),
        (network, "together with the node's network"),
    ] {
        let security = LinuxSandboxSecurityContext { namespace_options: Some(options), ..Default::default() };
        let linux = LinuxPodSandboxConfig { security_context: Some(security), ..Default::default() };
        let config = Some(PodSandboxConfig { linux: Some(linux), ..Default::default() });
        let error =
            fixture.cri.run_pod_sandbox(RunPodSandboxRequest { config, ..Default::default() }).await.unwrap_err();
        assert!(error.message().contains(words), "{error}");
    }
    fixture
}
