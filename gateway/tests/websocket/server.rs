//! An echo server in this process, on a free port.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use gateway::fanout::Engine;
use gateway::websocket::Limits;
use gateway::websocket::listen::{HttpLimits, bind, serve};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::echo;

pub struct Server {
    pub address: SocketAddr,
    pub stop: CancellationToken,
    pub sockets: TaskTracker,
    pub serving: JoinHandle<()>,
}

impl Server {
    pub fn start() -> Server {
        Server::with(echo::limits(), HttpLimits::default())
    }

    pub fn with(limits: Limits, http: HttpLimits) -> Server {
        let stop = CancellationToken::new();
        let sockets = TaskTracker::new();
        let engine = Engine::start(1).unwrap();
        let router = echo::router(engine, limits, sockets.clone(), stop.clone());
        Server::run(router, http, sockets, stop)
    }

    pub fn serving(router: Router, http: HttpLimits) -> Server {
        Server::run(router, http, TaskTracker::new(), CancellationToken::new())
    }

    fn run(
        router: Router,
        http: HttpLimits,
        sockets: TaskTracker,
        stop: CancellationToken,
    ) -> Server {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Server {
            address: listener.local_addr().unwrap(),
            serving: tokio::spawn(serve(listener, router, http, stop.clone())),
            stop,
            sockets,
        }
    }

    /// Stops the server, which must be able to.
    pub async fn stop(self) {
        self.stop.cancel();
        self.sockets.close();
        let stopped = async {
            self.serving.await.unwrap();
            self.sockets.wait().await;
        };
        tokio::time::timeout(Duration::from_secs(20), stopped)
            .await
            .expect("the server stops");
    }
}
