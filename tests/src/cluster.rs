//! Three RabbitMQ nodes that are one cluster, each as if on a machine of its own: the cables between them are
//! proxies, so that a test can cut a node off from the others while its clients still reach it.

use futures_util::future::join_all;

use crate::process::Process;
use crate::proxy::Proxy;
use crate::rabbit::Rabbit;
use crate::wait::{LONG, wait_until};
use crate::world::World;

pub const NODES: usize = 3;

/// What deployments are told to set (facts R6a).
const SETTINGS: &str = "\ncluster_partition_handling = pause_minority\nnet_ticktime = 10\n\
                        cluster_formation.peer_discovery_backend = classic_config\n";

#[derive(Debug)]
pub struct Cluster {
    pub nodes: Vec<Rabbit>,
    /// The first end's number, the other's, and what lies between: a node connects by it to the other.
    cables: Vec<(usize, usize, Proxy)>,
}

/// A quorum queue, and the numbers of the nodes that have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    pub name: String,
    pub leader: Option<usize>,
    pub members: usize,
}

impl Cluster {
    /// All of it, joined.
    pub async fn start() -> Self {
        let mut nodes: Vec<Rabbit> = (0..NODES).map(|_| Rabbit::stopped()).collect();
        let names: Vec<(String, u16)> = nodes.iter_mut().map(Rabbit::node).collect();
        let mut settings = SETTINGS.to_owned();
        for (n, (name, _)) in names.iter().enumerate() {
            settings += &format!("cluster_formation.classic_config.nodes.{} = {name}\n", n + 1);
        }
        let cookie = uuid::Uuid::new_v4().simple().to_string();
        let mut cables = Vec::new();
        for (from, node) in nodes.iter_mut().enumerate() {
            let mut peers = Vec::new();
            for (to, (name, port)) in names.iter().enumerate().filter(|(to, _)| *to != from) {
                let cable = Proxy::to(&format!("127.0.0.1:{port}")).await;
                peers.push((name.clone(), cable.port()));
                cables.push((from, to, cable));
            }
            node.configure(&settings);
            node.befriend(peers, &cookie);
        }
        // All at once: one alone would wait for the others, on RabbitMQ 4 for ever.
        join_all(nodes.iter_mut().map(Rabbit::start)).await;
        let mut cluster = Self { nodes, cables };
        cluster.wait_whole(0);
        cluster
    }

    /// Until this node sees all of them run.
    pub fn wait_whole(&mut self, node: usize) {
        self.nodes[node].control(&["await_online_nodes", &NODES.to_string(), "--timeout", "60"]);
    }

    /// Until a node has a connection to this one again.
    pub async fn wait_seen(&mut self, node: usize, by: usize) {
        let (name, _) = self.nodes[node].node();
        let seeing = &mut self.nodes[by];
        wait_until("a node is seen again", LONG, || seeing.control(&["eval", "nodes()."]).contains(&name))
            .await;
    }

    /// No byte passes between this node and the others; nobody is told.
    pub fn cut_off(&self, node: usize) {
        self.cables_of(node).for_each(Proxy::freeze);
    }

    pub fn join_again(&self, node: usize) {
        self.cables_of(node).for_each(Proxy::resume);
    }

    fn cables_of(&self, node: usize) -> impl Iterator<Item = &Proxy> {
        self.cables
            .iter()
            .filter(move |(from, to, _)| *from == node || *to == node)
            .map(|(_, _, cable)| cable)
    }

    /// A balancer's port for one client, which leads to this node for now.
    pub async fn door(&self, node: usize) -> Proxy {
        Proxy::to(self.nodes[node].address()).await
    }

    /// The URL behind that port.
    #[must_use]
    pub fn url(&self, door: &Proxy) -> String {
        format!("amqp://guest:guest@{}/%2f", door.address())
    }

    /// One more worker of the deployment, behind a port of its own.
    pub async fn add_worker(&self, world: &World, door: &Proxy) -> Process {
        let plan = world.worker_plan.clone().expect("the embedded gateway has no workers");
        let mut worker = plan.env("AMQP_URL", self.url(door)).start();
        worker.wait_ready().await;
        worker
    }

    /// The quorum queues, as this node knows them.
    pub fn queues(&mut self, node: usize) -> Vec<Queue> {
        let names: Vec<String> = self.nodes.iter_mut().map(|node| node.node().0).collect();
        // A listing would have all nodes talk to the tool itself, which they don't find.
        let ask = "[io:format(\"~s ~s ~b~n\", [element(4, amqqueue:get_name(Q)), \
                   element(2, amqqueue:get_pid(Q)), length(maps:get(nodes, amqqueue:get_type_state(Q)))]) \
                   || Q <- rabbit_amqqueue:list(), amqqueue:get_type(Q) =:= rabbit_quorum_queue], ok.";
        let text = self.nodes[node].control(&["eval", ask]);
        let queue = |line: &str| {
            let [name, leader, members] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
            let leader = names.iter().position(|name| name == leader);
            Some(Queue { name: name.to_owned(), leader, members: members.parse().ok()? })
        };
        text.lines().filter_map(queue).collect()
    }
}
