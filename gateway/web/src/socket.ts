// The connection to whichever gateway answers: opens it, keeps it alive, opens it again. It knows requests and answers
// but no chess; who is in which room, and what to ask again after a reconnect, is decided in app.ts through `hold`.

import {
  CLOSE_CODES,
  type ClientMessages,
  type ErrorBody,
  type Event,
  type Reconnect,
  type RequestId,
  type ServerMessage,
  type Welcome,
} from "./protocol/messages.ts";

/** Longest wait between two attempts, and the first; each wait is a random part of the doubled last one. */
const BACKOFF_MS = { first: 500, most: 30_000 };
/** A connection that lived so long was a good one: the next failure starts with the shortest wait again. */
const STABLE_MS = 10_000;
/** Window for coming back after 1001 or 1012 when the node did not announce one by `drain`. */
const JITTER_MS = 1_000;
/** How long an answer to a ping may take. A browser notices a dead network only after minutes. */
const PONG_TIMEOUT_MS = 5_000;
/** How long opening a connection may take, `welcome` included. */
const OPEN_TIMEOUT_MS = 10_000;
/** Pauses before the first pings, which settle the clock; then one each `calm` or, while playing, each `busy`. */
const PING_MS = { settle: [300, 1_000, 3_000], busy: 10_000, calm: 25_000 };
/** Times that a request answered `unavailable` is asked again before the person is told. */
const RETRIES_MAX = 20;
/** The first refusal may be a hiccup; after so many, and again after as many more, the person is told. */
const TROUBLE_EVERY = 3;

export type Answer = ServerMessage & { id?: RequestId };
export type Incoming = Answer | Event;
type Kind = keyof ClientMessages;

/** What the connection is doing. */
export type Status =
  | { kind: "connecting" }
  | { kind: "live" }
  | { kind: "waiting"; until: number }
  | { kind: "stopped"; code: number; reason: string };

export interface Callbacks {
  /** First message of each connection; requests held back wait until `release` if this returns true. */
  welcome(welcome: Welcome): boolean;
  /** Everything that is not the answer to a ping. Called before the request's own promise settles. */
  message(message: Incoming): void;
  status(status: Status): void;
  /** A ping came back: for the shown latency and the clock. */
  pong(serverTime: number, sentAt: number, receivedAt: number): void;
  /** A request was refused for now more than once, and goes on being asked. */
  trouble(): void;
}

/** The part of a WebSocket that is used, so that tests can bring their own. */
export interface SocketLike {
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

export interface Options {
  open(): SocketLike;
  random?(): number;
  now?(): number;
}

/** A request was refused; `body` is the gateway's own words. */
export class Refused extends Error {
  constructor(readonly body: ErrorBody) {
    super(body.message);
  }
}

/** The connection ended before the answer came, and the request is of a kind that is not repeated by itself. */
export class Lost extends Error {}

interface Pending {
  id: number;
  text: string;
  /** May be sent again on another connection: the gateway gives the first answer again. */
  repeat: boolean;
  /** Is about getting into a room, so it is never held back. */
  urgent: boolean;
  /** The connection it was last sent on. */
  sentOn: number;
  retries: number;
  resolve(answer: Answer): void;
  reject(error: Error): void;
}

export interface Asked {
  answer: Promise<Answer>;
  /** Its effect is known already: never send it again. */
  forget(): void;
}

/** What to do after a close code: by the table, else by its range. */
export function afterClose(code: number): Reconnect {
  const row = CLOSE_CODES[code];
  if (row) return row[1];
  return code === 1005 || code === 1006 || (code >= 4000 && code < 4500) ? "backoff" : "never";
}

export class Connection {
  status: Status = { kind: "connecting" };
  /** The gateway that last said `welcome`. */
  node = "";

  private socket: SocketLike | null = null;
  private generation = 0;
  private failures = 0;
  private liveSince = 0;
  private held = false;
  private drainWindow: number | null = null;
  private nextId = 1;
  private pings = 0;
  private busy = false;
  private readonly pending = new Map<number, Pending>();
  private readonly timers = new Map<string, ReturnType<typeof setTimeout>>();
  private readonly random: () => number;
  private readonly now: () => number;

  constructor(
    private readonly callbacks: Callbacks,
    private readonly options: Options,
  ) {
    this.random = options.random ?? Math.random;
    this.now = options.now ?? (() => Date.now());
  }

  /** Opens a connection, at once. */
  connect(): void {
    this.abandon();
    this.generation += 1;
    const generation = this.generation;
    this.setStatus({ kind: "connecting" });
    this.after("open", OPEN_TIMEOUT_MS, () => this.lost(1006, ""));
    let socket: SocketLike;
    try {
      socket = this.options.open();
    } catch {
      this.lost(1006, "");
      return;
    }
    this.socket = socket;
    socket.onmessage = (event) => {
      if (generation === this.generation) this.receive(String(event.data));
    };
    socket.onclose = (event) => {
      if (generation === this.generation) this.lost(event.code, event.reason);
    };
  }

  /** The person is back, or the network is: no more waiting, and a quick look whether the connection still lives. */
  hurry(): void {
    if (this.status.kind === "waiting") this.connect();
    else if (this.status.kind === "live") this.ping();
  }

  /** Pings more often while a clock runs for somebody here. */
  setBusy(busy: boolean): void {
    this.busy = busy;
  }

