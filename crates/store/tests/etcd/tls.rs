//! etcd behind TLS, which asks its clients for certificates.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use sampan_store::Error;
use sampan_store::etcd::{Etcd, Options, Tls};

use crate::create;
use crate::etcd_server::EtcdServer;

/// A certificate and its key, in PEM.
type Pair = (String, String);

fn authority() -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap().pem();
    (certificate, Issuer::new(params, key))
}

fn issue(issuer: &Issuer<'static, KeyPair>, name: &str) -> Pair {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.signed_by(&key, issuer).unwrap().pem(), key.serialize_pem())
}

fn file(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn both_sides_show_who_they_are() {
    let (ca_pem, issuer) = authority();
    let (server, client) = (issue(&issuer, "127.0.0.1"), issue(&issuer, "sampan"));
    let identity = |(certificate, key): &Pair| Some((certificate.clone().into_bytes(), key.clone().into_bytes()));
    let tls = Tls { ca_pem: ca_pem.clone().into(), identity_pem: identity(&client) };
    let dir = tempfile::tempdir().unwrap();
    let files = [("ca.pem", &ca_pem), ("server.pem", &server.0), ("server.key", &server.1)];
    let files = files.map(|(name, text)| file(dir.path(), name, text));
    let etcd = EtcdServer::start_with_tls([&files[0], &files[1], &files[2]], &tls).await;

    let connect = |tls: Option<Tls>| {
        let location = format!("etcd://{}", etcd.address).parse().unwrap();
        Etcd::connect(Options { location, tls })
    };
    create(&connect(Some(tls.clone())).await.unwrap(), "key", "1").await;
    tokio::time::pause();
    let stranger = authority();
    for (wrong, why) in [
        (None, "plain text"),
        (Some(Tls { identity_pem: None, ..tls.clone() }), "no certificate"),
        (Some(Tls { ca_pem: stranger.0.into(), ..tls.clone() }), "another authority"),
        (Some(Tls { identity_pem: identity(&issue(&stranger.1, "sampan")), ..tls }), "another's certificate"),
    ] {
        assert!(matches!(connect(wrong).await, Err(Error::Remote { .. })), "{why}");
    }
}
