//! Those who vouch for users and say what they may: an OpenID Connect issuer, and webhooks, all on loopback.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use sampan_apiserver::{
    AccessWebhookOptions, AuthenticationOptions, AuthorizationOptions, Kubeconfig, Oidc, TokenWebhookOptions,
};
use sampan_auth::Peer;
use sampan_auth::token::Tokens;
use serde_json::{Value, json};

use crate::remote::Remote;
use crate::support::{Cluster, in_process, read};

const WHO_AM_I: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

fn nobody() -> Peer {
    Peer::Remote { address: "192.0.2.9:1".parse().unwrap(), user: None, front_proxy: false, stranger: false }
}

/// Who the server takes the holder of a token for.
async fn who(cluster: &Cluster, token: &str) -> (u16, Value) {
    let request = Request::post(WHO_AM_I).header("authorization", format!("Bearer {token}")).extension(nobody());
    let request = request.header("content-type", "application/json").body(Body::from("{}")).unwrap();
    let (code, answer) = read(cluster.send(request).await).await;
    (code, answer["status"]["userInfo"].clone())
}

/// An issuer whose keys may change.
struct Issuer {
    remote: Remote,
    /// The private key that signs now.
    key: Arc<Mutex<String>>,
    /// How often it was asked for its keys.
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    async fn start() -> Self {
        let key = Arc::new(Mutex::new(Tokens::generate_key().unwrap()));
        let asked = Arc::new(AtomicUsize::new(0));
        let (shared, count) = (Arc::clone(&key), Arc::clone(&asked));
        let remote = Remote::start(&[], move |request| {
            let (key, count) = (shared.lock().unwrap().clone(), Arc::clone(&count));
            async move {
                let authority = request.uri().authority().map(ToString::to_string);
                let host = request.headers().get("host").map(|host| host.to_str().unwrap().to_owned());
                let url = format!("https://{}", authority.or(host).unwrap());
                let document = match request.uri().path() {
                    "/.well-known/openid-configuration" => json!({ "issuer": url, "jwks_uri": format!("{url}/keys") }),
                    "/keys" => {
                        count.fetch_add(1, Ordering::Relaxed);
                        Tokens::load("x", &key).unwrap().key_set()
                    }
                    other => panic!("{other}"),
                };
                Response::new(Body::from(document.to_string()))
            }
        });
        Self { remote: remote.await, key, asked }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.remote.address.port())
    }

    fn ca(&self) -> String {
        String::from_utf8(STANDARD.decode(&self.remote.bundle).unwrap()).unwrap()
    }

    fn token(&self, more: Value) -> String {
        let key = self.key.lock().unwrap().clone();
        let id = Tokens::load("x", &key).unwrap().key_set()["keys"][0]["kid"].as_str().map(str::to_owned);
        let now = sampan_clock::now().as_second();
        let mut claims = json!({ "iss": self.url(), "aud": "kubernetes", "exp": now + 300, "sub": "ann" });
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let header = Header { kid: id, ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ec_pem(key.as_bytes()).unwrap()).unwrap()
    }
}

