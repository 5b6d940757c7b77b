// One clock. It draws itself, only when its digits change, and never shows more time than a moment ago.

import { useEffect, useRef } from "preact/hooks";
import type { App } from "../app.ts";
import { type ClockFace, format, isTicking, lowTime, remaining, TENTHS_BELOW_MS, untilChange } from "../clock.ts";
import { type Game, turn } from "../game.ts";
import type { Color } from "../protocol/messages.ts";

export function faceOf(game: Game): ClockFace | null {
  if (!game.clock) return null;
  return {
    reading: game.clock,
    at: game.clockAt,
    turn: turn(game),
    ply: game.moves.length,
    running: !game.over,
    stoppedAt: game.pending?.at,
  };
}

export function Clock({ app, game, color }: { app: App; game: Game; color: Color }) {
  const digits = useRef<HTMLSpanElement>(null);
  const box = useRef<HTMLDivElement>(null);
  const warned = useRef(false);
  const face = faceOf(game);
  const ticking = face !== null && isTicking(face, color);
  const key = face && `${face.at} ${face.turn} ${face.stoppedAt} ${face.running} ${face.reading.whiteMs} ${face.reading.blackMs}`;
  const initialMs = game.timeControl?.initialMs ?? 0;
  useEffect(() => {
    if (!face) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let shown = Number.POSITIVE_INFINITY;
    const draw = (): void => {
      // The estimate of the server's time gets better while the clock runs; that must not give time back.
      shown = Math.min(shown, remaining(face, color, app.serverNow()));
      if (digits.current) digits.current.textContent = format(shown);
      const low = shown < lowTime(initialMs) && !game.over;
      box.current?.classList.toggle("low", low);
      if (low && shown < TENTHS_BELOW_MS && ticking && game.color === color && !warned.current) {
        warned.current = true;
        app.play("low-time");
      }
      if (ticking && shown > 0) timer = setTimeout(draw, untilChange(shown));
    };
    draw();
    return () => clearTimeout(timer);
  }, [key, color]);
  if (!face) return null;
  return (
    <div ref={box} class={`clock${ticking ? " ticking" : ""}`} role="timer" aria-label={`${color === "white" ? "White" : "Black"}'s clock`} data-testid={`clock-${color}`}>
      <span ref={digits} />
    </div>
  );
}
