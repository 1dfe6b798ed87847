//! Where the programs of RabbitMQ come from: the machine itself, or a folder with a Debian of its own that
//! `TGW_TEST_RABBITMQ_ROOT` names (tests/run makes it, for another version). What is in such a folder runs by
//! `chroot` with nothing mounted: a node's files lie in the folder's own /tmp, and it has no /proc.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::group::{temporary_folder, temporary_folder_in};

/// Without /proc a node can't see how much memory there is and how much it takes, and has no alarms.
const WITHOUT_PROC: &str =
    "vm_memory_calculation_strategy = allocated\ntotal_memory_available_override_value = 16GB\n";

#[derive(Debug)]
pub(crate) struct Installation {
    root: Option<PathBuf>,
}

impl Installation {
    pub(crate) fn chosen() -> Self {
        Self { root: std::env::var_os("TGW_TEST_RABBITMQ_ROOT").map(PathBuf::from) }
    }

    /// A temporary folder that its programs see.
    pub(crate) fn folder(&self) -> TempDir {
        match &self.root {
            Some(root) => temporary_folder_in(&root.join("tmp"), "rabbitmq"),
            None => temporary_folder("rabbitmq"),
        }
    }

    /// What has to stand in a node's settings besides its own.
    pub(crate) fn settings(&self) -> &'static str {
        if self.root.is_some() { WITHOUT_PROC } else { "" }
    }

    /// How its programs call a path of ours.
    pub(crate) fn seen(&self, path: &Path) -> PathBuf {
        let Some(root) = &self.root else { return path.to_owned() };
        Path::new("/").join(path.strip_prefix(root).expect("a path in the folder that the programs see"))
    }

    /// Runs with nothing of our environment. Each step on the way becomes the next one (exec), so that signals
    /// reach the program, and its pid is ours.
    pub(crate) fn command(&self, program: &str) -> Command {
        let Some(root) = &self.root else {
            let mut command = Command::new(program);
            command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
            return command;
        };
        let mut command = if rustix::process::geteuid().is_root() {
            Command::new("chroot")
        } else {
            // Who isn't root may change the root where he is it for himself, and the program stays his to kill.
            let mut command = Command::new("unshare");
            command.args(["--map-root-user", "chroot"]);
            command
        };
        command.arg(root).arg(program);
        // Both are found by it too, on whatever machine this is.
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// The server's own scripts: Debian's wrappers in PATH change the user and the folder.
    pub(crate) fn script(&self, name: &str) -> Command {
        let own = Path::new("/usr/lib/rabbitmq/bin").join(name).display().to_string();
        if self.root.is_some() {
            return self.command(&own);
        }
        let chosen = std::env::var("TGW_TEST_RABBITMQ_SBIN").map(|folder| format!("{folder}/{name}"));
        let found = chosen.into_iter().chain([own]).find(|path| Path::new(path).exists());
        self.command(&found.unwrap_or_else(|| name.to_owned()))
    }
}
