//! Images from registries: good ones, guarded ones, broken ones and bad ones.

use std::fs;

use sampan_cri::v1::*;
use sampan_runtime::archive::PullRequest;
use sampan_runtime::archive::pull_progress::Phase;

use super::fixture::{Fixture, entry, layer, link};
use super::registry::{DOCKER, Guard, Manner, OCI, OCI_INDEX, PASSWORD, Registry, USER, digest};

fn credentials(password: &str) -> Option<AuthConfig> {
    Some(AuthConfig { username: USER.to_owned(), password: password.to_owned(), ..AuthConfig::default() })
}

/// Enough of a system to run a shell, under another layer with one file.
fn layers(mark: &str) -> Vec<Vec<u8>> {
    let system = layer(|tar| {
        entry(tar, "bin/", tar::EntryType::Directory, 0o755, b"");
        entry(tar, "bin/busybox", tar::EntryType::Regular, 0o755, &fs::read("/bin/busybox").unwrap());
        for applet in ["sh", "cat", "ls", "touch"] {
            link(tar, &format!("bin/{applet}"), "busybox", tar::EntryType::Symlink);
        }
    });
    vec![system, layer(|tar| entry(tar, "mark", tar::EntryType::Regular, 0o644, mark.as_bytes()))]
}

/// One file that does not compress.
fn noise(bytes: usize) -> Vec<Vec<u8>> {
    let content: Vec<u8> = (0..bytes).map(|_| rand::random()).collect();
    vec![layer(|tar| entry(tar, "noise", tar::EntryType::Regular, 0o644, &content))]
}

async fn runs(fixture: &mut Fixture, name: &str, want: &str) {
    let sandbox = fixture.sandbox().await;
    let image = |config: &mut ContainerConfig| config.image.as_mut().unwrap().image = name.to_owned();
    let status = fixture.run_with(&sandbox, want, "cat /mark", image).await;
    let lines = fixture.lines(&format!("{want}.log"));
    assert_eq!((status.exit_code, lines.last().map(String::as_str)), (0, Some(want)));
}

pub(crate) async fn pulls_by_tag_and_digest(mut fixture: Fixture) -> Fixture {
    let registry = Registry::plain().await;
    let manifest = registry.push("team/app:amd", &layers("first"), "{}", OCI);
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[
            {{"mediaType":"{OCI}","digest":"sha256:{}","size":1,"platform":{{"os":"linux","architecture":"s390x"}}}},
            {{"mediaType":"{OCI}","digest":"{manifest}","size":1,"platform":{{"os":"linux","architecture":"{}"}}}}]}}"#,
        "0".repeat(64),
        if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" },
    );
    let index = registry.push_manifest("team/app", "v1", index.as_bytes(), OCI_INDEX);
    let name = registry.name("team/app:v1");
    let id = fixture.pull(&name, None).await.unwrap();
    runs(&mut fixture, &id, "first").await;
    let image = fixture.image(&name).await.unwrap();
    let by_digest = registry.name(&format!("team/app@{index}"));
    assert_eq!(
        (image.id.as_str(), &image.repo_tags, &image.repo_digests),
        (&*id, &vec![name.clone()], &vec![by_digest.clone()])
    );

    // A tag is asked for again; what it means is here.
    let transfers = registry.count("GET", "/blobs/");
    assert_eq!(fixture.pull(&name, None).await.unwrap(), id);
    assert_eq!(fixture.pull(&by_digest, None).await.unwrap(), id);
    assert_eq!((registry.count("GET", "/blobs/"), registry.count("HEAD", "/manifests/v1")), (transfers, 2));
    // A tag that has moved means the other image, of which one layer is here.
    registry.push("team/app:v1", &layers("second"), "{}", DOCKER);
    let moved = fixture.pull(&name, None).await.unwrap();
    runs(&mut fixture, &moved, "second").await;
    assert_eq!(registry.count("GET", "/blobs/"), transfers + 2, "a configuration and a layer");
    assert!(fixture.image(&id).await.unwrap().repo_tags.is_empty());

    let error = fixture.pull(&registry.name("team/app:v2"), None).await.unwrap_err();
    let missing = registry.name("team/app:v2");
    let want = format!(
        "failed to pull and unpack image \"{missing}\": failed to resolve reference \"{missing}\": {missing}: not found"
    );
    assert_eq!((error.code(), error.message()), (tonic::Code::NotFound, &*want));
    fixture
}

