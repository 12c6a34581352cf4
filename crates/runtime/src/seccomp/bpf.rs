//! The compiler: an OCI policy becomes a classic BPF program.
//!
//! ```text
//!   architecture is not ours      -> default
//!   number = conditional call     -> its conditions, rule by rule; none holds -> default
//!   number in a run of calls      -> that run's action      (runs, not single calls: the program stays short,
//!   otherwise                     -> default                 and installing it takes microseconds)
//! ```

use std::collections::BTreeMap;

use libc::sock_filter;
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall};

use super::{Error, syscalls};

/// The kernel's BPF_MAXINSNS.
pub(super) const MAX_INSTRUCTIONS: usize = 4096;

const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const JUMP_GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
const JUMP_GREATER_OR_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const MASK: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Offsets in the kernel's `seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;
const ARGUMENTS: usize = 6;

#[cfg(target_arch = "x86_64")]
const OURS: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const OURS: u32 = 0xC000_00B7;

const EPERM: u32 = libc::EPERM as u32;

/// What one call gets: rules in order, and the action when no condition is attached at all.
#[derive(Default)]
struct Verdict {
    always: Option<u32>,
    conditional: Vec<(Vec<LinuxSeccompArg>, u32)>,
}

/// The program for `policy`. Names this machine's kernel headers do not know are passed over, as other runtimes do.
pub(crate) fn compile(policy: &LinuxSeccomp) -> Result<Vec<sock_filter>, Error> {
    let default = action(policy.default_action(), policy.default_errno_ret())?;
    let verdicts = verdicts(policy.syscalls().as_deref().unwrap_or_default())?;

    let mut program =
        vec![statement(LOAD_WORD, ARCHITECTURE), jump(JUMP_EQUAL, OURS, 1, 0), statement(RETURN, default)];
    program.push(statement(LOAD_WORD, NUMBER));
    for (number, verdict) in verdicts.iter().filter(|(_, verdict)| verdict.always.is_none()) {
        let block = conditions(&verdict.conditional, default)?;
        let skip = u8::try_from(block.len()).map_err(|_| Error::TooManyConditions(*number))?;
        program.push(jump(JUMP_EQUAL, *number as u32, 0, skip));
        program.extend(block);
    }
    for (first, last, action) in runs(&verdicts) {
        program.push(jump(JUMP_GREATER_OR_EQUAL, first, 0, 2));
        program.push(jump(JUMP_GREATER, last, 1, 0));
        program.push(statement(RETURN, action));
    }
    program.push(statement(RETURN, default));
    if program.len() > MAX_INSTRUCTIONS { Err(Error::TooLong(program.len())) } else { Ok(program) }
}

fn verdicts(rules: &[LinuxSyscall]) -> Result<BTreeMap<i64, Verdict>, Error> {
    let mut verdicts = BTreeMap::<i64, Verdict>::new();
    for rule in rules {
        let action = action(rule.action(), rule.errno_ret())?;
        for number in rule.names().iter().filter_map(|name| syscalls::number(name)) {
            let verdict = verdicts.entry(number).or_default();
            match rule.args() {
                Some(args) if !args.is_empty() => verdict.conditional.push((args.clone(), action)),
                _ => verdict.always = verdict.always.or(Some(action)),
            }
        }
    }
    Ok(verdicts)
}

/// Neighbouring numbers with the same unconditional action.
fn runs(verdicts: &BTreeMap<i64, Verdict>) -> Vec<(u32, u32, u32)> {
    let mut runs: Vec<(u32, u32, u32)> = Vec::new();
    for (number, action) in verdicts.iter().filter_map(|(number, verdict)| Some((*number as u32, verdict.always?))) {
        match runs.last_mut() {
            Some((_, last, same)) if *last + 1 == number && *same == action => *last = number,
            _ => runs.push((number, number, action)),
        }
    }
    runs
}

fn conditions(rules: &[(Vec<LinuxSeccompArg>, u32)], default: u32) -> Result<Vec<sock_filter>, Error> {
    let mut block = Vec::new();
    for (args, action) in rules {
        let mut checks = Vec::new();
        for arg in args {
            checks.push(check(arg)?);
        }
        // Where a check fails, the rest of this rule is jumped over, its return included.
        let mut rest = checks.iter().map(Vec::len).sum::<usize>() + 1;
        for check in checks {
            rest -= check.len();
            block.extend(resolve(check, rest)?);
        }
        block.push(statement(RETURN, *action));
    }
    block.push(statement(RETURN, default));
    Ok(block)
}

/// Where a step of a check leads: on, or out of this rule, or straight to the check's success.
#[derive(Clone, Copy)]
enum To {
    Next,
    Holds,
    Fails,
}

