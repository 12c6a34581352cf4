//! The paths that are no resource: discovery, OpenAPI, version, health, metrics.

use std::collections::BTreeSet;

use axum::body::Body;
use http::{HeaderValue, Method, Response, StatusCode, header};
use sampan_api::status::Status;
use serde_json::json;

use super::{Answer, Call, Server};
use crate::discovery::{aggregated_wanted, tag};
use crate::forms::Wanted;
use crate::metrics;

/// Answers a path.
pub(super) async fn answer(server: &Server, call: &Call) -> Answer {
    if !matches!(call.head.method, Method::GET | Method::HEAD) {
        return Err(Status::method_not_allowed());
    }
    let path = match call.info.path.trim_end_matches('/') {
        "" => "/",
        path => path,
    };
    match path.split('/').nth(1).unwrap_or_default() {
        "healthz" | "livez" | "readyz" => server.health.answer(path, &call.query).await,
        "metrics" if path == "/metrics" => Ok(text(metrics::MEDIA_TYPE, metrics::scrape(server))),
        "debug" => {
            let table = server.flow_control.dump(path).ok_or_else(Status::no_such_path)?;
            Ok(text("text/plain; charset=utf-8", table))
        }
        "version" if path == "/version" => Ok(json_reply(&server.version.document())),
        "openapi" => openapi(server, path, call).await,
        "api" | "apis" => discovery(server, path, call),
        ".well-known" if path == "/.well-known/openid-configuration" => {
            let keys = format!("https://{}{KEY_SET}", server.advertised);
            Ok(issuer_document("application/json", &server.tokens.discovery(&keys)))
        }
        "openid" if path == KEY_SET => Ok(issuer_document("application/jwk-set+json", &server.tokens.key_set())),
        "" => {
            let documents = server.discovery.documents(&server.registry.catalog);
            let listed = documents.paths().chain(OTHER_PATHS).map(str::to_owned);
            let paths: BTreeSet<String> = listed.chain(server.health.paths()).collect();
            Ok(json_reply(&json!({ "paths": paths })))
        }
        _ => Err(Status::no_such_path()),
    }
}

const OTHER_PATHS: [&str; 8] = [
    "/.well-known/openid-configuration",
    "/debug/api_priority_and_fairness/dump_priority_levels",
    "/debug/api_priority_and_fairness/dump_queues",
    "/metrics",
    "/openapi/v2",
    "/openapi/v3",
    KEY_SET,
    "/version",
];

/// Where the keys are that verify ServiceAccount tokens.
const KEY_SET: &str = "/openid/v1/jwks";

/// What others need to verify ServiceAccount tokens; they may keep it for an hour.
fn issuer_document(media_type: &'static str, document: &serde_json::Value) -> Response<Body> {
    let mut response = text(media_type, document.to_string());
    put(&mut response, header::CACHE_CONTROL, "public, max-age=3600");
    response
}

async fn openapi(server: &Server, path: &str, call: &Call) -> Answer {
    if let Some(theirs) = server.aggregator.openapi(path, call).await {
        return Ok(theirs);
    }
    server.openapi.answer(&server.registry.catalog.served(), &server.aggregator, path, call).await
}

fn discovery(server: &Server, path: &str, call: &Call) -> Answer {
    let documents = server.discovery.documents(&server.registry.catalog);
    if let Some(version) = aggregated_wanted(call.headers())
        && let Some(document) = documents.aggregated().get(path, version)
    {
        let document = if path == "/apis" { server.aggregator.merged_aggregated(document) } else { document };
        let tag = tag(&document);
        let seen = call.headers().get(header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == tag.as_bytes());
        let body = if seen { Body::empty() } else { Body::from(document.to_string()) };
        let mut response = Response::new(body);
        if seen {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let media_type = format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
        put(&mut response, header::CONTENT_TYPE, &media_type);
        put(&mut response, header::ETAG, &tag);
        put(&mut response, header::VARY, "Accept");
        return Ok(response);
    }
    let document = server.aggregator.merged(path, documents.get(path)).ok_or_else(Status::no_such_path)?;
    let wanted = Wanted::from_request(call.headers(), &call.query)?;
    Ok(wanted.response(StatusCode::OK, wanted.value(&document)))
}

/// What is no object of the API is always JSON.
fn json_reply(document: &serde_json::Value) -> Response<Body> {
    let json = Wanted::json();
    json.response(StatusCode::OK, json.value(document))
}

fn text(media_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

fn put(response: &mut Response<Body>, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
