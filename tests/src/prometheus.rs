//! A Prometheus of the test's own: a free port, a temporary folder, the project's own alert rules, and a look every second.

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::catalogue::project_file;
use crate::client::http_client;
use crate::group::{Group, temporary_folder};
use crate::ports::free_port;
use crate::process::Process;
use crate::wait::{LONG, wait_for};

#[derive(Debug)]
pub struct Prometheus {
    _group: Group,
    _folder: TempDir,
    url: String,
}

/// Says a line that is seen although the test passes: libtest keeps what is printed by `println!`.
pub fn say_skipped(words: &str) {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "skipped: {words}").ok();
}

impl Prometheus {
    /// Looks at these processes, each under its job. Nothing where Prometheus is not installed.
    pub async fn start(jobs: &[(&str, &[&Process])]) -> Option<Self> {
        Command::new("prometheus")
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .ok()?;
        let folder = temporary_folder("prometheus");
        let rules = project_file("deploy/prometheus/alerts.yml").canonicalize().expect("the project's rules");
        let mut settings = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{:?}]\nscrape_configs:\n",
            rules
        );
        for (job, processes) in jobs {
            let targets: Vec<_> = processes.iter().map(|process| process.address()).collect();
            writeln!(settings, "- job_name: {job}\n  static_configs: [{{targets: {targets:?}}}]")
                .expect("memory");
        }
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, settings).expect("the temporary folder takes files");
        let address = format!("127.0.0.1:{}", free_port());
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address={address}")).current_dir(folder.path());
        let mut group = Group::spawn(command.stdout(Stdio::null()).stderr(log));
        let url = format!("http://{address}");
        wait_for("Prometheus is ready", LONG, || {
            let log = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            assert!(group.exited().is_none(), "Prometheus ended: {}", log());
            let asking = http_client().get(format!("{url}/-/ready")).send();
            async { asking.await.ok().filter(|answer| answer.status() == 200).map(drop) }
        })
        .await;
        Some(Self { _group: group, _folder: folder, url })
    }

    /// What an expression gives now: each series with its labels and its value.
    pub async fn query(&self, expression: &str) -> Vec<(Value, f64)> {
        let answer = self.get("query", &[("query", expression)]).await;
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        let result = answer["data"]["result"].as_array().expect("a list").clone();
        result
            .into_iter()
            .map(|it| {
                let value = it["value"][1].as_str().and_then(|text| text.parse().ok());
                (it["metric"].clone(), value.expect("a number"))
            })
            .collect()
    }

    /// Until some series of an expression is at least `value`.
    pub async fn wait_at_least(&self, expression: &str, value: f64, within: Duration) {
        let what = format!("{expression} is at least {value} in Prometheus");
        wait_for(&what, within, || async {
            self.query(expression).await.iter().any(|(_, seen)| *seen >= value).then_some(())
        })
        .await;
    }

    /// The alerts of that name that fire, each with its labels and annotations.
    pub async fn firing(&self, alert: &str) -> Vec<Value> {
        let answer = self.get("alerts", &[]).await;
        let mut alerts = answer["data"]["alerts"].as_array().cloned().unwrap_or_default();
        alerts.retain(|it| it["labels"]["alertname"] == alert && it["state"] == "firing");
        alerts
    }

    /// Until such an alert fires; the first of them.
    pub async fn wait_firing(&self, alert: &str, within: Duration) -> Value {
        wait_for(&format!("{alert} fires"), within, || async { self.firing(alert).await.into_iter().next() })
            .await
    }

    /// The rules that were evaluated, and those of them that could not be.
    pub async fn rules(&self) -> (usize, Vec<Value>) {
        let answer = self.get("rules", &[]).await;
        let groups = answer["data"]["groups"].as_array().cloned().unwrap_or_default();
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default());
        let rules: Vec<_> = rules.collect();
        (rules.len(), rules.into_iter().filter(|rule| rule["health"] != "ok").collect())
    }

    async fn get(&self, what: &str, parameters: &[(&str, &str)]) -> Value {
        let url = reqwest::Url::parse_with_params(&format!("{}/api/v1/{what}", self.url), parameters);
        let answer = http_client().get(url.expect("an address")).send().await.expect("Prometheus runs");
        let text = answer.text().await.expect("its answer");
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}"))
    }
}
