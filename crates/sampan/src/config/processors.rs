//! Who gets processors of its own, and whose memory may be swapped out.

use anyhow::{Result, anyhow, bail};
use sampan_kubelet::{CpuPolicy, CpuSet, SwapBehavior};

use super::Flags;

/// The one option of the static policy that is known here.
const FULL_PCPUS_ONLY: &str = "full-pcpus-only";

/// How processors are given out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Processors {
    pub(crate) policy: CpuPolicy,
    pub(crate) reserved: Option<CpuSet>,
}

/// What `cpu-manager-policy` and its companions say.
pub(super) fn resolve(flags: &Flags, file: &Flags) -> Result<Processors> {
    let options = flags.cpu_manager_policy_options.as_ref().or(file.cpu_manager_policy_options.as_ref());
    let full_pcpus_only = full_pcpus_only(options.map(Vec::as_slice).unwrap_or_default())?;
    let reserved = flags.reserved_cpus.as_ref().or(file.reserved_cpus.as_ref());
    let reserved = reserved.map(|text| text.parse().map_err(|why| anyhow!("reserved-cpus: {why}"))).transpose()?;
    // Who names none has not named them: as many as are reserved are chosen then.
    let reserved = reserved.filter(|named: &CpuSet| !named.is_empty());
    let policy = flags.cpu_manager_policy.as_deref().or(file.cpu_manager_policy.as_deref());
    let policy = match policy.unwrap_or("none") {
        "none" if full_pcpus_only => bail!("cpu-manager-policy-options: they are the static policy's; choose that"),
        "none" => CpuPolicy::None,
        "static" => CpuPolicy::Static { full_pcpus_only },
        other => bail!("cpu-manager-policy: {other:?} is neither none nor static"),
    };
    Ok(Processors { policy, reserved })
}

fn full_pcpus_only(options: &[String]) -> Result<bool> {
    let mut only = false;
    for option in options {
        only = match option.split_once('=') {
            Some((FULL_PCPUS_ONLY, "true")) => true,
            Some((FULL_PCPUS_ONLY, "false")) => false,
            _ => bail!("cpu-manager-policy-options: {option:?} is not {FULL_PCPUS_ONLY}=true or =false"),
        };
    }
    Ok(only)
}

/// What `swap-behavior` says.
pub(super) fn swap(flags: &Flags, file: &Flags) -> Result<SwapBehavior> {
    match flags.swap_behavior.as_deref().or(file.swap_behavior.as_deref()) {
        None | Some("" | "NoSwap") => Ok(SwapBehavior::NoSwap),
        Some("LimitedSwap") => Ok(SwapBehavior::LimitedSwap),
        Some(other) => bail!("swap-behavior: {other:?} is neither NoSwap nor LimitedSwap"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(policy: Option<&str>, options: &[&str], want: Result<CpuPolicy, &str>) {
        let flags = Flags {
            cpu_manager_policy: policy.map(str::to_owned),
            cpu_manager_policy_options: Some(options.iter().map(|&option| option.to_owned()).collect()),
            ..Flags::default()
        };
        let got = resolve(&flags, &Flags::default()).map(|processors| processors.policy);
        assert_eq!(got.map_err(|error| error.to_string()), want.map_err(str::to_owned));
    }

    #[test]
    fn policies_are_read() {
        check(None, &[], Ok(CpuPolicy::None));
        check(Some("static"), &[], Ok(CpuPolicy::Static { full_pcpus_only: false }));
        check(Some("static"), &["full-pcpus-only=true"], Ok(CpuPolicy::Static { full_pcpus_only: true }));
        check(
            None,
            &["full-pcpus-only=true"],
            Err("cpu-manager-policy-options: they are the static policy's; choose that"),
        );
        check(Some("dynamic"), &[], Err("cpu-manager-policy: \"dynamic\" is neither none nor static"));
        let why = "cpu-manager-policy-options: \"x\" is not full-pcpus-only=true or =false";
        check(Some("static"), &["x"], Err(why));
    }

    #[test]
    fn reserved_processors_are_named_or_left_open() {
        for (text, want) in [(None, None), (Some(""), None), (Some(" "), None), (Some("1,0"), Some("0-1"))] {
            let flags = Flags { reserved_cpus: text.map(str::to_owned), ..Flags::default() };
            let got = resolve(&flags, &Flags::default()).unwrap().reserved.map(|named| named.to_string());
            assert_eq!(got.as_deref(), want, "{text:?}");
        }
    }
}
