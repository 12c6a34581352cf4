//! The runtime goes; Pods stay.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process};
use sampan_cri::v1::*;

use super::fixture::Fixture;

pub(crate) async fn adopts_what_runs(mut fixture: Fixture) -> Fixture {
    let sandbox = fixture.sandbox().await;
    let script = "echo up; while [ ! -e /tmp/go ]; do sleep 0.02; done; echo away; exit 9";
    let stays = fixture.create(&sandbox, "stays", "sleep 1000").await;
    let ends = fixture.create(&sandbox, "ends", script).await;
    let fresh = fixture.create(&sandbox, "fresh", "echo later").await;
    fixture.start(&stays).await.unwrap();
    fixture.start(&ends).await.unwrap();
    let before = fixture.status(&stays).await;
    let state = fixture.directory.join("state/containers").join(&ends);
    let upper = fixture.directory.join("root/containers").join(&ends).join("upper");
    while !upper.join("tmp").exists() && fixture.lines("ends.log").is_empty() {
        tokio::task::yield_now().await;
    }
    fixture.exec(&ends, "(sleep 0.3; touch /tmp/go) >/dev/null 2>&1 &", 0).await.unwrap();
    let mut fixture = fixture
        .restart(|| {
            while !state.join("exit.json").exists() {
                std::thread::sleep(Duration::from_millis(5));
            }
        })
        .await;
    assert_eq!(fixture.status(&stays).await, before, "the same container, unchanged");
    let status = fixture.status(&ends).await;
    assert_eq!((status.state(), status.exit_code), (ContainerState::ContainerExited, 9));
    assert_eq!(fixture.lines("ends.log"), ["up", "away"], "the log went on");
    assert_eq!(fixture.exec(&stays, "echo alive", 0).await.unwrap().0, "alive\n");
    fixture.start(&fresh).await.unwrap();
    assert_eq!(fixture.ended(&fresh).await.exit_code, 0);
    fixture.stop(&stays, 0).await;
    fixture
}

pub(crate) async fn notices_a_dead_shim(mut fixture: Fixture) -> Fixture {
    let sandbox = fixture.sandbox().await;
    let id = fixture.create(&sandbox, "orphan", "sleep 1000").await;
    fixture.start(&id).await.unwrap();
    let group = fixture.group("memory", &format!("shims/{sandbox}"));
    let shim = fs::read_to_string(group.join("cgroup.procs")).unwrap();
    assert_eq!(shim.lines().count(), 1);
    let shim = Pid::from_raw(shim.trim().parse().unwrap()).unwrap();
    kill_process(shim, Signal::KILL).unwrap();
    let status = fixture.ended(&id).await;
    assert_ne!(status.exit_code, 0);
    let request = PodSandboxStatusRequest { pod_sandbox_id: sandbox, verbose: false };
    let pod = fixture.cri.pod_sandbox_status(request).await.unwrap().into_inner().status.unwrap();
    assert_eq!(pod.state(), PodSandboxState::SandboxNotready);
    fixture
}

