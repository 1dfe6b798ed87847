//! A real binary of the product, in an environment of its own: cleared variables, a temporary folder as
//! home, working folder and `DATA_DIR`, a free port. Its output goes to files, which the tests read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Instant, SystemTime};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::client::http_client;
use crate::group::{Group, temporary_folder};
use crate::metrics::Metrics;
use crate::ports::free_port;
use crate::wait::{LONG, wait_for, wait_until};

/// How many lines of a log a failing test shows, unless TGW_TEST_LOG_LINES says otherwise.
const SHOWN: usize = 40;

/// What to start, and with what.
#[derive(Clone, Debug)]
pub struct ProcessBuilder {
    binary: String,
    arguments: Vec<String>,
    env: BTreeMap<String, String>,
}

impl ProcessBuilder {
    #[must_use]
    pub fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.env.insert(name.into(), value.to_string());
        self
    }

    #[must_use]
    pub fn envs(self, all: &BTreeMap<String, String>) -> Self {
        all.iter().fold(self, |builder, (name, value)| builder.env(name, value))
    }

    /// Another program with the same settings.
    #[must_use]
    pub fn command(&self, binary: &str, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self { binary: binary.to_owned(), arguments, env: self.env.clone() }
    }

    /// The same at a terminal of a hundred columns, all of whose output is on standard output.
    #[must_use]
    pub fn in_terminal(&self) -> Self {
        let program = binary(&self.binary).display().to_string();
        let words = std::iter::once(&program).chain(&self.arguments);
        let words: Vec<String> = words.map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
        let line = format!("stty cols 100 rows 30; exec {}", words.join(" "));
        // What is typed comes from a pipe that stays open, since the end of its input ends a terminal's too.
        let opened = "mkfifo keys; exec script --quiet --return --command \"$0\" /dev/null 0<>keys";
        self.command("/bin/sh", &["-c", opened, &line]).env("TERM", "xterm")
    }

    /// In a shell, whose `$0` it is.
    #[must_use]
    pub fn in_shell(&self, script: &str) -> Self {
        self.command("/bin/sh", &["-c", script, &binary(&self.binary).display().to_string()])
    }

    /// Starts it, and does not wait for anything.
    #[must_use]
    pub fn start(self) -> Process {
        let port = free_port();
        let name = self.binary.rsplit('/').next().unwrap_or_default();
        let folder = temporary_folder(name);
        let mut process = Process { builder: self, port, folder, group: None };
        process.spawn();
        process
    }
}

#[derive(Debug)]
pub struct Process {
    builder: ProcessBuilder,
    port: u16,
    folder: TempDir,
    group: Option<Group>,
}

impl Process {
    /// `tgw-ingress`, `tgw-worker`, `tgw` or `telegram-simulator`; or another program, by its path.
    #[must_use]
    pub fn of(binary: &str) -> ProcessBuilder {
        ProcessBuilder { binary: binary.into(), arguments: Vec::new(), env: BTreeMap::new() }
    }

    /// Again, on the same port and folder. The one before must have ended.
    pub fn start_again(&mut self) {
        assert!(self.running().exited().is_some(), "{} still runs", self.builder.binary);
        self.spawn();
    }

    /// Ended by SIGTERM and started again with other settings, on the same port and folder.
    pub async fn restart_as(&mut self, builder: ProcessBuilder) {
        self.term();
        self.wait_exit().await;
        self.builder = builder;
        self.spawn();
        self.wait_ready().await;
    }

    fn spawn(&mut self) {
        let mut command = Command::new(binary(&self.builder.binary));
        command.args(&self.builder.arguments).env_clear().current_dir(self.folder.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.folder.path());
        command.env("LISTEN_ADDR", self.address()).env("DATA_DIR", self.data_dir());
        command.envs(&self.builder.env);
        let log = |name| File::options().create(true).append(true).open(self.folder.path().join(name));
        command.stdout(log("stdout").expect("a log")).stderr(log("stderr").expect("a log"));
        self.group = Some(Group::spawn(&mut command));
    }

