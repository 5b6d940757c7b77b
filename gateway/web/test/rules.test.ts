import { describe, expect, test } from "vitest";
import { checkedKing, drawClaim, describeSquare, legalTargets, material, parseTyped, play, positionsOf, premoveTargets, promotes, spoken, START_FEN } from "../src/rules.ts";

const CASTLE = "r3k2r/8/8/8/8/8/8/R3K2R w KQkq - 0 1";
const PROMOTION = "8/4P1k1/8/8/8/8/8/4K3 w - - 0 1";

describe("a typed move", () => {
  test.each([
    [START_FEN, "e4", "e2e4"], [START_FEN, "e2e4", "e2e4"], [START_FEN, "e2-e4", "e2e4"], [START_FEN, "E2E4", null],
    [START_FEN, "Nf3", "g1f3"], [START_FEN, "nf3", "g1f3"], [START_FEN, " Nf3! ", "g1f3"], [START_FEN, "Ke2", null],
    [CASTLE, "O-O", "e1g1"], [CASTLE, "o-o-o", "e1c1"], [CASTLE, "0-0", "e1g1"], [CASTLE, "0-0-0", "e1c1"],
    [PROMOTION, "e8=Q", "e7e8q"], [PROMOTION, "e8q", "e7e8q"], [PROMOTION, "e7e8", "e7e8q"], [PROMOTION, "e7e8n", "e7e8n"],
    [START_FEN, "", null], [START_FEN, "constructor", null], [START_FEN, "<b>", null],
  ])("in %s, %s is %s", (fen, text, uci) => expect(parseTyped(fen, text)?.uci ?? null).toBe(uci));
});

test("hints are the legal moves", () => {
  const targets = legalTargets(START_FEN);
  expect([...targets.get("g1")!].toSorted()).toEqual(["f3", "h3"]);
  expect(targets.has("a1")).toBe(false);
});

test("premoves reach wherever the piece could ever go, own pieces included", () => {
  expect(premoveTargets(START_FEN, "f1").has("c4")).toBe(true);
  expect(premoveTargets(START_FEN, "d1").has("d2")).toBe(true);
  expect([...premoveTargets(START_FEN, "e2")].toSorted()).toEqual(["d3", "e3", "e4", "f3"]);
  expect(premoveTargets(CASTLE, "e1").has("g1")).toBe(true);
  expect(premoveTargets(START_FEN, "e5").size).toBe(0);
});

test("promotion, check, material, repetition", () => {
  expect(promotes(PROMOTION, "e7", "e8")).toBe(true);
  expect(promotes(START_FEN, "e2", "e4")).toBe(false);
  expect(checkedKing("4k3/8/8/8/8/8/8/4R1K1 b - - 0 1")).toBe("e8");
  expect(checkedKing(START_FEN)).toBeNull();
  expect(material("rnb1kbnr/pppppppp/8/8/8/8/PPPPPPP1/RNBQKBNR w KQkq - 0 1")).toEqual({ lost: { white: ["p"], black: ["q"] }, ahead: 8 });
  expect(material("1nbqkbnr/8/8/8/8/8/8/QNBQKBNR w - - 0 1").lost.white).toEqual(["r", "p", "p", "p", "p", "p", "p", "p"]);
  const back = ["g1f3", "g8f6", "f3g1", "f6g8"];
  const repeated = (...moves: string[]) => drawClaim(positionsOf(START_FEN, [...back, ...moves]));
  expect(repeated()).toBeNull();
  expect(repeated("g1f3", "g8f6")).toBeNull();
  // Black's knight would bring the first position for the third time; White's, earlier, nothing.
  expect(repeated("g1f3", "g8f6", "f3g1")).toMatchObject({ reason: "threefold repetition", move: { san: "Ng8" } });
  expect(repeated(...back)).toEqual({ reason: "threefold repetition", move: null });
  expect(drawClaim(["8/8/8/4k3/8/8/4K3/R7 w - - 98 90"])).toBeNull();
  expect(drawClaim(["8/8/8/4k3/8/8/4K3/R7 w - - 99 90"])).toMatchObject({ reason: "fifty moves", move: { capture: false } });
  expect(drawClaim(["8/8/8/4k3/8/8/4K3/R7 w - - 100 90"])).toEqual({ reason: "fifty moves", move: null });
});

test.each([
  ["e4", "e4"], ["Nf3+", "knight f3, check"], ["exd5", "pawn e takes d5"], ["Nbd7", "knight b d7"], ["O-O-O", "castles long"],
  ["O-O+", "castles short, check"], ["e8=Q#", "e8 becomes queen, checkmate"], ["Qh4xe1", "queen h4 takes e1"],
])("%s is spoken: %s", (san, words) => expect(spoken(san)).toBe(words));

test("squares are described", () => {
  expect(describeSquare(START_FEN, "e1")).toBe("e1, white king");
  expect(describeSquare(START_FEN, "e4")).toBe("e4, empty");
});

test("a move knows what it is", () => {
  expect(play(START_FEN, { from: "e2", to: "e4" })).toMatchObject({ san: "e4", uci: "e2e4", capture: false });
  expect(play(START_FEN, { from: "e2", to: "e5" })).toBeNull();
  expect(play(START_FEN, { from: "e2", to: "e4", promotion: "q" })).toMatchObject({ uci: "e2e4" });
});
