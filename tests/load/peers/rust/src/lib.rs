//! What both programs need: a listener with a backlog for a crowd, and an end.

use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpSocket},
};

/// A port of its own, told on the first line.
pub fn listen() -> anyhow::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    let listener = socket.listen(4096)?;
    println!("listening http={}", listener.local_addr()?);
    Ok(listener)
}

/// Serves until standard input ends.
pub async fn serve(router: axum::Router) -> anyhow::Result<()> {
    let listener = listen()?;
    let mut byte = [0];
    let mut stdin = tokio::io::stdin();
    tokio::select! {
        served = axum::serve(listener, router) => Ok(served?),
        _ = stdin.read(&mut byte) => Ok(()),
    }
}

/// The URL of Redis, the only argument.
pub fn redis_url() -> anyhow::Result<String> {
    std::env::args()
        .nth(1)
        .ok_or_else(|| anyhow::anyhow!("the URL of Redis is missing"))
}
