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

    /// A client of the user `name`.
    pub(super) fn user(&self, name: &str, groups: &[&str]) -> Client {
        let groups = groups.iter().chain([&AUTHENTICATED]).map(|group| (*group).to_owned()).collect();
        let identity = Identity { name: name.to_owned(), groups, ..Identity::default() };
        sampan_client::in_memory(self.api.clone(), identity)
    }

    /// A client of the service account `name` in kube-system.
    pub(super) fn system_account(&self, name: &str) -> Client {
        sampan_client::in_memory(self.api.clone(), token::service_account("kube-system", name, ""))
    }

    /// A client of the node `name`.
    pub(super) fn node(&self, name: &str) -> Client {
        self.user(&format!("system:node:{name}"), &["system:nodes"])
    }

    /// A client that sets up the cluster itself.
    pub(super) fn setup(&self) -> Client {
        self.user("system:apiserver", &[MASTERS])
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
