//! What the status says of resources.

use super::*;

/// `{cpu: 100m}` as `cpu=100m`, requests before limits; `-` if nothing is said.
fn text(resources: Option<&k8s_openapi::api::core::v1::ResourceRequirements>) -> String {
    let Some(resources) = resources else { return "-".to_owned() };
    format!("{} / {}", list(&resources.requests), list(&resources.limits))
}

fn list(list: &Option<BTreeMap<String, Quantity>>) -> String {
    let amounts = list.iter().flatten().map(|(name, amount)| format!("{name}={}", amount.0));
    amounts.collect::<Vec<_>>().join(",")
}

fn resources(requests: Value, limits: Value) -> Value {
    json!({"requests": requests, "limits": limits})
}

/// The Pod's resources and what it was allocated.
fn whole(pod: &Pod) -> String {
    let status = spec::status(pod);
    format!("{} [{}]", text(status.resources.as_ref()), list(&status.allocated_resources))
}

#[test]
fn a_pod_is_told_with_all_of_its_containers() {
    let check = |spec: Value, pending: &str, running: &str| {
        let mut sim = Sim::new(spec.clone(), &[]);
        sim.pod.status = Some(sim.plan().status);
        assert_eq!((sim.phase(), whole(&sim.pod).as_str()), ("Pending", pending), "{spec}");
        sim.run(5);
        assert_eq!((sim.phase(), whole(&sim.pod).as_str()), ("Running", running), "{spec}");
        assert_eq!(status_patch(&sim.pod, &sim.plan().status), None, "there is nothing more to tell");
    };
    let with = |name: &str, resources: Value| json!({"name": name, "image": "i", "resources": resources});
    let small = with("a", resources(json!({"cpu": "0.1", "memory": "16Mi"}), json!({"cpu": "200m", "memory": "32Mi"})));
    check(json!({"containers": [{"name": "a", "image": "i"}]}), " /  []", " /  []");
    check(
        json!({"containers": [small, with("b", resources(json!({"cpu": "1"}), json!({"cpu": "1"})))]}),
        "cpu=1100m,memory=16Mi / cpu=1200m,memory=32Mi [cpu=1100m,memory=16Mi]",
        // Nothing bounds the memory of both.
        "cpu=1100m,memory=16Mi / cpu=1200m [cpu=1100m,memory=16Mi]",
    );
    // The kernel knows nothing of disks, and takes no less than two shares and a hundredth of a processor.
    let least = resources(json!({"cpu": "1m", "ephemeral-storage": "1Gi"}), json!({"cpu": "5m"}));
    check(
        json!({"containers": [with("a", least)], "overhead": {"memory": "1Mi"}}),
        "cpu=1m,ephemeral-storage=1Gi,memory=1Mi / cpu=5m [cpu=1m,ephemeral-storage=1Gi,memory=1Mi]",
        "memory=1Mi /  [cpu=1m,ephemeral-storage=1Gi,memory=1Mi]",
    );
    check(
        json!({"resources": resources(json!({"cpu": "2"}), json!({"memory": "1Gi"})), "containers": [small]}),
        "cpu=2,memory=16Mi / cpu=200m,memory=1Gi [cpu=2,memory=16Mi]",
        "cpu=2,memory=16Mi / cpu=200m,memory=1Gi [cpu=2,memory=16Mi]",
    );
}

#[test]
fn a_container_is_told_with_what_the_kernel_has() {
    let check = |own: Value, whole: Value, kernel: Option<(i64, i64, i64)>, want: &str| {
        let spec = json!({"resources": whole, "containers": [{"name": "web", "image": "i", "resources": own}]});
        let mut sim = Sim::new(spec.clone(), &[]);
        sim.pod.status = Some(sim.plan().status);
        assert_eq!(text(sim.container("web").resources.as_ref()), "-", "not made yet");
        assert_eq!(sim.container("web").allocated_resources, None);
        sim.run(5);
        if let Some((cpu_shares, cpu_quota_us, memory_bytes)) = kernel {
            sim.seen.containers[0].limits = Some(Limits { cpu_shares, cpu_quota_us, memory_bytes });
            sim.pod.status = Some(sim.plan().status);
        }
        assert_eq!(text(sim.container("web").resources.as_ref()), want, "{spec}");
    };
    let small = resources(json!({"cpu": "0.1", "memory": "16M"}), json!({"cpu": "200m", "memory": "32M"}));
    check(json!({}), json!(null), None, " / ");
    // As it is written, when that is what the kernel has.
    check(small.clone(), json!(null), None, "cpu=0.1,memory=16M / cpu=200m,memory=32M");
    check(small.clone(), json!(null), Some((512, 100_000, 64 << 20)), "cpu=500m,memory=16M / cpu=1,memory=64Mi");
    check(small.clone(), json!(null), Some((2, 1000, 64 << 20)), "cpu=2m,memory=16M / cpu=10m,memory=64Mi");
    let least = resources(json!({"cpu": "1m"}), json!({"cpu": "5m"}));
    check(least, json!(null), None, "cpu=1m / cpu=5m");
    // What it has through its Pod, where it says that it is bounded at all.
    let of_pod = resources(json!({"cpu": "1"}), json!({"cpu": "1", "memory": "1Gi"}));
    check(json!({}), of_pod.clone(), None, " / ");
    check(json!({"limits": {"memory": "8Mi"}}), of_pod, None, " / cpu=1,memory=8Mi");
    // A container that has ended is told as it was allocated.
    let mut sim = Sim::new(
        json!({"restartPolicy": "Never", "containers": [{"name": "web", "image": "i", "resources": small}]}),
        &[("web", &[(1, 0)])],
    );
    sim.run(5);
    sim.seen.containers[0].limits = Some(Limits { cpu_shares: 512, cpu_quota_us: 0, memory_bytes: 0 });
    let status = sim.plan().status;
    let web = &status.container_statuses.as_ref().unwrap()[0];
    assert_eq!(text(web.resources.as_ref()), "cpu=0.1,memory=16M / cpu=200m,memory=32M");
    assert_eq!(list(&web.allocated_resources), "cpu=0.1,memory=16M");
}

#[test]
fn memory_that_is_asked_for_changes_with_the_rest() {
    let with = |cpu: &str, memory: &str| {
        let resources = json!({"requests": {"cpu": cpu, "memory": memory}});
        json!({"containers": [{"name": "web", "image": "i", "resources": resources}]})
    };
    let mut sim = Sim::new(with("1", "8Mi"), &[]);
    sim.run(5);
    sim.pod.spec = pod(with("2", "16Mi")).spec;
    sim.pod.status = Some(sim.plan().status);
    assert_eq!(text(sim.container("web").resources.as_ref()), "cpu=1,memory=8Mi / ");
    assert_eq!(whole(&sim.pod), "cpu=1,memory=8Mi /  [cpu=2,memory=16Mi]");
    sim.run(1);
    assert_eq!(text(sim.container("web").resources.as_ref()), "cpu=2,memory=16Mi / ");
    assert_eq!(whole(&sim.pod), "cpu=2,memory=16Mi /  [cpu=2,memory=16Mi]");
}

#[test]
fn nothing_is_told_of_a_pod_that_was_not_taken() {
    let mut sim = Sim::new(json!({"containers": [{"name": "web", "image": "i"}]}), &[]);
    sim.memory.rejected = Some(("OutOfcpu".to_owned(), "no".to_owned()));
    sim.run(1);
    assert_eq!((sim.phase(), whole(&sim.pod).as_str()), ("Failed", "- []"));
}