    /// The number by which the system knows it.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.group.as_ref().expect("spawned when made").pid().as_raw_nonzero().get()
    }

    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address())
    }

    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Its working folder, where a `.env` would be.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Until `/ready` says 200.
    pub async fn wait_ready(&mut self) {
        let what = format!("{} is ready", self.builder.binary);
        wait_for(&what, LONG, || {
            if let Some(status) = self.running().exited() {
                panic!("{} ended with {status} before it was ready", self.builder.binary);
            }
            let get = http_client().get(format!("{}/ready", self.base_url())).send();
            async move { get.await.ok().filter(|answer| answer.status() == 200).map(drop) }
        })
        .await;
    }

    /// Until its link to the broker is `up`, `blocked` or `away`: an ingress with a spool is ready in any case.
    pub async fn wait_broker(&self, state: &str) {
        wait_for(&format!("the broker is {state}"), LONG, || async move {
            let (_, body) = self.try_ready().await?;
            (body["dependencies"]["broker"]["state"] == state).then_some(())
        })
        .await;
    }

    /// Until `/ready` answers with `status`; the answer's JSON.
    pub async fn wait_ready_is(&self, status: u16) -> Value {
        let what = format!("/ready of {} says {status}", self.builder.binary);
        wait_for(&what, LONG, || async move {
            let (now, body) = self.try_ready().await?;
            (now == status).then_some(body)
        })
        .await
    }

    /// Whether it serves HTTP by now.
    pub async fn answers(&self) -> bool {
        self.try_ready().await.is_some()
    }

    /// What `/ready` says now.
    pub async fn ready(&self) -> (u16, Value) {
        self.try_ready().await.expect("it answers /ready")
    }

    async fn try_ready(&self) -> Option<(u16, Value)> {
        let answer = http_client().get(format!("{}/ready", self.base_url())).send().await.ok()?;
        let status = answer.status().as_u16();
        let text = answer.text().await.ok()?;
        Some((status, serde_json::from_str(&text).unwrap_or_default()))
    }

    pub async fn metrics(&self) -> Metrics {
        let answer =
            http_client().get(format!("{}/metrics", self.base_url())).send().await.expect("/metrics answers");
        Metrics(answer.text().await.expect("/metrics is text"))
    }

    /// The exit code; a death by signal is 128 + its number, as in a shell.
    pub async fn wait_exit(&mut self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let what = format!("{} ends", self.builder.binary);
        let status = self.running().wait_exit(&what, LONG + LONG).await;
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
    }

    pub fn is_running(&mut self) -> bool {
        self.running().exited().is_none()
    }

    /// SIGTERM.
    pub fn term(&mut self) {
        self.running().signal(Signal::TERM);
    }

    /// SIGINT, as Ctrl-C sends it.
    pub fn interrupt(&mut self) {
        self.running().signal(Signal::INT);
    }

    /// At a terminal: Ctrl-C is `\u{3}`, Enter `\r`.
    pub fn type_keys(&self, keys: &str) {
        let pipe = File::options().read(true).write(true).open(self.folder.path().join("keys"));
        pipe.and_then(|mut pipe| pipe.write_all(keys.as_bytes())).expect("it is at a terminal");
    }

    /// SIGHUP.
    pub fn hang_up(&mut self) {
        self.running().signal(Signal::HUP);
    }

    /// SIGKILL, and waits for the end: nothing of it runs any more when this returns.
    pub fn kill9(&mut self) {
        self.running().kill_all();
    }

    /// SIGSTOP: alive, connected, and deaf.
    pub fn freeze(&mut self) {
        self.running().signal(Signal::STOP);
    }

    pub fn thaw(&mut self) {
        self.running().signal(Signal::CONT);
    }

    #[must_use]
    pub fn stdout(&self) -> String {
        self.read("stdout")
    }

    #[must_use]
    pub fn stderr(&self) -> String {
        self.read("stderr")
    }

    /// The lines of its log that are JSON.
    #[must_use]
    pub fn logs(&self) -> Vec<Value> {
        self.stdout().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// When it logged the lines that fit, up to 1 ms early.
    #[must_use]
    pub fn logged(&self, fits: impl Fn(&Value) -> bool) -> Vec<Instant> {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let times = self.logs().into_iter().filter(fits).filter_map(|line| {
            let time: SystemTime = OffsetDateTime::parse(line["time"].as_str()?, &Rfc3339).ok()?.into();
            now.checked_sub(wall.duration_since(time).unwrap_or_default())
        });
        times.collect()
    }

    /// Until a line of its log fits.
    pub async fn wait_log(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let what = format!("a log line of {}: {what}", self.builder.binary);
        wait_for(&what, LONG, || std::future::ready(self.logs().into_iter().find(|line| fits(line)))).await
    }

    /// Until its standard output contains `text`.
    pub async fn wait_stdout(&self, text: &str) {
        wait_until(&format!("{text:?} on stdout"), LONG, || self.stdout().contains(text)).await;
    }

    /// Until its standard error contains `text`.
    pub async fn wait_stderr(&self, text: &str) {
        wait_until(&format!("{text:?} on stderr"), LONG, || self.stderr().contains(text)).await;
    }

    fn read(&self, name: &str) -> String {
        let bytes = std::fs::read(self.folder.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn running(&mut self) -> &mut Group {
        self.group.as_mut().expect("spawned when made")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let shown =
                std::env::var("TGW_TEST_LOG_LINES").ok().and_then(|text| text.parse().ok()).unwrap_or(SHOWN);
            for (name, text) in [("stdout", self.stdout()), ("stderr", self.stderr())] {
                let lines: Vec<&str> = text.lines().collect();
                let last = &lines[lines.len().saturating_sub(shown)..];
                println!("--- {name} of {} (last {shown} lines)\n{}", self.builder.binary, last.join("\n"));
            }
        }
    }
}

/// Beside the executable that runs: `target/<profile>/deps/<test>` or `target/<profile>/<program>` →
/// `target/<profile>/<name>`.
pub(crate) fn binary(name: &str) -> PathBuf {
    if name.contains('/') {
        return name.into();
    }
    let own = std::env::current_exe().expect("a running executable has a path");
    let folder = own.parent().expect("an executable is in a folder");
    let profile =
        if folder.ends_with("deps") { folder.parent().expect("deps is in a folder") } else { folder };
    let path = profile.join(name);
    assert!(path.exists(), "{name} is not built: run `cargo build --workspace` first, or use tests/run");
    path
}
