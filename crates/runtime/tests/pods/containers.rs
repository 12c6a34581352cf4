//! The life of containers.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use sampan_cri::v1::*;

use super::fixture::Fixture;

fn resources(change: impl FnOnce(&mut LinuxContainerResources)) -> impl FnOnce(&mut ContainerConfig) {
    move |config| {
        let mut resources = LinuxContainerResources::default();
        change(&mut resources);
        config.linux.get_or_insert_default().resources = Some(resources);
    }
}

fn security(change: impl FnOnce(&mut LinuxContainerSecurityContext)) -> impl FnOnce(&mut ContainerConfig) {
    move |config| change(config.linux.get_or_insert_default().security_context.get_or_insert_default())
}

pub(crate) async fn runs_and_logs(mut fixture: Fixture) -> Fixture {
    let sandbox = fixture.sandbox().await;
    let status = fixture.run(&sandbox, "talk", "echo out; echo err >&2; echo no end | head -c 6").await;
    assert_eq!((status.exit_code, status.reason.as_str()), (0, "Completed"));
    let mut lines = fixture.lines("talk.log");
    lines.sort();
    assert_eq!(lines, ["err", "no end", "out"]);
    assert!(
        fixture.log("talk.log").lines().any(|line| line.ends_with("Z stderr F err")),
        "{}",
        fixture.log("talk.log")
    );
    assert!(status.started_at >= status.created_at && status.finished_at >= status.started_at);
    fixture
}

pub(crate) async fn reports_exit_codes(mut fixture: Fixture) -> Fixture {
    let sandbox = fixture.sandbox().await;
    assert_eq!(fixture.run(&sandbox, "three", "exit 3").await.exit_code, 3);
    // A first process ignores what it has no handler for, even from itself; a shell's child does not.
    assert_eq!(fixture.run(&sandbox, "signal", "sh -c 'kill -9 $$'; exit $?").await.exit_code, 137);
    fixture
}

