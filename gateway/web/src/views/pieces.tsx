// Pieces outside the big board: small boards, lost material, promotion.

import type { Color } from "../protocol/messages.ts";
import { pieceAt } from "../rules.ts";

type PieceLetter = "k" | "q" | "r" | "b" | "n" | "p";

export function Piece({ color, piece }: { color: Color; piece: PieceLetter }) {
  return (
    <svg class={`piece ${color}`} viewBox="0 0 40 40" aria-hidden="true">
      <use href={`#${color === "white" ? "w" : "b"}${piece}`} />
    </svg>
  );
}

/** A position to look at, not to play on. */
export function MiniBoard({ fen, orientation = "white", lastMove }: { fen: string; orientation?: Color; lastMove?: { from: string; to: string } | null }) {
  const squares = [];
  for (let n = 0; n < 64; n++) {
    const [x, y] = [n % 8, Math.floor(n / 8)];
    const square = orientation === "white" ? "abcdefgh"[x] + String(8 - y) : "abcdefgh"[7 - x] + String(y + 1);
    const marked = lastMove && (lastMove.from === square || lastMove.to === square);
    squares.push(<rect key={square} x={x * 40} y={y * 40} width="40" height="40" class={(x + y) % 2 === 0 ? "light-square" : "dark-square"} />);
    if (marked) squares.push(<rect key={`${square} mark`} x={x * 40} y={y * 40} width="40" height="40" class="mark last-move" />);
    const piece = pieceAt(fen, square);
    if (piece) {
      const id = `#${piece.color === "white" ? "w" : "b"}${piece.type}`;
      squares.push(<use key={`${square} piece`} href={id} transform={`translate(${x * 40} ${y * 40})`} />);
    }
  }
  return <svg class="mini-board" viewBox="0 0 320 320" aria-hidden="true">{squares}</svg>;
}