pub(crate) async fn cleans_up_what_was_half_made(mut fixture: Fixture) -> Fixture {
    let sandbox = fixture.sandbox().await;
    let id = fixture.create(&sandbox, "lost", "sleep 1000").await;
    fixture.start(&id).await.unwrap();
    // As after a kill before the sandbox was ready, and one while another container was being removed.
    let state = fixture.directory.join("state");
    let record = state.join("sandboxes").join(&sandbox).join("record.json");
    let mut fixture = fixture
        .restart(|| {
            let text = fs::read_to_string(&record).unwrap();
            let (before, rest) = text.split_once(r#""ready":"#).unwrap();
            let (_, after) = rest.split_once(r#","stopped""#).unwrap();
            fs::write(&record, format!(r#"{before}"ready":null,"stopped"{after}"#)).unwrap();
            fs::create_dir_all(state.join("containers/half")).unwrap();
        })
        .await;
    let pods = fixture.cri.list_pod_sandbox(ListPodSandboxRequest::default()).await.unwrap().into_inner().items;
    let containers =
        fixture.cri.list_containers(ListContainersRequest::default()).await.unwrap().into_inner().containers;
    assert!(pods.is_empty() && containers.is_empty());
    let shims = fixture.group("memory", &format!("shims/{sandbox}"));
    assert!(!fs::exists(shims).unwrap(), "the shim has ended");
    fixture
}

/// Not a benchmark: a fence against starts that wait for something.
pub(crate) async fn is_fast(mut fixture: Fixture) -> Fixture {
    let mut took = Vec::new();
    for _ in 0..10 {
        let begin = tokio::time::Instant::now();
        let sandbox = fixture.sandbox().await;
        let made = begin.elapsed();
        let id = fixture.create(&sandbox, "fast", "sleep 1000").await;
        let created = begin.elapsed();
        fixture.start(&id).await.unwrap();
        took.push((begin.elapsed(), made, created));
        fixture.cri.remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id: sandbox }).await.unwrap();
    }
    took.sort();
    println!("sandbox, create and start: {:?}", took);
    assert!(took[5].0 < Duration::from_millis(500), "{took:?}");
    fixture
}

pub(crate) async fn kills_a_shim_that_hangs(mut fixture: Fixture) -> Fixture {
    let sandbox = fixture.sandbox().await;
    let group = fixture.group("memory", &format!("shims/{sandbox}"));
    let shim = fs::read_to_string(group.join("cgroup.procs")).unwrap();
    let shim = Pid::from_raw(shim.trim().parse().unwrap()).unwrap();
    kill_process(shim, Signal::STOP).unwrap();
    fixture.cri.remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id: sandbox }).await.unwrap();
    assert!(!fs::exists(group).unwrap());
    fixture
}

pub(crate) async fn serves_many_at_once(fixture: Fixture) -> Fixture {
    let mut working = tokio::task::JoinSet::new();
    for number in 0..20 {
        let mut own = fixture.view();
        working.spawn(async move {
            let sandbox = own.sandbox().await;
            let name = format!("many{number}");
            let status = own.run(&sandbox, &name, "echo $HOSTNAME").await;
            assert_eq!((status.exit_code, own.lines(&format!("{name}.log"))), (0, vec!["pod-name".to_owned()]));
            own.cri.remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id: sandbox }).await.unwrap();
        });
    }
    while let Some(done) = working.join_next().await {
        done.unwrap();
    }
    fixture
}

/// A connection to the shim in `directory`, as a runtime has one.
fn peer(directory: &Path) -> OwnedFd {
    let directory = rustix::fs::open(directory, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let name = SocketAddrUnix::new(format!("/proc/self/fd/{}/shim.sock", directory.as_raw_fd())).unwrap();
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    rustix::net::connect(&socket, &name).unwrap();
    socket
}

fn ask(peer: &OwnedFd, request: &str) -> String {
    rustix::io::write(peer, request.as_bytes()).unwrap();
    let mut answer = vec![0; 1 << 16];
    let length = rustix::io::read(peer, &mut answer).unwrap();
    String::from_utf8(answer[..length].to_vec()).unwrap()
}

/// Ends every connection that this process has to a shim: no other socket here keeps packets apart.
fn cut_off() {
    let own = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).unwrap();
    for entry in fs::read_dir("/proc/self/fd").unwrap() {
        let number = entry.unwrap().file_name().to_string_lossy().parse().unwrap();
        let Ok(fd) = rustix::process::pidfd_getfd(&own, number, PidfdGetfdFlags::empty()) else { continue };
        if rustix::net::sockopt::socket_type(&fd).is_ok_and(|kind| kind == SocketType::SEQPACKET) {
            let _ = rustix::net::shutdown(&fd, Shutdown::Both);
        }
    }
}