enum Step {
    Plain(sock_filter),
    Jump(u16, u32, To, To),
}

/// One 64-bit comparison, done on the argument's two halves, high one first.
fn check(arg: &LinuxSeccompArg) -> Result<Vec<Step>, Error> {
    use LinuxSeccompOperator as Op;
    if arg.index() >= ARGUMENTS {
        return Err(Error::Argument(arg.index()));
    }
    let low = FIRST_ARGUMENT + 8 * arg.index() as u32;
    let high = low + 4;
    let (value_high, value_low) = halves(arg.value());
    let load = |offset| Step::Plain(statement(LOAD_WORD, offset));
    let ordered = |greater: To, less: To, low_code, on_true, on_false| {
        vec![
            load(high),
            Step::Jump(JUMP_GREATER, value_high, greater, To::Next),
            Step::Jump(JUMP_EQUAL, value_high, To::Next, less),
            load(low),
            Step::Jump(low_code, value_low, on_true, on_false),
        ]
    };
    Ok(match arg.op() {
        Op::ScmpCmpEq => vec![
            load(high),
            Step::Jump(JUMP_EQUAL, value_high, To::Next, To::Fails),
            load(low),
            Step::Jump(JUMP_EQUAL, value_low, To::Holds, To::Fails),
        ],
        Op::ScmpCmpNe => vec![
            load(high),
            Step::Jump(JUMP_EQUAL, value_high, To::Next, To::Holds),
            load(low),
            Step::Jump(JUMP_EQUAL, value_low, To::Fails, To::Holds),
        ],
        Op::ScmpCmpMaskedEq => {
            let (want_high, want_low) = halves(arg.value_two().unwrap_or_default());
            vec![
                load(high),
                Step::Plain(statement(MASK, value_high)),
                Step::Jump(JUMP_EQUAL, want_high, To::Next, To::Fails),
                load(low),
                Step::Plain(statement(MASK, value_low)),
                Step::Jump(JUMP_EQUAL, want_low, To::Holds, To::Fails),
            ]
        }
        Op::ScmpCmpGt => ordered(To::Holds, To::Fails, JUMP_GREATER, To::Holds, To::Fails),
        Op::ScmpCmpGe => ordered(To::Holds, To::Fails, JUMP_GREATER_OR_EQUAL, To::Holds, To::Fails),
        Op::ScmpCmpLt => ordered(To::Fails, To::Holds, JUMP_GREATER_OR_EQUAL, To::Fails, To::Holds),
        Op::ScmpCmpLe => ordered(To::Fails, To::Holds, JUMP_GREATER, To::Fails, To::Holds),
    })
}

