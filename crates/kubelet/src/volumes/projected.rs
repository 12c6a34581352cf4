//! `projected`: ConfigMaps, Secrets, facts about the Pod, ServiceAccount tokens and trust bundles together in one
//! directory.

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    PodCertificateProjection, ProjectedVolumeSource, ServiceAccountTokenProjection, Volume, VolumeProjection,
};

use super::payload::{self, File, Payload, Selection};
use super::{Context, Provider, SetUp, atomic, tokens};
use crate::pod_certificates::{Credential, Place};
use crate::{Error, spec};

struct Projected(ProjectedVolumeSource);

pub(super) fn of(volume: &Volume) -> Option<Box<dyn Provider>> {
    volume.projected.clone().map(|source| Box::new(Projected(source)) as Box<dyn Provider>)
}

#[async_trait]
impl Provider for Projected {
    async fn set_up(&self, name: &str, context: &Context<'_>) -> Result<SetUp, Error> {
        let mut all = Payload::new();
        let mut renew_at: Option<Timestamp> = None;
        for (index, source) in self.0.sources.iter().flatten().enumerate() {
            all.extend(self.of_object(context, source)?);
            if let Some(projection) = &source.service_account_token {
                let (file, renew) = self.token(context, projection).await?;
                all.insert(payload::relative(&projection.path)?, file);
                renew_at = Some(renew_at.map_or(renew, |at| at.min(renew)));
            }
            if let Some(projection) = &source.pod_certificate {
                let place = Place { uid: spec::uid(context.pod).to_owned(), volume: name.to_owned(), source: index };
                let credential = context.certificates.credential(context.pod, &place, projection).await?;
                all.extend(self.certificate(context, projection, &credential)?);
                renew_at = Some(renew_at.map_or(credential.renew_at, |at| at.min(credential.renew_at)));
            }
        }
        let path = context.paths.volume("projected", name);
        atomic::provide(context, &path, all, atomic::Medium::Memory).await?;
        Ok(SetUp { renew_at, ..SetUp::read_only(path) })
    }
}

impl Projected {
    fn of_object(&self, context: &Context<'_>, source: &VolumeProjection) -> Result<Payload, Error> {
        let default_mode = self.0.default_mode;
        if let Some(map) = &source.config_map {
            let (items, optional) = (map.items.as_deref(), map.optional == Some(true));
            return payload::config_map(
                context,
                &map.name,
                &Selection { items, default_mode, optional, kind: "configmap" },
            );
        }
        if let Some(secret) = &source.secret {
            let (items, optional) = (secret.items.as_deref(), secret.optional == Some(true));
            return payload::secret(
                context,
                &secret.name,
                &Selection { items, default_mode, optional, kind: "secret" },
            );
        }
        if let Some(bundle) = &source.cluster_trust_bundle {
            let data = context.objects.trust_bundle(bundle)?.into_bytes();
            let file = File { data, mode: payload::mode(None, default_mode), owner: None };
            return Ok([(payload::relative(&bundle.path)?, file)].into());
        }
        match &source.downward_api {
            Some(downward) => payload::downward(context, downward.items.as_deref().unwrap_or_default(), default_mode),
            None => Ok(Payload::new()),
        }
    }

    /// The files of a certificate. Only its user may read them where the Pod has one, as with tokens.
    fn certificate(
        &self,
        context: &Context<'_>,
        projection: &PodCertificateProjection,
        credential: &Credential,
    ) -> Result<Payload, Error> {
        let Credential { key_pem, chain_pem, .. } = credential;
        let owner = only_user(context);
        let mode = if owner.is_some() { 0o600 } else { payload::mode(None, self.0.default_mode) };
        let files = [
            (&projection.credential_bundle_path, format!("{key_pem}{chain_pem}")),
            (&projection.key_path, key_pem.clone()),
            (&projection.certificate_chain_path, chain_pem.clone()),
        ];
        let wanted = files.into_iter().filter_map(|(path, text)| Some((path.as_ref()?, text)));
        wanted
            .map(|(path, text)| Ok((payload::relative(path)?, File { data: text.into_bytes(), mode, owner })))
            .collect()
    }

    /// The token's file and when it must be renewed. Only its user may read it where the Pod has one.
    async fn token(
        &self,
        context: &Context<'_>,
        projection: &ServiceAccountTokenProjection,
    ) -> Result<(File, Timestamp), Error> {
        let token = context.tokens.token(&tokens::Request::of(context.pod, projection)).await?;
        let owner = only_user(context);
        let grouped = spec::of(context.pod).security_context.as_ref().is_some_and(|context| context.fs_group.is_some());
        let mode = if owner.is_some() || grouped { 0o600 } else { payload::mode(None, self.0.default_mode) };
        Ok((File { data: token.value.into_bytes(), mode, owner }, token.renew_at))
    }
}

/// The user that every container runs as, if it is the same one for all.
fn only_user(context: &Context<'_>) -> Option<u32> {
    let of_pod = spec::of(context.pod).security_context.as_ref().and_then(|context| context.run_as_user);
    let users = spec::containers(context.pod)
        .map(|(_, container)| container.security_context.as_ref().and_then(|own| own.run_as_user).or(of_pod));
    let users: Vec<Option<i64>> = users.collect();
    let first = (*users.first()?)?;
    users.iter().all(|user| *user == Some(first)).then(|| u32::try_from(first).ok()).flatten()
}