pub(crate) async fn says_why_a_command_cannot_run(mut fixture: Fixture) -> Fixture {
    let sandbox = fixture.sandbox().await;
    for (command, words) in [
        ("foo", r#"exec: "foo": executable file not found in $PATH"#),
        ("/foo", r#"exec: "/foo": stat /foo: no such file or directory"#),
        ("/etc/passwd", r#"exec: "/etc/passwd": permission denied"#),
    ] {
        let change = |config: &mut ContainerConfig| config.command = vec![command.to_owned()];
        let id = fixture.create_with(&sandbox, "no", "", change).await.unwrap();
        let error = fixture.start(&id).await.unwrap_err();
        assert!(error.message().contains(words), "{error}");
        let status = fixture.status(&id).await;
        assert_eq!((status.exit_code, status.reason.as_str()), (128, "StartError"));
        assert!(status.message.contains(words));
    }
    fixture
}

pub(crate) async fn is_killed_for_memory(mut fixture: Fixture) -> Fixture {
    let sandbox = fixture.sandbox().await;
    let limit = resources(|resources| resources.memory_limit_in_bytes = 16 << 20);
    let status = fixture.run_with(&sandbox, "oom", "exec dd if=/dev/zero of=/dev/null bs=64M count=1", limit).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (137, "OOMKilled"));
    fixture
}

pub(crate) async fn is_throttled(mut fixture: Fixture) -> Fixture {
    let sandbox = fixture.sandbox().await;
    let limit = resources(|resources| (resources.cpu_quota, resources.cpu_period) = (10_000, 100_000));
    let id = fixture.create_with(&sandbox, "busy", "while :; do :; done", limit).await.unwrap();
    fixture.start(&id).await.unwrap();
    let stat = fixture.group("cpu", &format!("pod/{id}/cpu.stat"));
    let throttled = || {
        let text = fs::read_to_string(&stat).unwrap_or_default();
        let number = text.lines().find_map(|line| line.strip_prefix("nr_throttled ")).map(str::to_owned);
        number.and_then(|number| number.parse::<u64>().ok()).unwrap_or_default()
    };
    while throttled() == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    fixture.stop(&id, 0).await;
    fixture
}

pub(crate) async fn stops_gracefully_or_not(mut fixture: Fixture) -> Fixture {
    let sandbox = fixture.sandbox().await;
    let polite =
        fixture.create(&sandbox, "polite", "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done").await;
    fixture.start(&polite).await.unwrap();
    while fixture.lines("polite.log").is_empty() {
        tokio::task::yield_now().await;
    }
    fixture.stop(&polite, 10).await;
    assert_eq!(fixture.status(&polite).await.exit_code, 7);
    assert_eq!(fixture.lines("polite.log"), ["up", "bye"]);

    // A signal that has a number only, as init systems are stopped with.
    let script = "trap 'echo bye; exit 8' 37; echo up; while :; do sleep 0.05; done";
    let signal = |config: &mut ContainerConfig| config.stop_signal = Signal::Sigrtminplus3.into();
    let numbered = fixture.create_with(&sandbox, "numbered", script, signal).await.unwrap();
    fixture.start(&numbered).await.unwrap();
    while fixture.lines("numbered.log").is_empty() {
        tokio::task::yield_now().await;
    }
    fixture.stop(&numbered, 10).await;
    assert_eq!(fixture.status(&numbered).await.exit_code, 8);
    assert_eq!(fixture.lines("numbered.log"), ["up", "bye"]);

    let stubborn = fixture.create(&sandbox, "stubborn", "trap '' TERM; while :; do sleep 1; done").await;
    fixture.start(&stubborn).await.unwrap();
    fixture.stop(&stubborn, 1).await;
    assert_eq!(fixture.status(&stubborn).await.exit_code, 137);
    fixture.stop(&stubborn, 1).await;
    fixture.stop("unknown", 1).await;
    fixture
}

pub(crate) async fn has_its_namespaces(mut fixture: Fixture) -> Fixture {
    let sandbox = fixture.sandbox().await;
    let script = "hostname; echo $HOSTNAME; echo $$; cat /etc/resolv.conf; ls /sys/class/net; cat /proc/self/cgroup | head -1; ls /sys/fs/cgroup/memory/memory.limit_in_bytes || cat /sys/fs/cgroup/memory.max; touch /dev/shm/mine";
    let status = fixture.run(&sandbox, "look", script).await;
    let lines = fixture.lines("look.log");
    assert_eq!(status.exit_code, 0, "{lines:?}");
    assert_eq!(lines[..4], ["pod-name", "pod-name", "1", "nameserver 10.43.0.10"]);
    assert_eq!(lines[4], "lo");
    assert!(lines[5].ends_with(":/"), "{lines:?}");
    fixture.run(&sandbox, "other", "ls /dev/shm").await;
    assert_eq!(fixture.lines("other.log"), ["mine"], "containers of a Pod share /dev/shm");
    fixture
}

pub(crate) async fn is_confined(mut fixture: Fixture) -> Fixture {
    let sandbox = fixture.sandbox().await;
    let paths = security(|security| {
        security.masked_paths = ["/proc/version", "/proc/acpi", "/sys/firmware"].map(str::to_owned).to_vec();
        security.readonly_paths = vec!["/proc/sys".to_owned()];
        security.seccomp = Some(SecurityProfile::default());
    });
    let script = "mount -t tmpfs x /tmp 2>/dev/null && echo mounted; unshare -m true 2>/dev/null && echo unshared; \
                  echo 1 2>/dev/null >/proc/sys/kernel/core_pattern && echo wrote; cat /proc/version; ls /sys/firmware; \
                  mknod /tmp/disk b 254 0 && cat /tmp/disk 2>/dev/null && echo disk; touch /sys/x 2>/dev/null && echo sysfs; \
                  grep -E 'Seccomp:|NoNewPrivs|CapBnd' /proc/self/status; exit 0";
    fixture.run_with(&sandbox, "inside", script, paths).await;
    let lines = fixture.lines("inside.log");
    assert_eq!(lines, ["CapBnd:\t00000000a80425fb", "NoNewPrivs:\t0", "Seccomp:\t2"]);

    let privileged = security(|security| security.privileged = true);
    fixture
        .run_with(
            &sandbox,
            "free",
            "mount -t tmpfs x /tmp && echo mounted; grep Seccomp: /proc/self/status",
            privileged,
        )
        .await;
    assert_eq!(fixture.lines("free.log"), ["mounted", "Seccomp:\t0"]);

    let readonly = security(|security| (security.readonly_rootfs, security.no_new_privs) = (true, true));
    let status = fixture.run_with(&sandbox, "ro", "grep NoNewPrivs /proc/self/status; touch /data/x", readonly).await;
    assert_eq!(status.exit_code, 1);
    assert_eq!(fixture.lines("ro.log")[0], "NoNewPrivs:\t1");
    fixture
}

pub(crate) async fn honours_users_and_mounts(mut fixture: Fixture) -> Fixture {
    let sandbox = fixture.sandbox().await;
    let volume = fixture.directory.join("volume");
    fs::create_dir_all(&volume).unwrap();
    fs::write(volume.join("file"), "content\n").unwrap();
    let mount = |path: &str, readonly| Mount {
        container_path: path.to_owned(),
        host_path: volume.display().to_string(),
        readonly,
        ..Default::default()
    };
    let mounts = vec![mount("/deep/er/volume", false), mount("/ro", true), mount("/waiting/in", true)];
    let change = |config: &mut ContainerConfig| {
        config.mounts = mounts;
        config.working_dir = "/deep/er".to_owned();
        security(|security| {
            security.run_as_user = Some(Int64Value { value: 33 });
            security.supplemental_groups = vec![99];
        })(config);
    };
    let script = "id -u; id -g; id -G; echo $HOME; cat volume/file; touch /ro/x 2>/dev/null || echo read-only; \
        cat /nowhere/yet/in/file";
    fixture.run_with(&sandbox, "user", script, change).await;
    assert_eq!(fixture.lines("user.log"), ["33", "33", "33 4 99", "/srv", "content", "read-only", "content"]);
    fixture
}

/// A neighbour swaps a directory on the way of a mount for a link that leads out, while the mount is made.
pub(crate) async fn is_not_led_out_of_its_root(mut fixture: Fixture) -> Fixture {
    let (volume, outside) = (fixture.directory.join("volume"), fixture.directory.join("outside"));
    for directory in [&volume.join("way"), &outside] {
        fs::create_dir_all(directory).unwrap();
    }
    std::os::unix::fs::symlink(&outside, volume.join("link")).unwrap();
    let (way, link) = (volume.join("way"), volume.join("link"));
    let over = Arc::new(AtomicBool::new(false));
    let swapping = std::thread::spawn({
        let over = over.clone();
        move || {
            let mut swaps = 0_u64;
            while !over.load(Ordering::Relaxed) {
                renameat_with(CWD, &way, CWD, &link, RenameFlags::EXCHANGE).unwrap();
                swaps += 1;
            }
            swaps
        }
    });
    let sandbox = fixture.sandbox().await;
    let (mut started, mut refused) = (0, 0);
    for number in 0..40 {
        let mount = |path: &str| Mount {
            container_path: path.to_owned(),
            host_path: volume.display().to_string(),
            ..Default::default()
        };
        let change = |config: &mut ContainerConfig| config.mounts = vec![mount("/v"), mount("/v/way/in")];
        let id = fixture.create_with(&sandbox, &format!("c{number}"), "true", change).await.unwrap();
        match fixture.start(&id).await {
            Ok(()) => started += 1,
            Err(_) => refused += 1,
        }
        assert!(fs::read_dir(&outside).unwrap().next().is_none(), "something was made outside");
    }
    over.store(true, Ordering::Relaxed);
    let swaps = swapping.join().unwrap();
    assert!(started > 0 && swaps > 40, "{started} started, {refused} refused, {swaps} swaps");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&outside.display().to_string()), "something is mounted outside");
    fixture
}

