//! Device access on version 2, where the kernel asks a small program instead of reading a list.
//!
//! [`program`] is pure: the rules, last match wins, as instructions. The context holds, as three words, what is done
//! to which kind of device (`access << 16 | kind`), its major and its minor number.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use crate::kernel::{self, BpfInstruction};

const KIND_BLOCK: i32 = 1;
const KIND_CHARACTER: i32 = 2;
const ACCESS_MAKE: i32 = 1;
const ACCESS_READ: i32 = 2;
const ACCESS_WRITE: i32 = 4;

const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb4;
const COPY: u8 = 0xbc;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP_NOT_EQUAL: u8 = 0x56;
const JUMP_REGISTERS_NOT_EQUAL: u8 = 0x5e;
const EXIT: u8 = 0x95;

/// Registers: context, then what was asked for, taken apart.
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 1;

/// Makes `rules` hold in the group at `directory`.
pub(super) fn attach(directory: &Path, rules: &[LinuxDeviceCgroup]) -> io::Result<()> {
    kernel::attach_device_program(File::open(directory)?.as_fd(), &program(rules))
}

fn program(rules: &[LinuxDeviceCgroup]) -> Vec<BpfInstruction> {
    let mut program = vec![
        instruction(LOAD_WORD, KIND, CONTEXT, 0, 0),
        instruction(COPY, ACCESS, KIND, 0, 0),
        instruction(AND, KIND, 0, 0, 0xFFFF),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules.iter().rev() {
        program.extend(block(rule));
        if is_everything(rule) {
            return program;
        }
    }
    program.extend(verdict(false));
    program
}

fn is_everything(rule: &LinuxDeviceCgroup) -> bool {
    conditions(rule).is_empty()
}

/// Jumps past the verdict as soon as one condition does not hold.
fn block(rule: &LinuxDeviceCgroup) -> Vec<BpfInstruction> {
    let mut block = conditions(rule);
    let length = block.len() as i16;
    for (position, instruction) in block.iter_mut().enumerate() {
        if matches!(instruction.code, JUMP_NOT_EQUAL | JUMP_REGISTERS_NOT_EQUAL) {
            instruction.offset = length - position as i16 - 1 + 2;
        }
    }
    block.extend(verdict(rule.allow()));
    block
}

fn conditions(rule: &LinuxDeviceCgroup) -> Vec<BpfInstruction> {
    let mut conditions = Vec::new();
    let kind = match rule.typ().unwrap_or_default() {
        LinuxDeviceType::B => Some(KIND_BLOCK),
        LinuxDeviceType::C | LinuxDeviceType::U => Some(KIND_CHARACTER),
        LinuxDeviceType::A | LinuxDeviceType::P => None,
    };
    conditions.extend(kind.map(|kind| instruction(JUMP_NOT_EQUAL, KIND, 0, 0, kind)));
    let access = access(rule.access().as_deref().unwrap_or("rwm"));
    if access != ACCESS_MAKE | ACCESS_READ | ACCESS_WRITE {
        // Everything asked for has to be granted: asked & granted == asked.
        conditions.push(instruction(COPY, SCRATCH, ACCESS, 0, 0));
        conditions.push(instruction(AND, SCRATCH, 0, 0, access));
        conditions.push(instruction(JUMP_REGISTERS_NOT_EQUAL, SCRATCH, ACCESS, 0, 0));
    }
    let number = |register, number: Option<i64>| {
        number.filter(|number| *number >= 0).map(|number| instruction(JUMP_NOT_EQUAL, register, 0, 0, number as i32))
    };
    conditions.extend(number(MAJOR, rule.major()));
    conditions.extend(number(MINOR, rule.minor()));
    conditions
}

fn access(letters: &str) -> i32 {
    letters.chars().fold(0, |bits, letter| {
        bits | match letter {
            'm' => ACCESS_MAKE,
            'r' => ACCESS_READ,
            'w' => ACCESS_WRITE,
            _ => 0,
        }
    })
}

fn verdict(allow: bool) -> [BpfInstruction; 2] {
    [instruction(MOVE, 0, 0, 0, i32::from(allow)), instruction(EXIT, 0, 0, 0, 0)]
}

fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> BpfInstruction {
    BpfInstruction { code, registers: destination | source << 4, offset, immediate }
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::LinuxDeviceCgroupBuilder;

    use super::*;

    /// Runs a program as the kernel would.
    fn allowed(program: &[BpfInstruction], kind: i32, access: i32, major: i32, minor: i32) -> bool {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0_i32; 11];
        let mut at = 0_usize;
        loop {
            let step = program[at];
            let (to, from) = (usize::from(step.registers & 15), usize::from(step.registers >> 4));
            at += 1;
            match step.code {
                LOAD_WORD => registers[to] = context[step.offset as usize / 4],
                COPY => registers[to] = registers[from],
                MOVE => registers[to] = step.immediate,
                AND => registers[to] &= step.immediate,
                SHIFT_RIGHT => registers[to] >>= step.immediate,
                JUMP_NOT_EQUAL if registers[to] != step.immediate => at += step.offset as usize,
                JUMP_REGISTERS_NOT_EQUAL if registers[to] != registers[from] => at += step.offset as usize,
                EXIT => return registers[0] == 1,
                _ => {}
            }
        }
    }

    fn rule(allow: bool, kind: LinuxDeviceType, numbers: (i64, i64), access: &str) -> LinuxDeviceCgroup {
        LinuxDeviceCgroupBuilder::default()
            .allow(allow)
            .typ(kind)
            .major(numbers.0)
            .minor(numbers.1)
            .access(access)
            .build()
            .unwrap()
    }

    #[test]
    fn last_matching_rule_decides() {
        let program = program(&[
            rule(false, LinuxDeviceType::A, (-1, -1), "rwm"),
            rule(true, LinuxDeviceType::B, (-1, -1), "m"),
            rule(true, LinuxDeviceType::C, (1, 3), "rwm"),
        ]);
        let all = ACCESS_READ | ACCESS_WRITE;
        assert!(allowed(&program, KIND_CHARACTER, all, 1, 3));
        assert!(!allowed(&program, KIND_CHARACTER, all, 1, 4));
        assert!(!allowed(&program, KIND_BLOCK, ACCESS_READ, 8, 0));
        assert!(allowed(&program, KIND_BLOCK, ACCESS_MAKE, 8, 0));
        assert!(!allowed(&program, KIND_BLOCK, ACCESS_MAKE | ACCESS_READ, 8, 0));
    }

    /// A group of a test is called by its process.
    const PREFIX: &str = "sampan-t";
    const SUFFIX: &str = "-devices";

    /// Removes groups of tests that were killed.
    fn remove_orphans(root: &Path) {
        for entry in std::fs::read_dir(root).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
            if pid.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists()) {
                // Another run may be at it too.
                let _ = std::fs::remove_dir(entry.path());
            }
        }
    }

    /// The kernel's verifier has the last word on every program.
    #[test]
    fn the_kernel_takes_it() {
        let roots = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let root = roots.into_iter().find(|root| root.join("cgroup.subtree_control").exists());
        let root = root.expect("a version 2 hierarchy is mounted");
        remove_orphans(root);
        let group = root.join(format!("{PREFIX}{}{SUFFIX}", std::process::id()));
        std::fs::create_dir(&group).unwrap();
        let rules = [
            rule(false, LinuxDeviceType::A, (-1, -1), "rwm"),
            rule(true, LinuxDeviceType::C, (1, 3), "rw"),
            rule(true, LinuxDeviceType::C, (136, -1), "rwm"),
        ];
        let outcome = attach(&group, &rules);
        std::fs::remove_dir(&group).unwrap();
        outcome.unwrap();
    }

    #[test]
    fn privileged_containers_may_do_everything() {
        let program = program(&[rule(true, LinuxDeviceType::A, (-1, -1), "rwm")]);
        assert!(allowed(&program, KIND_BLOCK, ACCESS_WRITE, 8, 0));
    }
}