/// Turns targets into distances. `rest` is the number of instructions between this check and the end of its rule.
fn resolve(check: Vec<Step>, rest: usize) -> Result<Vec<sock_filter>, Error> {
    let length = check.len();
    let distance = |position: usize, to: To| {
        let steps = match to {
            To::Next => 0,
            To::Holds => length - position - 1,
            To::Fails => length - position - 1 + rest,
        };
        u8::try_from(steps).map_err(|_| Error::TooManyConditions(0))
    };
    check
        .into_iter()
        .enumerate()
        .map(|(position, step)| match step {
            Step::Plain(instruction) => Ok(instruction),
            Step::Jump(code, value, yes, no) => {
                Ok(jump(code, value, distance(position, yes)?, distance(position, no)?))
            }
        })
        .collect()
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<u32, Error> {
    use LinuxSeccompAction as Action;
    let data = errno.unwrap_or(EPERM) & libc::SECCOMP_RET_DATA;
    Ok(match action {
        Action::ScmpActAllow => libc::SECCOMP_RET_ALLOW,
        Action::ScmpActErrno => libc::SECCOMP_RET_ERRNO | data,
        Action::ScmpActKill | Action::ScmpActKillThread => libc::SECCOMP_RET_KILL_THREAD,
        Action::ScmpActKillProcess => libc::SECCOMP_RET_KILL_PROCESS,
        Action::ScmpActLog => libc::SECCOMP_RET_LOG,
        Action::ScmpActTrap => libc::SECCOMP_RET_TRAP,
        Action::ScmpActTrace => libc::SECCOMP_RET_TRACE | data,
        Action::ScmpActNotify => return Err(Error::Action("SCMP_ACT_NOTIFY".to_owned())),
    })
}

fn halves(value: u64) -> (u32, u32) {
    ((value >> 32) as u32, value as u32)
}

fn statement(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::{LinuxSeccompArgBuilder, LinuxSeccompBuilder, LinuxSyscallBuilder};

    use super::*;

    /// Runs a program as the kernel would.
    fn run(program: &[sock_filter], architecture: u32, number: u32, args: [u64; 6]) -> u32 {
        let load = |offset: u32| match offset {
            NUMBER => number,
            ARCHITECTURE => architecture,
            _ => {
                let value = args[((offset - FIRST_ARGUMENT) / 8) as usize];
                if (offset - FIRST_ARGUMENT).is_multiple_of(8) { value as u32 } else { (value >> 32) as u32 }
            }
        };
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let instruction = program[at];
            at += 1;
            let holds = match instruction.code {
                LOAD_WORD => {
                    accumulator = load(instruction.k);
                    continue;
                }
                MASK => {
                    accumulator &= instruction.k;
                    continue;
                }
                RETURN => return instruction.k,
                JUMP_EQUAL => accumulator == instruction.k,
                JUMP_GREATER => accumulator > instruction.k,
                JUMP_GREATER_OR_EQUAL => accumulator >= instruction.k,
                other => panic!("unknown instruction {other}"),
            };
            at += usize::from(if holds { instruction.jt } else { instruction.jf });
        }
    }

    fn check(op: LinuxSeccompOperator, value: u64, two: u64, argument: u64, holds: bool) {
        let arg = LinuxSeccompArgBuilder::default().index(1_usize).value(value).value_two(two).op(op).build().unwrap();
        let rule = LinuxSyscallBuilder::default()
            .names(["personality".to_owned()])
            .action(LinuxSeccompAction::ScmpActAllow)
            .args([arg])
            .build()
            .unwrap();
        let policy = LinuxSeccompBuilder::default()
            .default_action(LinuxSeccompAction::ScmpActErrno)
            .syscalls([rule])
            .build()
            .unwrap();
        let program = compile(&policy).unwrap();
        let result = run(&program, OURS, libc::SYS_personality as u32, [0, argument, 0, 0, 0, 0]);
        assert_eq!(result == libc::SECCOMP_RET_ALLOW, holds, "{op:?} {value:#x} on {argument:#x}");
    }

    #[test]
    fn comparisons_see_all_64_bits() {
        use LinuxSeccompOperator as Op;
        let big = 1 << 40;
        check(Op::ScmpCmpEq, 8, 0, 8, true);
        check(Op::ScmpCmpEq, 8, 0, big + 8, false);
        check(Op::ScmpCmpNe, 40, 0, 40, false);
        check(Op::ScmpCmpNe, 40, 0, big + 40, true);
        check(Op::ScmpCmpGt, 7, 0, big, true);
        check(Op::ScmpCmpGt, big, 0, 7, false);
        check(Op::ScmpCmpGe, big, 0, big, true);
        check(Op::ScmpCmpLt, big, 0, big - 1, true);
        check(Op::ScmpCmpLt, 7, 0, big, false);
        check(Op::ScmpCmpLe, 7, 0, 7, true);
        check(Op::ScmpCmpMaskedEq, 0x7E02_0000, 0, 0x11, true);
        check(Op::ScmpCmpMaskedEq, 0x7E02_0000, 0, 0x1002_0011, false);
    }

    #[test]
    fn default_policy_is_short_and_says_no_by_default() {
        let program = compile(&super::super::default_policy(&Default::default())).unwrap();
        assert!(program.len() < 400, "{} instructions", program.len());
        let none = [0; 6];
        assert_eq!(run(&program, OURS, libc::SYS_read as u32, none), libc::SECCOMP_RET_ALLOW);
        assert_eq!(run(&program, OURS, libc::SYS_mount as u32, none), libc::SECCOMP_RET_ERRNO | EPERM);
        assert_eq!(run(&program, OURS, libc::SYS_clone3 as u32, none), libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32);
        assert_eq!(run(&program, 0x4000_0003, libc::SYS_read as u32, none), libc::SECCOMP_RET_ERRNO | EPERM);
        assert_eq!(run(&program, OURS, 0x4000_0000, none), libc::SECCOMP_RET_ERRNO | EPERM);
        let new_user = [libc::CLONE_NEWUSER as u64, 0, 0, 0, 0, 0];
        assert_eq!(run(&program, OURS, libc::SYS_clone as u32, new_user), libc::SECCOMP_RET_ERRNO | EPERM);
        assert_eq!(run(&program, OURS, libc::SYS_clone as u32, none), libc::SECCOMP_RET_ALLOW);
        let vsock = [libc::AF_VSOCK as u64, 0, 0, 0, 0, 0];
        assert_eq!(run(&program, OURS, libc::SYS_socket as u32, vsock), libc::SECCOMP_RET_ERRNO | EPERM);
    }
}
