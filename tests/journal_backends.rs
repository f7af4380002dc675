//! The journal's steps down, each through the real command: registered buffers, io_uring without them, `pwrite` in a thread. What
//! stands in the way is said once, with its cure, and the journal is the same.
#![allow(unsafe_code)]

mod common;

use common::command::{Finish, Finished, identity, journal, replay_json};
use rustix::process::geteuid;
use serde_json::Value;
use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use tempfile::{TempDir, tempdir};
use tickcore_replay_data::sample;

/// The command line, after the program, of a child process that is refused io_uring; parts are separated by lines.
const REFUSED: &str = "TICKCORE_TEST_REFUSED";
/// Nobody, on every Linux.
const NOBODY: u32 = 65534;

/// Not a test of its own: a process that installs a filter against `io_uring_setup` and then becomes the command.
#[test]
fn child_that_is_refused_io_uring() {
    let Ok(arguments) = env::var(REFUSED) else { return };
    refuse(libc::SYS_io_uring_setup as u32, libc::EPERM as u32).expect("seccomp can be used");
    let error = Command::new(env!("CARGO_BIN_EXE_tickcore")).args(arguments.lines()).exec();
    panic!("{error}");
}

/// From here on this process and what it becomes gets `error` for the system call `number`, as in a container with a profile.
fn refuse(number: u32, error: u32) -> io::Result<()> {
    let statement = |code: u32, k| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let mut program = [
        // The number stands first in what a filter looks at.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter { jf: 1, ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number) },
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | error),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the kernel copies the program, which is valid for as long as the calls take.
    let result = unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 {
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter)
        } else {
            -1
        }
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What is said about the journal on standard error: each line begins with the program's name.
fn notices<'f>(finished: &'f Finished, word: &str) -> Vec<&'f str> {
    finished.stderr.lines().filter(|line| line.contains(word)).collect()
}

/// The journal is whole, and its books are those of the input.
fn is_whole(directory: &Path, json: &Value) {
    journal("verify", directory).succeed();
    let plain = replay_json(&sample::path()).succeed().json();
    assert_eq!(identity(json), identity(&plain));
    assert_eq!(identity(&replay_json(directory).succeed().json()), identity(&plain));
}

/// Arguments that are the same everywhere.
fn arguments(directory: &Path) -> Vec<String> {
    let mut command = replay_json(&sample::path());
    command.args(["--journal-segment", "1MiB", "--journal"]).arg(directory);
    command.get_args().map(|argument| argument.to_str().unwrap().to_owned()).collect()
}

#[test]
fn without_io_uring_a_thread_writes() {
    let scratch = tempdir().unwrap();
    let directory = scratch.path().join("journal");
    let finished = Command::new(env::current_exe().unwrap())
        .args(["--exact", "child_that_is_refused_io_uring", "--nocapture", "--quiet"])
        .env(REFUSED, arguments(&directory).join("\n"))
        .succeed();
    // The test harness has said its own before it became the command.
    let json: Value = serde_json::from_str(finished.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(json["machine"]["journal_backend"], "portable");
    let said = notices(&finished, "io_uring is refused");
    assert!(said.len() == 1 && said[0].contains("io_uring_disabled=0"), "{}", finished.stderr);
    is_whole(&directory, &json);

    // The control: nothing is refused, and nothing is said.
    let directory = scratch.path().join("control");
    let finished = replay_json(&sample::path()).arg("--journal").arg(&directory).finish();
    assert!(notices(&finished, "is refused").is_empty(), "{}", finished.stderr);
    assert_ne!(finished.json()["machine"]["journal_backend"], "portable", "this machine has no io_uring");
}

/// A directory, and the command, for everybody.
fn open_to_all() -> TempDir {
    let scratch = tempdir().unwrap();
    let everybody = fs::Permissions::from_mode(0o755);
    fs::set_permissions(scratch.path(), everybody).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_tickcore"), scratch.path().join("tickcore")).unwrap();
    fs::copy(sample::path(), scratch.path().join(sample::path().file_name().unwrap())).unwrap();
    scratch
}

#[test]
fn a_user_who_may_lock_little_memory_has_io_uring_without_registered_buffers() {
    let scratch = open_to_all();
    let run = |name: &str, kib: &str| {
        let directory = scratch.path().join(name);
        fs::create_dir(&directory).unwrap();
        let arguments = arguments(&directory);
        let input = scratch.path().join(sample::path().file_name().unwrap());
        let mut command = Command::new("sh");
        // The limit first, and then what is bound by it: root is not.
        let script = format!("ulimit -l {kib} && exec \"$@\"");
        command.args(["-c", &script, "sh"]);
        if geteuid().is_root() {
            chown(&directory, Some(NOBODY), Some(NOBODY)).unwrap();
            command.args(["setpriv", "--reuid", &NOBODY.to_string(), "--regid", &NOBODY.to_string(), "--clear-groups"]);
        }
        command.arg(scratch.path().join("tickcore")).arg("replay").arg(input).args(&arguments[2..]);
        let finished = command.finish();
        (directory, finished)
    };
    if geteuid().is_root() && Command::new("setpriv").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no setpriv to become another user with, and root is bound by no limit");
        return;
    }
    let (directory, finished) = run("little", "64");
    let finished = finished.expect_code(0);
    assert_eq!(finished.json()["machine"]["journal_backend"], "io_uring");
    let said = notices(&finished, "could not be registered");
    assert!(said.len() == 1 && said[0].contains("ulimit -l"), "{}", finished.stderr);
    is_whole(&directory, &finished.json());
    // The control: what the usual limit allows suffices.
    let (directory, finished) = run("usual", "8192");
    if finished.stderr.contains("ulimit") {
        eprintln!("SKIPPED: the limit of this user cannot be 8 MiB: {}", finished.stderr);
        return;
    }
    let finished = finished.expect_code(0);
    assert_eq!(finished.json()["machine"]["journal_backend"], "io_uring_fixed", "{}", finished.stderr);
    is_whole(&directory, &finished.json());
}
