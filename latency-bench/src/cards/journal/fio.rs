//! What fio makes of the disk, where it is installed: a limit that is not of the bench's own making.

use super::ours::floats;
use serde_json::{Deserializer, Value};
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{Command, Output};

/// The program, looked for on the path.
pub(super) const PROGRAM: &str = "fio";
/// Its ways to keep several transfers under way. The better one counts.
const ENGINES: [&str; 2] = ["io_uring", "libaio"];
const BLOCK: &str = "1M";
const DEPTH: u32 = 8;

/// Bytes a second, past the page cache and one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) write: f64,
    pub(super) read: f64,
}

/// Why there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoRates {
    NotInstalled,
    /// What it said.
    Failed(String),
}

/// Writes the file at `path` from end to end, its last sync included, and reads it: the best that `program` finds. The file
/// is overwritten where it has so many bytes already.
pub(super) fn rates(program: &OsStr, path: &Path, bytes: u64) -> Result<Rates, NoRates> {
    Ok(Rates { write: best(program, path, bytes, "write")?, read: best(program, path, bytes, "read")? })
}

/// The better of the engines that work here; why the last does not, where none does.
fn best(program: &OsStr, path: &Path, bytes: u64, direction: &str) -> Result<f64, NoRates> {
    let mut best = Err(NoRates::NotInstalled);
    for engine in ENGINES {
        match (rate(program, path, bytes, direction, engine), &best) {
            (Err(NoRates::NotInstalled), _) => return Err(NoRates::NotInstalled),
            (Ok(rate), Ok(other)) => best = Ok(rate.max(*other)),
            (Err(_), Ok(_)) => {}
            (found, Err(_)) => best = found,
        }
    }
    best
}

fn rate(program: &OsStr, path: &Path, bytes: u64, direction: &str, engine: &str) -> Result<f64, NoRates> {
    let mut command = Command::new(program);
    command.args(["--output-format=json", "--name=limit", "--direct=1", "--overwrite=1"]);
    command.arg(format!("--rw={direction}")).arg(format!("--ioengine={engine}")).arg(format!("--bs={BLOCK}"));
    command.arg(format!("--iodepth={DEPTH}")).arg(format!("--size={bytes}"));
    if direction == "write" {
        command.arg("--end_fsync=1");
    }
    let mut filename = OsStr::new("--filename=").to_owned();
    filename.push(path);
    command.arg(filename);
    let Output { status, stdout, stderr } = run(command).map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound => NoRates::NotInstalled,
        _ => NoRates::Failed(cause.to_string()),
    })?;
    if !status.success() {
        let said = String::from_utf8_lossy(if stderr.is_empty() { &stdout } else { &stderr }).into_owned();
        let line = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it said nothing");
        return Err(NoRates::Failed(format!("{engine}, {status}: {line}")));
    }
    bandwidth(&String::from_utf8_lossy(&stdout), direction)
        .map_err(|fault| NoRates::Failed(format!("{engine}: {fault}")))
}

/// Runs the command on every core: what a pinned thread starts is pinned as well.
fn run(mut command: Command) -> io::Result<Output> {
    let floating = move || {
        floats();
        command.output()
    };
    std::thread::spawn(floating).join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
}

