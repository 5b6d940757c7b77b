// Node's ws with ioredis: what one client says goes through Redis to every client of every process.

import { WebSocketServer } from "ws";
import { Redis } from "ioredis";
import { listening } from "./listening.mjs";

const [url] = process.argv.slice(2);
const publisher = new Redis(url);
const subscriber = new Redis(url);
const server = new WebSocketServer({ host: "127.0.0.1", port: 0, backlog: 4096, perMessageDeflate: false });

server.on("connection", (socket) => {
  socket.on("message", (event) => publisher.publish("room", event));
});
subscriber.on("messageBuffer", (_channel, event) => {
  for (const socket of server.clients) {
    if (socket.readyState === socket.OPEN) socket.send(event, { binary: false });
  }
});
await subscriber.subscribe("room");
if (server.address()) listening(server.address());
else server.on("listening", () => listening(server.address()));