  /** Asks the gateway. Without a connection the request waits for one. */
  request<K extends Kind>(type: K, payload: ClientMessages[K], how: { repeat?: boolean; urgent?: boolean } = {}): Asked {
    const id = this.nextId++;
    let pending!: Pending;
    const answer = new Promise<Answer>((resolve, reject) => {
      const text = JSON.stringify({ type, id, payload });
      const { repeat = false, urgent = false } = how;
      pending = { id, text, repeat, urgent, sentOn: 0, retries: 0, resolve, reject };
    });
    this.pending.set(id, pending);
    if (this.status.kind === "stopped") this.settle(pending, () => pending.reject(new Lost("not connected")));
    else this.transmit(pending);
    return { answer, forget: () => this.pending.delete(id) };
  }

  /** The rooms are joined again: what waited for that may go. */
  release(): void {
    this.held = false;
    for (const pending of this.pending.values()) this.transmit(pending);
  }

  private transmit(pending: Pending): void {
    if (this.status.kind !== "live" || pending.sentOn === this.generation || (this.held && !pending.urgent)) return;
    pending.sentOn = this.generation;
    this.socket?.send(pending.text);
  }

  private receive(text: string): void {
    let message: Incoming;
    try {
      message = JSON.parse(text) as Incoming;
    } catch {
      return;
    }
    if ("seq" in message) return this.callbacks.message(message);
    switch (message.type) {
      case "welcome":
        return this.welcomed(message.payload);
      case "pong":
        this.clear("pong");
        if (typeof message.payload.t === "number") {
          this.callbacks.pong(message.payload.serverTime, message.payload.t, this.now());
        }
        return;
      case "drain":
        return this.drain(message.payload.reconnectWithinMs);
    }
    const pending = typeof message.id === "number" ? this.pending.get(message.id) : undefined;
    if (message.type === "error" && pending?.repeat && message.payload.retryable && pending.retries < RETRIES_MAX) {
      return this.retry(pending, message.payload);
    }
    this.callbacks.message(message);
    if (!pending) return;
    if (message.type === "error") this.settle(pending, () => pending.reject(new Refused(message.payload)));
    else this.settle(pending, () => pending.resolve(message));
  }

  private welcomed(welcome: Welcome): void {
    this.clear("open");
    this.node = welcome.node;
    this.liveSince = this.now();
    this.drainWindow = null;
    this.pings = 0;
    this.schedulePing();
    this.held = true;
    this.setStatus({ kind: "live" });
    this.held = this.callbacks.welcome(welcome);
    for (const pending of this.pending.values()) this.transmit(pending);
  }

  private retry(pending: Pending, error: ErrorBody): void {
    pending.retries += 1;
    if (pending.retries % TROUBLE_EVERY === 0) this.callbacks.trouble();
    const wait = error.retryAfterMs ?? this.random() * Math.min(3_000, 200 * 2 ** pending.retries);
    this.after(`retry ${pending.id}`, wait, () => {
      if (!this.pending.has(pending.id)) return;
      pending.sentOn = 0;
      this.transmit(pending);
    });
  }

  private settle(pending: Pending, how: () => void): void {
    this.pending.delete(pending.id);
    how();
  }

  /** The node is leaving: come back, to another one, at a moment that the other clients will not choose too. */
  private drain(window: number): void {
    this.drainWindow = window;
    this.after("drain", this.random() * window, () => {
      this.dropUnrepeatable();
      this.connect();
    });
  }

  private schedulePing(): void {
    const steady = this.busy ? PING_MS.busy : PING_MS.calm;
    this.after("ping", PING_MS.settle[this.pings] ?? steady, () => this.ping());
  }

  private ping(): void {
    if (this.status.kind !== "live") return;
    this.pings += 1;
    this.socket?.send(JSON.stringify({ type: "ping", payload: { t: this.now() } }));
    if (!this.timers.has("pong")) this.after("pong", PONG_TIMEOUT_MS, () => this.lost(1006, ""));
    this.schedulePing();
  }

  private lost(code: number, reason: string): void {
    if (this.liveSince && this.now() - this.liveSince >= STABLE_MS) this.failures = 0;
    this.abandon();
    this.dropUnrepeatable();
    const how = afterClose(code);
    if (how === "never") {
      this.setStatus({ kind: "stopped", code, reason });
      for (const pending of this.pending.values()) this.settle(pending, () => pending.reject(new Lost("not connected")));
      return;
    }
    const most =
      how === "jitter" && this.failures === 0
        ? (this.drainWindow ?? JITTER_MS)
        : Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** this.failures);
    this.failures += 1;
    const wait = this.random() * most;
    this.setStatus({ kind: "waiting", until: this.now() + wait });
    this.after("reconnect", wait, () => this.connect());
  }

  /** What was sent and may not be sent twice has an unknown end: its asker is told so. */
  private dropUnrepeatable(): void {
    for (const pending of this.pending.values()) {
      if (pending.sentOn && !pending.repeat) this.settle(pending, () => pending.reject(new Lost("connection lost")));
    }
  }

  private abandon(): void {
    const socket = this.socket;
    this.socket = null;
    this.generation += 1;
    this.liveSince = 0;
    for (const name of this.timers.keys()) if (!name.startsWith("retry")) this.clear(name);
    if (!socket) return;
    socket.onmessage = null;
    socket.onclose = null;
    try {
      socket.close(1000);
    } catch {
      // It was never open, or is closed already.
    }
  }

  private setStatus(status: Status): void {
    this.status = status;
    this.callbacks.status(status);
  }

  private after(name: string, ms: number, run: () => void): void {
    this.clear(name);
    const timer = setTimeout(() => {
      this.timers.delete(name);
      run();
    }, ms);
    this.timers.set(name, timer);
  }

  private clear(name: string): void {
    clearTimeout(this.timers.get(name));
    this.timers.delete(name);
  }
}
