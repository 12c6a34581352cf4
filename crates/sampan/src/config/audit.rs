//! The audit log: what is recorded, where, and how much of it is kept.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use sampan_apiserver::AuditLogOptions;

use super::Flags;

/// The audit log: the policy's file, and where and how much is kept.
#[derive(Clone, Debug)]
pub(crate) struct AuditConfig {
    pub(crate) policy: PathBuf,
    pub(crate) log: AuditLogOptions,
}

/// The audit log, where a policy says what is recorded.
pub(super) fn resolve(flags: &Flags, file: &Flags, data_dir: &Path) -> Result<Option<AuditConfig>> {
    let path = flags.audit_log_path.clone().or(file.audit_log_path.clone());
    let Some(policy) = flags.audit_policy_file.clone().or(file.audit_policy_file.clone()) else {
        if path.is_some() {
            bail!("audit-log-path: a policy says what is recorded; give one with --audit-policy-file");
        }
        return Ok(None);
    };
    let days = flags.audit_log_maxage.or(file.audit_log_maxage).unwrap_or(30);
    let log = AuditLogOptions {
        path: path.unwrap_or_else(|| data_dir.join("audit.log")),
        max_bytes: flags.audit_log_maxsize.or(file.audit_log_maxsize).unwrap_or(100) << 20,
        max_backups: flags.audit_log_maxbackup.or(file.audit_log_maxbackup).unwrap_or(10),
        max_age: (days > 0).then(|| jiff::SignedDuration::from_hours(i64::from(days) * 24)),
    };
    Ok(Some(AuditConfig { policy, log }))
}
