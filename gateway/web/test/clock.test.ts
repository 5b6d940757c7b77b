import { describe, expect, test } from "vitest";
import { type ClockFace, format, isTicking, lowTime, remaining, ServerClock, untilChange } from "../src/clock.ts";

test.each([
  [3_723_000, "1:02:03"], [300_000, "5:00"], [299_001, "5:00"], [299_000, "4:59"], [60_000, "1:00"], [10_000, "0:10"],
  [9_999, "0:10"], [9_900, "0:09.9"], [9_850, "0:09.9"], [1_234, "0:01.3"], [100, "0:00.1"], [1, "0:00.1"], [0, "0:00.0"],
])("%i ms are shown as %s", (ms, text) => expect(format(ms)).toBe(text));

test("the next drawing comes when the digits change, not before", () => {
  for (let ms = 12_345; ms > 0; ms -= 37) {
    const next = untilChange(ms);
    expect(format(ms - next + 1)).toBe(format(ms));
    expect(next).toBeGreaterThan(0);
  }
});

test.each([[60_000, 10_000], [180_000, 18_000], [600_000, 60_000], [5_400_000, 60_000]])("of %i ms, %i are little", (initial, low) =>
  expect(lowTime(initial)).toBe(low),
);

describe("a clock", () => {
  const face: ClockFace = { reading: { whiteMs: 60_000, blackMs: 50_000 }, at: 1_000, turn: "white", ply: 2, running: true };
  test("runs down for the side to move only", () => {
    expect(remaining(face, "white", 4_000)).toBe(57_000);
    expect(remaining(face, "black", 4_000)).toBe(50_000);
  });
  test("stands for the first two half moves, and after the end", () => {
    expect(remaining({ ...face, ply: 1, turn: "black" }, "black", 9_000)).toBe(50_000);
    expect(isTicking({ ...face, ply: 1, turn: "black" }, "black")).toBe(false);
    expect(remaining({ ...face, running: false }, "white", 9_000)).toBe(60_000);
  });
  test("never shows less than nothing, nor more than the reading", () => {
    expect(remaining(face, "white", 999_999)).toBe(0);
    expect(remaining(face, "white", 500)).toBe(60_000);
  });
  test("stands from our move on, until the gateway has confirmed it", () => {
    const moved = { ...face, stoppedAt: 3_000 };
    expect(isTicking(moved, "white")).toBe(false);
    expect(remaining(moved, "white", 8_000)).toBe(58_000);
  });
});

describe("the server's clock", () => {
  test("is taken from the quickest round trip", () => {
    const clock = new ServerClock();
    clock.restart(10_300, 10_000);
    expect(clock.offset).toBe(300);
    clock.sample(20_500, 20_000, 20_400);
    expect(clock.offset).toBe(300);
    clock.sample(30_270, 30_000, 30_040);
    expect(clock.offset).toBe(250);
    clock.sample(40_500, 40_000, 40_300);
    expect(clock.offset).toBe(250);
    expect(clock.at(50_000)).toBe(50_250);
  });
  test("is measured anew when this machine's clock stood still in its sleep", () => {
    const clock = new ServerClock();
    clock.sample(10_010, 10_000, 10_020);
    expect(clock.offset).toBe(0);
    clock.sample(80_050, 20_000, 20_100);
    expect(clock.offset).toBe(60_000);
  });
});
