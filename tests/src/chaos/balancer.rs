//! A real HAProxy before the gateways: it asks their admin ports who is ready.

use crate::{
    cluster::{Cluster, Doors},
    servers::{PATIENCE, Process, free_port},
};
use std::{fmt::Write, net::SocketAddr, process::Command};
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    time::{Duration, Instant, sleep},
};

/// See the module.
pub struct Balancer {
    door: SocketAddr,
    _process: Process,
    _dir: TempDir,
}

impl Balancer {
    /// Starts it; answers when it takes connections.
    pub async fn start(cluster: &Cluster) -> Balancer {
        let door = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut config = format!(
            "defaults\n mode http\n timeout connect 1s\n timeout client 1h\n timeout server 1h\n timeout tunnel 1h\n\
             frontend door\n bind {door}\n default_backend gateways\n\
             backend gateways\n balance leastconn\n option redispatch\n retries 3\n option httpchk GET /readyz\n\
             \x20default-server check inter 100ms fall 1 rise 1\n"
        );
        for node in cluster.living() {
            let (name, http, admin) = (&node.name, node.http, node.admin.port());
            writeln!(config, " server {name} {http} port {admin}").expect("memory");
        }
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("haproxy.cfg");
        std::fs::write(&file, config).expect("our own directory");
        let mut command = Command::new("haproxy");
        // Debian installs it where only root looks.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin"));
        command.arg("-db").arg("-f").arg(&file);
        let process = Process::start(&mut command, "haproxy");
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(door).await.is_err() {
            assert!(process.ended().is_none(), "haproxy ended at once");
            assert!(Instant::now() < end, "haproxy takes no connections");
            sleep(Duration::from_millis(20)).await;
        }
        Balancer {
            door,
            _process: process,
            _dir: dir,
        }
    }

    /// The one door that clients know.
    pub fn doors(&self) -> Doors {
        Doors::at(vec![self.door])
    }
}
