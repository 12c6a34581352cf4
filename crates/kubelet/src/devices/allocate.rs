//! Giving devices to the containers of a Pod that is taken, and telling plugins of starts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod};

use super::ledger::{Held, Ids, Wish};
use super::{Allocation, Devices, Endpoint};
use crate::device_plugin::v1beta1::{
    AllocateRequest, ContainerAllocateRequest, ContainerPreferredAllocationRequest, PreStartContainerRequest,
    PreferredAllocationRequest,
};
use crate::spec::{self, Role};
use crate::{Error, quantity};

/// How long a plugin may take for one call.
const PATIENCE: Duration = Duration::from_secs(30);

impl Devices {
    /// Gives the containers of `pod` what they ask for; an error says why that cannot be, and then the Pod has nothing.
    pub(crate) async fn allocate(&self, pod: &Pod) -> Result<(), String> {
        let mut reusable: BTreeMap<String, Ids> = BTreeMap::new();
        for (role, container) in spec::containers(pod) {
            for (resource, count) in wishes(container) {
                if !self.ledger.lock().is_of_devices(resource) {
                    continue;
                }
                let wish = Wish { uid: spec::uid(pod), container: &container.name, resource, count };
                let given = self.give(wish, reusable.get(resource).cloned().unwrap_or_default()).await;
                if let Err(why) = given {
                    self.release(spec::uid(pod));
                    return Err(why);
                }
                let ids = self.ids_of(wish);
                let pool = reusable.entry(resource.to_owned()).or_default();
                match role {
                    // It is over before the next one starts.
                    Role::Init => pool.extend(ids),
                    _ => pool.retain(|id| !ids.contains(id)),
                }
            }
        }
        Ok(())
    }

    /// Whatever the Pod `uid` had is free again.
    pub(crate) fn release(&self, uid: &str) {
        if self.ledger.lock().held.iter().any(|held| held.uid == uid) {
            self.change(|ledger| ledger.release(uid));
        }
    }

    fn ids_of(&self, wish: Wish<'_>) -> Ids {
        let ledger = self.ledger.lock();
        let mut held = ledger.held.iter().filter(|held| held.uid == wish.uid && held.container == wish.container);
        held.find(|held| held.resource == wish.resource).map(|held| held.ids.clone()).unwrap_or_default()
    }

    fn endpoint(&self, resource: &str) -> Result<Endpoint, String> {
        self.endpoints.lock().get(resource).cloned().ok_or_else(|| format!("unknown Device Plugin {resource}"))
    }

    async fn give(&self, wish: Wish<'_>, reusable: Ids) -> Result<(), String> {
        let Some(choice) = self.ledger.lock().choose(wish, &reusable)? else { return Ok(()) };
        let mut endpoint = self.endpoint(wish.resource)?;
        let preferred = match endpoint.options.get_preferred_allocation_available {
            true => preferred(&mut endpoint, &choice).await?,
            false => Vec::new(),
        };
        // Another Pod may have been given something meanwhile: chosen again, and held from here on.
        let ids = self.change(|ledger| -> Result<Ids, String> {
            let Some(choice) = ledger.choose(wish, &reusable)? else { return Ok(Ids::new()) };
            let ids = choice.take(&preferred);
            ledger.hold(held(wish, ids.clone(), Allocation::default()));
            Ok(ids)
        })?;
        match ask(&mut endpoint, &ids).await {
            Ok(allocation) => {
                self.change(|ledger| ledger.hold(held(wish, ids, allocation)));
                Ok(())
            }
            Err(why) => {
                self.change(|ledger| ledger.release_one(wish.uid, wish.container, wish.resource));
                Err(why)
            }
        }
    }

    /// Tells the plugins that want to know that the container is about to start.
    pub(crate) async fn before_start(self: &Arc<Self>, uid: &str, container: &str) -> Result<(), Error> {
        let held: Vec<(String, Ids)> = {
            let ledger = self.ledger.lock();
            let own = ledger.held.iter().filter(|held| held.uid == uid && held.container == container);
            own.map(|held| (held.resource.clone(), held.ids.clone())).collect()
        };
        for (resource, ids) in held {
            // A plugin that has gone was asked before the container started first.
            let Ok(mut endpoint) = self.endpoint(&resource) else { continue };
            if endpoint.options.pre_start_required {
                let request = PreStartContainerRequest { devices_ids: ids.into_iter().collect() };
                let called = bounded(endpoint.client.pre_start_container(request)).await;
                called.map_err(|why| {
                    Error::Config(format!("device plugin PreStartContainer rpc failed with err: {why}"))
                })?;
            }
        }
        Ok(())
    }
}

fn held(wish: Wish<'_>, ids: Ids, allocation: Allocation) -> Held {
    Held {
        uid: wish.uid.to_owned(),
        container: wish.container.to_owned(),
        resource: wish.resource.to_owned(),
        ids,
        allocation,
    }
}

/// What a container asks for beside CPU and memory; extended resources have requests that are their limits.
fn wishes(container: &Container) -> impl Iterator<Item = (&str, usize)> {
    let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
    let amounts = limits.into_iter().flatten().filter(|(resource, _)| resource.contains('/'));
    amounts.filter_map(|(resource, amount)| Some((resource.as_str(), usize::try_from(quantity::value(amount)?).ok()?)))
}

async fn preferred(endpoint: &mut Endpoint, choice: &super::ledger::Choice) -> Result<Vec<String>, String> {
    let request = ContainerPreferredAllocationRequest {
        available_device_i_ds: choice.free.union(&choice.must).cloned().collect(),
        must_include_device_i_ds: choice.must.iter().cloned().collect(),
        allocation_size: i32::try_from(choice.count).unwrap_or(i32::MAX),
    };
    let request = PreferredAllocationRequest { container_requests: vec![request] };
    let answer = bounded(endpoint.client.get_preferred_allocation(request)).await;
    let answer = answer.map_err(|why| format!("device plugin GetPreferredAllocation rpc failed with err: {why}"))?;
    Ok(answer.container_responses.into_iter().flat_map(|response| response.device_i_ds).collect())
}

async fn ask(endpoint: &mut Endpoint, ids: &Ids) -> Result<Allocation, String> {
    let request = ContainerAllocateRequest { devices_ids: ids.iter().cloned().collect() };
    let answer = bounded(endpoint.client.allocate(AllocateRequest { container_requests: vec![request] })).await?;
    let told = answer.container_responses.into_iter().next();
    told.map(Allocation::from).ok_or_else(|| "no containers return in allocation response".to_owned())
}

async fn bounded<T>(call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(format!("rpc error: code = {:?} desc = {}", status.code(), status.message())),
        Err(_) => Err("rpc error: code = DeadlineExceeded desc = context deadline exceeded".to_owned()),
    }
}
