// Socket.IO with its Redis adapter: what one client emits goes to everybody in the room, on every process.

import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { Redis } from "ioredis";
import { Server } from "socket.io";
import { listening } from "./listening.mjs";

const [url] = process.argv.slice(2);
const publisher = new Redis(url);
const http = createServer();
const io = new Server(http, {
  adapter: createAdapter(publisher, publisher.duplicate()),
  transports: ["websocket"],
  perMessageDeflate: false,
  serveClient: false,
});

io.on("connection", (socket) => {
  socket.join("room");
  socket.on("event", (event) => io.to("room").emit("event", event));
});
http.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => listening(http.address()));