pub(crate) async fn leaves_the_nodes_devices_alone(mut fixture: Fixture) -> Fixture {
    let names = || {
        let mut names: Vec<_> = fs::read_dir("/dev").unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    let sandbox = fixture.sandbox().await;
    let change = |config: &mut ContainerConfig| {
        let node = Mount { container_path: "/dev".to_owned(), host_path: "/dev".to_owned(), ..Default::default() };
        config.mounts = vec![node];
        security(|security| security.privileged = true)(config);
    };
    let status =
        fixture.run_with(&sandbox, "node", "echo /dev/pts/*; echo > /dev/null && ls -d /dev/shm", change).await;
    assert_eq!((status.exit_code, names()), (0, before), "{}", status.message);
    assert_eq!(fixture.lines("node.log"), ["/dev/pts/ptmx", "/dev/shm"], "terminals are the container's own");
    fixture
}

pub(crate) async fn shares_processes_when_asked(mut fixture: Fixture) -> Fixture {
    let share = |mode: NamespaceMode| NamespaceOption { pid: mode.into(), ..Default::default() };
    let sandbox = fixture
        .sandbox_with(|config| {
            let security = config.linux.as_mut().unwrap().security_context.as_mut().unwrap();
            security.namespace_options = Some(share(NamespaceMode::Pod));
        })
        .await;
    let shared = || security(move |security| security.namespace_options = Some(share(NamespaceMode::Pod)));
    let first = fixture.create_with(&sandbox, "first", "sleep 1000", shared()).await.unwrap();
    fixture.start(&first).await.unwrap();
    let script = "ps | grep -v grep | grep -c 'sleep 1000'; ls /proc/1/root/ 2>/dev/null; exit 0";
    fixture.run_with(&sandbox, "second", script, shared()).await;
    assert_eq!(fixture.lines("second.log"), ["1"], "the first is seen, and nothing of the node");
    fixture.stop(&first, 0).await;
    assert_eq!(fixture.status(&first).await.exit_code, 137);
    fixture
}

pub(crate) async fn sees_its_targets_processes(mut fixture: Fixture) -> Fixture {
    let sandbox = fixture.sandbox().await;
    let target = fixture.create(&sandbox, "target", "sleep 1000").await;
    let looking_at = |id: &str| {
        let options =
            NamespaceOption { pid: NamespaceMode::Target.into(), target_id: id.to_owned(), ..Default::default() };
        security(move |security| security.namespace_options = Some(options))
    };
    let error = fixture.create_with(&sandbox, "early", "true", looking_at(&target)).await.unwrap_err();
    assert!(error.message().contains("is not running"), "{error}");
    fixture.start(&target).await.unwrap();
    let script = "ps | grep -v grep | grep -c 'sleep 1000'; ls /proc/1/root/bin/busybox";
    fixture.run_with(&sandbox, "debugger", script, looking_at(&target)).await;
    assert_eq!(fixture.lines("debugger.log")[0], "1");
    fixture.stop(&target, 0).await;
    fixture
}

pub(crate) async fn has_a_terminal(mut fixture: Fixture) -> Fixture {
    let sandbox = fixture.sandbox().await;
    let terminal = |config: &mut ContainerConfig| config.tty = true;
    let script = "[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo $TERM; ls -l /dev/console | head -c 1";
    let status = fixture.run_with(&sandbox, "tty", script, terminal).await;
    assert_eq!(status.exit_code, 0);
    assert_eq!(fixture.lines("tty.log"), ["xterm", "c"]);
    fixture
}

pub(crate) async fn rotates_logs(mut fixture: Fixture) -> Fixture {
    let sandbox = fixture.sandbox().await;
    let id = fixture
        .create(&sandbox, "turn", "echo one; while [ ! -e /tmp/go ]; do sleep 0.02; done; echo two; sleep 1000")
        .await;
    fixture.start(&id).await.unwrap();
    while fixture.lines("turn.log").is_empty() {
        tokio::task::yield_now().await;
    }
    let logs = fixture.directory.join("logs");
    fs::rename(logs.join("turn.log"), logs.join("turn.log.1")).unwrap();
    fixture.cri.reopen_container_log(ReopenContainerLogRequest { container_id: id.clone() }).await.unwrap();
    fixture.exec(&id, "touch /tmp/go", 0).await.unwrap();
    while fixture.lines("turn.log").is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        (fixture.lines("turn.log.1"), fixture.lines("turn.log")),
        (vec!["one".to_owned()], vec!["two".to_owned()])
    );
    fixture
}

