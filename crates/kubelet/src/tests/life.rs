//! Lives of Pods, from binding to removal.

use std::path::Path;
use std::time::Duration;

use sampan_cri::v1::RuntimeHandlerFeatures;
use serde_json::json;

use super::{World, condition, first};

fn one(policy: &str) -> serde_json::Value {
    json!({"restartPolicy": policy, "terminationGracePeriodSeconds": 5, "containers": [
        {"name": "web", "image": "busybox", "imagePullPolicy": "IfNotPresent"}]})
}

#[tokio::test(start_paused = true)]
async fn a_pod_runs_and_is_deleted() {
    let world = World::new().await;
    world.pod("a", one("Always"));
    let pod = world.running("a").await;
    assert_eq!(pod["status"]["phase"], "Running");
    assert_eq!(pod["status"]["podIP"], "10.42.0.1");
    assert_eq!(pod["status"]["hostIP"], "192.0.2.1");
    assert_eq!(pod["status"]["qosClass"], "BestEffort");
    assert_eq!(first(&pod)["containerID"], "fake://container-0002");
    assert_eq!(condition(&pod, "PodReadyToStartContainers"), "True");
    let text = "Container image \"busybox\" already present on machine and can be accessed by the pod";
    assert_eq!(world.event("Pulled").await, text);
    assert_eq!(world.event("Started").await, "Container started");

    world.api.delete("ns", "a", 5);
    world.gone("a").await;
    assert_eq!(world.event("Killing").await, "Stopping container web");
    let want = ["run sandbox", "create web#0", "stop container-0002 5s", "stop sandbox"];
    assert_eq!(world.runtime.calls()[..4], want);
    while world.runtime.count() != (0, 0) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_backs_off_and_survives_the_kubelet() {
    let mut world = World::new().await;
    world.pod("a", one("Always"));
    world.running("a").await;
    for restarts in 1..=3 {
        world.runtime.exit("web", 1, "Error");
        world
            .until("a", "restarted", |pod| {
                first(pod)["restartCount"] == restarts && !first(pod)["state"]["running"].is_null()
            })
            .await;
    }
    world.runtime.exit("web", 137, "OOMKilled");
    let is = |pod: &serde_json::Value| {
        first(pod)["state"]["waiting"]["reason"] == "CrashLoopBackOff" && first(pod)["restartCount"] == 3
    };
    let pod = world.until("a", "backing off", is).await;
    assert_eq!(first(&pod)["lastState"]["terminated"]["reason"], "OOMKilled");
    let text = first(&pod)["state"]["waiting"]["message"].as_str().unwrap().to_owned();
    assert!(text.starts_with("back-off 40s restarting failed container=web pod=a_ns(uid-"), "{text}");
    world.restart().await;
    let pod = world.until("a", "running again", |pod| first(pod)["restartCount"] == 4).await;
    assert_eq!(first(&pod)["lastState"]["terminated"]["exitCode"], 137);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn running_pods_are_adopted_and_orphans_removed() {
    let mut world = World::new().await;
    world.pod("a", one("Always"));
    world.pod("b", one("Always"));
    let before = world.running("a").await;
    world.running("b").await;
    world.kubelet.take().unwrap().shutdown().await;
    world.api.remove("pods", "ns", "b");
    let calls = world.runtime.calls().len();
    world.start().await;
    while world.runtime.count() != (1, 1) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let after = world.running("a").await;
    assert_eq!(first(&before)["containerID"], first(&after)["containerID"]);
    assert_eq!(first(&after)["restartCount"], 0);
    let new: Vec<String> = world.runtime.calls().split_off(calls);
    assert!(!new.iter().any(|call| call.starts_with("create") || call.starts_with("run")), "{new:?}");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_pod_succeeds_and_stays() {
    let world = World::new().await;
    world.pod("a", one("Never"));
    world.running("a").await;
    world.runtime.exit("web", 0, "Completed");
    let pod = world.until("a", "succeeded", |pod| pod["status"]["phase"] == "Succeeded").await;
    assert_eq!(first(&pod)["state"]["terminated"]["reason"], "Completed");
    assert_eq!(world.runtime.count(), (1, 1));
    assert_eq!(world.runtime.reads(), 3, "the sandbox, and the container in each of its states, is read once");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_config_map_is_waited_for() {
    let world = World::new().await;
    let mut spec = one("Always");
    spec["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "cfg"}}]);
    world.pod("a", spec);
    let is = |pod: &serde_json::Value| first(pod)["state"]["waiting"]["reason"] == "CreateContainerConfigError";
    let pod = world.until("a", "refused", is).await;
    assert_eq!(first(&pod)["state"]["waiting"]["message"], "configmap \"cfg\" not found");
    let begun = tokio::time::Instant::now();
    world.api.put("v1", "configmaps", json!({"metadata": {"name": "cfg", "namespace": "ns"}, "data": {"A": "1"}}));
    world.running("a").await;
    assert!(begun.elapsed().as_secs() < 1, "{:?}", begun.elapsed());
    let config = world.runtime.config("web");
    assert!(config.envs.iter().any(|env| env.key == "A" && env.value == b"1"));
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn volumes_wait_for_their_objects_and_follow_them() {
    let world = World::new().await;
    let mut spec = one("Always");
    spec["volumes"] = json!([{"name": "cfg", "configMap": {"name": "cfg"}}]);
    spec["containers"][0]["volumeMounts"] = json!([{"name": "cfg", "mountPath": "/cfg"}]);
    world.pod("a", spec);
    let text = world.event("FailedMount").await;
    assert_eq!(text, "MountVolume.SetUp failed for volume \"cfg\" : configmap \"cfg\" not found");
    assert_eq!(world.runtime.count(), (0, 0));
    let map = |value: &str| json!({"metadata": {"name": "cfg", "namespace": "ns"}, "data": {"k": value}});
    world.api.put("v1", "configmaps", map("1"));
    world.running("a").await;
    let mounts = world.runtime.config("web").mounts;
    let mount = mounts.iter().find(|mount| mount.container_path == "/cfg").unwrap();
    let file = std::path::Path::new(&mount.host_path).join("k");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "1");
    let known = world.api.get("configmaps", "ns", "cfg").unwrap();
    let mut changed = known.clone();
    changed["data"]["k"] = json!("2");
    world.api.put("v1", "configmaps", changed);
    let begun = tokio::time::Instant::now();
    while std::fs::read_to_string(&file).unwrap() != "2" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(begun.elapsed().as_secs() < 1);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_refresh_of_volumes_that_failed_is_tried_again() {
    let world = World::new().await;
    let names = ["bad", "good"];
    let put = |name: &str, value: &str| {
        let metadata = json!({"name": name, "namespace": "ns", "uid": name});
        world.api.put("v1", "configmaps", json!({"metadata": metadata, "data": {"k": value}}));
    };
    names.iter().for_each(|name| put(name, "1"));
    let mut spec = one("Always");
    spec["volumes"] = json!(names.map(|name| json!({"name": name, "configMap": {"name": name}})));
    spec["containers"][0]["volumeMounts"] =
        json!(names.map(|name| json!({"name": name, "mountPath": format!("/{name}")})));
    world.pod("a", spec);
    world.running("a").await;
    let mounts = world.runtime.config("web").mounts;
    let dir = |name: &str| {
        let mount = mounts.iter().find(|mount| mount.container_path == format!("/{name}")).unwrap();
        std::path::PathBuf::from(&mount.host_path)
    };
    let shows = async |name: &str, want: &str| {
        let file = dir(name).join("k");
        let shown = async {
            while std::fs::read_to_string(&file).unwrap() != want {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(300), shown).await.unwrap();
    };

    let obstacle = dir("bad").join("..data_tmp");
    std::fs::create_dir_all(obstacle.join("full")).unwrap();
    names.iter().for_each(|name| put(name, "2"));
    shows("good", "2").await;
    let text = world.event("FailedMount").await;
    assert!(text.starts_with("MountVolume.SetUp failed for volume \"bad\" : linking "), "{text}");
    std::fs::remove_dir_all(&obstacle).unwrap();
    shows("bad", "2").await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn images_that_are_volumes_stay() {
    let world = World::new().await;
    ["data", "unused"].iter().for_each(|name| world.runtime.add_image(name));
    let mut spec = one("Always");
    spec["volumes"] = json!([{"name": "v", "image": {"reference": "data", "pullPolicy": "IfNotPresent"}}]);
    spec["containers"][0]["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
    world.pod("a", spec);
    world.running("a").await;
    let runtime = crate::cri::Runtime::over(world.runtime.connect().await);
    let images = crate::images::Images::new(runtime, world.dir.path());
    images.remove_unused(i64::MAX).await;
    tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
    images.remove_unused(i64::MAX).await;
    let removed: Vec<String> =
        world.runtime.calls().into_iter().filter(|call| call.starts_with("remove image")).collect();
    assert_eq!(removed, ["remove image sha256:unused"]);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_image_is_reported_and_retried() {
    let world = World::new().await;
    let mut spec = one("Always");
    spec["containers"][0]["image"] = json!("nope:1");
    world.pod("a", spec);
    let is = |pod: &serde_json::Value| first(pod)["state"]["waiting"]["reason"] == "ErrImagePull";
    let pod = world.until("a", "failing", is).await;
    assert_eq!(first(&pod)["state"]["waiting"]["message"], "no registry has nope:1");
    world.until("a", "backing off", |pod| first(pod)["state"]["waiting"]["reason"] == "ImagePullBackOff").await;
    assert_eq!(world.event("BackOff").await, "Back-off pulling image \"nope:1\"");
    world.runtime.add_image("nope:1");
    world.running("a").await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn probes_decide_on_readiness_and_restarts() {
    let world = World::new().await;
    let mut spec = one("Always");
    let probe = json!({"exec": {"command": ["check"]}, "periodSeconds": 1, "failureThreshold": 2});
    spec["containers"][0]["readinessProbe"] = probe.clone();
    spec["containers"][0]["livenessProbe"] = probe;
    world.pod("a", spec);
    world.running("a").await;
    world.runtime.set_exec_code(1);
    world.until("a", "unready", |pod| condition(pod, "Ready") == "False").await;
    world.until("a", "restarted", |pod| first(pod)["restartCount"] == 1).await;
    let text = world.event("Unhealthy").await;
    assert!(text.ends_with("probe failed: said so"), "{text}");
    world.runtime.set_exec_code(0);
    world.running("a").await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn hooks_run_around_a_container() {
    let world = World::new().await;
    let mut spec = one("Always");
    spec["containers"][0]["lifecycle"] = json!({
        "postStart": {"exec": {"command": ["hello"]}}, "preStop": {"exec": {"command": ["bye"]}}});
    world.pod("a", spec);
    world.running("a").await;
    world.api.delete("ns", "a", 5);
    world.gone("a").await;
    let want = ["run sandbox", "create web#0", "exec hello", "exec bye", "stop container-0002 5s", "stop sandbox"];
    assert_eq!(world.runtime.calls()[..6], want);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_node_is_registered_and_beats() {
    let world = World::new().await;
    let ready = |node: Option<&serde_json::Value>| node.is_some_and(|node| condition(node, "Ready") == "True");
    let node = world.api.until("nodes", "", "n1", ready).await.unwrap();
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/hostname"], "n1");
    assert_eq!(node["status"]["capacity"]["pods"], "110");
    assert_eq!(node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"], 10250);
    assert_eq!(node["status"]["nodeInfo"]["containerRuntimeVersion"], "fake://1");
    let renewed = |lease: Option<&serde_json::Value>| lease.map(|lease| lease["spec"]["renewTime"].clone());
    let first = world.api.until("leases", "kube-node-lease", "n1", |lease| lease.is_some()).await;
    world.api.until("leases", "kube-node-lease", "n1", |lease| renewed(lease) != renewed(first.as_ref())).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_runtime_is_asked_for_what_it_can_do() {
    let world = World::new().await;
    let handler =
        |able: bool| json!([{"name": "", "features": {"recursiveReadOnlyMounts": able, "userNamespaces": able}}]);
    let tells = |able| {
        move |node: Option<&serde_json::Value>| {
            node.is_some_and(|node| node["status"]["runtimeHandlers"] == handler(able))
        }
    };
    world.api.until("nodes", "", "n1", tells(true)).await;
    let mounted = |mode: &str| {
        let mount = json!({"name": "v", "mountPath": "/v", "readOnly": true, "recursiveReadOnly": mode});
        let mut spec = one("Always");
        spec["containers"][0]["volumeMounts"] = json!([mount]);
        spec["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
        spec
    };
    let tells_of_mount = |pod: &serde_json::Value| first(pod)["volumeMounts"][0]["recursiveReadOnly"].clone();
    world.pod("can", mounted("IfPossible"));
    assert_eq!(tells_of_mount(&world.running("can").await), "Enabled");
    world.runtime.set_features(RuntimeHandlerFeatures::default());
    world.api.until("nodes", "", "n1", tells(false)).await;
    world.pod("must", mounted("Enabled"));
    let fails = |pod: &serde_json::Value| first(pod)["state"]["waiting"]["reason"] == "CreateContainerConfigError";
    let pod = world.until("must", "failing", fails).await;
    let text = "failed to resolve recursive read-only mode: volume \"v\" requested recursive read-only mode, but it is not \
        supported by the runtime";
    assert_eq!(first(&pod)["state"]["waiting"]["message"], text);
    world.pod("may", mounted("IfPossible"));
    assert_eq!(tells_of_mount(&world.running("may").await), "Disabled");

    let mut own_users = one("Always");
    own_users["hostUsers"] = json!(false);
    world.pod("users", own_users);
    let text = "Failed to create pod sandbox: can't set `hostUsers: false`, runtime does not support user namespaces";
    assert_eq!(world.event("FailedCreatePodSandBox").await, text);

    let mut strict = one("Always");
    strict["securityContext"] = json!({"supplementalGroupsPolicy": "Strict"});
    world.pod("strict", strict);
    let pod = world.until("strict", "refused", |pod| pod["status"]["phase"] == "Failed").await;
    assert_eq!(pod["status"]["reason"], "SupplementalGroupsPolicyNotSupported");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_is_purged_of_every_pod_that_ends() {
    let mut world = World::new().await;
    for name in ["a", "b", "c"] {
        world.pod(name, one("Always"));
        world.running(name).await;
    }
    world.kubelet.take().unwrap().shutdown().await;
    world.runtime.get_stuck("sandbox-1");
    let runtime = crate::cri::Runtime::over(world.runtime.connect().await);
    let outcome = crate::purge::end_pods(&runtime).await;
    assert_eq!(outcome.map_err(|error| error.to_string()), Err("sandbox-1 is stuck".to_owned()));
    assert_eq!(world.runtime.count().0, 1, "the others are gone");
}

#[tokio::test(start_paused = true)]
async fn an_end_that_the_runtime_did_not_tell_is_found() {
    let world = World::new().await;
    world.pod("p", one("Always"));
    world.running("p").await;
    world.runtime.exit_untold("web", 1, "Error");
    let restarted = |pod: &serde_json::Value| first(pod)["restartCount"] == 1 && condition(pod, "Ready") == "True";
    world.until("p", "restarted", restarted).await;
    world.end().await;
}

/// Describes the static Pod `web` in `file`, with one container.
fn describe_static(file: &Path, container: &str) {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "ns"}, "spec": {
        "containers": [{"name": container, "image": "busybox", "imagePullPolicy": "IfNotPresent"}]}});
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, pod.to_string()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_static_pod_that_changed_meanwhile_waits_for_the_one_before_it() {
    let mut world = World::new().await;
    let file = world.manifests().join("web.yaml");
    describe_static(&file, "one");
    let shown = |container: &'static str| {
        move |pod: &serde_json::Value| {
            pod["spec"]["containers"][0]["name"] == container && condition(pod, "Ready") == "True"
        }
    };
    world.until("web-n1", "shown", shown("one")).await;
    world.kubelet.take().unwrap().shutdown().await;
    describe_static(&file, "two");
    world.runtime.get_stuck("sandbox-1");
    world.start().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let calls = |world: &World, word: &str| world.runtime.calls().iter().filter(|call| call.starts_with(word)).count();
    assert!(calls(&world, "stop sandbox") > 0, "the first version ends");
    assert_eq!(calls(&world, "run sandbox"), 1, "it is still there");
    world.runtime.get_loose();
    world.until("web-n1", "replaced", shown("two")).await;
    assert_eq!(world.runtime.count(), (1, 1));
    // What has not changed runs on.
    world.restart().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(calls(&world, "run sandbox"), 2);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_static_pod_waits_until_the_one_before_it_is_gone() {
    let world = World::new().await;
    let file = world.manifests().join("web.yaml");
    let describe = |container: &str| describe_static(&file, container);
    let calls = |word: &str| world.runtime.calls().iter().filter(|call| call.starts_with(word)).count();
    let happens = async |word: &str, times: usize| {
        while calls(word) < times {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    describe("one");
    happens("create one", 1).await;
    world.running("web-n1").await;
    // Another version of it.
    world.runtime.get_stuck("sandbox-1");
    describe("two");
    happens("stop sandbox", 1).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((calls("run sandbox"), calls("create two")), (1, 0), "the first version is still there");
    world.runtime.get_loose();
    happens("create two", 1).await;
    // The same one, away and back again before it has ended.
    let stops = calls("stop sandbox");
    world.runtime.get_stuck("sandbox-3");
    std::fs::remove_file(&file).unwrap();
    happens("stop sandbox", stops + 1).await;
    describe("two");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(calls("create two"), 1);
    world.runtime.get_loose();
    happens("create two", 2).await;
    world.end().await;
}
