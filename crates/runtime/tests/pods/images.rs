//! Archives of every kind, friendly and not.

use std::fs;

use sampan_cri::v1::*;
use sampan_runtime::archive::{ImportRequest, RootfsConfig};
use sha2::{Digest, Sha256};

use super::fixture::{Fixture, entry, layer, link};
use super::registry::gzip;

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Two layers: the second goes through a link of the first, deletes, hides and replaces.
fn layers() -> [Vec<u8>; 2] {
    use tar::EntryType::{Directory, Regular, Symlink};
    let lower = layer(|tar| {
        for directory in ["bin/", "usr/", "usr/lib/", "etc/", "etc/old/", "gone/"] {
            entry(tar, directory, Directory, 0o755, b"");
        }
        entry(tar, "bin/busybox", Regular, 0o755, &fs::read("/bin/busybox").unwrap());
        link(tar, "bin/sh", "busybox", Symlink);
        link(tar, "bin/ls", "busybox", Symlink);
        link(tar, "lib", "usr/lib", Symlink);
        entry(tar, "etc/old/a", Regular, 0o644, b"a");
        entry(tar, "gone/x", Regular, 0o644, b"x");
    });
    let upper = layer(|tar| {
        entry(tar, "lib/new", Regular, 0o644, b"new");
        link(tar, "lib/hard", "lib/new", tar::EntryType::Link);
        entry(tar, ".wh.gone", Regular, 0o644, b"");
        entry(tar, "etc/old/b", Regular, 0o644, b"b");
        entry(tar, "etc/old/.wh..wh..opq", Regular, 0o644, b"");
    });
    [lower, upper]
}

pub(crate) async fn imports_oci_and_docker_archives(mut fixture: Fixture) -> Fixture {
    let [lower, upper] = layers();
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Entrypoint":["/bin/sh","-c"],"Cmd":["ls /lib /etc/old /gone; true"],"Env":null}},"rootfs":{{"type":"layers","diff_ids":["sha256:{}","sha256:{}"]}}}}"#,
        digest(&lower),
        digest(&upper)
    );
    let blobs = [config.clone().into_bytes(), gzip(&lower), zstd::encode_all(&upper[..], 1).unwrap()];
    let [config_digest, lower_digest, upper_digest] = [0, 1, 2].map(|at| digest(&blobs[at]));
    let descriptor = |digest: &str| format!(r#"{{"digest":"sha256:{digest}","size":1}}"#);
    let manifest = format!(
        r#"{{"config":{},"layers":[{},{}]}}"#,
        descriptor(&config_digest),
        descriptor(&lower_digest),
        descriptor(&upper_digest)
    );
    let index = format!(
        r#"{{"manifests":[{{"digest":"sha256:{}","annotations":{{"org.opencontainers.image.ref.name":"example.com/two:1"}}}}]}}"#,
        digest(manifest.as_bytes())
    );
    let oci = layer(|tar| {
        for blob in blobs.iter().map(Vec::as_slice).chain([manifest.as_bytes()]) {
            entry(tar, &format!("blobs/sha256/{}", digest(blob)), tar::EntryType::Regular, 0o644, blob);
        }
        entry(tar, "index.json", tar::EntryType::Regular, 0o644, index.as_bytes());
    });
    let docker = layer(|tar| {
        let manifest = r#"[{"Config":"c.json","RepoTags":["docker/two:2"],"Layers":["1/layer.tar","2/layer.tar"]}]"#;
        entry(tar, "c.json", tar::EntryType::Regular, 0o644, config.as_bytes());
        entry(tar, "1/layer.tar", tar::EntryType::Regular, 0o644, &lower);
        entry(tar, "2/layer.tar", tar::EntryType::Regular, 0o644, &upper);
        entry(tar, "manifest.json", tar::EntryType::Regular, 0o644, manifest.as_bytes());
    });
    for (bytes, name) in [(oci, "example.com/two:1"), (docker, "docker/two:2")] {
        let path = fixture.directory.join("archive.tar");
        fs::write(&path, bytes).unwrap();
        let request = ImportRequest { path: path.display().to_string(), ..Default::default() };
        let image = fixture.archive.import(request).await.unwrap().into_inner().images.remove(0);
        assert_eq!(image.id, format!("sha256:{config_digest}"));
        let sandbox = fixture.sandbox().await;
        let log = name.replace(['/', ':'], "-");
        let change = |config: &mut ContainerConfig| {
            config.command.clear();
            config.image.as_mut().unwrap().image = name.to_owned();
        };
        fixture.run_with(&sandbox, &log, "", change).await;
        let lines = fixture.lines(&format!("{log}.log"));
        let (complaints, listing): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.starts_with("ls:"));
        assert_eq!(complaints, ["ls: /gone: No such file or directory"]);
        assert_eq!(listing, ["/etc/old:", "b", "", "/lib:", "hard", "new"]);
    }
    let listed = fixture.images.list_images(ListImagesRequest::default()).await.unwrap().into_inner().images;
    let two = listed.iter().find(|image| image.id == format!("sha256:{config_digest}")).unwrap();
    assert_eq!(two.repo_tags, ["example.com/two:1", "docker.io/docker/two:2"]);
    fixture
}