/// A container sees its own group at the top of what is mounted there, as the host has it.
const MEMORY_LIMIT: &str =
    "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max";

pub(crate) async fn updates_limits(mut fixture: Fixture) -> Fixture {
    let sandbox = fixture.sandbox().await;
    let limit = resources(|resources| resources.memory_limit_in_bytes = 32 << 20);
    let id = fixture.create_with(&sandbox, "grow", "sleep 1000", limit).await.unwrap();
    fixture.start(&id).await.unwrap();
    let linux = Some(LinuxContainerResources { memory_limit_in_bytes: 64 << 20, ..Default::default() });
    let request = UpdateContainerResourcesRequest { container_id: id.clone(), linux, ..Default::default() };
    fixture.cri.update_container_resources(request).await.unwrap();
    let (text, _) = fixture.exec(&id, MEMORY_LIMIT, 0).await.unwrap();
    assert_eq!(text.trim(), (64 << 20).to_string());
    let mut fixture = fixture.restart(|| {}).await;
    let status = fixture.status(&id).await;
    assert_eq!(status.resources.unwrap().linux.unwrap().memory_limit_in_bytes, 64 << 20);
    let request = ContainerStatsRequest { container_id: id };
    let stats = fixture.cri.container_stats(request).await.unwrap().into_inner().stats.unwrap();
    assert!(
        stats.memory.unwrap().usage_bytes.unwrap().value > 0
            && stats.cpu.unwrap().usage_core_nano_seconds.unwrap().value > 0
    );
    fixture
}