pub(crate) async fn authenticates(mut fixture: Fixture) -> Fixture {
    let registry = Registry::with_tls().await;
    registry.push("app:1", &layers("guarded"), "{}", DOCKER);
    let name = registry.name("app:1");
    let certificate = registry.certificate.clone().unwrap();
    let server = format!("server = \"https://{}\"\n", registry.address);
    fixture.hosts(&registry, &server, &certificate);
    let error = fixture.pull(&name, None).await.unwrap_err();
    assert!(error.message().contains("certificate"), "nobody vouches for it: {error}");
    fixture.hosts(&registry, &format!("{server}skip_verify = true\n"), "");
    fixture.pull(&name, None).await.unwrap();
    fixture.remove_image(&name).await;
    fixture.hosts(&registry, &format!("{server}ca = \"ca.crt\"\n"), &certificate);
    for guard in [Guard::Basic, Guard::Bearer] {
        registry.state.lock().guard = guard;
        for auth in [None, credentials("wrong")] {
            let error = fixture.pull(&name, auth).await.unwrap_err();
            let words = "pull access denied, repository does not exist or may require authorization";
            assert!(error.message().contains(words), "{guard:?}: {error}");
            assert!(!error.message().contains("wrong"), "{error}");
        }
        let id = fixture.pull(&name, credentials(PASSWORD)).await.unwrap();
        runs(&mut fixture, &id, "guarded").await;
        fixture.remove_image(&id).await;
    }
    fixture
}

pub(crate) async fn keeps_credentials_at_home(mut fixture: Fixture) -> Fixture {
    let (registry, other) = (Registry::plain().await, Registry::plain().await);
    registry.push("app:1", &layers("x"), "{}", OCI);
    other.state.lock().guard = Guard::Basic;
    // Plain HTTP that nobody has asked for: nothing goes there.
    registry.state.lock().guard = Guard::Basic;
    fixture.pull(&registry.name("app:1"), credentials(PASSWORD)).await.unwrap_err();
    assert!(registry.state.lock().authorizations.is_empty());
    // A redirect to where other credentials are wanted.
    let server = format!("server = \"http://{}\"\n", registry.address);
    fixture.hosts(&registry, &server, "");
    registry.state.lock().manner = Manner::Redirects(format!("http://{}", other.address));
    let error = fixture.pull(&registry.name("app:1"), credentials(PASSWORD)).await.unwrap_err();
    assert!(error.message().contains("asks for credentials that are not for it"), "{error}");
    assert!(!registry.state.lock().authorizations.is_empty() && !other.state.lock().seen.is_empty());
    assert!(other.state.lock().authorizations.is_empty());
    // A mirror that asks for them.
    registry.state.lock().manner = Manner::Honest;
    fixture.hosts(&registry, &format!("{server}[host.\"http://{}\"]\n", other.address), "");
    fixture.pull(&registry.name("app:1"), credentials(PASSWORD)).await.unwrap();
    assert!(other.count("HEAD", "/v2/app/manifests/1?ns=127.0.0.1%3A") > 0, "the mirror was asked first");
    assert!(other.state.lock().authorizations.is_empty());
    fixture
}

