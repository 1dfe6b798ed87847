//! A child process with a process group of its own, and the undertaker: one small shell per test
//! process that ends what is left when the test process ends, however it ends (kill -9 included).

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::wait::wait_for;

/// Reads the groups and folders it is told about, and removes them at the end of its input, which comes
/// with the death of the process that holds the other end. (`kill -9 -- -N` is an error in dash.)
const UNDERTAKER: &str = r#"
trap '' INT TERM HUP
groups='' folders=''
while read -r verb what; do
  case $verb in
    born) groups="$groups $what" ;;
    died) left=''; for g in $groups; do [ "$g" = "$what" ] || left="$left $g"; done; groups=$left ;;
    folder) folders="$folders $what" ;;
  esac
done
for g in $groups; do kill -s KILL -- "-$g" 2>/dev/null; done
for f in $folders; do rm -rf -- "$f"; done
"#;

fn tell_undertaker(line: &str) {
    static UNDERTAKER_SHELL: OnceLock<Mutex<Child>> = OnceLock::new();
    let shell = UNDERTAKER_SHELL.get_or_init(|| {
        let mut shell = Command::new("sh");
        shell.args(["-c", UNDERTAKER]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // A group of its own: Ctrl-C in a terminal reaches the tests, not the undertaker.
        Mutex::new(shell.process_group(0).spawn().expect("a shell to clean up after the tests"))
    });
    let mut shell = shell.lock().expect("no one panics while holding it");
    let ear = shell.stdin.as_mut().expect("it is piped");
    writeln!(ear, "{line}").ok();
}

/// A temporary folder that is removed even if this process is killed.
pub(crate) fn temporary_folder(name: &str) -> tempfile::TempDir {
    temporary_folder_in(&std::env::temp_dir(), name)
}

/// Likewise, in another place than usual.
pub(crate) fn temporary_folder_in(place: &Path, name: &str) -> tempfile::TempDir {
    let prefix = format!("tgw-{name}-");
    let folder = tempfile::Builder::new().prefix(&prefix).tempdir_in(place).expect("a temporary folder");
    tell_undertaker(&format!("folder {}", folder.path().display()));
    folder
}

/// A running child and everything that it starts in its group. Dropping it kills the group.
#[derive(Debug)]
pub(crate) struct Group {
    child: Child,
    pid: Pid,
    ended: Option<ExitStatus>,
}

impl Group {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).process_group(0).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start {:?}: {error}", command.get_program()));
        let pid = Pid::from_child(&child);
        tell_undertaker(&format!("born {}", pid.as_raw_nonzero()));
        Self { child, pid, ended: None }
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// To the child alone, as an operator or an orchestrator would send it.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.exited().is_none() {
            kill_process(self.pid, signal).expect("the child is alive or unreaped");
        }
    }

    pub(crate) fn kill_all(&mut self) {
        if self.ended.is_none() {
            kill_process_group(self.pid, Signal::KILL).ok();
            self.ended = self.child.wait().ok();
            tell_undertaker(&format!("died {}", self.pid.as_raw_nonzero()));
        }
    }

    /// How it ended, if it has.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("the child is ours to wait for");
            if self.ended.is_some() {
                tell_undertaker(&format!("died {}", self.pid.as_raw_nonzero()));
            }
        }
        self.ended
    }

    pub(crate) async fn wait_exit(&mut self, what: &str, deadline: Duration) -> ExitStatus {
        wait_for(what, deadline, || std::future::ready(self.exited())).await
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill_all();
    }
}
