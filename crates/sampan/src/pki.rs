//! The cluster's keys and certificates as files under `<data-dir>/pki`: made on first start, renewed before they end.
//!
//! Keys are readable by root alone. The authorities and the token key live as long as the cluster; everything they
//! issue is made anew at a start that finds it missing, ending within 30 days, or for other names.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use sampan_auth::authority::{Authority, Issued, Purpose};
use sampan_auth::certificate;
use sampan_auth::token::Tokens;

/// Certificates with less than this left are renewed.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The files.
pub(crate) struct Pki {
    dir: PathBuf,
    authority: Authority,
    now: Timestamp,
}

impl Pki {
    /// Opens the files under `dir`, making the cluster's authority if it is not there.
    pub(crate) fn open(dir: &Path, now: Timestamp) -> Result<Self> {
        crate::config::private_dir(dir)?;
        let stored = read_pair(dir, "ca")?;
        let files = match stored {
            Some(files) => files,
            None => write_pair(dir, "ca", Authority::generate("sampan-ca", now)?)?,
        };
        let authority =
            Authority::load(&files).with_context(|| format!("loading the authority in {}", dir.display()))?;
        Ok(Self { dir: dir.to_owned(), authority, now })
    }

    /// The authority once more, for whoever signs what others ask for.
    pub(crate) fn load_authority(&self) -> Result<Authority> {
        let files = read_pair(&self.dir, "ca")?.context("the cluster's authority is not there")?;
        Authority::load(&files).with_context(|| format!("loading the authority in {}", self.dir.display()))
    }

    /// The authority's certificate, PEM.
    pub(crate) fn ca_pem(&self) -> &str {
        self.authority.certificate_pem()
    }

    /// The certificate kept under `name`, issued anew when it is missing, ending, or for another purpose.
    pub(crate) fn certificate(&self, name: &str, purpose: &Purpose) -> Result<Issued> {
        let wanted = format!("{purpose:?}\n");
        let purpose_file = self.dir.join(format!("{name}.purpose"));
        let same = fs::read_to_string(&purpose_file).is_ok_and(|text| text == wanted);
        if let Some(files) = read_pair(&self.dir, name)?
            && same
            && certificate::expiry(&files.certificate_pem).is_ok_and(|end| end - RENEW_BEFORE > self.now)
        {
            return Ok(files);
        }
        let files = write_pair(&self.dir, name, self.authority.issue(purpose, self.now)?)?;
        write(&purpose_file, wanted.as_bytes(), 0o644)?;
        Ok(files)
    }

    /// The authority of the front proxy, PEM, which vouches for nothing else, and the front proxy's certificate.
    pub(crate) fn front_proxy(&self) -> Result<(String, Issued)> {
        let files = match read_pair(&self.dir, "front-proxy-ca")? {
            Some(files) => files,
            None => write_pair(&self.dir, "front-proxy-ca", Authority::generate("front-proxy-ca", self.now)?)?,
        };
        let authority = Authority::load(&files).context("loading the front proxy's authority")?;
        let authority = Self { dir: self.dir.clone(), authority, now: self.now };
        let user = Purpose::Client { user: "front-proxy-client".to_owned(), group: None };
        let certificate = authority.certificate("front-proxy-client", &user)?;
        Ok((authority.ca_pem().to_owned(), certificate))
    }

    /// The key that signs service-account tokens, PEM.
    pub(crate) fn token_key(&self) -> Result<String> {
        let path = self.dir.join("service-account.key");
        if path.exists() {
            return fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()));
        }
        let key = Tokens::generate_key()?;
        write(&path, key.as_bytes(), 0o600)?;
        Ok(key)
    }

    /// Keys that signed tokens before: `service-account-*.key` (or `.pub`), PEM. A cluster changes its key by giving
    /// `service-account.key` such a name and starting again; the old one can go when its tokens have ended.
    pub(crate) fn former_token_keys(&self) -> Result<Vec<String>> {
        let reading = || format!("reading {}", self.dir.display());
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.dir).with_context(reading)? {
            let path = entry.with_context(reading)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with("service-account-") && (name.ends_with(".key") || name.ends_with(".pub")) {
                paths.push(path);
            }
        }
        paths.sort();
        paths
            .iter()
            .map(|path| fs::read_to_string(path).with_context(|| format!("reading {}", path.display())))
            .collect()
    }
}

fn read_pair(dir: &Path, name: &str) -> Result<Option<Issued>> {
    let read = |suffix: &str| {
        let path = dir.join(format!("{name}.{suffix}"));
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).with_context(|| format!("reading {}", path.display())),
        }
    };
    Ok(match (read("crt")?, read("key")?) {
        (Some(certificate_pem), Some(key_pem)) => Some(Issued { certificate_pem, key_pem }),
        _ => None,
    })
}

fn write_pair(dir: &Path, name: &str, files: Issued) -> Result<Issued> {
    write(&dir.join(format!("{name}.key")), files.key_pem.as_bytes(), 0o600)?;
    write(&dir.join(format!("{name}.crt")), files.certificate_pem.as_bytes(), 0o644)?;
    Ok(files)
}

/// Replaces the file `path` in one step, so that a crash leaves the old or the new, and has it on the disk at the end:
/// what is encrypted with a key must not outlive it.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let staged = path.with_extension(format!("new{}", std::process::id()));
    let attempt = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&staged)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&staged, path)?;
        path.parent().map_or(Ok(()), |dir| fs::File::open(dir)?.sync_all())
    };
    attempt().with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn files_are_made_once_kept_and_renewed() {
        let dir = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let user = |name: &str| Purpose::Client { user: name.to_owned(), group: None };
        let pki = Pki::open(dir.path(), now).unwrap();
        let first = pki.certificate("admin", &user("admin")).unwrap().certificate_pem;
        assert_eq!(pki.certificate("admin", &user("admin")).unwrap().certificate_pem, first, "kept");
        assert_ne!(pki.certificate("admin", &user("other")).unwrap().certificate_pem, first, "another purpose");
        let key = pki.token_key().unwrap();

        let later = Pki::open(dir.path(), now + SignedDuration::from_hours(340 * 24)).unwrap();
        assert_eq!(later.ca_pem(), pki.ca_pem(), "the authority stays");
        assert_eq!(later.token_key().unwrap(), key, "the token key stays");
        let last = pki.certificate("admin", &user("other")).unwrap().certificate_pem;
        assert_ne!(later.certificate("admin", &user("other")).unwrap().certificate_pem, last, "renewed");

        for entry in fs::read_dir(dir.path()).unwrap() {
            let path = entry.unwrap().path();
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            let private = path.extension().is_some_and(|e| e == "key");
            assert_eq!(mode, if private { 0o600 } else { 0o644 }, "{}", path.display());
        }
    }
}
