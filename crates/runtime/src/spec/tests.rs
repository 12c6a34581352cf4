use oci_spec::runtime::{Capability, LinuxNamespaceType};
use sampan_cri::v1::{
    Capability as Changes, KeyValue, LinuxContainerConfig, LinuxContainerResources, Mount, SecurityProfile,
};

use super::*;

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn make(config: &ContainerConfig, image: &Config) -> Result<Spec, Error> {
    spec(&Inputs {
        config,
        sandbox: &PodSandboxConfig { hostname: "pod".to_owned(), ..Default::default() },
        image,
        identity: &Identity { home: "/root".to_owned(), ..Default::default() },
        cgroup: "/sampan/pod/id",
        rootfs: Path::new("/r"),
        pod_files: &PodFiles {
            resolv_conf: "/p/resolv.conf".into(),
            hostname: "/p/hostname".into(),
            shm: "/p/shm".into(),
        },
        processes: ProcessNamespace::Own,
        devices: &[],
        seccomp_file: None,
        apparmor: Some("own"),
        volumes: &HashMap::from([("sha256:v".to_owned(), words(&["2", "1"]))]),
    })
}

fn with_security(change: impl FnOnce(&mut LinuxContainerSecurityContext)) -> ContainerConfig {
    let mut security = LinuxContainerSecurityContext::default();
    change(&mut security);
    let linux = LinuxContainerConfig { security_context: Some(security), ..Default::default() };
    ContainerConfig { command: words(&["x"]), linux: Some(linux), ..Default::default() }
}

#[test]
fn command_and_args_replace_the_images() {
    let image = Config { entrypoint: words(&["ep"]), cmd: words(&["a", "b"]), ..Default::default() };
    let check = |command: &[&str], args: &[&str], want: &[&str]| {
        let config = ContainerConfig { command: words(command), args: words(args), ..Default::default() };
        let spec = make(&config, &image).unwrap();
        assert_eq!(spec.process().as_ref().unwrap().args().as_deref().unwrap(), words(want));
    };
    check(&[], &[], &["ep", "a", "b"]);
    check(&[], &["c"], &["ep", "c"]);
    check(&["run"], &[], &["run"]);
    check(&["run"], &["c"], &["run", "c"]);
    assert_eq!(make(&ContainerConfig::default(), &Config::default()), Err(Error::NoCommand));
}

#[test]
fn environment_is_overridden_by_name() {
    let image = Config { env: words(&["A=image", "PATH=/image"]), ..Default::default() };
    let envs = vec![KeyValue { key: "A".to_owned(), value: b"own=1".to_vec() }];
    let config = ContainerConfig { command: words(&["x"]), envs, ..Default::default() };
    let spec = make(&config, &image).unwrap();
    let env = spec.process().as_ref().unwrap().env().clone().unwrap();
    assert_eq!(env, words(&["PATH=/image", "HOSTNAME=pod", "HOME=/root", "A=own=1"]));
}

#[test]
fn capabilities_are_dropped_then_added() {
    let check = |add: &[&str], drop: &[&str], count: usize, has: Option<Capability>| {
        let changes = Changes { add_capabilities: words(add), drop_capabilities: words(drop), ..Default::default() };
        let spec = make(&with_security(|security| security.capabilities = Some(changes)), &Config::default()).unwrap();
        let set = spec.process().as_ref().unwrap().capabilities().as_ref().unwrap().bounding().clone().unwrap();
        assert_eq!(set.len(), count, "add {add:?} drop {drop:?}");
        assert!(has.is_none_or(|capability| set.contains(&capability)));
    };
    check(&[], &[], 14, Some(Capability::Chown));
    check(&["NET_ADMIN"], &[], 15, Some(Capability::NetAdmin));
    check(&["CAP_SYS_TIME"], &["ALL"], 1, Some(Capability::SysTime));
    check(&["ALL"], &["SYS_ADMIN"], 40, None);
    let config = with_security(|security| {
        security.capabilities = Some(Changes { add_capabilities: words(&["NONSENSE"]), ..Default::default() });
    });
    assert_eq!(make(&config, &Config::default()), Err(Error::Capability("NONSENSE".to_owned())));
}

#[test]
fn privileged_lifts_every_restriction() {
    let config = with_security(|security| {
        security.privileged = true;
        security.masked_paths = words(&["/proc/kcore"]);
    });
    let spec = make(&config, &Config::default()).unwrap();
    let linux = spec.linux().as_ref().unwrap();
    assert!(linux.seccomp().is_none());
    assert!(linux.masked_paths().as_ref().unwrap().is_empty());
    assert!(linux.resources().as_ref().unwrap().devices().as_ref().unwrap()[0].allow());
}

#[test]
fn seccomp_is_on_where_it_is_asked_for() {
    let unconfined = SecurityProfile { profile_type: 1, ..Default::default() };
    let seccomp = |profile| {
        let spec = make(&with_security(|security| security.seccomp = profile), &Config::default()).unwrap();
        spec.linux().as_ref().unwrap().seccomp().is_some()
    };
    let default = SecurityProfile { profile_type: 0, ..Default::default() };
    assert!(seccomp(Some(default)));
    assert!(!seccomp(Some(unconfined)));
    assert!(!seccomp(None), "as CRI has it: who wants a filter says so");
}