/// Bytes a second of the one job in fio's JSON, which may have lines for people in front.
fn bandwidth(output: &str, direction: &str) -> Result<f64, String> {
    let start = output.find('{').ok_or("there is no JSON in its output")?;
    let json = Deserializer::from_str(&output[start..]).into_iter::<Value>().next();
    let json = json.ok_or("there is no JSON in its output")?.map_err(|error| format!("its output: {error}"))?;
    let job = &json["jobs"][0];
    match job["error"].as_i64() {
        Some(0) => {}
        Some(error) => return Err(format!("its job ended with error {error}")),
        None => return Err("its output has no job".to_owned()),
    }
    let rate = job[direction]["bw_bytes"].as_f64().ok_or("its job has no bandwidth")?;
    if rate > 0.0 { Ok(rate) } else { Err("its job moved nothing".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// The keys that fio documents, as far as they matter here and some beside them; by hand.
    fn output(error: i64, write: u64, read: u64) -> String {
        format!(
            r#"{{
  "fio version" : "fio-3.36",
  "timestamp" : 1764115200,
  "global options" : {{ }},
  "jobs" : [
    {{
      "jobname" : "limit",
      "groupid" : 0,
      "error" : {error},
      "job options" : {{ "name" : "limit", "direct" : "1", "bs" : "1M" }},
      "read" : {{ "io_bytes" : {read}, "bw_bytes" : {read}, "bw" : {}, "iops" : 1.5, "runtime" : 1000 }},
      "write" : {{ "io_bytes" : {write}, "bw_bytes" : {write}, "bw" : {}, "iops" : 1.5, "runtime" : 1000 }}
    }}
  ],
  "disk_util" : [ {{ "name" : "vda", "util" : 93.1 }} ]
}}
"#,
            read >> 10,
            write >> 10
        )
    }

    #[test]
    fn the_bandwidth_of_the_one_job_is_read() {
        let text = output(0, 1_500_000_000, 2_000_000_000);
        assert_eq!(bandwidth(&text, "write"), Ok(1.5e9));
        assert_eq!(bandwidth(&text, "read"), Ok(2e9));
        assert_eq!(bandwidth(&format!("note: something for people\n{text}\n"), "read"), Ok(2e9));
    }

    #[test]
    fn what_is_no_bandwidth_is_refused() {
        let refused = |text: &str, word: &str| {
            let fault = bandwidth(text, "write").unwrap_err();
            assert!(fault.contains(word), "{fault}");
        };
        refused("", "no JSON");
        refused("nothing", "no JSON");
        refused("{\"jobs\": [", "EOF");
        refused("{\"jobs\": []}", "no job");
        refused(&output(28, 1, 1), "error 28");
        refused(&output(0, 0, 1), "nothing");
        refused("{\"jobs\": [{\"error\": 0, \"write\": {\"bw\": 7}}]}", "no bandwidth");
    }

    /// A program in place of fio, which notes how it was called.
    fn fake(directory: &Path, script: &str) -> std::path::PathBuf {
        let path = directory.join("fio");
        let calls = directory.join("calls");
        fs::write(&path, format!("#!/bin/sh\necho \"$@\" >> '{}'\n{script}\n", calls.display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn it_is_asked_for_both_directions_and_the_better_engine_counts() {
        let directory = tempfile::tempdir().unwrap();
        for (name, write, read) in [("slow", 100, 300), ("quick", 200, 250)] {
            fs::write(directory.path().join(name), output(0, write, read)).unwrap();
        }
        let script = format!("case \"$*\" in *libaio*) cat '{0}/quick';; *) cat '{0}/slow';; esac", {
            directory.path().display()
        });
        let fio = fake(directory.path(), &script);
        let found = rates(fio.as_os_str(), Path::new("some/raw file"), 8 << 20);
        assert_eq!(found, Ok(Rates { write: 200.0, read: 300.0 }));
        let calls = fs::read_to_string(directory.path().join("calls")).unwrap();
        let calls: Vec<&str> = calls.lines().collect();
        assert_eq!(calls.len(), 4, "{calls:?}");
        for (call, (direction, engine)) in
            calls.iter().zip([("write", "io_uring"), ("write", "libaio"), ("read", "io_uring"), ("read", "libaio")])
        {
            for word in ["--direct=1", "--bs=1M", "--size=8388608", "--output-format=json", "--filename=some/raw file"]
            {
                assert!(call.contains(word), "{call}");
            }
            assert!(call.contains(&format!("--rw={direction}")) && call.contains(engine), "{call}");
            assert_eq!(call.contains("--end_fsync=1"), direction == "write", "{call}");
        }
        // One engine is enough.
        let script = format!("case \"$*\" in *libaio*) cat '{}/quick';; *) exit 1;; esac", directory.path().display());
        let fio = fake(directory.path(), &script);
        assert_eq!(rates(fio.as_os_str(), Path::new("raw"), 8 << 20), Ok(Rates { write: 200.0, read: 250.0 }));
    }

    #[test]
    fn one_that_is_not_there_and_one_that_fails_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let absent = directory.path().join("absent");
        assert_eq!(rates(absent.as_os_str(), Path::new("raw"), 1 << 20), Err(NoRates::NotInstalled));
        let failure = |script: &str| {
            let fio = fake(directory.path(), script);
            match rates(fio.as_os_str(), Path::new("raw"), 1 << 20) {
                Err(NoRates::Failed(fault)) => fault,
                other => panic!("{other:?}"),
            }
        };
        let said = failure("echo 'fio: engine not loadable' >&2; exit 1");
        assert!(said.contains("engine not loadable") && said.contains("libaio"), "{said}");
        assert!(failure("exit 3").contains("it said nothing"));
        assert!(failure("echo words").contains("no JSON"));
    }
}
