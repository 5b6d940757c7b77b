// Chess for the eye: what may be moved where, how a typed move is meant, what was captured. The gateway decides; nothing
// here is ever trusted by it.

import { Chess, type Square } from "chess.js";
import type { Color } from "./protocol/messages.ts";

export const START_FEN = "rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR w KQkq - 0 1";
export type Promotion = "q" | "r" | "b" | "n";
export type Squares = { from: string; to: string; promotion?: Promotion };

/** A move as it would stand in the game. */
export interface Played extends Squares {
  san: string;
  uci: string;
  fen: string;
  capture: boolean;
}

const PIECE_NAMES = { p: "pawn", n: "knight", b: "bishop", r: "rook", q: "queen", k: "king" } as const;
const VALUES = { p: 1, n: 3, b: 3, r: 5, q: 9, k: 0 } as const;
type Piece = keyof typeof VALUES;

export const other = (color: Color): Color => (color === "white" ? "black" : "white");
export const turnOf = (fen: string): Color => (fen.split(" ")[1] === "b" ? "black" : "white");
export const squaresOf = (uci: string): Squares => {
  const promotion = uci[4] as Promotion | undefined;
  return { from: uci.slice(0, 2), to: uci.slice(2, 4), ...(promotion && { promotion }) };
};

/** The move, if it is legal there. */
export function play(fen: string, move: Squares): Played | null {
  return attempt(fen, move);
}

function attempt(fen: string, move: Squares | string): Played | null {
  try {
    const made = new Chess(fen).move(move, { strict: false });
    const promotion = made.promotion as Promotion | undefined;
    return {
      from: made.from,
      to: made.to,
      ...(promotion && { promotion }),
      san: made.san,
      uci: made.lan,
      fen: made.after,
      capture: made.captured !== undefined,
    };
  } catch {
    return null;
  }
}

