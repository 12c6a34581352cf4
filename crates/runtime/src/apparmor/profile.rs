//! The profile of containers that name none: what they ordinarily do stays free, what would reach the node through
//! `/proc`, `/sys` or a mount does not. It allows and forbids what the defaults of containerd and Docker do.
//!
//! It uses no file of the node's: an `include` would make it another one on every distribution.

/// The profile `name` as the parser reads it, for a runtime that is confined by the profile `runtime`, or by none.
///
/// A path is free or forbidden as a whole, and `deny` wins over every other rule: exceptions are made by patterns that do
/// not meet them.
pub(super) fn text(name: &str, runtime: Option<&str>) -> String {
    let signals_of_runtime =
        runtime.map(|profile| format!("  signal (receive) peer=\"{profile}\",\n")).unwrap_or_default();
    format!(
        r#"# What containers may do that name no profile of their own.
profile "{name}" flags=(attach_disconnected, mediate_deleted) {{
  capability,
  file,
  network,
  umount,

  # The node ends containers; those of one profile may end, and look into, each other.
  signal (receive) peer=unconfined,
{signals_of_runtime}  signal (send, receive) peer="{name}",
  ptrace (read, readby, trace, tracedby) peer="{name}",

  deny mount,

  # In /proc only processes may be written to, and the kernel's numbers for shared memory.
  deny /proc/[^0-9]* w,
  deny /proc/{{[^0-9s]*,s[^y]*}}/** w,
  deny /proc/sys/{{[^k]**,kernel/[^s]**,kernel/s[^h]**,kernel/sh[^m]**}} w,
  deny /proc/{{sysrq-trigger,kcore,kmem,mem}} rwklmx,

  # In /sys only control groups.
  deny /sys/{{[^f]*,f[^s]*,fs/[^c]*,fs/c[^g]*,fs/cg[^r]*}}/** wklx,
  deny /sys/{{firmware,devices/virtual/powercap,kernel/security}}/** rwklmx,
}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn the_runtime_may_end_containers_when_it_is_confined_too() {
        assert!(!text("i-default", None).contains("peer=\"/usr/bin/sampan\""));
        let confined = text("i-default", Some("/usr/bin/sampan"));
        assert!(confined.contains("\n  signal (receive) peer=\"/usr/bin/sampan\",\n  signal (send"), "{confined}");
        assert!(confined.contains("profile \"i-default\" flags="), "{confined}");
    }
}