pub(crate) async fn outlives_what_is_not_understood(mut fixture: Fixture) -> Fixture {
    let sandbox = fixture.sandbox().await;
    let id = fixture.create(&sandbox, "stays", "sleep 1000").await;
    fixture.start(&id).await.unwrap();
    let before = fixture.status(&id).await;
    let peer = peer(&fixture.directory.join("state/sandboxes").join(&sandbox));
    let answer = ask(&peer, r#"{"id":7,"call":{"Dance":{"steps":1}}}"#);
    assert!(answer.contains(r#""id":7"#) && answer.contains("does not know what it is asked for"), "{answer}");
    rustix::io::write(&peer, b"Guten Tag").unwrap();
    let answer = ask(&peer, r#"{"id":8,"call":"Containers"}"#);
    assert!(answer.contains(r#""id":8"#) && answer.contains(&id), "{answer}");
    drop(peer);
    // The connection breaks, and nothing else does.
    cut_off();
    while fixture.exec(&id, "echo alive", 0).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(fixture.status(&id).await, before);
    let request = PodSandboxStatusRequest { pod_sandbox_id: sandbox, verbose: false };
    let pod = fixture.cri.pod_sandbox_status(request).await.unwrap().into_inner().status.unwrap();
    assert_eq!(pod.state(), PodSandboxState::SandboxReady);
    fixture.stop(&id, 0).await;
    assert_eq!(fixture.status(&id).await.exit_code, 137);
    fixture
}

/// What is waited for comes sooner, if it comes, and is looked for this often.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(5);

/// Stops all that is in the control group where it stands, and whatever is put there; or lets it go on.
fn freeze(group: &Path, still: bool) {
    let unified = group.join("cgroup.freeze");
    let (file, word) = match (unified.exists(), still) {
        (true, true) => (unified, "1"),
        (true, false) => (unified, "0"),
        (false, true) => (group.join("freezer.state"), "FROZEN"),
        (false, false) => (group.join("freezer.state"), "THAWED"),
    };
    fs::write(file, word).unwrap();
}

/// Whether a process of the control group has been sent SIGKILL, or there is none any more.
fn is_killed(group: &Path) -> bool {
    let processes = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    processes.lines().all(|process| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let pending = status.lines().filter_map(|line| line.strip_prefix("SigPnd:").or(line.strip_prefix("ShdPnd:")));
        let mut pending = pending.filter_map(|set| u64::from_str_radix(set.trim(), 16).ok());
        status.is_empty() || pending.any(|set| set & 1 << (Signal::KILL.as_raw() - 1) != 0)
    })
}

/// A runtime is killed while a start is under way: the shim hears of it, and nobody hears from the shim.
pub(crate) async fn breaks_off_starts_that_nobody_waits_for(mut fixture: Fixture) -> Fixture {
    let sandbox = fixture.sandbox().await;
    let id = fixture.create(&sandbox, "late", "sleep 1000").await;
    let state = fixture.directory.join("state");
    let (directory, bundle) = (state.join("sandboxes").join(&sandbox), state.join("containers").join(&id));
    let pod = fixture.group("freezer", "pod");
    let group = pod.join(&id);
    fs::create_dir_all(&pod).unwrap();
    freeze(&pod, true);
    let (killed, kill) = tokio::sync::oneshot::channel();
    let mut fixture = fixture
        .restart(|| {
            let predecessor = peer(&directory);
            let start =
                format!(r#"{{"id":1,"call":{{"Start":{{"container":"{id}","directory":"{}"}}}}}}"#, bundle.display());
            rustix::io::write(&predecessor, start.as_bytes()).unwrap();
            // It is being set up, and gets no further.
            let looks = PATIENCE.as_millis() / PAUSE.as_millis();
            let is_there = (0..looks).any(|_| {
                std::thread::sleep(PAUSE);
                !is_killed(&group)
            });
            assert!(is_there, "the shim puts nothing into the container's group");
            // It would go on then, if the successor had not had it killed.
            let group = group.clone();
            std::thread::spawn(move || {
                let is_over = (0..looks).any(|_| {
                    std::thread::sleep(PAUSE);
                    is_killed(&group)
                });
                freeze(&pod, false);
                killed.send(is_over)
            });
        })
        .await;
    assert!(kill.await.unwrap(), "the start is broken off");
    assert_eq!(fixture.status(&id).await.state(), ContainerState::ContainerCreated);
    fixture.cri.remove_container(RemoveContainerRequest { container_id: id }).await.unwrap();
    assert!(!group.exists());
    fixture
}
