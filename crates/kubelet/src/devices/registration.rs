//! Where plugins register: `<root>/device-plugins/kubelet.sock`. A plugin registers anew when this socket is replaced,
//! so sockets of plugins that spoke to an earlier kubelet are removed first.

use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::{Devices, REGISTRATION_SOCKET, endpoint};
use crate::Error;
use crate::device_plugin::v1beta1::registration_server::{Registration, RegistrationServer};
use crate::device_plugin::v1beta1::{Empty, RegisterRequest};

/// The one version there is.
pub(super) const VERSION: &str = "v1beta1";

/// Listens from now on, as a task of `devices`.
pub(super) fn listen(devices: &Arc<Devices>) -> Result<(), Error> {
    let directory = &devices.directory;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o750).create(directory).map_err(Error::io("creating", directory))?;
    remove_sockets(directory)?;
    let listener = bind(&directory.join(REGISTRATION_SOCKET))?;
    let server = Server::builder().add_service(RegistrationServer::new(Registrar(Arc::clone(devices))));
    devices.tasks.spawn(async move {
        if let Err(error) = server.serve_with_incoming(UnixListenerStream::new(listener)).await {
            tracing::error!(%error, "device plugins cannot register any more");
        }
    });
    Ok(())
}

/// Listens on the socket `path`.
pub(super) fn bind(path: &Path) -> Result<UnixListener, Error> {
    UnixListener::bind(path).map_err(Error::io("listening on", path))
}

fn remove_sockets(directory: &Path) -> Result<(), Error> {
    let entries = std::fs::read_dir(directory).map_err(Error::io("reading", directory))?;
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_socket())) {
        let path = entry.path();
        std::fs::remove_file(&path).map_err(Error::io("removing", &path))?;
    }
    Ok(())
}

struct Registrar(Arc<Devices>);

#[tonic::async_trait]
impl Registration for Registrar {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<Empty>, Status> {
        let request = request.into_inner();
        let socket = check(&self.0.directory, &request).map_err(Status::invalid_argument)?;
        let resource = request.resource_name;
        tracing::info!(resource, endpoint = request.endpoint, "a device plugin registers");
        endpoint::open(&self.0, resource, &socket, request.options.unwrap_or_default())
            .await
            .map_err(|error| Status::unavailable(format!("failed to dial device plugin: {error}")))?;
        Ok(Response::new(Empty {}))
    }
}

/// The plugin's socket, if its registration is in order.
fn check(directory: &Path, request: &RegisterRequest) -> Result<PathBuf, String> {
    let RegisterRequest { version, endpoint, resource_name, .. } = request;
    if version != VERSION {
        return Err(format!(
            "requested API version {version:?} is not supported by kubelet. Supported version is [\"{VERSION}\"]"
        ));
    }
    if !is_extended_resource(resource_name) {
        return Err(format!("the ResourceName {resource_name:?} is invalid"));
    }
    // A name, not a path: nothing outside of the directory is ever connected to.
    if endpoint.is_empty() || endpoint.contains('/') || endpoint == REGISTRATION_SOCKET {
        return Err(format!("the endpoint {endpoint:?} is not the name of a socket in {}", directory.display()));
    }
    Ok(directory.join(endpoint))
}

/// `vendor-domain/name`, and no domain of Kubernetes' own.
pub(crate) fn is_extended_resource(name: &str) -> bool {
    let label = |text: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        text.bytes().all(inner) && edge(text.as_bytes().first()) && edge(text.as_bytes().last()) && text.len() <= 63
    };
    let Some((domain, name)) = name.split_once('/') else { return false };
    let own = domain == "kubernetes.io" || domain.ends_with(".kubernetes.io");
    !own && !domain.starts_with("requests.") && domain.split('.').all(label) && label(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registrations_are_checked() {
        let check = |version: &str, endpoint: &str, resource: &str, want: Result<&str, &str>| {
            let request = RegisterRequest {
                version: version.to_owned(),
                endpoint: endpoint.to_owned(),
                resource_name: resource.to_owned(),
                options: None,
            };
            let got = check(Path::new("/d"), &request);
            assert_eq!(got, want.map(PathBuf::from).map_err(str::to_owned));
        };
        check("v1beta1", "gpu.sock", "sampan.test/gpu", Ok("/d/gpu.sock"));
        let why = "requested API version \"v1\" is not supported by kubelet. Supported version is [\"v1beta1\"]";
        check("v1", "gpu.sock", "sampan.test/gpu", Err(why));
        for bad in ["gpu", "kubernetes.io/gpu", "a.kubernetes.io/gpu", "a.test/", "a.test/b/c", "requests.a.test/gpu"] {
            check("v1beta1", "gpu.sock", bad, Err(&format!("the ResourceName {bad:?} is invalid")));
        }
        for bad in ["", "../x.sock", "/run/x.sock", "kubelet.sock"] {
            let why = format!("the endpoint {bad:?} is not the name of a socket in /d");
            check("v1beta1", bad, "sampan.test/gpu", Err(&why));
        }
    }
}
