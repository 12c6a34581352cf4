//! The plugin behind its socket: three calls, each with a bound.

use std::fmt::Display;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use ring::rand::{SecureRandom as _, SystemRandom};
use tonic::Response;
use tonic::transport::{Channel, Endpoint};

use super::wire::key_management_service_client::KeyManagementServiceClient;
use super::wire::{DecryptRequest, EncryptRequest, EncryptResponse, EncryptedObject, StatusRequest, StatusResponse};

/// The way to a plugin.
pub(super) struct Plugin {
    endpoint: Endpoint,
    /// Made at the first call; it connects anew by itself.
    channel: OnceLock<Channel>,
    timeout: Duration,
}

impl Plugin {
    /// The plugin at `unix:///path`, which answers within `timeout`.
    pub(super) fn new(endpoint: &str, timeout: Duration) -> Result<Self, String> {
        if !endpoint.strip_prefix("unix://").is_some_and(|path| path.starts_with('/')) {
            return Err(format!("the endpoint {endpoint:?} is no unix:///path/to/a/socket"));
        }
        let endpoint = Endpoint::from_shared(endpoint.to_owned()).map_err(|error| error.to_string())?;
        Ok(Self { endpoint, channel: OnceLock::new(), timeout })
    }

    /// How it is, and which key it has.
    pub(super) async fn status(&self) -> Result<StatusResponse, String> {
        self.in_time("say how it is", self.client().status(StatusRequest {})).await
    }

    /// Has it seal.
    pub(super) async fn encrypt(&self, plaintext: Bytes) -> Result<EncryptResponse, String> {
        self.in_time("encrypt", self.client().encrypt(EncryptRequest { plaintext, uid: uid()? })).await
    }

    /// Has it open what it has sealed for `object`.
    pub(super) async fn decrypt(&self, object: &EncryptedObject) -> Result<Bytes, String> {
        let request = DecryptRequest {
            ciphertext: object.encrypted_dek_source.clone(),
            uid: uid()?,
            key_id: object.key_id.clone(),
            annotations: object.annotations.clone(),
        };
        self.in_time("decrypt", self.client().decrypt(request)).await.map(|answer| answer.plaintext)
    }

    fn client(&self) -> KeyManagementServiceClient<Channel> {
        KeyManagementServiceClient::new(self.channel.get_or_init(|| self.endpoint.connect_lazy()).clone())
    }

    async fn in_time<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<Response<T>, tonic::Status>>,
    ) -> Result<T, String> {
        let failed = |why: &dyn Display| format!("the plugin did not {what}: {why}");
        match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(failed(&status.message())),
            Err(_) => Err(failed(&format!("no answer within {:?}", self.timeout))),
        }
    }
}

/// What a request is called in the plugin's log.
fn uid() -> Result<String, String> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "the system gives no randomness")?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
