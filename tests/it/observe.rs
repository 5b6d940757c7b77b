//! The alert rules and the dashboard, against a real Prometheus that scrapes real nodes: an expression that nothing answers is a
//! panel that is empty, or an alert that never comes.

use crate::scenarios;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Stdio,
};
use tests::{
    cluster::{Over, until},
    http,
    player::UNTIMED,
    scene::Scene,
    servers::free_port,
};

scenarios!(only Processes as processes: every_expression_is_answered);

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(path)
}

async fn promtool(words: &[&str]) {
    let mut command = tokio::process::Command::new("promtool");
    let output = command
        .current_dir(deploy("prometheus"))
        .args(words)
        .output()
        .await;
    let output = output.expect("promtool (Debian: prometheus)");
    let text = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "promtool {words:?}: {text}");
}

#[tokio::test]
async fn the_alert_rules_do_what_their_tests_say() {
    promtool(&["check", "rules", "alerts.yaml"]).await;
    promtool(&["test", "rules", "alerts_test.yaml"]).await;
}

/// The dashboard's expressions, as Grafana asks them.
fn dashboard() -> Vec<String> {
    let text = std::fs::read_to_string(deploy("grafana/rookery.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    let expressions: Vec<String> = targets
        .map(|target| {
            target["expr"]
                .as_str()
                .unwrap()
                .replace("$__rate_interval", "1m")
                .replace("$instance", ".*")
        })
        .collect();
    assert!(
        expressions.len() > 20
            && expressions
                .iter()
                .all(|expression| !expression.contains('$')),
        "{expressions:#?}"
    );
    expressions
}

/// The names of our metrics in an expression.
fn names(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("rookery_") || word.starts_with("process_"));
    ours.map(|name| name.strip_suffix("_bucket").unwrap_or(name).to_owned())
        .collect()
}

/// A Prometheus on a port of its own, gone when dropped.
struct Prometheus {
    address: std::net::SocketAddr,
    _process: tokio::process::Child,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    async fn start(targets: &[String]) -> Prometheus {
        let folder = tempfile::tempdir().unwrap();
        let rules = std::fs::canonicalize(deploy("prometheus/alerts.yaml")).unwrap();
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{rules:?}]\n\
             scrape_configs: [{{job_name: rookery, static_configs: [{{targets: {targets:?}}}]}}]\n"
        );
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let address: std::net::SocketAddr = ([127, 0, 0, 1], free_port()).into();
        let mut command = tokio::process::Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let process = command.spawn().expect("prometheus (Debian: prometheus)");
        let prometheus = Prometheus {
            address,
            _process: process,
            _folder: folder,
        };
        until("Prometheus is ready", async || {
            http::try_send(address, "GET", "/-/ready", &[])
                .await
                .is_ok_and(|reply| reply.status == 200)
        })
        .await;
        prometheus
    }

    async fn ask(&self, path: &str) -> Value {
        let reply = http::get(self.address, path).await.json();
        assert_eq!(reply["status"], "success", "{path}: {reply}");
        reply["data"].clone()
    }

    /// How many series answer an expression.
    async fn series(&self, expression: &str) -> usize {
        let query: String = expression
            .bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
                byte => format!("%{byte:02X}"),
            })
            .collect();
        self.ask(&format!("/api/v1/query?query={query}")).await["result"]
            .as_array()
            .unwrap()
            .len()
    }
}

async fn every_expression_is_answered(over: Over) {
    let scene = Scene::start(over, 1).await;
    let admin = scene.node(0).admin;
    let mut game = scene.game(UNTIMED, 0, 0).await;
    game.plays(&["e4", "e5"]).await;
    let prometheus = Prometheus::start(&[admin.to_string()]).await;
    // Rates need two scrapes.
    until("it has scraped twice", async || {
        prometheus
            .series("rate(rookery_deliveries_total[1m])")
            .await
            == 1
    })
    .await;
    let told = http::get(admin, "/metrics").await.text();
    let told: BTreeSet<&str> = told
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    for expression in dashboard() {
        assert!(
            prometheus.series(&expression).await > 0,
            "nothing answers {expression}"
        );
        for name in names(&expression) {
            assert!(
                told.contains(name.as_str()),
                "{name} is not told: {expression}"
            );
        }
    }
    let rules = prometheus.ask("/api/v1/rules").await;
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.len() >= 13, "{rules:#?}");
    until("every rule was evaluated", async || {
        let rules = prometheus.ask("/api/v1/rules").await;
        let rules = rules["groups"][0]["rules"].as_array().unwrap().clone();
        rules.iter().all(|rule| rule["health"] == "ok")
    })
    .await;
    for rule in rules {
        let expression = rule["query"].as_str().unwrap();
        for name in names(expression) {
            assert!(
                told.contains(name.as_str()),
                "{name} is not told: {expression}"
            );
            assert!(
                prometheus.series(&name).await > 0
                    || prometheus.series(&format!("{name}_bucket")).await > 0,
                "{name} has no series"
            );
        }
    }
    scene.ends().await;
}
