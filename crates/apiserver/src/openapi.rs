//! `/openapi/v2` and `/openapi/v3`. The documents are large and rarely asked for: they are made for each request that
//! really needs one, on a thread for such work, and only their hashes are kept, by which clients cache them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use sampan_api::kind::KindRef;
use sampan_api::openapi;
use sampan_api::status::Status;
use serde_json::json;
use sha2::{Digest as _, Sha512};

use crate::aggregator::Aggregator;
use crate::catalog::{Derived, Served};
use crate::forms::accepted;
use crate::server::{Answer, Call, Compressible};

const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// The documents of one server.
pub(crate) struct OpenApi {
    release: String,
    /// Hash of each version 3 document by its path: `apis/apps/v1`.
    hashes: Arc<Derived<BTreeMap<String, String>>>,
}

impl OpenApi {
    /// Documents that state `release` as the version of Kubernetes.
    pub(crate) fn new(release: &str) -> Self {
        Self { release: release.to_owned(), hashes: Arc::default() }
    }

    /// Answers a path under `/openapi`.
    pub(crate) async fn answer(&self, served: &Arc<Served>, others: &Aggregator, path: &str, call: &Call) -> Answer {
        match path.strip_prefix("/openapi/").unwrap_or_default() {
            "v2" => self.v2(served, others, call).await,
            "v3" => self.index(served, others).await,
            path => self.v3(served, path.strip_prefix("v3/").ok_or_else(Status::no_such_path)?, call).await,
        }
    }

    async fn v2(&self, served: &Arc<Served>, others: &Aggregator, call: &Call) -> Answer {
        let (served, release) = (Arc::clone(served), self.release.clone());
        let mut document = make(move || openapi::v2(&served.kinds, &release)).await?;
        others.merge_openapi_v2(&mut document).await;
        if accepted(call.headers()).first().is_some_and(|first| first.name == V2_PROTOBUF) {
            let body = make(move || openapi::v2_protobuf(&document)).await?;
            // Media types cannot hold an "@", so clients are told a dot.
            return Ok(reply("application/com.github.proto-openapi.spec.v2.v1.0+protobuf", body.into()));
        }
        Ok(reply("application/json", document.to_string().into()))
    }

    async fn index(&self, served: &Arc<Served>, others: &Aggregator) -> Answer {
        let entry = |(path, hash): (&String, &String)| {
            (path.clone(), json!({ "serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}") }))
        };
        let mut paths: serde_json::Map<_, _> = self.hashes(served).await?.iter().map(entry).collect();
        paths.extend(others.openapi_index());
        Ok(reply("application/json", json!({ "paths": paths }).to_string().into()))
    }

    async fn hashes(&self, served: &Arc<Served>) -> Result<Arc<BTreeMap<String, String>>, Status> {
        let (kept, served, release) = (Arc::clone(&self.hashes), Arc::clone(served), self.release.clone());
        make(move || kept.of(&served, |served| hashes(&served.kinds, &release))).await
    }

    async fn v3(&self, served: &Arc<Served>, path: &str, call: &Call) -> Answer {
        let hashes = self.hashes(served).await?;
        let hash = hashes.get(path).ok_or_else(Status::no_such_path)?;
        let tag = format!("\"{hash}\"");
        if call.headers().get(header::IF_NONE_MATCH).is_some_and(|seen| seen.as_bytes() == tag.as_bytes()) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(response);
        }
        let (served, path, release) = (Arc::clone(served), path.to_owned(), self.release.clone());
        let document = make(move || openapi::V3::new(&served.kinds, &release).document(&path)).await?;
        let body = document.ok_or_else(Status::no_such_path)?.to_string();
        let mut response = reply("application/json", body.into());
        let headers = response.headers_mut();
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.insert(header::ETAG, tag);
        }
        if call.query.text("hash") == *hash {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
        }
        Ok(response)
    }
}

/// Makes a document where it holds up nobody.
async fn make<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
    let made = tokio::task::spawn_blocking(work).await;
    made.map_err(|_| Status::internal("the document could not be made"))
}

fn hashes(kinds: &[KindRef], release: &str) -> BTreeMap<String, String> {
    let documents = openapi::V3::new(kinds, release);
    let hash = |path: &str| {
        let document = documents.document(path)?;
        Some(hex::encode_upper(Sha512::digest(document.to_string())))
    };
    documents.paths().into_iter().filter_map(|path| hash(&path).map(|hash| (path, hash))).collect()
}

fn reply(media_type: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.extensions_mut().insert(Compressible);
    response
}