#[tokio::test]
async fn an_issuer_vouches_for_its_users() {
    let issuer = Issuer::start().await;
    let oidc = Oidc {
        issuer_url: issuer.url(),
        client_id: "kubernetes".to_owned(),
        username_prefix: Some("oidc:".to_owned()),
        groups_claim: Some("groups".to_owned()),
        groups_prefix: "oidc:".to_owned(),
        ca_pem: issuer.ca(),
        required_claims: vec![("hd".to_owned(), "corp".to_owned())],
        signing_algs: vec!["ES256".to_owned()],
        ..Oidc::default()
    };
    let cluster = Cluster::configured(|options| options.authentication = AuthenticationOptions::of_flags(&oidc)).await;
    let good = issuer.token(json!({ "hd": "corp", "groups": ["admins"] }));
    let (code, user) = who(&cluster, &good).await;
    assert_eq!(code, 201, "{user}");
    assert_eq!(user["username"], "oidc:ann");
    assert_eq!(user["groups"], json!(["oidc:admins", "system:authenticated"]));
    for bad in [
        json!({}),
        json!({ "hd": "home" }),
        json!({ "hd": "corp", "aud": "other" }),
        json!({ "hd": "corp", "exp": 1 }),
        json!({ "hd": "corp", "iss": "https://elsewhere.example" }),
    ] {
        assert_eq!(who(&cluster, &issuer.token(bad.clone())).await.0, 401, "{bad}");
    }
    // {"alg":"none","typ":"JWT"}
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", good.split('.').nth(1).unwrap());
    assert_eq!(who(&cluster, &unsigned).await.0, 401);
    assert_eq!(issuer.asked.load(Ordering::Relaxed), 1, "its keys are kept");

    // The token of an unknown key has them fetched again, but not by every such token.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    tokio::time::resume();
    *issuer.key.lock().unwrap() = Tokens::generate_key().unwrap();
    let fresh = issuer.token(json!({ "hd": "corp" }));
    assert_eq!(who(&cluster, &fresh).await.0, 201);
    assert_eq!(who(&cluster, &good).await.0, 401, "a key that is gone verifies nothing");
    assert_eq!(who(&cluster, &good).await.0, 401);
    assert_eq!(issuer.asked.load(Ordering::Relaxed), 2);

    // A review says whose it is, for this server alone.
    let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
    let spec = json!({ "spec": { "token": fresh } });
    let (_, answer) = cluster.admin("POST", reviews, &spec.to_string()).await;
    assert_eq!(answer["status"]["user"]["username"], "oidc:ann", "{answer:#}");
    let spec = json!({ "spec": { "token": fresh, "audiences": ["vault"] } });
    let (_, answer) = cluster.admin("POST", reviews, &spec.to_string()).await;
    assert!(answer["status"]["authenticated"].is_null(), "{answer:#}");
    cluster.handle.shutdown().await;
}

#[tokio::test]
async fn claims_are_mapped_by_expressions() {
    let issuer = Issuer::start().await;
    let file = json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
        "jwt": [{
            "issuer": { "url": issuer.url(), "audiences": ["kubernetes"], "certificateAuthority": issuer.ca() },
            "claimMappings": {
                "username": { "expression": "claims.sub + '@' + claims.realm" },
                "groups": { "expression": "claims.roles" },
                "extra": [{ "key": "example.org/realm", "valueExpression": "claims.realm" }],
            },
            "userValidationRules": [{ "expression": "!user.username.startsWith('system:')", "message": "reserved" }],
        }],
        "anonymous": { "enabled": true, "conditions": [{ "path": "/livez" }] },
    });
    let options = AuthenticationOptions::parse(&file.to_string()).unwrap();
    let cluster = Cluster::configured(|all| all.authentication = options).await;
    let (code, user) = who(&cluster, &issuer.token(json!({ "realm": "corp", "roles": ["a", "b"] }))).await;
    assert_eq!(code, 201, "{user}");
    assert_eq!((&user["username"], &user["groups"][1]), (&json!("ann@corp"), &json!("b")));
    assert_eq!(user["extra"], json!({ "example.org/realm": ["corp"] }));
    let reserved = issuer.token(json!({ "sub": "system:admin", "realm": "corp", "roles": [] }));
    assert_eq!(who(&cluster, &reserved).await.0, 401);
    for (path, want) in [("/livez", 200), ("/readyz", 401), ("/version", 401)] {
        let request = Request::get(path).extension(nobody()).body(Body::empty()).unwrap();
        assert_eq!(cluster.send(request).await.status(), want, "{path}");
    }
    cluster.handle.shutdown().await;
}

/// A kubeconfig for a webhook.
fn kubeconfig(remote: &Remote, path: &str) -> Kubeconfig {
    let file = tempfile::NamedTempFile::new().unwrap();
    let server = format!("https://localhost:{}{path}", remote.address.port());
    let config = json!({
        "clusters": [{ "name": "c", "cluster": { "server": server, "certificate-authority-data": remote.bundle } }],
        "users": [{ "name": "u", "user": { "token": "the server's own" } }],
        "contexts": [{ "name": "x", "context": { "cluster": "c", "user": "u" } }],
        "current-context": "x",
    });
    std::fs::write(file.path(), config.to_string()).unwrap();
    Kubeconfig::read(file.path()).unwrap()
}

