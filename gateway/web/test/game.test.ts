import { describe, expect, test } from "vitest";
import { fromSnapshot, type Game, isOurTurn, latestFen, plyOf, reduce, sans, withoutPending, withPending } from "../src/game.ts";
import type { Color, Event, EventBody, Snapshot } from "../src/protocol/messages.ts";
import { play, START_FEN } from "../src/rules.ts";

const player = (name: string) => ({ id: name, name, isGuest: true });

function snapshot(patch: Partial<Snapshot> = {}): Snapshot {
  return {
    gameId: "g", epoch: "1.a", seq: 0, color: "white", whitePlayer: player("W"), blackPlayer: player("B"),
    timeControl: { initialMs: 60_000, incrementMs: 0 }, startedAt: 1_000, fen: START_FEN, moves: [],
    clock: { whiteMs: 60_000, blackMs: 60_000 }, clockAt: 1_000, turn: "white", status: "started",
    result: null, reason: null, winner: null, drawOffer: null, takebackOffer: null, rematchOffer: null, rematchGameId: null,
    presence: { white: true, black: true }, ...patch,
  };
}

const event = (seq: number, body: EventBody, at = 1_000 + seq): Event => ({ seq, at, ...body });

/** The event of a move made in the newest position the gateway confirmed. */
function moved(game: Game, san: string, at?: number): Event {
  const fen = game.positions.at(-1)!;
  const legal = play(fen, squares(fen, san))!;
  const { from, to, promotion } = legal;
  return event(
    game.seq + 1,
    { type: "move", payload: { gameId: "g", ply: game.moves.length + 1, move: { from, to, ...(promotion && { promotion }), san, uci: legal.uci }, fen: legal.fen, clock: { whiteMs: 59_000, blackMs: 58_000 } } },
    at,
  );
}

function squares(_: string, san: string) {
  const known: Record<string, [string, string]> = { e4: ["e2", "e4"], d4: ["d2", "d4"], e5: ["e7", "e5"], Nf3: ["g1", "f3"], Nc6: ["b8", "c6"] };
  const [from, to] = known[san]!;
  return { from, to };
}

const start = (patch: Partial<Snapshot> = {}): Game => fromSnapshot(snapshot(patch), null);
const fold = (game: Game, ...events: string[]): Game => events.reduce((now, san) => reduce(now, moved(now, san)), game);
const own = (game: Game, san: string): Game => withPending(game, { ...play(latestFen(game), squares("", san))! }, 1_500);

describe("events", () => {
  test("moves build the list, the positions and the clocks", () => {
    const game = fold(start(), "e4", "e5", "Nf3");
    expect(sans(game)).toEqual(["e4", "e5", "Nf3"]);
    expect(game.positions).toHaveLength(4);
    expect(game.seq).toBe(3);
    expect(game.clock).toEqual({ whiteMs: 59_000, blackMs: 58_000 });
  });

  test("seen before change nothing", () => {
    const game = fold(start(), "e4");
    expect(reduce(game, moved(start(), "e4"))).toBe(game);
  });

  test("after a gap are not applied: the room is asked for", () => {
    const game = start();
    const late = reduce(game, { ...moved(game, "e4"), seq: 5 });
    expect(late.behind).toBe(true);
    expect(late.moves).toEqual([]);
    expect(reduce(late, { type: "game_joined", payload: snapshot({ seq: 7 }) }).behind).toBe(false);
  });

  test("of another room change nothing", () => {
    const game = start();
    expect(reduce(game, event(1, { type: "draw_offered", payload: { gameId: "other", by: "black" } }))).toBe(game);
  });

  test.each<[EventBody["type"], keyof Game]>([
    ["draw_offered", "drawOffer"], ["takeback_offered", "takebackOffer"], ["rematch_offered", "rematchOffer"],
  ])("%s is remembered as %s, and ends", (type, field) => {
    const offered = reduce(start(), event(1, { type, payload: { gameId: "g", by: "black" } } as EventBody));
    expect(offered[field]).toBe("black");
    const no = type.replace("offered", "declined") as EventBody["type"];
    const declined = reduce(offered, event(2, { type: no, payload: { gameId: "g", by: "white" } } as EventBody));
    expect(declined[field]).toBeNull();
  });

  test("a move ends open offers", () => {
    const offered = reduce(fold(start(), "e4"), event(2, { type: "draw_offered", payload: { gameId: "g", by: "white" } }));
    expect(fold(offered, "e5").drawOffer).toBeNull();
  });

  test("a takeback shortens the game and forgets a move on its way", () => {
    const game = own(fold(start(), "e4", "e5"), "Nf3");
    const taken = reduce(game, event(3, { type: "takeback", payload: { gameId: "g", ply: 0, fen: START_FEN, clock: null } }));
    expect(sans(taken)).toEqual([]);
    expect(taken.positions).toEqual([START_FEN]);
    expect(taken.pending).toBeNull();
  });

  test.each<[Color, "timeout" | "resignation", number]>([["white", "timeout", 0], ["white", "resignation", 49_000]])(
    "the end stops the clock of %s (%s)",
    (_, reason, left) => {
      const game = fold(start(), "e4", "e5");
      const at = game.clockAt + 10_000;
      const over = reduce(game, event(3, { type: "game_over", payload: { gameId: "g", result: "0-1", winner: "black", reason } }, at));
      expect(over.clock).toEqual({ whiteMs: left, blackMs: 58_000 });
      expect(over.over).toEqual({ result: "0-1", winner: "black", reason });
    },
  );
});

