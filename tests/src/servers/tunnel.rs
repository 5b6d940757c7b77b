//! A proxy before a server, that can swallow, hold up or delay what goes through it, or cut the connections.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
    time::sleep,
};

/// Time between two looks whether what was held up may go on.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What a connection says that is to hear something: `SUBSCRIBE`, `SSUBSCRIBE`, `PSUBSCRIBE`.
const SUBSCRIBE: &[u8] = b"SUBSCRIBE";

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
    stalling: AtomicBool,
    delay_out_ms: AtomicU64,
    cut: Notify,
    /// Connections made so far.
    connections: AtomicUsize,
    /// Connections from before the last call of [`Tunnel::swallow`] have a lower number and are swallowed.
    swallow_before: AtomicUsize,
    /// The same of [`Tunnel::deafen`], for those that have subscribed.
    deaf_before: AtomicUsize,
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

    /// From now on, nothing comes back over those connections there are that have subscribed to anything; others, and new ones,
    /// work.
    pub fn deafen(&self) {
        let made = self.state.connections.load(Ordering::SeqCst);
        self.state.deaf_before.store(made, Ordering::SeqCst);
    }

    /// From now on, nothing comes back over any connection, old or new, until called with `false`.
    pub fn swallow_all(&self, on: bool) {
        self.state.swallowing.store(on, Ordering::SeqCst);
    }

    /// Whether new connections are closed at once.
    pub fn refuse(&self, on: bool) {
        self.state.refusing.store(on, Ordering::SeqCst);
    }

    /// Whether everything is held up, both ways, on connections that stay; it goes on when called with `false`.
    pub fn stall(&self, on: bool) {
        self.state.stalling.store(on, Ordering::SeqCst);
    }

    /// From now on, what goes to the server takes so much longer, and what comes back does not: who learns the server's clock
    /// from timed answers is wrong by half of it.
    pub fn delay_out(&self, delay: Duration) {
        let ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.state.delay_out_ms.store(ms, Ordering::SeqCst);
    }

    /// Cuts all connections there are.
    pub fn cut(&self) {
        self.state.cut.notify_waiters();
    }

    /// Connections made so far.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
}

impl State {
    async fn passable(&self) {
        while self.stalling.load(Ordering::SeqCst) {
            sleep(LOOK_EVERY).await;
        }
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
    let there = state.clone();
    let cut = state.clone();
    let subscribed = AtomicBool::new(false);
    let out = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let len = from_client.read(&mut buffer).await.unwrap_or(0);
            if buffer[..len]
                .windows(SUBSCRIBE.len())
                .any(|text| text == SUBSCRIBE)
            {
                subscribed.store(true, Ordering::SeqCst);
            }
            let delay = there.delay_out_ms.load(Ordering::SeqCst);
            if delay > 0 {
                sleep(Duration::from_millis(delay)).await;
            }
            there.passable().await;
            if len == 0 || to_server.write_all(&buffer[..len]).await.is_err() {
                return;
            }
        }
    };
    let back = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let len = from_server.read(&mut buffer).await.unwrap_or(0);
            if len == 0 {
                return;
            }
            state.passable().await;
            let swallowed = state.swallowing.load(Ordering::SeqCst)
                || number < state.swallow_before.load(Ordering::SeqCst)
                || subscribed.load(Ordering::SeqCst)
                    && number < state.deaf_before.load(Ordering::SeqCst);
            if !swallowed && to_client.write_all(&buffer[..len]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = out => {}
        () = back => {}
        () = cut.cut.notified() => {}
    }
}