/// A webhook that answers with a status for a spec, and counts.
async fn webhook(answer: fn(&Value) -> Value) -> (Remote, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let remote = Remote::start(&[], move |request: Request<Incoming>| {
        let count = Arc::clone(&count);
        async move {
            count.fetch_add(1, Ordering::Relaxed);
            assert_eq!(request.headers()["authorization"], "Bearer the server's own");
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let mut review: Value = serde_json::from_slice(&body).unwrap();
            review["status"] = answer(&review["spec"]);
            if review["status"]["hang"] == true {
                std::future::pending::<()>().await;
            }
            Response::new(Body::from(review.to_string()))
        }
    });
    (remote.await, asked)
}

#[tokio::test]
async fn a_webhook_vouches_for_users() {
    let (remote, asked) = webhook(|spec| match spec["token"].as_str().unwrap() {
        "good" => json!({ "authenticated": true, "user": { "username": "bob", "groups": ["g"] } }),
        token => {
            assert!(!token.contains('.'), "tokens of this cluster are not shown to others");
            json!({ "authenticated": false, "error": "never heard of it" })
        }
    })
    .await;
    let options =
        TokenWebhookOptions { kubeconfig: kubeconfig(&remote, "/authn"), cache_ttl: Duration::from_secs(120) };
    let cluster = Cluster::configured(|all| all.authentication.webhook = Some(options)).await;
    let (code, user) = who(&cluster, "good").await;
    assert_eq!((code, &user["username"]), (201, &json!("bob")), "{user}");
    assert_eq!(user["groups"], json!(["g", "system:authenticated"]));
    for _ in 0..3 {
        assert_eq!(who(&cluster, "bad").await.0, 401);
        assert_eq!(who(&cluster, "good").await.0, 201);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 2, "answers are remembered");
    let (_, answer) =
        cluster.admin("POST", "/apis/authentication.k8s.io/v1/tokenreviews", r#"{"spec":{"token":"bad"}}"#).await;
    assert_eq!(answer["status"]["error"], "never heard of it");
    // A forged token of this cluster is for this cluster to refuse.
    let other = Tokens::load("https://kubernetes.default.svc", &Tokens::generate_key().unwrap()).unwrap();
    let grant = sampan_auth::token::Grant { life: jiff::SignedDuration::from_hours(1), ..Default::default() };
    let (forged, _) = other.sign(&grant, "id", sampan_clock::now()).unwrap();
    assert_eq!(who(&cluster, &forged).await.0, 401);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    cluster.handle.shutdown().await;
}

fn access(remote: &Remote, failure_policy: &str, conditions: &[&str]) -> AuthorizationOptions {
    let file = tempfile::NamedTempFile::new().unwrap();
    let config = json!({
        "clusters": [{ "name": "c", "cluster": {
            "server": format!("https://localhost:{}/authz", remote.address.port()),
            "certificate-authority-data": remote.bundle,
        } }],
        "users": [{ "name": "u", "user": { "token": "the server's own" } }],
        "contexts": [{ "name": "x", "context": { "cluster": "c", "user": "u" } }],
        "current-context": "x",
    });
    std::fs::write(file.path(), config.to_string()).unwrap();
    let conditions: Vec<Value> = conditions.iter().map(|expression| json!({ "expression": expression })).collect();
    let text = json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthorizationConfiguration",
        "authorizers": [
            { "type": "Webhook", "name": "hook", "webhook": {
                "subjectAccessReviewVersion": "v1", "matchConditionSubjectAccessReviewVersion": "v1",
                "timeout": "2s", "failurePolicy": failure_policy, "matchConditions": conditions,
                "connectionInfo": { "type": "KubeConfigFile", "kubeConfigFile": file.path() },
            } },
            { "type": "Node", "name": "node" },
            { "type": "RBAC", "name": "rbac" },
        ],
    });
    AuthorizationOptions::parse(&text.to_string()).unwrap()
}

