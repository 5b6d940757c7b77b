// The big board on the page: gives it pictures, takes its moves, and lays the promotion choice over it.

import { useEffect, useMemo, useRef } from "preact/hooks";
import type { App } from "../app.ts";
import { Board } from "../board.ts";
import { type Game, isOurTurn, isPlaying, lastMove, latestFen, plyOf } from "../game.ts";
import type { Color } from "../protocol/messages.ts";
import { checkedKing, describePosition, describeSquare, legalTargets, premoveTargets } from "../rules.ts";
import { Piece } from "./pieces.tsx";

const NOTHING: ReadonlySet<string> = new Set();
/** Wheel turns within this time are one step; touchpads send dozens. */
const WHEEL_STEP_MS = 60;
const PROMOTIONS = [["q", "Queen"], ["n", "Knight"], ["r", "Rook"], ["b", "Bishop"]] as const;

export function BoardView({ app, game, orientation }: { app: App; game: Game; orientation: Color }) {
  const element = useRef<HTMLDivElement>(null);
  const board = useRef<Board | null>(null);
  const fen = app.shownFen(game);
  const { look } = app.state;
  const live = look.ply === null;
  const check = useMemo(() => checkedKing(fen), [fen]);
  const legal = useMemo(() => (isOurTurn(game) ? legalTargets(latestFen(game)) : null), [latestFen(game), isOurTurn(game)]);
  const targets = useRef<(square: string) => ReadonlySet<string>>(() => NOTHING);
  targets.current = (square) => (legal ? (legal.get(square) ?? NOTHING) : premoveTargets(latestFen(game), square));
  const shown = useRef(fen);
  shown.current = fen;

  useEffect(() => {
    if (!element.current) return;
    const made = new Board(element.current, {
      targets: (square) => targets.current(square),
      move: (from, to) => app.drop(from, to),
      cancel: () => app.cancelPremove(),
      cursor: (square) => app.say(describeSquare(shown.current, square)),
    });
    board.current = made;
    return () => made.destroy();
  }, [app]);

  useEffect(() => {
    board.current?.show({
      fen,
      orientation,
      slide: live && !look.ownMove,
      lastMove: lastMove(game, look.ply ?? plyOf(game)),
      check,
      premove: live ? look.premove : null,
      movable: live && isPlaying(game) ? game.color : null,
    });
  });

  useEffect(() => {
    const target = element.current;
    let last = 0;
    const wheel = (event: WheelEvent): void => {
      if (event.ctrlKey || event.deltaY === 0 || !matchMedia("(min-width: 760px) and (orientation: landscape)").matches) return;
      event.preventDefault();
      if (event.timeStamp - last < WHEEL_STEP_MS) return;
      last = event.timeStamp;
      app.step(event.deltaY < 0 ? -1 : 1);
    };
    target?.addEventListener("wheel", wheel, { passive: false });
    return () => target?.removeEventListener("wheel", wheel);
  }, [app]);

  return (
    <>
      <div
        ref={element}
        class={`board${live ? "" : " past"}`}
        role="application"
        tabIndex={0}
        aria-label="Chess board. Arrow keys go from square to square, Enter picks a piece up and puts it down."
        aria-describedby="position"
        data-testid="board"
      />
      <p class="sr-only" id="position">{describePosition(fen)}</p>
      {look.promotion && <PromotionChoice app={app} game={game} to={look.promotion.to} orientation={orientation} />}
    </>
  );
}

function PromotionChoice({ app, game, to, orientation }: { app: App; game: Game; to: string; orientation: Color }) {
  const color = game.color ?? "white";
  const first = useRef<HTMLButtonElement>(null);
  useEffect(() => first.current?.focus(), []);
  const file = "abcdefgh".indexOf(to[0] ?? "a");
  const column = orientation === "white" ? file : 7 - file;
  const top = (to[1] === "8") === (orientation === "white");
  return (
    <div class="promotion-shade" onClick={() => app.promote(null)}>
      <div
        class={`promotion ${top ? "from-top" : "from-bottom"}`}
        style={{ left: `${column * 12.5}%` }}
        role="dialog"
        aria-label="Promote to"
        data-testid="promotion"
      >
        {PROMOTIONS.map(([piece, name], index) => (
          <button
            key={piece}
            ref={index === 0 ? first : undefined}
            type="button"
            aria-label={name}
            onClick={(event) => {
              event.stopPropagation();
              app.promote(piece);
            }}
          >
            <Piece color={color} piece={piece} />
          </button>
        ))}
      </div>
    </div>
  );
}
