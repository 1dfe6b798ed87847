//! A RabbitMQ of the tests' own: a node in a temporary folder, with its own name, cookie, epmd and ports,
//! on 127.0.0.1 only. It touches nothing of a RabbitMQ that the machine may run.

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use lapin::{Connection, ConnectionProperties};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::amqp::goodbye;
use crate::epmd::register;
use crate::group::Group;
use crate::installation::Installation;
use crate::ports::free_port;
use crate::wait::{wait_for, wait_until};

/// A node takes about 5 s on an idle machine.
const START: Duration = Duration::from_secs(90);
/// Far above what a test needs, and never reached on a small machine: alarms are raised on purpose only.
const WATERMARK: &str = "0.9";

#[derive(Debug)]
pub struct Rabbit {
    url: String,
    node: Option<Node>,
}

#[derive(Debug)]
struct Node {
    installation: Installation,
    folder: TempDir,
    amqp: u16,
    epmd_port: u16,
    dist: u16,
    ctl: u16,
    epmd: Option<Group>,
    broker: Option<Group>,
    /// Other nodes, by name, and the ports at which this one finds them.
    peers: Vec<(String, u16)>,
    /// As long as they are open its epmd knows these.
    introductions: Vec<TcpStream>,
}

impl Rabbit {
    /// The one of `tests/run`, else one for this test process. Not to be stopped or blocked by a test.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Rabbit> = OnceCell::const_new();
        let make = || async {
            match std::env::var("TGW_TEST_AMQP_URL") {
                Ok(url) => Self { url, node: None },
                Err(_) => Self::private().await,
            }
        };
        SHARED.get_or_init(make).await
    }

    /// One of the test's own, to break as it likes.
    pub async fn private() -> Self {
        let mut rabbit = Self::stopped();
        rabbit.start().await;
        rabbit
    }

    /// A private one that has its address but does not run yet: see [`Self::start`].
    #[must_use]
    pub fn stopped() -> Self {
        let node = Node::new();
        Self { url: format!("amqp://guest:guest@127.0.0.1:{}/%2f", node.amqp), node: Some(node) }
    }

    /// More lines for its `rabbitmq.conf`, before it is started.
    pub fn configure(&mut self, lines: &str) {
        let path = self.own().path("rabbitmq.conf");
        let before = std::fs::read_to_string(&path).expect("its settings");
        std::fs::write(path, before + lines).expect("the temporary folder takes files");
    }

    /// What it logged, from WARN on.
    pub fn log(&mut self) -> String {
        std::fs::read_to_string(self.own().path("node.log")).unwrap_or_default()
    }

    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `host:port`, for a [`crate::Proxy`].
    #[must_use]
    pub fn address(&self) -> &str {
        let after_user = self.url.split_once('@').expect("the test brokers' URL names a user").1;
        after_user.split_once('/').map_or(after_user, |(address, _)| address)
    }

    /// On the same port and data as before. Ends when the node takes connections.
    pub async fn start(&mut self) {
        let url = self.url.clone();
        let node = self.own();
        node.spawn();
        node.introduce_peers().await;
        wait_for("RabbitMQ takes connections", START, || {
            node.panic_if_ended();
            shakes_hands(&url)
        })
        .await;
    }

    /// SIGTERM, and waits for the end.
    pub async fn stop(&mut self) {
        let node = self.own();
        if let Some(mut broker) = node.broker.take() {
            broker.signal(Signal::TERM);
            broker.wait_exit("RabbitMQ ends after SIGTERM", START).await;
        }
    }

    /// SIGKILL, with its epmd: as if the machine lost power (but for the page cache).
    pub fn kill(&mut self) {
        let node = self.own();
        node.broker = None;
        node.epmd = None;
        node.introductions.clear();
    }

    /// SIGSTOP: it takes in what is sent to it and answers nothing, as a machine does that is about to die.
    pub fn freeze(&mut self) {
        self.own().broker.as_mut().expect("it runs").signal(Signal::STOP);
    }

    pub fn thaw(&mut self) {
        self.own().broker.as_mut().expect("it runs").signal(Signal::CONT);
    }

    /// Its name and port among nodes.
    pub(crate) fn node(&mut self) -> (String, u16) {
        let node = self.own();
        (node.name(), node.dist)
    }

    /// Before it is started: nodes that it finds at these ports, with the secret that they share.
    pub(crate) fn befriend(&mut self, peers: Vec<(String, u16)>, cookie: &str) {
        let node = self.own();
        let path = node.path("home/.erlang.cookie");
        std::fs::write(&path, cookie).expect("the temporary folder takes files");
        let mine_alone = std::fs::Permissions::from_mode(0o400);
        std::fs::set_permissions(path, mine_alone).expect("the file is ours");
        node.peers = peers;
    }

    /// Until these quorum queues would survive [`Self::kill`]. Measured on 3.10.8: a queue that was declared
    /// less than 3 s before its node is killed never answers again, since the directory of such queues is
    /// a file that is written late. A young queue is not what a test of a crash is about.
    pub async fn wait_durable(&mut self, queues: &[String]) {
        let data = self.own().path("data");
        wait_until("the node has written its directory of queues", START, || {
            let nodes = std::fs::read_dir(&data).into_iter().flatten().flatten();
            let files = nodes.filter_map(|node| std::fs::read_dir(node.path().join("quorum")).ok()).flatten();
            let directory: Vec<u8> = files
                .flatten()
                .filter_map(|file| std::fs::read(file.path().join("names.dets")).ok())
                .flatten()
                .collect();
            queues.iter().all(|queue| directory.windows(queue.len()).any(|part| part == queue.as_bytes()))
        })
        .await;
    }

    /// Raises the memory alarm: publishers are blocked, nothing is confirmed (facts R12).
    pub fn block(&mut self) {
        self.own().control(&["set_vm_memory_high_watermark", "0.0001"]);
    }

    pub fn unblock(&mut self) {
        self.own().control(&["set_vm_memory_high_watermark", WATERMARK]);
    }

    /// The version of its programs, `4.0.5`.
    pub fn version(&mut self) -> String {
        self.own().control(&["version"]).trim().to_owned()
    }

    /// Runs `rabbitmqctl` against this node and returns what it prints.
    pub fn control(&mut self, arguments: &[&str]) -> String {
        self.own().control(arguments)
    }

    /// One who may do nothing yet, and whose password is the name. A node takes users a moment after connections.
    pub fn add_user(&mut self, name: &str) {
        self.control(&["await_startup"]);
        self.control(&["add_user", name, name]);
    }

    fn own(&mut self) -> &mut Node {
        self.node.as_mut().expect("only a private RabbitMQ is the test's to start, stop and block")
    }
}

