//! The types whose schema is built in. A new kind is one more name here; what it refers to comes along by itself.

use k8s_openapi::api;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;

use crate::types::Types;

macro_rules! kinds {
    ($types:ident, $($module:ident :: $version:ident :: { $($kind:ident),* $(,)? })*) => {
        $($( $types.add_kind::<api::$module::$version::$kind>(); )*)*
    };
}

/// Adds every type that is read or written through the API.
pub(crate) fn add_all(types: &mut Types) {
    kinds! { types,
        core::v1::{
            Binding, ComponentStatus, ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, PersistentVolume, PersistentVolumeClaim,
            Pod, PodTemplate, ReplicationController, ResourceQuota, Secret, Service, ServiceAccount,
        }
        admissionregistration::v1::{
            MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, MutatingWebhookConfiguration,
            ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
        }
        apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet}
        authentication::v1::{SelfSubjectReview, TokenRequest, TokenReview}
        authorization::v1::{
            LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
        }
        autoscaling::v1::{HorizontalPodAutoscaler, Scale}
        autoscaling::v2::{HorizontalPodAutoscaler}
        batch::v1::{CronJob, Job}
        certificates::v1::{CertificateSigningRequest, ClusterTrustBundle, PodCertificateRequest}
        coordination::v1::{Lease}
        discovery::v1::{EndpointSlice}
        events::v1::{Event}
        flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration}
        networking::v1::{Ingress, IngressClass, IPAddress, NetworkPolicy, ServiceCIDR}
        node::v1::{RuntimeClass}
        policy::v1::{Eviction, PodDisruptionBudget}
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding}
        resource::v1::{DeviceClass, DeviceTaintRule, ResourceClaim, ResourceClaimTemplate, ResourceSlice}
        scheduling::v1::{PriorityClass}
        storage::v1::{
            CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment, VolumeAttributesClass,
        }
        storagemigration::v1::{StorageVersionMigration}
    }
    types.add_kind::<k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService>();
    types.add_kind::<apiextensions::v1::CustomResourceDefinition>();
    types.add_kind::<crate::metrics::NodeMetrics>();
    types.add_kind::<crate::metrics::PodMetrics>();
    types.add_kind::<meta::Status>();
    types.add_as::<meta::DeleteOptions>("", "v1", "DeleteOptions");
    types.add_as::<meta::APIVersions>("", "v1", "APIVersions");
    types.add_as::<meta::APIGroupList>("", "v1", "APIGroupList");
    types.add_as::<meta::APIGroup>("", "v1", "APIGroup");
    types.add_as::<meta::APIResourceList>("", "v1", "APIResourceList");
    types.add::<meta::ListMeta>();
    types.add::<meta::Patch>();
    types.add::<meta::WatchEvent<k8s_openapi::apimachinery::pkg::runtime::RawExtension>>();
    types.add::<k8s_openapi::apimachinery::pkg::version::Info>();
}