pub(crate) async fn refuses_what_is_not_what_it_says(mut fixture: Fixture) -> Fixture {
    let registry = Registry::plain().await;
    registry.push("app:1", &layers("x"), "{}", OCI);
    let manifest = String::from_utf8(registry.state.lock().manifest("/v2/app/manifests/1")).unwrap();
    let both = manifest.replacen('{', r#"{"manifests":[],"#, 1);
    registry.push_manifest("both", "1", both.as_bytes(), OCI);
    registry.push_manifest("old", "1", br#"{"schemaVersion":1,"fsLayers":[]}"#, "application/json");
    registry.push_manifest("chart", "1", manifest.replace("image.config", "helm.config").as_bytes(), OCI);
    registry.push(
        "bomb:1",
        &[layer(|tar| entry(tar, "zeros", tar::EntryType::Regular, 0o644, &vec![0; 20 << 20]))],
        "{}",
        OCI,
    );
    let outside = || layer(|tar| entry(tar, "../../out", tar::EntryType::Regular, 0o644, b"x"));
    let zeros = |name: &str| layer(|tar| entry(tar, name, tar::EntryType::Regular, 0o644, &vec![0; 9 << 20]));
    registry.push("out:1", &[outside()], "{}", OCI);
    registry.push("late:1", &[zeros("good"), outside()], "{}", OCI);
    registry.push("sum:1", &[zeros("one"), zeros("two")], "{}", OCI);
    let huge = manifest.replacen(r#""size":"#, r#""size":9"#, 4);
    registry.push_manifest("huge", "1", huge.as_bytes(), OCI);
    let before = fixture.footprint();
    for (image, manner, claim, words) in [
        ("app:1", Manner::Lies, None, "unexpected digest sha256:"),
        ("app:1", Manner::Honest, Some(OCI_INDEX), "does not have the form of its media type"),
        ("app:1", Manner::Honest, Some("text/html"), "does not have the form of its media type text/html"),
        ("both:1", Manner::Honest, None, "neither an image manifest nor an index"),
        ("old:1", Manner::Honest, None, "first schema"),
        ("chart:1", Manner::Honest, None, "not a container image"),
        ("bomb:1", Manner::Honest, None, "more data than an image may have"),
        ("out:1", Manner::Honest, None, "a path that leads out of the image"),
        ("late:1", Manner::Honest, None, "a path that leads out of the image"),
        ("sum:1", Manner::Honest, None, "more data than an image may have"),
        ("huge:1", Manner::Honest, None, "the limit is"),
    ] {
        (registry.state.lock().manner, registry.state.lock().claim) = (manner, claim);
        let error = fixture.pull(&registry.name(image), None).await.unwrap_err();
        assert!(error.message().contains(words), "{image}: {error}");
        assert_eq!(fixture.footprint(), before, "{image} leaves nothing");
    }
    assert!(!fixture.directory.join("out").exists());
    fixture
}

pub(crate) async fn goes_on_where_it_was(mut fixture: Fixture) -> Fixture {
    let registry = Registry::plain().await;
    for (tag, manner) in [("dies", Manner::Dies(3)), ("stalls", Manner::Stalls(1))] {
        registry.push(&format!("app:{tag}"), &noise(1 << 20), "{}", OCI);
        registry.state.lock().manner = manner;
        fixture.pull(&registry.name(&format!("app:{tag}")), None).await.unwrap();
    }
    assert_eq!(registry.state.lock().ranges.len(), 4, "each goes on with a range");
    // One that never says anything is given up.
    registry.push("app:dead", &noise(1 << 20), "{}", OCI);
    registry.state.lock().manner = Manner::Mute;
    let before = fixture.footprint();
    let error = fixture.pull(&registry.name("app:dead"), None).await.unwrap_err();
    assert!(error.message().contains("nothing came for 1s"), "{error}");
    assert_eq!(fixture.footprint(), before);
    fixture
}

pub(crate) async fn shares_a_pull(mut fixture: Fixture) -> Fixture {
    let registry = Registry::plain().await;
    registry.push("app:1", &noise(1 << 18), "{}", OCI);
    registry.state.lock().manner = Manner::Stalls(1);
    let name = registry.name("app:1");
    let mut pulls = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let (mut own, name) = (fixture.view(), name.clone());
        pulls.spawn(async move { own.pull(&name, None).await.unwrap() });
    }
    let mut ids = pulls.join_all().await;
    ids.dedup();
    assert_eq!((ids.len(), registry.count("HEAD", "/manifests/1")), (1, 1));
    assert_eq!(registry.count("GET", "/blobs/"), 3, "the configuration, and a layer in two parts");

    registry.push("app:2", &noise(1 << 18), "{}", OCI);
    let request = PullRequest { name: registry.name("app:2"), ..PullRequest::default() };
    let mut told = fixture.archive.pull(request).await.unwrap().into_inner();
    let mut last = None;
    while let Some(progress) = told.message().await.unwrap() {
        last = Some(progress);
    }
    let last = last.unwrap();
    assert_eq!((last.phase(), last.image.unwrap().names), (Phase::Done, vec![registry.name("app:2")]));
    fixture
}

pub(crate) async fn asks_mirrors_first(mut fixture: Fixture) -> Fixture {
    let mirror = Registry::plain().await;
    mirror.push("library/tool:1", &layers("mirrored"), "{}", DOCKER);
    let dead = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let text = format!(
        "server = \"http://{dead}\"\n[host.\"http://{dead}\"]\n[host.\"http://{}\"]\ncapabilities = [\"pull\", \"resolve\"]\n",
        mirror.address
    );
    fixture.hosts_of("docker.io", &text);
    let id = fixture.pull("tool:1", None).await.unwrap();
    runs(&mut fixture, &id, "mirrored").await;
    assert!(mirror.count("GET", "?ns=docker.io") > 0);
    assert_eq!(fixture.image("docker.io/library/tool:1").await.unwrap().id, id);
    // For a digest, a mirror need not know what names mean.
    fixture.hosts_of("docker.io", &text.replace(", \"resolve\"", ""));
    let manifest = mirror.state.lock().manifest("/v2/library/tool/manifests/1");
    assert_eq!(fixture.pull(&format!("tool@{}", digest(&manifest)), None).await.unwrap(), id);
    fixture.hosts_of("docker.io", &text);
    let error = fixture.pull("tool:2", None).await.unwrap_err();
    assert!(error.message().contains("failed to do request: HEAD"), "the first reason is told: {error}");
    fixture
}

pub(crate) async fn goes_through_a_proxy(fixture: Fixture) -> Fixture {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let registry = Registry::with_tls().await;
    registry.push("app:1", &layers("proxied"), "{}", OCI);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://user:secret@{}", listener.local_addr().unwrap());
    let seen = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let (told, target) = (seen.clone(), registry.address);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let told = told.clone();
            tokio::spawn(async move {
                let mut client = BufReader::new(stream);
                let mut line = String::new();
                while client.read_line(&mut line).await.unwrap() > 2 {
                    told.lock().push(std::mem::take(&mut line).trim().to_owned());
                }
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let mut server = tokio::net::TcpStream::connect(target).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    let directory = fixture.directory.clone();
    let mut fixture = fixture.restart(|| fs::write(directory.join("proxy"), proxy).unwrap()).await;
    fixture.hosts_of("far.example", "skip_verify = true\n");
    fixture.pull("far.example/app:1", None).await.unwrap();
    let seen = seen.lock().join("\n").to_ascii_lowercase();
    assert!(seen.contains("connect far.example:443 http/1.1"), "{seen}");
    assert!(seen.contains("proxy-authorization: basic dxnlcjpzzwnyzxq="), "{seen}");
    fixture
}

pub(crate) async fn leaves_imported_images_alone(mut fixture: Fixture) -> Fixture {
    fixture.hosts_of("docker.io", "server = \"http://127.0.0.1:1\"");
    let image = fixture.image("busybox").await.unwrap();
    assert!(image.pinned);
    assert_eq!(fixture.pull("busybox", None).await.unwrap(), image.id, "this machine is where it comes from");
    fixture.pull("busybox:other", None).await.unwrap_err();
    fixture
}

/// What an image says of itself must not lead out of the container, or to another user.
pub(crate) async fn refuses_traps_in_configurations(mut fixture: Fixture) -> Fixture {
    let registry = Registry::plain().await;
    let sandbox = fixture.sandbox().await;
    for (tag, own, words) in [
        ("fd7", r#"{"WorkingDir":"/proc/self/fd/7"}"#, "chdir to cwd"),
        ("fd9", r#"{"WorkingDir":"/proc/self/fd/9/../../../"}"#, "chdir to cwd"),
        ("uid", r#"{"User":"4294967296"}"#, "unable to find user"),
        ("root", r#"{"User":"4294967295:0"}"#, "unable to find user"),
        ("volume", r#"{"Volumes":{"/../../../../var/lib":{}}}"#, "leads out of"),
        ("proc", r#"{"Volumes":{"/proc/sys":{}}}"#, "inside /proc"),
    ] {
        registry.push(&format!("trap:{tag}"), &layers(tag), own, OCI);
        let name = registry.name(&format!("trap:{tag}"));
        fixture.pull(&name, None).await.unwrap();
        let image = |config: &mut ContainerConfig| config.image.as_mut().unwrap().image = name;
        let outcome = match fixture.create_with(&sandbox, tag, "ls", image).await {
            Ok(id) => fixture.start(&id).await,
            Err(error) => Err(error),
        };
        let error = outcome.expect_err(tag);
        assert!(error.message().contains(words), "{tag}: {error}");
    }
    fixture
}

pub(crate) async fn mounts_images(mut fixture: Fixture) -> Fixture {
    let registry = Registry::plain().await;
    registry.push("data:1", &layers("deep"), "{}", OCI);
    registry.push(
        "flat:1",
        &[layer(|tar| {
            entry(tar, "sub/", tar::EntryType::Directory, 0o755, b"");
            entry(tar, "sub/file", tar::EntryType::Regular, 0o644, b"flat\n");
            link(tar, "escape", "/etc", tar::EntryType::Symlink);
        })],
        "{}",
        OCI,
    );
    let (data, flat) = (registry.name("data:1"), registry.name("flat:1"));
    fixture.pull(&data, None).await.unwrap();
    fixture.pull(&flat, None).await.unwrap();
    let mount = |path: &str, image: &str, sub: &str| Mount {
        container_path: path.to_owned(),
        readonly: true,
        image: Some(ImageSpec { image: image.to_owned(), ..ImageSpec::default() }),
        image_sub_path: sub.to_owned(),
        ..Mount::default()
    };
    let mounts = vec![mount("/data", &data, ""), mount("/flat", &flat, "sub"), mount("/whole", &flat, "")];
    let sandbox = fixture.sandbox().await;
    let script = "cat /data/mark; echo; cat /flat/file; cat /whole/sub/file; touch /data/x /flat/x 2>/dev/null || echo read-only; /data/bin/busybox echo runs";
    let status = fixture.run_with(&sandbox, "image", script, |config| config.mounts = mounts.clone()).await;
    assert_eq!(fixture.lines("image.log"), ["deep", "flat", "flat", "read-only", "runs"]);
    assert_eq!(status.mounts[0].image.as_ref().unwrap().image_ref, fixture.image(&data).await.unwrap().id);
    // In use, its layers stay.
    fixture.remove_image(&flat).await;
    for (mount, words) in [
        (Mount { readonly: false, ..mount("/d", &data, "") }, "read-only"),
        (mount("/d", &data, "none"), "does not exist in image"),
        (mount("/d", &data, "../.."), "leads out of"),
        (mount("/d", "absent:1", ""), "not present"),
    ] {
        let outcome = match fixture.create_with(&sandbox, "bad", "ls", |config| config.mounts = vec![mount]).await {
            Ok(id) => fixture.start(&id).await,
            Err(error) => Err(error),
        };
        let error = outcome.expect_err(words);
        assert!(error.message().contains(words), "{error}");
    }
    fixture
}

pub(crate) async fn keeps_volumes_of_images_writable(mut fixture: Fixture) -> Fixture {
    let registry = Registry::plain().await;
    let mut system = layers("v");
    system.push(layer(|tar| {
        entry(tar, "var/", tar::EntryType::Directory, 0o755, b"");
        entry(tar, "var/data/", tar::EntryType::Directory, 0o755, b"");
        entry(tar, "var/data/given", tar::EntryType::Regular, 0o644, b"given\n");
    }));
    registry.push("app:1", &system, r#"{"Volumes":{"/var/data":{},"/new":{}}}"#, OCI);
    let name = registry.name("app:1");
    fixture.pull(&name, None).await.unwrap();
    let sandbox = fixture.sandbox().await;
    let change = |config: &mut ContainerConfig| {
        config.image.as_mut().unwrap().image = name;
        let security = config.linux.get_or_insert_default().security_context.get_or_insert_default();
        security.readonly_rootfs = true;
    };
    let script = "cat /var/data/given; touch /var/data/x /new/y && echo wrote; touch /z 2>/dev/null || echo read-only";
    fixture.run_with(&sandbox, "volumes", script, change).await;
    assert_eq!(fixture.lines("volumes.log"), ["given", "wrote", "read-only"]);
    fixture
}