impl Node {
    fn new() -> Self {
        let installation = Installation::chosen();
        let folder = installation.folder();
        let node = Self {
            installation,
            amqp: free_port(),
            epmd_port: free_port(),
            dist: free_port(),
            ctl: free_port(),
            folder,
            epmd: None,
            broker: None,
            peers: Vec::new(),
            introductions: Vec::new(),
        };
        let settings = format!(
            "listeners.tcp.1 = 127.0.0.1:{}\n\
             disk_free_limit.absolute = 1MB\n\
             vm_memory_high_watermark.relative = {WATERMARK}\n\
             log.console = true\nlog.console.level = warning\nlog.file = false\n{}",
            node.amqp,
            node.installation.settings()
        );
        node.write("rabbitmq.conf", &settings);
        // No plugins: no management, no listener but AMQP.
        node.write("enabled_plugins", "[].\n");
        std::fs::create_dir(node.path("home")).expect("a folder for the cookie");
        node
    }

    fn spawn(&mut self) {
        // In the foreground and in our group: a node would start its own as a daemon that outlives it.
        let mut epmd = self.prepare(self.installation.command("epmd"));
        self.epmd =
            Some(Group::spawn(epmd.arg("-port").arg(self.epmd_port.to_string()).stdout(Stdio::null())));
        let log = || File::options().create(true).append(true).open(self.path("node.log")).expect("its log");
        let mut broker = self.prepare(self.installation.script("rabbitmq-server"));
        self.broker = Some(Group::spawn(broker.stdout(log()).stderr(log())));
    }

    /// In time: a node takes seconds until it looks for others.
    async fn introduce_peers(&mut self) {
        for (name, port) in &self.peers {
            self.introductions.push(register(self.epmd_port, name, *port).await);
        }
    }

    fn name(&self) -> String {
        format!("tgw{}@localhost", self.amqp)
    }

    /// Puts a command into this node's environment.
    fn prepare(&self, mut command: Command) -> Command {
        command.current_dir(self.folder.path());
        let paths = [
            ("HOME", "home"),
            ("RABBITMQ_CONFIG_FILE", "rabbitmq.conf"),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", "enabled_plugins"),
            ("RABBITMQ_MNESIA_BASE", "data"),
            ("RABBITMQ_LOG_BASE", "log"),
            ("RABBITMQ_PID_FILE", "pid"),
            ("ERL_CRASH_DUMP", "crash.dump"),
        ];
        command.envs(paths.map(|(name, file)| (name, self.installation.seen(&self.path(file)))));
        command.env("RABBITMQ_CONF_ENV_FILE", "/dev/null");
        command.env("RABBITMQ_NODENAME", self.name());
        command.env("ERL_EPMD_PORT", self.epmd_port.to_string()).env("ERL_EPMD_ADDRESS", "127.0.0.1");
        command.env("RABBITMQ_DIST_PORT", self.dist.to_string());
        command.env("RABBITMQ_CTL_DIST_PORT_MIN", self.ctl.to_string());
        command.env("RABBITMQ_CTL_DIST_PORT_MAX", self.ctl.to_string());
        // The script then becomes the node (exec): signals reach it, and its pid is ours.
        command.env("RABBITMQ_ALLOW_INPUT", "1");
        let local = "-noinput -kernel inet_dist_use_interface {127,0,0,1}";
        command.env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", local);
        command.env("LANG", "C.UTF-8");
        command
    }

    fn control(&self, arguments: &[&str]) -> String {
        let mut command = self.prepare(self.installation.script("rabbitmqctl"));
        let output = command.args(arguments).output().expect("rabbitmqctl runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "rabbitmqctl {arguments:?} failed: {text}{error}");
        text
    }

    fn panic_if_ended(&mut self) {
        if let Some(status) = self.broker.as_mut().and_then(Group::exited) {
            let log = std::fs::read_to_string(self.path("node.log")).unwrap_or_default();
            panic!("RabbitMQ ended with {status} while starting:\n{log}");
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("the temporary folder takes files");
    }
}

async fn shakes_hands(url: &str) -> Option<()> {
    let connecting = Connection::connect(url, ConnectionProperties::default());
    let connection = timeout(Duration::from_secs(2), connecting).await.ok()?.ok()?;
    goodbye(&connection).await.ok()
}
