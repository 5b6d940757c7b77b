// One room as this browser knows it: a pure fold of what the gateway says, plus our own move that it has not confirmed
// yet. No IO, no clock, no DOM.

import type {
  ChatLine,
  ClockReading,
  Color,
  Event,
  GameResult,
  MoveRecord,
  Player,
  Reason,
  ServerMessage,
  Snapshot,
  TimeControl,
} from "./protocol/messages.ts";
import { type Played, type Squares, other, positionsOf, START_FEN, turnOf } from "./rules.ts";

/** Chat lines kept on screen. */
const CHAT_LINES_MAX = 200;

export interface Seat {
  player: Player;
  online: boolean;
  /** Server time from which the opponent may claim the win. */
  claimableAt: number | null;
}

/** Our own move on its way. */
export interface PendingMove extends Played {
  ply: number;
  /** Server time at which it was made here. */
  at: number;
}

export interface Game {
  id: string;
  epoch: string;
  seq: number;
  /** Our seat; null for a spectator. */
  color: Color | null;
  white: Seat;
  black: Seat;
  timeControl: TimeControl | null;
  startedAt: number;
  moves: readonly MoveRecord[];
  /** After each half move; the first is the start. */
  positions: readonly string[];
  clock: ClockReading | null;
  clockAt: number;
  over: { result: GameResult; reason: Reason; winner: Color | null } | null;
  drawOffer: Color | null;
  takebackOffer: Color | null;
  rematchOffer: Color | null;
  rematchDeclined: boolean;
  rematchId: string | null;
  viewers: number | null;
  chat: readonly ChatLine[];
  pending: PendingMove | null;
  /** An event is missing: ask for the room again. */
  behind: boolean;
}

/** The room as a snapshot tells it; `before` keeps what snapshots do not carry. */
export function fromSnapshot(snapshot: Snapshot, before: Game | null): Game {
  const same = before?.id === snapshot.gameId ? before : null;
  const seat = (player: Player, online: boolean, old: Seat | undefined): Seat => ({
    player,
    online,
    claimableAt: online ? null : (old?.claimableAt ?? null),
  });
  const moves = snapshot.moves;
  const positions = positionsOf(START_FEN, moves.map((move) => move.uci));
  // The gateway's own words for the position on the board.
  positions[positions.length - 1] = snapshot.fen;
  const next: Game = {
    id: snapshot.gameId,
    epoch: snapshot.epoch,
    seq: snapshot.seq,
    color: snapshot.color,
    white: seat(snapshot.whitePlayer, snapshot.presence.white, same?.white),
    black: seat(snapshot.blackPlayer, snapshot.presence.black, same?.black),
    timeControl: snapshot.timeControl,
    startedAt: snapshot.startedAt,
    moves,
    positions,
    clock: snapshot.clock,
    clockAt: snapshot.clockAt,
    over:
      snapshot.status === "finished"
        ? { result: snapshot.result ?? "*", reason: snapshot.reason ?? "aborted", winner: snapshot.winner }
        : null,
    drawOffer: snapshot.drawOffer,
    takebackOffer: snapshot.takebackOffer,
    rematchOffer: snapshot.rematchOffer,
    rematchDeclined: false,
    rematchId: snapshot.rematchGameId,
    viewers: same?.viewers ?? null,
    chat: same?.chat ?? [],
    pending: same?.pending ?? null,
    behind: false,
  };
  return { ...next, pending: stillPending(next) };
}

/** Whether our move on its way can still arrive: not if its ply was played, taken back, or the game ended. */
function stillPending(game: Game): PendingMove | null {
  const { pending, moves, over } = game;
  return pending && !over && moves.length === pending.ply - 1 ? pending : null;
}

/** Folds one message into the room. Messages of other rooms, and those without meaning here, change nothing. */
export function reduce(game: Game, message: ServerMessage | Event): Game {
  if ("seq" in message) return reduceEvent(game, message);
  switch (message.type) {
    case "init_game":
    case "game_joined":
      return message.payload.gameId === game.id ? fromSnapshot(message.payload, game) : game;
    case "resumed":
      return message.payload.gameId === game.id ? { ...game, epoch: message.payload.epoch, behind: false } : game;
    case "viewers":
      return message.payload.gameId === game.id ? { ...game, viewers: message.payload.count } : game;
    case "presence": {
      const { gameId, color, online, claimableAt } = message.payload;
      if (gameId !== game.id) return game;
      return { ...game, [color]: { ...game[color], online, claimableAt: claimableAt ?? null } };
    }
    case "chat":
      if (message.payload.gameId !== game.id) return game;
      return { ...game, chat: [...game.chat, message.payload].slice(-CHAT_LINES_MAX) };
    case "chat_history":
      return message.payload.gameId === game.id ? { ...game, chat: message.payload.messages } : game;
    default:
      return game;
  }
}

