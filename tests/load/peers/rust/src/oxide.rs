//! socketioxide with its Redis adapter: what one client emits goes to everybody in the room, on every process.

use axum::Router;
use serde_json::Value;
use socketioxide::{
    SocketIo,
    adapter::Emitter,
    extract::{Data, SocketRef},
};
use socketioxide_redis::{RedisAdapter, RedisAdapterCtr};

type Adapter = RedisAdapter<Emitter>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = format!(
        "{}?protocol=resp3",
        peers::redis_url()?.trim_end_matches('/')
    );
    let client = redis::Client::open(url)?;
    let adapter = RedisAdapterCtr::new_with_redis(&client).await?;
    let (layer, io) = SocketIo::builder()
        .with_adapter::<Adapter>(adapter)
        .build_layer();
    io.ns("/", on_connect).await?;
    peers::serve(Router::new().layer(layer)).await
}

async fn on_connect(socket: SocketRef<Adapter>) {
    socket.join("room");
    socket.on("event", on_event);
}

async fn on_event(socket: SocketRef<Adapter>, Data(event): Data<Value>) {
    // `within` is everybody in the room, the sender too.
    if let Err(error) = socket.within("room").emit("event", &event).await {
        eprintln!("not emitted: {error}");
    }
}
