// What people read: results, errors and time controls in plain words.

import type { Color, ErrorCode, Reason, TimeControl } from "./protocol/messages.ts";
import type { Game } from "./game.ts";

export const colorName = (color: Color): string => (color === "white" ? "White" : "Black");

const REASONS: Record<Reason, string> = {
  checkmate: "by checkmate",
  stalemate: "by stalemate",
  threefold_repetition: "by threefold repetition",
  fivefold_repetition: "by fivefold repetition",
  fifty_moves: "by the fifty-move rule",
  seventyfive_moves: "by the seventy-five-move rule",
  insufficient_material: "by insufficient material",
  resignation: "by resignation",
  timeout: "on time",
  timeout_insufficient_material: "on time, with nothing left to mate with",
  agreement: "by agreement",
  abandonment: "by abandonment",
  aborted: "",
};

/** `White wins by checkmate`, `Draw by agreement`, `Game aborted`. */
export function resultText(over: NonNullable<Game["over"]>): string {
  if (over.reason === "aborted") return "Game aborted";
  if (over.winner) return `${colorName(over.winner)} wins ${REASONS[over.reason]}`;
  if (over.result === "*") return `Game ended ${REASONS[over.reason]}`;
  return `Draw ${REASONS[over.reason]}`;
}

/** The same from a player's side: `You win`, `You lose`, `Draw`. */
export function resultHeadline(over: NonNullable<Game["over"]>, color: Color | null): string {
  if (over.reason === "aborted") return "Game aborted";
  if (!over.winner) return over.result === "*" ? "No result" : "Draw";
  if (!color) return `${colorName(over.winner)} wins`;
  return over.winner === color ? "You win" : "You lose";
}

/** Minutes as players write them: ¼, ½, 1 … */
function minutes(ms: number): string {
  const seconds = ms / 1000;
  const small: Record<number, string> = { 15: "¼", 30: "½", 45: "¾", 90: "1½" };
  return small[seconds] ?? (seconds % 60 === 0 ? String(seconds / 60) : `${seconds}s`);
}

/** `5+3`, `Untimed`. */
export function timeControlText(control: TimeControl | null): string {
  return control ? `${minutes(control.initialMs)}+${control.incrementMs / 1000}` : "Untimed";
}

/** Expected length of a game decides its class: forty moves each. */
export function speed(control: TimeControl | null): string {
  if (!control) return "Correspondence";
  const seconds = (control.initialMs + 40 * control.incrementMs) / 1000;
  return seconds < 180 ? "Bullet" : seconds < 480 ? "Blitz" : seconds < 1500 ? "Rapid" : "Classical";
}

const ERRORS: Partial<Record<ErrorCode, string>> = {
  rate_limited: "That was too quick. Wait a moment and try again.",
  unavailable: "The server cannot be reached right now. Try again in a moment.",
  not_a_player: "Only the two players can do that.",
  not_your_turn: "It is not your turn.",
  illegal_move: "That move is not legal here.",
  stale_ply: "The game moved on; your move was not played.",
  game_full: "Both seats of this game are taken.",
  game_over: "The game is over.",
  no_offer: "That offer is no longer open.",
  bad_time_control: "That time control is not possible.",
  too_many_games: "You have too many games running. Finish one first.",
};

/** The gateway's own words say more where the code alone says little: how long to wait, what was wrong. */
export function errorText(code: ErrorCode, message: string): string {
  const text = ERRORS[code] ?? message;
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

/** Why a connection was closed for good, by its code. */
export function stoppedText(code: number, reason: string): string {
  switch (code) {
    case 1000:
      return "The server ended this connection.";
    case 1008:
      return "The server closed this connection because it sent too much.";
    case 4501:
      return "Your sign-in was not accepted any more.";
    default:
      return `The connection was closed (${code}${reason && `: ${reason}`}).`;
  }
}
