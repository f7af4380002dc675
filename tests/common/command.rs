//! Runs of the built command.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};

/// Maxima that every input of these tests stays below: less memory to touch than the defaults.
const MAXIMA: [&str; 8] =
    ["--instruments-max", "10000", "--orders-max", "400000", "--levels-max", "400000", "--journal-buffer", "32"];

/// The command without arguments.
pub(crate) fn tickcore() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tickcore"))
}

/// `tickcore replay INPUT` with modest maxima.
pub(crate) fn replay(input: &Path) -> Command {
    let mut command = tickcore();
    command.arg("replay").arg(input).args(MAXIMA);
    command
}

/// `tickcore replay INPUT --json` with modest maxima.
pub(crate) fn replay_json(input: &Path) -> Command {
    let mut command = replay(input);
    command.arg("--json");
    command
}

/// `tickcore journal VERB DIR`.
pub(crate) fn journal(verb: &str, directory: &Path) -> Command {
    let mut command = tickcore();
    command.args(["journal", verb]).arg(directory);
    command
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A command that runs. It ends with the test that started it: left behind by one that fails, it would hold the cores of
/// those that follow, and they fail as well.
#[derive(Debug)]
pub(crate) struct Running(Option<Child>);

pub(crate) trait Finish {
    /// Starts the command, its output kept for [`Running::finish`].
    fn start(&mut self) -> Running;

    /// Runs the command to its end.
    fn finish(&mut self) -> Finished;

    /// Runs the command, which has to exit with 0.
    fn succeed(&mut self) -> Finished {
        self.finish().expect_code(0)
    }

    /// Runs the command, which has to exit with `code` and to say each of `words` on standard error.
    fn fail(&mut self, code: i32, words: &[&str]) -> Finished {
        let finished = self.finish().expect_code(code);
        for word in words {
            assert!(finished.stderr.contains(word), "{word:?} is missing in: {}", finished.stderr);
        }
        finished
    }
}

impl Finish for Command {
    fn start(&mut self) -> Running {
        let started = self.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Running(Some(started.expect("the built command can be started")))
    }

    fn finish(&mut self) -> Finished {
        Finished::of(self.output().expect("the built command can be started"))
    }
}

impl Running {
    fn child(&mut self) -> &mut Child {
        self.0.as_mut().expect("it is there until it is waited for")
    }

    pub(crate) fn id(&mut self) -> u32 {
        self.child().id()
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        kill_process(Pid::from_child(self.child()), signal).expect("a child can be signalled");
    }

    /// Its standard error, to be read while it runs.
    pub(crate) fn take_stderr(&mut self) -> ChildStderr {
        self.child().stderr.take().expect("it is taken once")
    }

    /// Waits for its end, whatever it has to say.
    pub(crate) fn wait(mut self) -> ExitStatus {
        self.child().wait().expect("a child can be waited for")
    }

    /// Waits for its end and what it has said.
    pub(crate) fn finish(mut self) -> Finished {
        let child = self.0.take().expect("it is there until it is waited for");
        Finished::of(child.wait_with_output().expect("a child can be waited for"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Finished {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the command writes UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Standard output, which has to be exactly one JSON object on one line.
    pub(crate) fn json(&self) -> Value {
        let value: Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error} in {}\n{}", self.stdout, self.stderr));
        assert!(value.is_object() && self.stdout.trim_end().lines().count() == 1, "{}", self.stdout);
        value
    }
}

/// What two runs of the same events have to have in common.
pub(crate) fn identity(json: &Value) -> [&Value; 8] {
    ["state_digest", "stream_digest", "events", "bbo_changes", "anomalies", "instruments", "live_orders", "levels"]
        .map(|key| &json[key])
}

/// Waits until `is_so`; a minute is far beyond anything that passes.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !is_so() {
        assert!(start.elapsed().as_secs() < 60, "waited a minute for: {what}");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}