async fn get(cluster: &Cluster, user: &str, path: &str) -> u16 {
    let request = Request::get(path).extension(in_process(user)).body(Body::empty()).unwrap();
    cluster.send(request).await.status().as_u16()
}

#[tokio::test]
async fn webhooks_say_what_users_may() {
    let (remote, asked) = webhook(|spec| match spec["resourceAttributes"]["resource"].as_str() {
        Some("pods") => json!({ "allowed": true, "reason": "pods for all" }),
        Some("secrets") => json!({ "allowed": false, "denied": true, "reason": "no secrets" }),
        Some("nodes") => json!({ "hang": true }),
        _ => json!({ "allowed": false }),
    })
    .await;
    let only = "has(request.resourceAttributes) && request.user != 'carol'";
    let cluster = Cluster::configured(|all| all.authorization = access(&remote, "Deny", &[only])).await;
    let role = json!({
        "metadata": { "name": "reader" },
        "rules": [{ "apiGroups": [""], "resources": ["secrets", "configmaps", "nodes"], "verbs": ["list"] }],
    });
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    assert_eq!(cluster.admin("POST", &format!("{rbac}/clusterroles"), &role.to_string()).await.0, 201);
    let binding = json!({
        "metadata": { "name": "readers" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:authenticated" }],
    });
    assert_eq!(cluster.admin("POST", &format!("{rbac}/clusterrolebindings"), &binding.to_string()).await.0, 201);
    assert_eq!(asked.load(Ordering::Relaxed), 0, "nobody is asked about administrators");
    assert_eq!(get(&cluster, "bob", "/api/v1/pods").await, 200, "the webhook allows");
    assert_eq!(get(&cluster, "bob", "/api/v1/configmaps").await, 200, "the webhook says nothing, RBAC allows");
    assert_eq!(get(&cluster, "bob", "/api/v1/services").await, 403, "nobody allows");
    assert_eq!(get(&cluster, "bob", "/api/v1/secrets").await, 403, "what the webhook denies RBAC is not asked about");
    assert_eq!(get(&cluster, "carol", "/api/v1/pods").await, 403, "the webhook is not asked about everybody");
    assert_eq!(get(&cluster, "carol", "/api/v1/secrets").await, 200);
    let before = asked.load(Ordering::Relaxed);
    assert_eq!(get(&cluster, "bob", "/api/v1/pods").await, 200);
    assert_eq!(asked.load(Ordering::Relaxed), before, "answers are remembered");
    assert_eq!(get(&cluster, "bob", "/api/v1/nodes").await, 403, "no answer in time is a no, by its policy");
    let spec = json!({ "spec": { "user": "bob", "resourceAttributes": { "resource": "pods", "verb": "list", "version": "v1" } } });
    let reviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let (_, answer) = cluster.admin("POST", reviews, &spec.to_string()).await;
    assert_eq!(answer["status"], json!({ "allowed": true, "reason": "pods for all" }));
    let (_, answer) = cluster.admin("POST", reviews, &spec.to_string().replace("pods", "secrets")).await;
    assert_eq!(answer["status"], json!({ "allowed": false, "denied": true, "reason": "no secrets" }));
    let (_, answer) = cluster.admin("POST", reviews, &spec.to_string().replace("pods", "services")).await;
    assert_eq!(answer["status"], json!({ "allowed": false }));
    cluster.handle.shutdown().await;
}

#[tokio::test]
async fn a_webhook_that_cannot_be_reached_may_be_passed_over() {
    let (remote, _) = webhook(|_| json!({ "hang": true })).await;
    let options = AccessWebhookOptions {
        timeout: Duration::from_millis(50),
        ..AccessWebhookOptions::with(kubeconfig(&remote, "/authz"), Duration::ZERO, Duration::ZERO)
    };
    let modes = ["Webhook", "RBAC"].map(str::to_owned);
    let options = AuthorizationOptions::of_flags(&modes, Some(options)).unwrap();
    let cluster = Cluster::configured(|all| all.authorization = options).await;
    assert_eq!(get(&cluster, "bob", "/version").await, 200, "RBAC allows it to all");
    assert_eq!(get(&cluster, "bob", "/api/v1/pods").await, 403);
    cluster.handle.shutdown().await;
}