function reduceEvent(game: Game, event: Event): Game {
  if (event.payload.gameId !== game.id || event.seq <= game.seq) return game;
  if (event.seq !== game.seq + 1) return { ...game, behind: true };
  const next = applied({ ...game, seq: event.seq }, event);
  return { ...next, pending: stillPending(next) };
}

function applied(game: Game, event: Event): Game {
  switch (event.type) {
    case "move": {
      const { move, fen, clock } = event.payload;
      return {
        ...game,
        moves: [...game.moves, { uci: move.uci, san: move.san, at: event.at }],
        positions: [...game.positions, fen],
        clock,
        clockAt: event.at,
        drawOffer: null,
        takebackOffer: null,
      };
    }
    case "takeback": {
      const { ply, clock } = event.payload;
      return {
        ...game,
        moves: game.moves.slice(0, ply),
        positions: game.positions.slice(0, ply + 1),
        clock,
        clockAt: event.at,
        drawOffer: null,
        takebackOffer: null,
        pending: null,
      };
    }
    case "clock_credited":
      return { ...game, clock: event.payload.clock, clockAt: event.at };
    case "draw_offered":
      return { ...game, drawOffer: event.payload.by };
    case "draw_declined":
      return { ...game, drawOffer: null };
    case "takeback_offered":
      return { ...game, takebackOffer: event.payload.by };
    case "takeback_declined":
      return { ...game, takebackOffer: null };
    case "game_over": {
      const { result, reason, winner } = event.payload;
      return {
        ...game,
        over: { result, reason, winner },
        clock: clockAtEnd(game, event.at, reason),
        clockAt: event.at,
        drawOffer: null,
        takebackOffer: null,
      };
    }
    case "rematch_offered":
      return { ...game, rematchOffer: event.payload.by, rematchDeclined: false };
    case "rematch_declined":
      return { ...game, rematchOffer: null, rematchDeclined: true };
    case "rematch":
      return { ...game, rematchOffer: null, rematchId: event.payload.newGameId };
    default:
      return game;
  }
}

/** `game_over` carries no clock; the side to move used the time since the last reading, all of it if its flag fell. */
function clockAtEnd(game: Game, at: number, reason: Reason): ClockReading | null {
  if (!game.clock || game.moves.length < 2) return game.clock;
  const side = turnOf(game.positions.at(-1) ?? START_FEN) === "white" ? "whiteMs" : "blackMs";
  const flagged = reason === "timeout" || reason === "timeout_insufficient_material";
  const left = flagged ? 0 : Math.max(0, game.clock[side] - Math.max(0, at - game.clockAt));
  return { ...game.clock, [side]: left };
}

/** Our own move, shown at once. */
export function withPending(game: Game, played: Played, at: number): Game {
  return { ...game, pending: { ...played, ply: game.moves.length + 1, at } };
}

/** The gateway refused our move: the board goes back. */
export function withoutPending(game: Game): Game {
  return { ...game, pending: null };
}

/** The newest position, our move on its way included. */
export const latestFen = (game: Game): string => game.pending?.fen ?? game.positions.at(-1) ?? START_FEN;
/** Half moves made, our move on its way included. */
export const plyOf = (game: Game): number => game.moves.length + (game.pending ? 1 : 0);
/** Side to move, as the gateway sees it. */
export const turn = (game: Game): Color => turnOf(game.positions.at(-1) ?? START_FEN);
/** Whether we may move now. */
export const isOurTurn = (game: Game): boolean => !game.over && !game.pending && game.color === turn(game);
/** Whether we play and the game runs. */
export const isPlaying = (game: Game): boolean => !game.over && game.color !== null;
/** The opponent's seat, or null for a spectator. */
export const opponent = (game: Game): Seat | null => (game.color ? game[other(game.color)] : null);

/** SAN of every half move shown, our move on its way included. */
export function sans(game: Game): string[] {
  const list = game.moves.map((move) => move.san);
  return game.pending ? [...list, game.pending.san] : list;
}

/** Squares of the half move `ply`, to mark them. */
export function lastMove(game: Game, ply: number): Squares | null {
  if (game.pending && ply === game.pending.ply) return game.pending;
  const uci = game.moves[ply - 1]?.uci;
  return uci ? { from: uci.slice(0, 2), to: uci.slice(2, 4) } : null;
}

/** Position after half move `ply`. */
export function fenAt(game: Game, ply: number): string {
  if (game.pending && ply >= game.pending.ply) return game.pending.fen;
  return game.positions[ply] ?? latestFen(game);
}
