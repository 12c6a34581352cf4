//! What a container needs to use its devices, and how it goes into its configuration.

use std::collections::BTreeMap;

use sampan_cri::v1::{self, ContainerConfig, KeyValue};
use serde::{Deserialize, Serialize};

use crate::device_plugin::v1beta1::ContainerAllocateResponse;

/// Environment, mounts, device nodes, annotations and CDI names, as a plugin told them; of several resources together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Allocation {
    env: BTreeMap<String, String>,
    mounts: Vec<Mount>,
    devices: Vec<Device>,
    annotations: BTreeMap<String, String>,
    cdi: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mount {
    container_path: String,
    host_path: String,
    read_only: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Device {
    container_path: String,
    host_path: String,
    permissions: String,
}

impl From<ContainerAllocateResponse> for Allocation {
    fn from(told: ContainerAllocateResponse) -> Self {
        Self {
            env: told.envs.into_iter().collect(),
            mounts: told.mounts.into_iter().map(Mount::from).collect(),
            devices: told.devices.into_iter().map(Device::from).collect(),
            annotations: told.annotations.into_iter().collect(),
            cdi: told.cdi_devices.into_iter().map(|device| device.name).collect(),
        }
    }
}

impl From<crate::device_plugin::v1beta1::Mount> for Mount {
    fn from(told: crate::device_plugin::v1beta1::Mount) -> Self {
        Self { container_path: told.container_path, host_path: told.host_path, read_only: told.read_only }
    }
}

impl From<crate::device_plugin::v1beta1::DeviceSpec> for Device {
    fn from(told: crate::device_plugin::v1beta1::DeviceSpec) -> Self {
        Self { container_path: told.container_path, host_path: told.host_path, permissions: told.permissions }
    }
}

impl Allocation {
    /// Adds what another resource's devices need; what is there already stays.
    pub(super) fn add(&mut self, other: &Self) {
        for (name, value) in &other.env {
            self.env.entry(name.clone()).or_insert_with(|| value.clone());
        }
        for (name, value) in &other.annotations {
            self.annotations.entry(name.clone()).or_insert_with(|| value.clone());
        }
        let mounts =
            other.mounts.iter().filter(|m| !self.mounts.iter().any(|have| have.container_path == m.container_path));
        let mounts: Vec<Mount> = mounts.cloned().collect();
        self.mounts.extend(mounts);
        let devices =
            other.devices.iter().filter(|d| !self.devices.iter().any(|have| have.container_path == d.container_path));
        let devices: Vec<Device> = devices.cloned().collect();
        self.devices.extend(devices);
        let cdi: Vec<String> = other.cdi.iter().filter(|name| !self.cdi.contains(name)).cloned().collect();
        self.cdi.extend(cdi);
    }

    /// Puts it into a container's configuration. Variables that the Pod itself sets win.
    pub(crate) fn apply(&self, config: &mut ContainerConfig) {
        let set = |config: &ContainerConfig, name: &str| config.envs.iter().any(|env| env.key == name);
        for (name, value) in &self.env {
            if !set(config, name) {
                config.envs.push(KeyValue { key: name.clone(), value: value.clone().into() });
            }
        }
        config.mounts.extend(self.mounts.iter().map(|mount| v1::Mount {
            container_path: mount.container_path.clone(),
            host_path: mount.host_path.clone(),
            readonly: mount.read_only,
            ..v1::Mount::default()
        }));
        config.devices.extend(self.devices.iter().map(|device| v1::Device {
            container_path: device.container_path.clone(),
            host_path: device.host_path.clone(),
            permissions: device.permissions.clone(),
        }));
        for (name, value) in &self.annotations {
            config.annotations.entry(name.clone()).or_insert_with(|| value.clone());
        }
        config.cdi_devices.extend(self.cdi.iter().map(|name| v1::CdiDevice { name: name.clone() }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_go_into_the_configuration() {
        let told = ContainerAllocateResponse {
            envs: [("GPUS".to_owned(), "a,b".to_owned()), ("OWN".to_owned(), "plugin".to_owned())].into(),
            mounts: vec![crate::device_plugin::v1beta1::Mount {
                container_path: "/lib/gpu".into(),
                host_path: "/opt/gpu".into(),
                read_only: true,
            }],
            devices: vec![crate::device_plugin::v1beta1::DeviceSpec {
                container_path: "/dev/gpu0".into(),
                host_path: "/dev/null".into(),
                permissions: "rw".into(),
            }],
            ..ContainerAllocateResponse::default()
        };
        let mut allocation = Allocation::from(told);
        allocation.add(&allocation.clone());
        let own = KeyValue { key: "OWN".into(), value: "pod".to_owned().into() };
        let mut config = ContainerConfig { envs: vec![own], ..ContainerConfig::default() };
        allocation.apply(&mut config);
        let env: Vec<(&str, &[u8])> = config.envs.iter().map(|env| (env.key.as_str(), env.value.as_ref())).collect();
        assert_eq!(env, [("OWN", &b"pod"[..]), ("GPUS", &b"a,b"[..])]);
        assert_eq!((config.mounts.len(), config.mounts[0].readonly), (1, true));
        assert_eq!((config.devices.len(), config.devices[0].permissions.as_str()), (1, "rw"));
    }
}