describe("our own move", () => {
  test("is shown at once, and confirmed by its event", () => {
    const game = own(start(), "e4");
    expect(sans(game)).toEqual(["e4"]);
    expect(plyOf(game)).toBe(1);
    expect(isOurTurn(game)).toBe(false);
    const confirmed = reduce(game, moved(game, "e4"));
    expect(confirmed.pending).toBeNull();
    expect(sans(confirmed)).toEqual(["e4"]);
  });

  test("is rolled back when refused", () => {
    const game = withoutPending(own(start(), "e4"));
    expect(latestFen(game)).toBe(START_FEN);
    expect(isOurTurn(game)).toBe(true);
  });

  test("stays on its way over a reconnect that did not bring it", () => {
    const game = own(start(), "e4");
    const again = fromSnapshot(snapshot({ seq: 1 }), game);
    expect(again.pending?.san).toBe("e4");
    expect(reduce(game, { type: "resumed", payload: { gameId: "g", seq: 0, epoch: "1.a" } }).pending?.san).toBe("e4");
  });

  test("is not on its way any more when the reconnect brought it", () => {
    const made = play(START_FEN, { from: "e2", to: "e4" })!;
    const again = fromSnapshot(snapshot({ seq: 1, fen: made.fen, moves: [{ uci: "e2e4", san: "e4", at: 5 }] }), own(start(), "e4"));
    expect(again.pending).toBeNull();
    expect(sans(again)).toEqual(["e4"]);
  });

  test("gives way to another move at its ply, from another tab", () => {
    const game = own(start(), "e4");
    const other = reduce(game, moved(game, "d4"));
    expect(sans(other)).toEqual(["d4"]);
    expect(other.pending).toBeNull();
  });

  test("ends with the game", () => {
    const game = own(start(), "e4");
    const over = reduce(game, event(1, { type: "game_over", payload: { gameId: "g", result: "*", winner: null, reason: "aborted" } }));
    expect(over.pending).toBeNull();
    expect(latestFen(over)).toBe(START_FEN);
  });
});

describe("direct messages", () => {
  test("presence and viewers", () => {
    let game = reduce(start(), { type: "presence", payload: { gameId: "g", color: "black", online: false, claimableAt: 99 } });
    expect(game.black).toMatchObject({ online: false, claimableAt: 99 });
    game = reduce(game, { type: "presence", payload: { gameId: "g", color: "black", online: true } });
    expect(game.black).toMatchObject({ online: true, claimableAt: null });
    expect(reduce(game, { type: "viewers", payload: { gameId: "g", count: 12 } }).viewers).toBe(12);
  });

  test("chat goes on below its history, and a snapshot keeps it", () => {
    const line = (text: string) => ({ gameId: "g", channel: "players" as const, user: player("B"), role: "black" as const, text, at: 1 });
    let game = reduce(start(), { type: "chat_history", payload: { gameId: "g", messages: [line("a")] } });
    game = reduce(game, { type: "chat", payload: line("b") });
    game = reduce(game, { type: "game_joined", payload: snapshot({ seq: 3 }) });
    expect(game.chat.map((said) => said.text)).toEqual(["a", "b"]);
  });
});
