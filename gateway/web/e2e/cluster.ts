// Real servers for the browser tests: a Redis and any number of gateways, each on a free port, all ended at the end.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";

const BINARY = process.env["ROOKERY_BIN"] ?? resolve(import.meta.dirname, "../../../target/debug/rookery");
const START_MS = 60_000;

export interface Gateway {
  url: string;
  node: string;
  admin: string;
  /** Ends it as a crash would. */
  kill(): Promise<void>;
}

function ended(child: ChildProcess): Promise<void> {
  return child.exitCode !== null || child.signalCode !== null ? Promise.resolve() : new Promise((done) => child.once("exit", () => done()));
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  await new Promise((done) => server.close(done));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

export class Cluster {
  private readonly children: ChildProcess[] = [];
  private readonly folder = mkdtempSync(join(tmpdir(), "rookery-web-"));
  private redis: string | null = null;
  private count = 0;

  /** Gateways without Redis know nothing of each other: one is a whole server. */
  static async alone(...flags: string[]): Promise<{ cluster: Cluster; gateway: Gateway }> {
    const cluster = new Cluster();
    return { cluster, gateway: await cluster.gateway(...flags) };
  }

  static async withRedis(): Promise<Cluster> {
    const cluster = new Cluster();
    const port = await freePort();
    const child = spawn("redis-server", ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", cluster.folder], { stdio: ["ignore", "pipe", "inherit"] });
    cluster.children.push(child);
    await line(child, (text) => text.includes("Ready to accept connections"));
    cluster.redis = `redis://127.0.0.1:${port}`;
    return cluster;
  }

  async gateway(...flags: string[]): Promise<Gateway> {
    const node = `node-${++this.count}`;
    const shared = this.redis ? ["--redis-url", this.redis, "--token-secret", "a secret for tests that is long enough for HS256"] : [];
    const data = join(this.folder, this.redis ? node : "data");
    const args = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--node-id", node, "--data-dir", data, ...shared, ...flags];
    const child = spawn(BINARY, args, { stdio: ["ignore", "pipe", process.env["VERBOSE"] ? "inherit" : "ignore"] });
    this.children.push(child);
    const first = await line(child, (text) => text.startsWith("listening "));
    const [, address, admin] = /http=(\S+) admin=(\S+)/.exec(first) ?? [];
    if (!address || !admin) throw new Error(`unexpected first line: ${first}`);
    return {
      url: `http://${address}`,
      admin: `http://${admin}`,
      node,
      kill: async () => {
        child.kill("SIGKILL");
        await ended(child);
      },
    };
  }

  /** Takes everything from a gateway that is alone and killed but its archive and its secret: no log is left to read a game from. */
  loseLogs(): void {
    const data = join(this.folder, "data");
    for (const name of readdirSync(data)) {
      if (!/^rookery\.db|^token-secret/.test(name)) rmSync(join(data, name), { recursive: true });
    }
  }

  async stop(): Promise<void> {
    for (const child of this.children) child.kill("SIGKILL");
    await Promise.all(this.children.map(ended));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** First line of the child's output that is wanted. */
function line(child: ChildProcess, wanted: (text: string) => boolean): Promise<string> {
  return new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`${child.spawnfile} did not start in ${START_MS} ms`)), START_MS);
    child.once("error", (error) => fail(new Error(`${child.spawnfile}: ${error.message}`)));
    child.once("exit", (code) => fail(new Error(`${child.spawnfile} ended with ${code}`)));
    if (!child.stdout) return fail(new Error("no output"));
    createInterface(child.stdout).on("line", (text) => {
      if (!wanted(text)) return;
      clearTimeout(timer);
      done(text);
    });
  });
}