pub(crate) async fn announces_what_happens(mut fixture: Fixture) -> Fixture {
    let mut events = fixture.cri.get_container_events(GetEventsRequest {}).await.unwrap().into_inner();
    let sandbox = fixture.sandbox().await;
    let id = fixture.create(&sandbox, "short", "exit 5").await;
    fixture.start(&id).await.unwrap();
    fixture.ended(&id).await;
    fixture.cri.remove_container(RemoveContainerRequest { container_id: id.clone() }).await.unwrap();
    let mut kinds = Vec::new();
    while kinds.last() != Some(&ContainerEventType::ContainerDeletedEvent) {
        let event = events.message().await.unwrap().unwrap();
        if event.container_id == id {
            assert_eq!(event.pod_sandbox_status.as_ref().unwrap().id, sandbox);
            kinds.push(event.container_event_type());
        }
    }
    use ContainerEventType::*;
    assert_eq!(kinds, [ContainerCreatedEvent, ContainerStartedEvent, ContainerStoppedEvent, ContainerDeletedEvent]);
    fixture.cri.remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id: sandbox.clone() }).await.unwrap();
    let last = loop {
        let event = events.message().await.unwrap().unwrap();
        if event.container_id == sandbox && event.container_event_type() == ContainerDeletedEvent {
            break event;
        }
    };
    assert_eq!(last.pod_sandbox_status.unwrap().id, sandbox, "it is gone, but whose it was is told");
    fixture
}

pub(crate) async fn refuses_a_missing_image(mut fixture: Fixture) -> Fixture {
    let sandbox = fixture.sandbox().await;
    let image = |config: &mut ContainerConfig| config.image.as_mut().unwrap().image = "nothing:1".to_owned();
    let error = fixture.create_with(&sandbox, "none", "", image).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::NotFound);
    assert!(error.message().contains("sampan image import"), "{error}");
    fixture
}

pub(crate) async fn knows_its_runtime_by_name(mut fixture: Fixture) -> Fixture {
    let handlers = fixture.cri.status(StatusRequest::default()).await.unwrap().into_inner().runtime_handlers;
    let names: Vec<_> = handlers.iter().map(|handler| handler.name.as_str()).collect();
    assert_eq!(names, ["", "sampan"]);
    let sandbox = fixture.sandbox_of("sampan", |_| {}).await.unwrap();
    assert_eq!(fixture.run(&sandbox, "named", "exit 3").await.exit_code, 3);
    let error = fixture.sandbox_of("other", |_| {}).await.unwrap_err();
    assert!(error.message().contains(r#"no runtime for "other" is configured"#), "{error}");
    fixture
}
