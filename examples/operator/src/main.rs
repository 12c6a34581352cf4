//! An operator as people write them, with kube-rs: a kind of its own, an admission webhook in front of it, and a
//! controller that makes each `Website` a Deployment and looks whether it serves what it should.
//!
//! `operator` runs until it is told to stop. It reaches the cluster as any client does: by kubeconfig or from a Pod.

mod reconcile;
mod webhook;
mod website;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Controller;
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::watcher;
use kube::{Api, Client, CustomResourceExt as _};
use tokio::time::timeout;

use website::Website;

/// The name under which fields are owned.
const MANAGER: &str = "website-operator";
/// A definition is established sooner.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<()> {
    let client = Client::try_default().await.context("looking for the cluster")?;
    define(&client).await?;
    let hook = webhook::start(&client).await?;
    println!("started");
    // As informers of today do: one watch that begins with what is there.
    let streaming = watcher::Config::default().streaming_lists();
    Controller::new(Api::<Website>::all(client.clone()), streaming.clone())
        .owns(Api::<Deployment>::all(client.clone()), streaming)
        .shutdown_on_signal()
        .run(reconcile::reconcile, reconcile::try_again, Arc::new(reconcile::Context { client: client.clone() }))
        .for_each(|outcome| async move {
            match outcome {
                Ok((website, _)) => println!("reconciled {}", website.name),
                Err(error) => println!("error: {error}"),
            }
        })
        .await;
    hook.stop(&client).await
}

/// Makes the kind known, and waits until it is.
async fn define(client: &Client) -> Result<()> {
    let definition = Website::crd();
    let name = definition.metadata.name.clone().context("a definition has a name")?;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let patch = PatchParams::apply(MANAGER).force();
    definitions.patch(&name, &patch, &Patch::Apply(&definition)).await.context("applying the definition")?;
    let established = await_condition(definitions, &name, conditions::is_crd_established());
    timeout(PATIENCE, established).await.context("waiting for the definition")??;
    Ok(())
}
