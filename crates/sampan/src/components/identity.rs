//! Who each component is: upstream's names, with upstream's roles for them.

use kube::Client;
use sampan_apiserver::Service;
use sampan_auth::authority::Purpose;
use sampan_auth::rbac::MASTERS;
use sampan_auth::{Identity, token};

/// Everyone who has shown who they are.
const AUTHENTICATED: &str = "system:authenticated";

/// Clients of the API server in this process.
#[derive(Clone)]
pub(super) struct Clients {
    pub(super) api: Service,
}

impl Clients {
    pub(super) fn new(api: Service) -> Self {
        Self { api }
    }

    /// A client of the component `program`.
    pub(super) fn component(&self, program: &'static str) -> Client {
        self.user(&format!("system:{program}"), &[], program)
    }

    /// A client of the service account `name` in kube-system, for `program`.
    pub(super) fn system_account(&self, name: &str, program: &'static str) -> Client {
        sampan_client::in_memory(self.api.clone(), token::service_account("kube-system", name, ""), program)
    }

    /// A client of the node `name`.
    pub(super) fn node(&self, name: &str) -> Client {
        self.user(&format!("system:node:{name}"), &["system:nodes"], "kubelet")
    }

    /// A client that sets up the cluster itself.
    pub(super) fn setup(&self) -> Client {
        self.user("system:apiserver", &[MASTERS], "kube-apiserver")
    }

    fn user(&self, name: &str, groups: &[&str], program: &'static str) -> Client {
        let groups = groups.iter().chain([&AUTHENTICATED]).map(|group| (*group).to_owned()).collect();
        let identity = Identity { name: name.to_owned(), groups, ..Identity::default() };
        sampan_client::in_memory(self.api.clone(), identity, program)
    }
}

/// The administrator, whose kubeconfig is written.
pub(super) fn administrator() -> Purpose {
    Purpose::Client { user: "kubernetes-admin".to_owned(), group: Some(MASTERS.to_owned()) }
}

/// The API server, as kubelets see it.
pub(super) fn kubelet_client() -> Purpose {
    Purpose::Client { user: "kube-apiserver-kubelet-client".to_owned(), group: None }
}
