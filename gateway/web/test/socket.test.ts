import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { ServerMessage } from "../src/protocol/messages.ts";
import { afterClose, Connection, type Incoming, Lost, Refused, type SocketLike, type Status } from "../src/socket.ts";

/** The far end of one connection, in the test's hand. */
class FakeSocket implements SocketLike {
  onmessage: SocketLike["onmessage"] = null;
  onclose: SocketLike["onclose"] = null;
  closed = false;
  readonly sent: { type: string; id?: number; payload: Record<string, unknown> }[] = [];
  send(text: string): void {
    this.sent.push(JSON.parse(text) as (typeof this.sent)[number]);
  }
  close(): void {
    this.closed = true;
  }
  says(message: Incoming | (ServerMessage & { id?: number })): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
  welcome(node = "node-1"): void {
    this.says({
      type: "welcome",
      payload: { user: { id: "u", name: "U", isGuest: true }, token: "t", node, protocol: 1, serverTime: 0, heartbeatMs: 30_000, activeGames: [] },
    });
  }
  /** Ends the connection as a browser tells it. */
  ends(code: number): void {
    this.onclose?.({ code, reason: "" });
  }
  named(type: string) {
    return this.sent.filter((message) => message.type === type);
  }
}

function setup({ random = 0.5, hold = false } = {}) {
  const sockets: FakeSocket[] = [];
  const messages: Incoming[] = [];
  const statuses: Status[] = [];
  const pongs: number[] = [];
  let troubles = 0;
  const connection = new Connection(
    {
      welcome: () => hold,
      message: (message) => messages.push(message),
      status: (status) => statuses.push(status),
      pong: (_, sentAt, receivedAt) => pongs.push(receivedAt - sentAt),
      trouble: () => (troubles += 1),
    },
    {
      open: () => {
        const socket = new FakeSocket();
        sockets.push(socket);
        return socket;
      },
      random: () => random,
      now: () => Date.now(),
    },
  );
  connection.connect();
  const last = (): FakeSocket => sockets.at(-1)!;
  return { connection, sockets, messages, statuses, pongs, last, troubles: () => troubles };
}

beforeEach(() => void vi.useFakeTimers({ now: 1_000_000 }));
afterEach(() => void vi.useRealTimers());

const move = { gameId: "g", move: "e2e4", ply: 1 };

describe("requests", () => {
  test("wait for the welcome, then go in order", () => {
    const { connection, last } = setup();
    connection.request("chat", { gameId: "g", text: "a" });
    connection.request("move", move, { repeat: true });
    expect(last().sent).toEqual([]);
    last().welcome();
    expect(last().sent.map((message) => message.type)).toEqual(["chat", "move"]);
  });

  test("settle with the answer that carries their id", async () => {
    const { connection, last } = setup();
    last().welcome();
    const first = connection.request("move", move).answer;
    const second = connection.request("resign", { gameId: "g" }).answer;
    last().says({ type: "error", id: 2, payload: { code: "game_over", message: "the game is over", retryable: false } });
    last().says({ type: "ack", id: 1, payload: { seq: 4 } });
    await expect(first).resolves.toMatchObject({ payload: { seq: 4 } });
    await expect(second).rejects.toBeInstanceOf(Refused);
  });

  test("that may be repeated are sent again after a reconnect, once, and with the same words", () => {
    const { connection, sockets, last } = setup();
    last().welcome();
    connection.request("move", move, { repeat: true });
    last().ends(1006);
    vi.advanceTimersByTime(1_000);
    expect(sockets).toHaveLength(2);
    last().welcome("node-2");
    connection.release();
    connection.release();
    expect(last().named("move").map((message) => message.payload)).toEqual([move]);
    expect(sockets[0]!.named("move")).toHaveLength(1);
  });

  test("that may not be repeated fail when the connection ends before the answer", async () => {
    const { connection, last } = setup();
    last().welcome();
    const chat = connection.request("chat", { gameId: "g", text: "hello" }).answer;
    const lost = expect(chat).rejects.toBeInstanceOf(Lost);
    last().ends(1006);
    await lost;
    vi.advanceTimersByTime(1_000);
    last().welcome();
    expect(last().named("chat")).toEqual([]);
  });

  test("that were forgotten are not sent again", () => {
    const { connection, last } = setup();
    last().welcome();
    const asked = connection.request("move", move, { repeat: true });
    last().ends(1006);
    asked.forget();
    vi.advanceTimersByTime(1_000);
    last().welcome();
    expect(last().named("move")).toEqual([]);
  });

  test("are held back until the room is joined again, but for the joining itself", () => {
    const { connection, last } = setup({ hold: true });
    connection.request("move", move, { repeat: true });
    last().welcome();
    connection.request("join_room", { gameId: "g", seq: 3, epoch: "1.a" }, { urgent: true });
    expect(last().sent.map((message) => message.type)).toEqual(["join_room"]);
    connection.release();
    expect(last().sent.map((message) => message.type)).toEqual(["join_room", "move"]);
  });

  test("answered unavailable are asked again, until they are answered", async () => {
    const { connection, last, troubles } = setup();
    last().welcome();
    const asked = connection.request("move", move, { repeat: true });
    const unavailable = (): void =>
      last().says({ type: "error", id: 1, payload: { code: "unavailable", message: "", retryable: true, retryAfterMs: 700 } });
    unavailable();
    vi.advanceTimersByTime(699);
    expect(last().named("move")).toHaveLength(1);
    vi.advanceTimersByTime(1);
    expect(last().named("move")).toHaveLength(2);
    expect(troubles()).toBe(0);
    for (let n = 0; n < 2; n++) {
      unavailable();
      vi.advanceTimersByTime(700);
    }
    expect(troubles()).toBe(1);
    last().says({ type: "ack", id: 1, payload: { ply: 1 } });
    await expect(asked.answer).resolves.toMatchObject({ type: "ack" });
  });
});

