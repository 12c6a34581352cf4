//! Who vouches for users and who says what they may: upstream's flags and files.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sampan_apiserver::{
    AccessWebhookOptions, Anonymous, AuthenticationOptions, AuthorizationOptions, Kubeconfig, Oidc,
    TokenWebhookOptions, parse_duration,
};

use super::Flags;

const TOKEN_TTL: Duration = Duration::from_secs(120);
const AUTHORIZED_TTL: Duration = Duration::from_secs(300);
const UNAUTHORIZED_TTL: Duration = Duration::from_secs(30);

/// What flags and file say together, flags first. `own` is the issuer of this cluster's own tokens.
pub(super) fn resolve(flags: &Flags, file: &Flags, own: &str) -> Result<(AuthenticationOptions, AuthorizationOptions)> {
    Ok((authentication(flags, file, own)?, authorization(flags, file)?))
}

macro_rules! said {
    ($flags:expr, $file:expr, $name:ident) => {
        $flags.$name.as_ref().or($file.$name.as_ref())
    };
}

fn authentication(flags: &Flags, file: &Flags, own: &str) -> Result<AuthenticationOptions> {
    let oidc = oidc(flags, file)?;
    let anonymous = said!(flags, file, anonymous_auth);
    let mut options = match (said!(flags, file, authentication_config), oidc) {
        (Some(_), Some(_)) => bail!("authentication-config: give this file or the flags --oidc-*, not both"),
        (Some(_), None) if anonymous.is_some() => {
            bail!("anonymous-auth: with --authentication-config, say it there: anonymous")
        }
        (Some(path), None) => {
            let text = read(path, "authentication-config")?;
            let options = AuthenticationOptions::parse(&text).and_then(|options| options.check(own).map(|()| options));
            options.map_err(anyhow::Error::msg).with_context(|| format!("authentication-config: {}", path.display()))?
        }
        (None, Some(oidc)) => AuthenticationOptions::of_flags(&oidc),
        (None, None) => AuthenticationOptions::default(),
    };
    if anonymous == Some(&false) {
        options.anonymous = Anonymous::None;
    }
    if let Some(path) = said!(flags, file, authentication_token_webhook_config_file) {
        let ttl = said!(flags, file, authentication_token_webhook_cache_ttl);
        options.webhook = Some(TokenWebhookOptions {
            kubeconfig: kubeconfig(path, "authentication-token-webhook-config-file")?,
            cache_ttl: length(ttl, TOKEN_TTL, "authentication-token-webhook-cache-ttl")?,
        });
    }
    Ok(options)
}

fn oidc(flags: &Flags, file: &Flags) -> Result<Option<Oidc>> {
    let text = |text: Option<&String>| text.cloned().unwrap_or_default();
    let Some(issuer_url) = said!(flags, file, oidc_issuer_url).cloned() else {
        if said!(flags, file, oidc_client_id).is_some() {
            bail!("oidc-issuer-url: oidc-client-id is given; say whose with --oidc-issuer-url");
        }
        return Ok(None);
    };
    let Some(client_id) = said!(flags, file, oidc_client_id).cloned() else {
        bail!("oidc-client-id: tokens need an audience; give it with --oidc-client-id");
    };
    let claims = said!(flags, file, oidc_required_claim).cloned().unwrap_or_default();
    let claim = |text: String| match text.split_once('=') {
        Some((claim, value)) => Ok((claim.to_owned(), value.to_owned())),
        None => bail!("oidc-required-claim: {text:?} is not CLAIM=VALUE"),
    };
    let ca = said!(flags, file, oidc_ca_file).map(|path| read(path, "oidc-ca-file")).transpose()?;
    Ok(Some(Oidc {
        issuer_url,
        client_id,
        username_claim: text(said!(flags, file, oidc_username_claim)),
        username_prefix: said!(flags, file, oidc_username_prefix).cloned(),
        groups_claim: said!(flags, file, oidc_groups_claim).cloned(),
        groups_prefix: text(said!(flags, file, oidc_groups_prefix)),
        ca_pem: ca.unwrap_or_default(),
        required_claims: claims.into_iter().map(claim).collect::<Result<_>>()?,
        signing_algs: said!(flags, file, oidc_signing_algs).cloned().unwrap_or_default(),
    }))
}

fn authorization(flags: &Flags, file: &Flags) -> Result<AuthorizationOptions> {
    let (modes, webhook) =
        (said!(flags, file, authorization_mode), said!(flags, file, authorization_webhook_config_file));
    if let Some(path) = said!(flags, file, authorization_config) {
        if modes.is_some() || webhook.is_some() {
            bail!("authorization-config: give this file or the other flags --authorization-*, not both");
        }
        return AuthorizationOptions::parse(&read(path, "authorization-config")?)
            .map_err(anyhow::Error::msg)
            .with_context(|| format!("authorization-config: {}", path.display()));
    }
    let webhook = webhook.map(|path| {
        let kubeconfig = kubeconfig(path, "authorization-webhook-config-file")?;
        let (yes, no) = (
            said!(flags, file, authorization_webhook_cache_authorized_ttl),
            said!(flags, file, authorization_webhook_cache_unauthorized_ttl),
        );
        let yes = length(yes, AUTHORIZED_TTL, "authorization-webhook-cache-authorized-ttl")?;
        let no = length(no, UNAUTHORIZED_TTL, "authorization-webhook-cache-unauthorized-ttl")?;
        Ok::<_, anyhow::Error>(AccessWebhookOptions::with(kubeconfig, yes, no))
    });
    let webhook = webhook.transpose()?;
    let modes = modes.cloned().unwrap_or_else(|| {
        let modes = ["Node", "RBAC"].into_iter().chain(webhook.as_ref().map(|_| "Webhook"));
        modes.map(str::to_owned).collect()
    });
    AuthorizationOptions::of_flags(&modes, webhook).map_err(anyhow::Error::msg)
}

fn kubeconfig(path: &Path, flag: &str) -> Result<Kubeconfig> {
    Kubeconfig::read(path).map_err(|why| anyhow::anyhow!("{flag}: {why}"))
}

fn read(path: &Path, flag: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("{flag}: reading {}", path.display()))
}

fn length(text: Option<&String>, unsaid: Duration, flag: &str) -> Result<Duration> {
    let Some(text) = text else { return Ok(unsaid) };
    parse_duration(text).with_context(|| format!("{flag}: {text:?} is no duration such as 2m or 30s"))
}