#[test]
fn mounts_asked_for_replace_ours_and_nest() {
    let mount =
        |path: &str| Mount { container_path: path.to_owned(), host_path: "/h".to_owned(), ..Default::default() };
    let config = ContainerConfig {
        command: words(&["x"]),
        mounts: vec![mount("/data/deep"), mount("/data"), mount("/dev/shm"), mount("/dev")],
        ..Default::default()
    };
    let spec = make(&config, &Config::default()).unwrap();
    let mounts: Vec<_> = spec.mounts().iter().flatten().collect();
    let at = |path: &str| {
        let mut found = mounts.iter().enumerate().filter(|(_, mount)| mount.destination() == Path::new(path));
        let (at, mount) = found.next().unwrap();
        assert!(found.next().is_none(), "{path} is mounted once");
        (at, mount.source().as_ref().unwrap().to_str().unwrap())
    };
    assert_eq!([at("/dev").1, at("/dev/shm").1, at("/data").1], ["/h", "/h", "/h"]);
    assert!(at("/data").0 < at("/data/deep").0);
    assert!(at("/dev").0 < at("/dev/pts").0, "what is ours stands in what was asked for");
}

#[test]
fn nothing_is_mounted_inside_proc() {
    for (path, fine) in [("/proc/self", false), ("/proc", false), ("/process", true), ("relative", false)] {
        let mounts = vec![Mount { container_path: path.to_owned(), ..Default::default() }];
        let config = ContainerConfig { command: words(&["x"]), mounts, ..Default::default() };
        assert_eq!(make(&config, &Config::default()).is_ok(), fine, "{path}");
    }
}

#[test]
fn the_program_is_confined_by_the_profile_that_was_found() {
    let spec = make(&with_security(|_| ()), &Config::default()).unwrap();
    assert_eq!(spec.process().as_ref().unwrap().apparmor_profile().as_deref(), Some("own"));
}

#[test]
fn recursive_read_only_mounts_are_what_they_say() {
    for (readonly, propagation, fine) in [(true, 0, true), (false, 0, false), (true, 1, false), (true, 2, false)] {
        let mount = Mount {
            container_path: "/x".to_owned(),
            recursive_read_only: true,
            readonly,
            propagation,
            ..Default::default()
        };
        let config = ContainerConfig { command: words(&["x"]), mounts: vec![mount], ..Default::default() };
        assert_eq!(make(&config, &Config::default()).is_ok(), fine, "{readonly} {propagation}");
    }
}

#[test]
fn images_are_mounted_and_their_volumes_kept() {
    let image = sampan_cri::v1::ImageSpec { image_ref: "sha256:v".to_owned(), ..Default::default() };
    let mount = |sub: &str, readonly| Mount {
        container_path: "/data".to_owned(),
        image: Some(image.clone()),
        image_sub_path: sub.to_owned(),
        readonly,
        ..Default::default()
    };
    let with = |mount| ContainerConfig { command: words(&["x"]), mounts: vec![mount], ..Default::default() };
    let own = Config {
        volumes: ["/var/lib", "/data", "/dev/shm", "rel"].map(|path| (path.to_owned(), Default::default())).into(),
        ..Default::default()
    };
    let spec = make(&with(mount("a/b", true)), &own).unwrap();
    let of_kind = |wanted: &str| {
        let mounts = spec.mounts().iter().flatten().filter(|mount| mount.typ().as_deref() == Some(wanted));
        mounts.map(|mount| mount.destination().to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((of_kind("image"), of_kind("volume")), (words(&["/data"]), words(&["/rel", "/var/lib"])));
    assert!(make(&with(mount("a/../b", true)), &own).is_err());
    assert!(make(&with(mount("", false)), &own).is_err());
    let trap = Config { volumes: [("/a/../../b".to_owned(), Default::default())].into(), ..Default::default() };
    assert!(make(&with(mount("", true)), &trap).is_err());
}

#[test]
fn limits_are_set_only_when_asked() {
    let none = limits(&LinuxContainerResources::default());
    assert!(none.memory().as_ref().unwrap().limit().is_none() && none.cpu().as_ref().unwrap().quota().is_none());
    let asked = LinuxContainerResources { memory_limit_in_bytes: 64, cpu_quota: -1, ..Default::default() };
    let set = limits(&asked);
    assert_eq!(set.memory().as_ref().unwrap().swap(), Some(64));
    assert_eq!(set.cpu().as_ref().unwrap().quota(), Some(-1));
    let update = LinuxContainerResources { cpu_shares: 7, ..Default::default() };
    assert_eq!(merged(&asked, &update).memory_limit_in_bytes, 64);
}

#[test]
fn process_namespaces() {
    let spec = make(&ContainerConfig { command: words(&["x"]), ..Default::default() }, &Config::default()).unwrap();
    let namespaces = spec.linux().as_ref().unwrap().namespaces().clone().unwrap();
    assert!(
        namespaces.iter().any(|namespace| namespace.typ() == LinuxNamespaceType::Pid && namespace.path().is_none())
    );
}
