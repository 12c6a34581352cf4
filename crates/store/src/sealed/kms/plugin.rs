//! The plugin behind its socket: three calls, each with a bound.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response};

use super::figures::Counting;
use super::wire::key_management_service_client::KeyManagementServiceClient;
use super::wire::{DecryptRequest, EncryptRequest, EncryptResponse, EncryptedObject, StatusRequest, StatusResponse};

/// The way to a plugin.
pub(super) struct Plugin {
    endpoint: Endpoint,
    /// Made at the first call; it connects anew by itself.
    channel: OnceLock<Channel>,
    timeout: Duration,
    /// What is counted of its calls.
    pub(super) counting: Counting,
}

impl Plugin {
    /// The plugin at `unix:///path`, which answers within `timeout`.
    pub(super) fn new(endpoint: &str, timeout: Duration) -> Result<Self, String> {
        if !endpoint.strip_prefix("unix://").is_some_and(|path| path.starts_with('/')) {
            return Err(format!("the endpoint {endpoint:?} is no unix:///path/to/a/socket"));
        }
        let endpoint = Endpoint::from_shared(endpoint.to_owned()).map_err(|error| error.to_string())?;
        Ok(Self { endpoint, channel: OnceLock::new(), timeout, counting: Counting::default() })
    }

    /// How it is, and which key it has.
    pub(super) async fn status(&self) -> Result<StatusResponse, String> {
        self.in_time(&STATUS, self.client().status(StatusRequest {})).await
    }

    /// Has it seal.
    pub(super) async fn encrypt(&self, plaintext: Bytes) -> Result<EncryptResponse, String> {
        self.in_time(&ENCRYPT, self.client().encrypt(EncryptRequest { plaintext, uid: uid()? })).await
    }

    /// Has it open what it has sealed for `object`.
    pub(super) async fn decrypt(&self, object: &EncryptedObject) -> Result<Bytes, String> {
        let request = DecryptRequest {
            ciphertext: object.encrypted_dek_source.clone(),
            uid: uid()?,
            key_id: object.key_id.clone(),
            annotations: object.annotations.clone(),
        };
        self.in_time(&DECRYPT, self.client().decrypt(request)).await.map(|answer| answer.plaintext)
    }

    fn client(&self) -> KeyManagementServiceClient<Channel> {
        KeyManagementServiceClient::new(self.channel.get_or_init(|| self.endpoint.connect_lazy()).clone())
    }

    async fn in_time<T>(
        &self,
        method: &Method,
        call: impl Future<Output = Result<Response<T>, tonic::Status>>,
    ) -> Result<T, String> {
        let began = Instant::now();
        let answer = tokio::time::timeout(self.timeout, call).await;
        let answer = answer
            .unwrap_or_else(|_| Err(tonic::Status::deadline_exceeded(format!("no answer within {:?}", self.timeout))));
        let code = answer.as_ref().map_or_else(tonic::Status::code, |_| Code::Ok);
        self.counting.called(method.name, name(code), began.elapsed());
        let failed = |status: tonic::Status| format!("the plugin did not {}: {}", method.does, status.message());
        answer.map(Response::into_inner).map_err(failed)
    }
}

/// A method of the plugin, by its name and in words.
struct Method {
    name: &'static str,
    does: &'static str,
}

const STATUS: Method = Method { name: "Status", does: "say how it is" };
const ENCRYPT: Method = Method { name: "Encrypt", does: "encrypt" };
const DECRYPT: Method = Method { name: "Decrypt", does: "decrypt" };

/// What gRPC calls a code.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

/// What a request is called in the plugin's log.
fn uid() -> Result<String, String> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "the system gives no randomness")?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
