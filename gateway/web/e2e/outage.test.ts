// The connection breaks in all its ways, and the game goes on. A small relay in front of the gateways plays the load
// balancer: it sends each new connection to the first gateway that takes it.

import { createServer, connect, type Server, type Socket } from "node:net";
import type { Browser } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { Cluster, type Gateway } from "./cluster.ts";
import { openBrowser, pair, Person, playAll } from "./table.ts";

class Relay {
  private readonly sockets = new Set<Socket>();
  /** Bytes from browsers go nowhere, and none come: a network that is gone without a word. */
  private silent = false;

  private constructor(private readonly server: Server, readonly url: string) {}

  static async before(gateways: () => Gateway[]): Promise<Relay> {
    const server = createServer((client) => relay.accept(client, gateways()));
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    const relay = new Relay(server, `http://127.0.0.1:${address.port}`);
    return relay;
  }

  private accept(client: Socket, [first, ...others]: Gateway[]): void {
    this.sockets.add(client);
    client.on("error", () => client.destroy());
    if (!first) return void client.destroy();
    const { hostname, port } = new URL(first.url);
    const up = connect(Number(port), hostname);
    this.sockets.add(up);
    up.once("error", () => {
      up.destroy();
      if (!up.bytesRead && others.length > 0 && !client.destroyed) this.accept(client, others);
      else client.destroy();
    });
    up.once("connect", () => {
      client.on("data", (data) => this.silent || up.write(data));
      up.on("data", (data) => this.silent || client.write(data));
      client.once("close", () => up.destroy());
      up.once("close", () => client.destroy());
    });
  }

  cut(): void {
    for (const socket of this.sockets) socket.destroy();
    this.sockets.clear();
  }

  set silence(on: boolean) {
    this.silent = on;
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise((done) => this.server.close(done));
  }
}

let browser: Browser;
let cluster: Cluster;
let relay: Relay;
let gateways: Gateway[];
let open: Gateway[];

beforeAll(async () => void (browser = await openBrowser()));
afterAll(async () => browser?.close());
beforeEach(async () => {
  cluster = await Cluster.withRedis();
  gateways = await Promise.all([cluster.gateway(), cluster.gateway()]);
  open = gateways;
  relay = await Relay.before(() => open);
});
afterEach(async () => {
  await relay?.stop();
  await cluster?.stop();
});

test("a gateway is killed in the middle of a game, and both play on without reloading", async () => {
  const a = await (await Person.enter(browser)).visit(relay.url);
  const b = await (await Person.enter(browser)).visit(relay.url);
  const [white, black] = await pair(a, b);
  for (const person of [white, black]) {
    await person.seesConnectedTo("node-1");
    // Lost if the page were loaded again.
    await person.page.evaluate(() => Object.assign(globalThis, { loadedOnce: true }));
  }
  await playAll(white, black, ["e2e4", "e7e5", "g1f3"]);
  await gateways[0]!.kill();
  for (const person of [white, black]) {
    await person.seesConnectedTo("node-2");
    await person.seesText("Reconnected to node-2, resumed at move 2");
  }
  await playAll(black, white, ["b8c6", "f1b5"]);
  for (const person of [white, black]) {
    await person.seesMoves("e4", "e5", "Nf3", "Nc6", "Bb5");
    expect(await person.page.evaluate(() => "loadedOnce" in globalThis)).toBe(true);
    // Requests of plain HTTP may fail while there is no gateway; nothing else may go wrong.
    person.complaints.splice(0, Infinity, ...person.complaints.filter((text) => !text.includes("ERR_")));
    await person.leave();
  }
});

test("a node that is drained hands its players to another without a word on their screens", async () => {
  const a = await (await Person.enter(browser)).visit(relay.url);
  const b = await (await Person.enter(browser)).visit(relay.url);
  const [white, black] = await pair(a, b);
  await playAll(white, black, ["e2e4", "e7e5"]);
  for (const person of [white, black]) {
    await person.page.evaluate(() => {
      new MutationObserver(() => {
        if (document.querySelector(".banner")) Object.assign(globalThis, { sawBanner: true });
      }).observe(document.body, { childList: true, subtree: true });
    });
  }
  // As a load balancer does that sees the node is not ready any more.
  open = [gateways[1]!];
  const drained = fetch(`${gateways[0]!.admin}/drain`, { method: "POST" });
  for (const person of [white, black]) await person.seesText("Reconnected to node-2, resumed at move 2");
  await playAll(white, black, ["g1f3", "b8c6"]);
  for (const person of [white, black]) {
    await person.seesMoves("e4", "e5", "Nf3", "Nc6");
    expect(await person.page.evaluate(() => "sawBanner" in globalThis)).toBe(false);
    await person.leave();
  }
  await drained.catch(() => undefined);
});

test("a move made while the network is silent is neither lost nor doubled", async () => {
  const a = await (await Person.enter(browser)).visit(relay.url);
  const b = await (await Person.enter(browser)).visit(gateways[1]!.url);
  const [white, black] = await pair(a, b);
  await playAll(white, black, ["e2e4", "e7e5"]);
  // Who comes through the relay is the one whose network fails.
  const [cutOff, other] = a === white ? [white, black] : [black, white];
  if (cutOff === black) await playAll(white, black, ["g1f3"]);
  relay.silence = true;
  const [from, to, piece] = cutOff === white ? (["g1", "f3", "wn"] as const) : (["b8", "c6", "bn"] as const);
  await cutOff.clickMove(from, to);
  await cutOff.sees(to, piece);
  await cutOff.seesText(/Connection lost. Reconnecting/);
  expect(await other.pieceOn(to)).toBeNull();
  relay.cut();
  relay.silence = false;
  await other.sees(to, piece);
  await cutOff.seesText(/Reconnected to node-1, resumed at move 2/);
  const wanted = cutOff === white ? ["e4", "e5", "Nf3"] : ["e4", "e5", "Nf3", "Nc6"];
  for (const person of [white, black]) await person.seesMoves(...wanted);
  await expect.poll(() => cutOff.page.getByText(/Connection lost/).count()).toBe(0);
  for (const person of [white, black]) {
    person.complaints.splice(0, Infinity, ...person.complaints.filter((text) => !text.includes("ERR_")));
    await person.leave();
  }
});
