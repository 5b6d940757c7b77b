//! A proxy before a server, that can swallow what goes through it without cutting the connection.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A listener on 127.0.0.1 that hands everything to another port and back.
#[derive(Debug)]
pub struct Tunnel {
    port: u16,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    swallowing: AtomicBool,
    refusing: AtomicBool,
    /// Connections made so far.
    connections: AtomicUsize,
    /// Connections from before the last call of [`Tunnel::swallow`] have a lower number and are swallowed.
    swallow_before: AtomicUsize,
}

impl Tunnel {
    /// Opens a tunnel to a port of this machine.
    pub async fn to(target: u16) -> Tunnel {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound listener").port();
        let state = Arc::<State>::default();
        let accepting = tokio::spawn(accept(listener, target, state.clone()));
        Tunnel {
            port,
            state,
            accepting,
        }
    }

    /// Where to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `redis://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// From now on, nothing comes back over the connections there are; new ones work.
    pub fn swallow(&self) {
        let made = self.state.connections.load(Ordering::SeqCst);
        self.state.swallow_before.store(made, Ordering::SeqCst);
    }

    /// From now on, nothing comes back over any connection, old or new, until called with `false`.
    pub fn swallow_all(&self, on: bool) {
        self.state.swallowing.store(on, Ordering::SeqCst);
    }

    /// Whether new connections are closed at once.
    pub fn refuse(&self, on: bool) {
        self.state.refusing.store(on, Ordering::SeqCst);
    }

    /// Connections made so far.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, target: u16, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        if state.refusing.load(Ordering::SeqCst) {
            continue;
        }
        let number = state.connections.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(carry(client, target, state.clone(), number));
    }
}

async fn carry(client: TcpStream, target: u16, state: Arc<State>, number: usize) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let out = async move { tokio::io::copy(&mut from_client, &mut to_server).await };
    let back = async move {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let len = from_server.read(&mut buffer).await.unwrap_or(0);
            if len == 0 {
                return;
            }
            let swallowed = state.swallowing.load(Ordering::SeqCst)
                || number < state.swallow_before.load(Ordering::SeqCst);
            if !swallowed && to_client.write_all(&buffer[..len]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        _ = out => {}
        () = back => {}
    }
}
