// What the clocks show. The server's readings are the truth; between them time is counted from the server's own clock,
// whose distance from ours is measured, so that a wrong clock on this machine shows no wrong time on the board.

import type { ClockReading, Color } from "./protocol/messages.ts";

/** Samples kept: the quickest of the last few round trips says most about the distance. */
const SAMPLES_MAX = 8;
/** What two good clocks may drift apart while the samples are kept, a few minutes. */
const DRIFT_MS = 50;
/** Below this, tenths are shown. */
export const TENTHS_BELOW_MS = 10_000;
/** Plies 1 and 2 cost no time. */
const FREE_PLIES = 2;

/** Milliseconds since the epoch that do not jump when the system's clock is set. */
export const localNow = (): number => performance.timeOrigin + performance.now();

/** Distance between the server's clock and ours. */
export class ServerClock {
  private samples: { offset: number; rtt: number }[] = [];

  /** A message carried `serverTime` and took a round trip from `sentAt` to `receivedAt`, both ours. */
  sample(serverTime: number, sentAt: number, receivedAt: number): void {
    const rtt = Math.max(0, receivedAt - sentAt);
    const offset = serverTime + rtt / 2 - receivedAt;
    // The true distance is within half a round trip of each estimate. If two cannot both be right, a clock was set or the
    // machine slept, and the old ones are worth nothing.
    this.samples = this.samples.filter((old) => Math.abs(old.offset - offset) <= (old.rtt + rtt) / 2 + DRIFT_MS);
    this.samples.push({ offset, rtt });
    if (this.samples.length > SAMPLES_MAX) this.samples.shift();
  }

  /** A new node, perhaps after a long sleep: measure again, from this first hint (`serverTime` on arrival). */
  restart(serverTime: number, receivedAt: number): void {
    this.samples = [{ offset: serverTime - receivedAt, rtt: Number.MAX_SAFE_INTEGER }];
  }

  /** Milliseconds to add to our time to get the server's. */
  get offset(): number {
    let best = this.samples[0];
    for (const sample of this.samples) if (best && sample.rtt <= best.rtt) best = sample;
    return best?.offset ?? 0;
  }

  /** The server's time for our time. */
  at(local: number): number {
    return local + this.offset;
  }
}

/** All that decides what a clock shows. */
export interface ClockFace {
  reading: ClockReading;
  /** Server time of the reading. */
  at: number;
  turn: Color;
  /** Half moves made. */
  ply: number;
  running: boolean;
  /** Server time at which our own move was made that the server has not confirmed yet: our clock stands meanwhile. */
  stoppedAt?: number | undefined;
}

/** Whether that side's clock is running down. */
export function isTicking(face: ClockFace, color: Color): boolean {
  return face.running && face.turn === color && face.ply >= FREE_PLIES && face.stoppedAt === undefined;
}

/** Milliseconds that side has at server time `now`, never below zero. */
export function remaining(face: ClockFace, color: Color, now: number): number {
  const stored = color === "white" ? face.reading.whiteMs : face.reading.blackMs;
  if (!face.running || face.turn !== color || face.ply < FREE_PLIES) return Math.max(0, stored);
  const until = face.stoppedAt ?? now;
  return Math.max(0, stored - Math.max(0, until - face.at));
}

/** `1:02:03`, `4:59`, `0:09.8`; a second is shown until it is used up. */
export function format(ms: number): string {
  if (ms < TENTHS_BELOW_MS) {
    const tenths = Math.ceil(ms / 100);
    if (tenths < 100) return `0:0${Math.floor(tenths / 10)}.${tenths % 10}`;
  }
  const seconds = Math.ceil(ms / 1000);
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const two = (n: number): string => String(n).padStart(2, "0");
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** Milliseconds until `format` shows something else. */
export function untilChange(ms: number): number {
  const step = ms <= TENTHS_BELOW_MS ? 100 : 1000;
  return ms % step || step;
}

/** Time below which a clock is coloured: a tenth of the game, but 10 to 60 seconds. */
export function lowTime(initialMs: number): number {
  return Math.min(60_000, Math.max(10_000, initialMs / 10));
}
