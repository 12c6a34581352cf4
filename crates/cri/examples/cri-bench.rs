//! Prints how long a container runtime takes for each step of a Pod's life, as one line of JSON, in milliseconds. Any
//! runtime that speaks CRI v1 can be asked.
//!
//! `cri-bench SOCKET IMAGE DIR`: Pods of one container each, one after the other, on an image that is there already. Logs
//! go to `DIR`. All of them run side by side until the last has started; then they are ended one after the other.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;

use sampan_cri::v1::image_service_client::ImageServiceClient;
use sampan_cri::v1::runtime_service_client::RuntimeServiceClient;
use sampan_cri::v1::{
    ContainerConfig, ContainerMetadata, CreateContainerRequest, ExecSyncRequest, ImageSpec, ImageStatusRequest,
    LinuxPodSandboxConfig, LinuxSandboxSecurityContext, PodSandboxConfig, PodSandboxMetadata, RemovePodSandboxRequest,
    RunPodSandboxRequest, StartContainerRequest, StopContainerRequest, StopPodSandboxRequest,
};
use tokio::time::Instant;
use tonic::transport::Channel;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Runtime = RuntimeServiceClient<Channel>;

const PODS: usize = 50;
/// Seconds that a container has to end. It obeys at once.
const GRACE_S: i64 = 10;

/// Milliseconds by step.
#[derive(Default)]
struct Times(BTreeMap<&'static str, Vec<f64>>);

/// A Pod that runs.
struct Running {
    sandbox: String,
    container: String,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [socket, image, dir] = &args[..] else { return Err("usage: cri-bench SOCKET IMAGE DIR".into()) };
    let channel = sampan_cri::connect(Path::new(socket)).await?;
    let image = find_image(channel.clone(), image).await?;
    let mut runtime = Runtime::new(channel);
    let mut times = Times::default();
    let mut pods = Vec::new();
    for number in 0..PODS {
        pods.push(start(&mut runtime, &mut times, (number, &image, dir)).await?);
    }
    for pod in &pods {
        let container_id = pod.container.clone();
        let exec = ExecSyncRequest { container_id, cmd: vec!["true".to_owned()], timeout: GRACE_S };
        times.of("exec", runtime.exec_sync(exec)).await?;
    }
    for pod in pods {
        end(&mut runtime, &mut times, pod).await?;
    }
    println!("{}", times.json());
    Ok(())
}

/// The image's id: a container is made from that.
async fn find_image(channel: Channel, name: &str) -> Result<ImageSpec, Error> {
    let image = ImageSpec { image: name.to_owned(), ..ImageSpec::default() };
    let asked = ImageStatusRequest { image: Some(image), verbose: false };
    let found = ImageServiceClient::new(channel).image_status(asked).await?.into_inner().image;
    let id = found.ok_or_else(|| format!("the image {name} is not there"))?.id;
    Ok(ImageSpec { image: id, ..ImageSpec::default() })
}

async fn start(
    runtime: &mut Runtime,
    times: &mut Times,
    (number, image, dir): (usize, &ImageSpec, &str),
) -> Result<Running, Error> {
    let config = sandbox(number, dir);
    let whole = Instant::now();
    let run = RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: String::new() };
    let sandbox = times.of("sandbox", runtime.run_pod_sandbox(run)).await?.into_inner().pod_sandbox_id;
    let create = CreateContainerRequest {
        pod_sandbox_id: sandbox.clone(),
        config: Some(container(image)),
        sandbox_config: Some(config),
    };
    let container = times.of("create", runtime.create_container(create)).await?.into_inner().container_id;
    times.of("start", runtime.start_container(StartContainerRequest { container_id: container.clone() })).await?;
    times.note("running", whole);
    Ok(Running { sandbox, container })
}

async fn end(runtime: &mut Runtime, times: &mut Times, pod: Running) -> Result<(), Error> {
    let whole = Instant::now();
    let stop = StopContainerRequest { container_id: pod.container, timeout: GRACE_S };
    times.of("stop", runtime.stop_container(stop)).await?;
    runtime.stop_pod_sandbox(StopPodSandboxRequest { pod_sandbox_id: pod.sandbox.clone() }).await?;
    runtime.remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id: pod.sandbox }).await?;
    times.note("gone", whole);
    Ok(())
}

fn sandbox(number: usize, dir: &str) -> PodSandboxConfig {
    let name = format!("bench-{number}");
    PodSandboxConfig {
        metadata: Some(PodSandboxMetadata { uid: name.clone(), name, namespace: "bench".to_owned(), attempt: 0 }),
        log_directory: dir.to_owned(),
        linux: Some(LinuxPodSandboxConfig {
            security_context: Some(LinuxSandboxSecurityContext::default()),
            ..LinuxPodSandboxConfig::default()
        }),
        ..PodSandboxConfig::default()
    }
}

/// A process that ends on TERM: the shell waits for its child, and a trap interrupts that.
fn container(image: &ImageSpec) -> ContainerConfig {
    let script = "trap 'exit 0' TERM; sleep 3600 & wait";
    ContainerConfig {
        metadata: Some(ContainerMetadata { name: "main".to_owned(), attempt: 0 }),
        image: Some(image.clone()),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        log_path: "main.log".to_owned(),
        ..ContainerConfig::default()
    }
}

impl Times {
    /// Times what `call` takes.
    async fn of<T>(
        &mut self,
        step: &'static str,
        call: impl Future<Output = Result<T, tonic::Status>>,
    ) -> Result<T, Error> {
        let begun = Instant::now();
        let answer = call.await.map_err(|status| format!("{step}: {status}"))?;
        self.note(step, begun);
        Ok(answer)
    }

    fn note(&mut self, step: &'static str, begun: Instant) {
        self.0.entry(step).or_default().push(begun.elapsed().as_secs_f64() * 1_000.0);
    }

    fn json(mut self) -> String {
        let percentiles = self.0.iter_mut().flat_map(|(step, times)| {
            times.sort_by(f64::total_cmp);
            [50, 99].map(|percent| {
                format!(r#""{step}_p{percent}_ms":{:.1}"#, times[(times.len() * percent).div_ceil(100) - 1])
            })
        });
        format!("{{{}}}", percentiles.collect::<Vec<_>>().join(","))
    }
}