/** A typed move: SAN with the usual liberties (`nf3`, `0-0`, `e8q`), or squares (`g1f3`). */
export function parseTyped(fen: string, text: string): Played | null {
  const word = text
    .trim()
    .replace(/[!?]+$/, "")
    .replace(/([a-h][18])=?([qrbn])([+#]?)$/i, (_, to: string, piece: string, end: string) => `${to}=${piece.toUpperCase()}${end}`);
  if (!word) return null;
  if (/^[a-h][1-8][ -]?[a-h][1-8](=[QRBN])?$/.test(word)) {
    const uci = word.toLowerCase().replace(/[ =-]/g, "");
    return play(fen, { promotion: "q", ...squaresOf(uci) });
  }
  const castled = word.replace(/0/g, "O").replace(/^o-o/i, (match) => match.toUpperCase()).replace(/-o$/, "-O");
  const candidates = [castled, word, word[0]?.toUpperCase() + word.slice(1)];
  for (const candidate of candidates) {
    const made = attempt(fen, candidate);
    if (made) return made;
  }
  return null;
}

/** Where each piece of the side to move may go. */
export function legalTargets(fen: string): Map<string, Set<string>> {
  const targets = new Map<string, Set<string>>();
  for (const move of new Chess(fen).moves({ verbose: true })) {
    const set = targets.get(move.from) ?? new Set();
    targets.set(move.from, set.add(move.to));
  }
  return targets;
}

/** Whether a pawn goes to its last rank. */
export function promotes(fen: string, from: string, to: string): boolean {
  const piece = pieceAt(fen, from);
  return piece?.type === "p" && (to[1] === "8" || to[1] === "1");
}

export function pieceAt(fen: string, square: string): { type: Piece; color: Color } | null {
  const row = fen.split(" ")[0]?.split("/")[8 - Number(square[1])] ?? "";
  let file = "abcdefgh".indexOf(square[0] ?? "");
  for (const letter of row) {
    if (letter >= "1" && letter <= "8") file -= Number(letter);
    else if (file === 0) {
      return { type: letter.toLowerCase() as Piece, color: letter < "a" ? "white" : "black" };
    } else file -= 1;
    if (file < 0) return null;
  }
  return null;
}

/** Squares a piece could ever reach in one step: what may be premoved, whatever the opponent does first. */
export function premoveTargets(fen: string, from: string): Set<string> {
  const piece = pieceAt(fen, from);
  const found = new Set<string>();
  if (!piece) return found;
  const [x, y] = ["abcdefgh".indexOf(from[0] ?? ""), Number(from[1]) - 1];
  const forward = piece.color === "white" ? 1 : -1;
  const home = piece.color === "white" ? 1 : 6;
  for (let tx = 0; tx < 8; tx++) {
    for (let ty = 0; ty < 8; ty++) {
      const [dx, dy] = [Math.abs(tx - x), Math.abs(ty - y)];
      if (dx + dy === 0) continue;
      const rook = dx === 0 || dy === 0;
      const bishop = dx === dy;
      const reach = {
        p: (ty - y === forward && dx <= 1) || (dx === 0 && y === home && ty - y === 2 * forward),
        n: dx * dy === 2,
        b: bishop,
        r: rook,
        q: rook || bishop,
        k: (dx <= 1 && dy <= 1) || (x === 4 && dy === 0 && dx === 2 && (y === 0 || y === 7)),
      }[piece.type];
      if (reach) found.add("abcdefgh"[tx] + String(ty + 1));
    }
  }
  return found;
}

/** Square of the king in check, if it is. */
export function checkedKing(fen: string): string | null {
  const chess = new Chess(fen);
  if (!chess.inCheck()) return null;
  return chess.findPiece({ type: "k", color: chess.turn() })[0] ?? null;
}

/** Pieces each side has lost, and who is ahead by how many pawns' worth. */
export function material(fen: string): { lost: Record<Color, Piece[]>; ahead: number } {
  const full: [Piece, number][] = [["q", 1], ["r", 2], ["b", 2], ["n", 2], ["p", 8]];
  const placed = fen.split(" ")[0] ?? "";
  const count = (letter: string): number => placed.split(letter).length - 1;
  const lost: Record<Color, Piece[]> = { white: [], black: [] };
  let ahead = 0;
  const promoted: Record<Color, number> = { white: 0, black: 0 };
  for (const [piece, number] of full) {
    for (const color of ["white", "black"] as const) {
      const left = count(color === "white" ? piece.toUpperCase() : piece);
      ahead += (color === "white" ? 1 : -1) * left * VALUES[piece];
      promoted[color] += Math.max(0, left - number);
      // A pawn that became something else is not lost.
      const gone = number - left - (piece === "p" ? promoted[color] : 0);
      for (let n = 0; n < gone; n++) lost[color].push(piece);
    }
  }
  return { lost, ahead };
}

export interface DrawClaim {
  reason: "threefold repetition" | "fifty moves";
  /** The move that would bring it about; null when it stands on the board already. */
  move: Played | null;
}

/** Why the side to move may claim a draw, if it may: by what stands on the board, or by a move it intends. */
export function drawClaim(positions: readonly string[]): DrawClaim | null {
  const key = (fen: string): string => fen.split(" ").slice(0, 4).join(" ");
  const last = positions.at(-1);
  if (!last) return null;
  const quietPlies = Number(last.split(" ")[4]);
  const seen = new Map<string, number>();
  for (const fen of positions) seen.set(key(fen), (seen.get(key(fen)) ?? 0) + 1);
  if ((seen.get(key(last)) ?? 0) >= 3) return { reason: "threefold repetition", move: null };
  if (quietPlies >= 100) return { reason: "fifty moves", move: null };
  // A position stands for the third time after eight quiet half moves at the earliest.
  if (quietPlies < 7) return null;
  const moves = new Chess(last).moves({ verbose: true });
  const repeating = moves.find((move) => (seen.get(key(move.after)) ?? 0) >= 2);
  const fiftieth = quietPlies === 99 ? moves.find((move) => move.after.split(" ")[4] === "100" && !move.san.endsWith("#")) : undefined;
  const move = repeating ?? fiftieth;
  return move ? { reason: repeating ? "threefold repetition" : "fifty moves", move: play(last, squaresOf(move.lan)) } : null;
}

/** Positions after each half move, the first one included. */
export function positionsOf(start: string, moves: readonly string[]): string[] {
  const chess = new Chess(start);
  const positions = [start];
  for (const uci of moves) {
    try {
      positions.push(chess.move(squaresOf(uci)).after);
    } catch {
      break;
    }
  }
  return positions;
}

/** `Nf3+` as it is spoken. */
export function spoken(san: string): string {
  if (san.startsWith("O-O-O")) return `castles long${tail(san)}`;
  if (san.startsWith("O-O")) return `castles short${tail(san)}`;
  const [, piece, hint, takes, to, promotion] = /^([KQRBN])?([a-h]?[1-8]?)(x)?([a-h][1-8])(?:=([QRBN]))?/.exec(san) ?? [];
  if (!to) return san;
  const name = piece ? PIECE_NAMES[piece.toLowerCase() as Piece] : takes ? "pawn" : "";
  const words = [name, hint, takes && "takes", to, promotion && `becomes ${PIECE_NAMES[promotion.toLowerCase() as Piece]}`];
  return words.filter(Boolean).join(" ") + tail(san);
}

const tail = (san: string): string => (san.endsWith("#") ? ", checkmate" : san.endsWith("+") ? ", check" : "");

/** `e4, white pawn`. */
export function describeSquare(fen: string, square: string): string {
  const piece = pieceAt(fen, square);
  return piece ? `${square}, ${piece.color} ${PIECE_NAMES[piece.type]}` : `${square}, empty`;
}

/** Both sides' pieces in words, for those who do not see the board. */
export function describePosition(fen: string): string {
  const sides: Record<Color, string[]> = { white: [], black: [] };
  for (const type of ["k", "q", "r", "b", "n", "p"] as const) {
    for (const file of "abcdefgh") {
      for (const rank of "12345678") {
        const piece = pieceAt(fen, file + rank);
        if (piece?.type === type) sides[piece.color].push(`${PIECE_NAMES[type]} ${file}${rank}`);
      }
    }
  }
  return `White: ${sides.white.join(", ")}. Black: ${sides.black.join(", ")}.`;
}

export type { Square };