describe("the connection", () => {
  test.each([
    [1000, "never"], [1001, "jitter"], [1012, "jitter"], [1013, "backoff"], [1008, "never"], [1006, "backoff"], [1005, "backoff"],
    [4008, "backoff"], [4010, "backoff"], [4099, "backoff"], [4499, "backoff"], [4501, "never"], [4999, "never"], [3000, "never"],
  ] as const)("after %i: %s", (code, wanted) => expect(afterClose(code)).toBe(wanted));

  test("waits a random part of a window that doubles, up to thirty seconds", () => {
    const { sockets, statuses, last } = setup({ random: 0.999_999 });
    const waits: number[] = [];
    for (let n = 0; n < 9; n++) {
      last().ends(1006);
      const status = statuses.at(-1)!;
      if (status.kind !== "waiting") throw new Error(status.kind);
      const wait = Math.round(status.until - Date.now());
      waits.push(wait);
      vi.advanceTimersByTime(wait);
      expect(sockets).toHaveLength(n + 2);
    }
    expect(waits).toEqual([500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
  });

  test("starts with short waits again after it lived for ten seconds", () => {
    const { statuses, last } = setup({ random: 0.999_999 });
    for (let n = 0; n < 5; n++) {
      last().ends(1006);
      vi.advanceTimersToNextTimer();
    }
    last().welcome();
    for (let n = 0; n < 3; n++) {
      vi.advanceTimersByTime(4_000);
      last().says({ type: "pong", payload: { t: Date.now(), serverTime: 0 } });
    }
    last().ends(1006);
    const status = statuses.at(-1)!;
    expect(status.kind === "waiting" && Math.round(status.until - Date.now())).toBe(500);
  });

  test("leaves a draining node at a random moment within the window", () => {
    const { sockets, last } = setup({ random: 0.25 });
    last().welcome();
    last().says({ type: "drain", payload: { reconnectWithinMs: 8_000 } });
    vi.advanceTimersByTime(1_999);
    expect(sockets).toHaveLength(1);
    vi.advanceTimersByTime(1);
    expect(sockets).toHaveLength(2);
    expect(sockets[0]!.closed).toBe(true);
  });

  test("comes back after 1012 within the announced window even if the node closed first", () => {
    const { sockets, last, statuses } = setup({ random: 0.5 });
    last().welcome();
    last().says({ type: "drain", payload: { reconnectWithinMs: 8_000 } });
    last().ends(1012);
    const status = statuses.at(-1)!;
    expect(status.kind === "waiting" && status.until - Date.now()).toBe(4_000);
    vi.advanceTimersByTime(4_000);
    expect(sockets).toHaveLength(2);
  });

  test("stops for good after a bad token, and says so to whoever waits", async () => {
    const { connection, sockets, statuses, last } = setup();
    const asked = connection.request("move", move, { repeat: true }).answer;
    const lost = expect(asked).rejects.toBeInstanceOf(Lost);
    last().ends(4501);
    await lost;
    vi.advanceTimersByTime(600_000);
    expect(sockets).toHaveLength(1);
    expect(statuses.at(-1)).toMatchObject({ kind: "stopped", code: 4501 });
  });

  test("measures the way, and gives up one that no longer answers", () => {
    const { sockets, pongs, last } = setup();
    last().welcome();
    vi.advanceTimersByTime(300);
    expect(last().named("ping")).toHaveLength(1);
    const { payload } = last().named("ping")[0]!;
    vi.advanceTimersByTime(40);
    last().says({ type: "pong", payload: { t: payload["t"], serverTime: 5 } });
    expect(pongs).toEqual([40]);
    vi.advanceTimersByTime(1_000);
    expect(last().named("ping")).toHaveLength(2);
    vi.advanceTimersByTime(5_000);
    expect(sockets[0]!.closed).toBe(true);
  });

  test("gives up an opening that takes too long", () => {
    const { sockets } = setup();
    vi.advanceTimersByTime(10_000);
    expect(sockets[0]!.closed).toBe(true);
    vi.advanceTimersByTime(500);
    expect(sockets).toHaveLength(2);
  });

  test("hears nothing more from a connection it gave up", () => {
    const { sockets, messages, last } = setup();
    last().welcome();
    const old = last();
    const handler = old.onmessage;
    old.says({ type: "drain", payload: { reconnectWithinMs: 0 } });
    vi.advanceTimersByTime(0);
    expect(sockets).toHaveLength(2);
    handler?.({ data: JSON.stringify({ type: "viewers", payload: { gameId: "g", count: 9 } }) });
    expect(messages).toEqual([]);
  });
});