pub(crate) async fn confines_layers(mut fixture: Fixture) -> Fixture {
    use tar::EntryType::{Link, Regular, Symlink};
    let outside = fixture.directory.join("outside");
    fs::write(&outside, "safe").unwrap();
    let target = outside.display().to_string();
    let attacks: [(&str, Vec<u8>, bool); 4] = [
        ("up", layer(|tar| entry(tar, "../../../../../../escaped", Regular, 0o644, b"x")), false),
        ("hard", layer(|tar| link(tar, "hard", &target, Link)), false),
        ("device", layer(|tar| entry(tar, "whiteout", tar::EntryType::Char, 0o644, b"")), false),
        // The link is followed within the image, where what it leads to is made.
        (
            "through",
            layer(|tar| {
                link(tar, "etc", fixture.directory.to_str().unwrap(), Symlink);
                entry(tar, "etc/outside", Regular, 0o644, b"broken");
            }),
            true,
        ),
    ];
    for (name, bytes, fine) in attacks {
        let path = fixture.directory.join("attack.tar");
        fs::write(&path, &bytes).unwrap();
        let request = ImportRequest {
            path: path.display().to_string(),
            name: format!("attack-{name}"),
            rootfs: Some(RootfsConfig::default()),
        };
        assert_eq!(fixture.archive.import(request).await.is_ok(), fine, "{name}");
        assert_eq!(fs::read_to_string(&outside).unwrap(), "safe", "{name}");
    }
    let staging = fixture.directory.join("root/images/staging");
    assert!(fs::read_dir(staging).unwrap().next().is_none(), "a refused image leaves nothing");
    fixture
}

/// A file that is said to be large and has nothing in it.
fn hollow(bytes: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_path("hollow").unwrap();
    header.set_entry_type(tar::EntryType::GNUSparse);
    header.set_mode(0o644);
    header.set_size(0);
    let octal = format!("{bytes:011o}\0");
    let gnu = header.as_gnu_mut().unwrap();
    gnu.realsize.copy_from_slice(octal.as_bytes());
    gnu.sparse[0].offset.copy_from_slice(octal.as_bytes());
    gnu.sparse[0].numbytes.copy_from_slice(b"00000000000\0");
    header.set_cksum();
    layer(|tar| tar.append(&header, &b""[..]).unwrap())
}

pub(crate) async fn refuses_bombs(mut fixture: Fixture) -> Fixture {
    use tar::EntryType::{GNULongName, Regular, XHeader};
    let file = |kind, bytes: usize| {
        layer(|tar| {
            entry(tar, "large", kind, 0o644, &vec![b'a'; bytes]);
            entry(tar, "small", Regular, 0o644, b"");
        })
    };
    let before = fixture.footprint();
    // An image may have sixteen megabytes here.
    for (name, bomb, why) in [
        ("gzip", gzip(&file(Regular, 17 << 20)), "more data than an image may have"),
        ("zstd", zstd::encode_all(&file(Regular, 17 << 20)[..], 1).unwrap(), "more data than an image may have"),
        ("hollow", hollow(4 << 30), "more data than an image may have"),
        ("name", gzip(&file(GNULongName, 2 << 20)), "names and attributes of more than"),
        ("attributes", gzip(&file(XHeader, 2 << 20)), "names and attributes of more than"),
    ] {
        let path = fixture.directory.join("bomb.tar");
        fs::write(&path, &bomb).unwrap();
        let request = ImportRequest {
            path: path.display().to_string(),
            name: format!("bomb-{name}"),
            rootfs: Some(RootfsConfig::default()),
        };
        let said = fixture.archive.import(request).await.expect_err(name);
        assert!(said.message().contains(why), "{name}: {}", said.message());
        assert_eq!(fixture.footprint(), before, "{name}: what was unpacked is gone");
    }
    fixture
}
