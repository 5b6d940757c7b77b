// The words of the protocol, generated from the Rust crate `shared`. Do not edit:
// `UPDATE_PROTOCOL=1 cargo test -p shared typescript` writes this file, and the same test without that variable fails
// when it is stale.

/** A move by its squares, or as UCI or SAN. */
export type MoveInput = string | { from: string, to: string, promotion?: string };

/**
 * A game's id, and so its room's: 1 to 32 characters of `[A-Za-z0-9]`. Cloning is cheap.
 */
export type GameId = string;

/**
 * A user's id: 1 to 128 bytes without control characters or spaces. Cloning is cheap.
 */
export type UserId = string;

/**
 * A moment: milliseconds since 1970-01-01T00:00:00Z on the backplane's clock.
 */
export type Timestamp = number;

/**
 * One side of the board: `"white"` or `"black"` on the wire.
 */
export type Color = "white" | "black";

/**
 * A player as everybody sees him.
 */
export type Player = { 
/**
 * Whose seat it is.
 */
id: UserId, 
/**
 * Shown name, at most 32 characters.
 */
name: string, 
/**
 * True for a user without an account.
 */
isGuest: boolean, };

/**
 * Thinking time of one side for the whole game, and what each move adds.
 */
export type TimeControl = { 
/**
 * Milliseconds at the start.
 */
initialMs: number, 
/**
 * Milliseconds added after each move from ply 3 on.
 */
incrementMs: number, };

/**
 * What both sides have left at an event's `at`, increment included.
 */
export type ClockReading = { 
/**
 * White's milliseconds.
 */
whiteMs: number, 
/**
 * Black's milliseconds.
 */
blackMs: number, };

/**
 * A move in the notations clients want.
 */
export type MoveMade = { 
/**
 * Origin square, `e2`.
 */
from: string, 
/**
 * Target square, `e4`; a castling king's target is `g1` or its like.
 */
to: string, 
/**
 * `q`, `r`, `b` or `n` for a promotion; left out otherwise.
 */
promotion?: "q" | "r" | "b" | "n", 
/**
 * Standard algebraic notation with `+` and `#`.
 */
san: string, 
/**
 * `e2e4`, `e7e8q`.
 */
uci: string, };

/**
 * A result as PGN spells it.
 */
export type GameResult = "1-0" | "0-1" | "1/2-1/2" | "*";

/**
 * Why a game ended.
 */
export type Reason = "checkmate" | "stalemate" | "threefold_repetition" | "fivefold_repetition" | "fifty_moves" | "seventyfive_moves" | "insufficient_material" | "resignation" | "timeout" | "timeout_insufficient_material" | "agreement" | "abandonment" | "aborted";

/**
 * Why time was given back.
 */
export type CreditCause = "outage";

/**
 * Payload of `game_created`.
 */
export type GameCreated = { 
/**
 * The game.
 */
gameId: GameId, 
/**
 * Who has White.
 */
whitePlayer: Player, 
/**
 * Who has Black.
 */
blackPlayer: Player, 
/**
 * Clocks; null for untimed.
 */
timeControl: TimeControl | null, 
/**
 * Position at the start.
 */
fen: string, 
/**
 * A private game: not listed, and watchable by its link; left out otherwise.
 */
unlisted?: boolean, };

/**
 * Payload of `move`.
 */
export type Moved = { 
/**
 * The game.
 */
gameId: GameId, 
/**
 * Number of the half move, 1 is White's first.
 */
ply: number, 
/**
 * The move.
 */
move: MoveMade, 
/**
 * Position after it.
 */
fen: string, 
/**
 * Both clocks at `at`, increment included; null if untimed.
 */
clock: ClockReading | null, 
/**
 * True if it gives check; left out otherwise.
 */
check?: boolean, };

/**
 * Payload of offers and their refusals.
 */
export type By = { 
/**
 * The game.
 */
gameId: GameId, 
/**
 * The side that spoke.
 */
by: Color, };

/**
 * Payload of `takeback`.
 */
export type Takeback = { 
/**
 * The game.
 */
gameId: GameId, 
/**
 * Half moves left on the board.
 */
ply: number, 
/**
 * Position after the takeback.
 */
fen: string, 
/**
 * Both clocks at `at`.
 */
clock: ClockReading | null, };

/**
 * Payload of `clock_credited`.
 */
export type ClockCredited = { 
/**
 * The game.
 */
gameId: GameId, 
/**
 * Whose clock.
 */
color: Color, 
/**
 * Milliseconds given back.
 */
ms: number, 
/**
 * Both clocks at `at`, credit included.
 */
clock: ClockReading | null, 
/**
 * Why.
 */
cause: CreditCause, };

/**
 * Payload of `game_over`.
 */
export type GameOver = { 
/**
 * The game.
 */
gameId: GameId, 
/**
 * As in a PGN's `Result` tag.
 */
result: GameResult, 
/**
 * Who won; null for a draw or no result.
 */
winner: Color | null, 
/**
 * Why.
 */
reason: Reason, };

/**
 * Payload of `rematch`.
 */
export type Rematch = { 
/**
 * The finished game.
 */
gameId: GameId, 
/**
 * The next one.
 */
newGameId: GameId, 
/**
 * Who has White in it.
 */
whitePlayer: Player, 
/**
 * Who has Black in it.
 */
blackPlayer: Player, 
/**
 * Its clocks.
 */
timeControl: TimeControl | null, };

/**
 * What happened.
 */
export type EventBody = { "type": "game_created", "payload": GameCreated } | { "type": "move", "payload": Moved } | { "type": "draw_offered", "payload": By } | { "type": "draw_declined", "payload": By } | { "type": "takeback_offered", "payload": By } | { "type": "takeback_declined", "payload": By } | { "type": "takeback", "payload": Takeback } | { "type": "clock_credited", "payload": ClockCredited } | { "type": "game_over", "payload": GameOver } | { "type": "rematch_offered", "payload": By } | { "type": "rematch_declined", "payload": By } | { "type": "rematch", "payload": Rematch };

/**
 * One entry of a game's log.
 */
export type Event = { 
/**
 * Its number in the log; the first key of the JSON, so that readers find it without parsing the rest.
 */
seq: number, 
/**
 * When it happened, never earlier than the event before.
 */
at: Timestamp, } & ({ "type": "game_created", "payload": GameCreated } | { "type": "move", "payload": Moved } | { "type": "draw_offered", "payload": By } | { "type": "draw_declined", "payload": By } | { "type": "takeback_offered", "payload": By } | { "type": "takeback_declined", "payload": By } | { "type": "takeback", "payload": Takeback } | { "type": "clock_credited", "payload": ClockCredited } | { "type": "game_over", "payload": GameOver } | { "type": "rematch_offered", "payload": By } | { "type": "rematch_declined", "payload": By } | { "type": "rematch", "payload": Rematch });

/**
 * A client's own mark on a request: a number or a short string, carried back by the direct answer.
 */
export type RequestId = number | string;

/**
 * Which colour the creator of a game wants.
 */
export type ColorChoice = "white" | "black" | "random";

/**
 * Payload of `init_game`.
 */
export type Seek = { 
/**
 * Null for untimed; left out for 10+0.
 */
timeControl?: TimeControl | null, 
/**
 * A guest's shown name.
 */
name?: string, };

/**
 * Payload of `create_game`.
 */
export type CreateGame = { 
/**
 * Null for untimed; left out for 10+0.
 */
timeControl?: TimeControl | null, 
/**
 * The creator's colour.
 */
color?: ColorChoice, 
/**
 * A guest's shown name.
 */
name?: string, 
/**
 * The same key of the same user gives the same game.
 */
key?: string, };

/**
 * Payload of `join_game`.
 */
export type JoinGame = { 
/**
 * The invitation's game.
 */
gameId: GameId, 
/**
 * A guest's shown name.
 */
name?: string, };

/**
 * Payload of `join_room`.
 */
export type JoinRoom = { 
/**
 * The game.
 */
gameId: GameId, 
/**
 * Last event seen.
 */
seq?: number, 
/**
 * The life of the log it was seen in.
 */
epoch?: string, };

/**
 * Payload that names a game only.
 */
export type GameRef = { 
/**
 * The game.
 */
gameId: GameId, };

/**
 * Payload of a player's actions.
 */
export type OfferRef = { 
/**
 * The game.
 */
gameId: GameId, 
/**
 * The offer meant.
 */
seq?: number, };

/**
 * Payload of `move`.
 */
export type MoveRequest = { 
/**
 * May be left out with exactly one running game.
 */
gameId?: GameId, 
/**
 * The move.
 */
move: MoveInput, 
/**
 * Which half move it is meant to be.
 */
ply?: number, 
/**
 * Last event seen.
 */
seq?: number, };

/**
 * Payload of `claim_draw`.
 */
export type ClaimDraw = { 
/**
 * The game.
 */
gameId: GameId, 
/**
 * The intended move.
 */
move?: MoveInput, 
/**
 * Last event seen.
 */
seq?: number, };

/**
 * Payload of `chat`.
 */
export type Chat = { 
/**
 * The game.
 */
gameId: GameId, 
/**
 * At most 500 characters.
 */
text: string, };

/**
 * Payload of `ping`.
 */
export type Ping = { 
/**
 * Anything; carried back.
 */
t?: unknown, };

/**
 * Payload of `welcome`.
 */
export type Welcome = { 
/**
 * Who the connection is.
 */
user: Player, 
/**
 * Token that makes another connection the same user.
 */
token: string, 
/**
 * This node's name.
 */
node: string, 
/**
 * The protocol version, [`super::VERSION`].
 */
protocol: number, 
/**
 * The backplane's clock.
 */
serverTime: Timestamp, 
/**
 * After so long a silence the server pings.
 */
heartbeatMs: number, 
/**
 * The user's running games.
 */
activeGames: Array<GameId>, };

/**
 * Payload of `waiting`.
 */
export type Waiting = { 
/**
 * The pool.
 */
timeControl: TimeControl | null, };

/**
 * Payload of `game_added`.
 */
export type GameAdded = { 
/**
 * The game to be.
 */
gameId: GameId, 
/**
 * Path of the page to send to a friend, from the site's root: `/game/{id}`.
 */
inviteUrl: string, };

/**
 * Payload of `invitation`.
 */
export type Invitation = { 
/**
 * The game to be.
 */
gameId: GameId, 
/**
 * Who invites.
 */
by: Player, 
/**
 * Its clocks.
 */
timeControl: TimeControl | null, 
/**
 * The free colour, or `random`.
 */
color: ColorChoice, 
/**
 * When it lapses.
 */
expiresAt: Timestamp, };

/**
 * Running or over.
 */
export type Status = "started" | "finished";

/**
 * Whether the players are connected to any node.
 */
export type Presence = { 
/**
 * White is connected.
 */
white: boolean, 
/**
 * Black is connected.
 */
black: boolean, };

/**
 * One move of a snapshot.
 */
export type MoveRecord = { 
/**
 * `e2e4`
 */
uci: string, 
/**
 * `Nf3+`
 */
san: string, 
/**
 * When.
 */
at: Timestamp, };

/**
 * Payload of `game_joined` and `init_game`: all there is to know of a room.
 */
export type Snapshot = { 
/**
 * The game.
 */
gameId: GameId, 
/**
 * Life of the log.
 */
epoch: string, 
/**
 * Last event that is part of this.
 */
seq: number, 
/**
 * The receiver's seat; null for a spectator.
 */
color: Color | null, 
/**
 * Who has White.
 */
whitePlayer: Player, 
/**
 * Who has Black.
 */
blackPlayer: Player, 
/**
 * Clocks' setting; null for untimed.
 */
timeControl: TimeControl | null, 
/**
 * When the room was created.
 */
startedAt: Timestamp, 
/**
 * Position on the board.
 */
fen: string, 
/**
 * All moves so far.
 */
moves: Array<MoveRecord>, 
/**
 * What both sides had left at `clock_at`; null for untimed.
 */
clock: ClockReading | null, 
/**
 * When the clocks stood so.
 */
clockAt: Timestamp, 
/**
 * Side to move.
 */
turn: Color, 
/**
 * Running or over.
 */
status: Status, 
/**
 * Null while running.
 */
result: GameResult | null, 
/**
 * Null while running.
 */
reason: Reason | null, 
/**
 * Null while running, and for draws.
 */
winner: Color | null, 
/**
 * Side that offers a draw.
 */
drawOffer: Color | null, 
/**
 * Side that asks for a move back.
 */
takebackOffer: Color | null, 
/**
 * Side that offers another game.
 */
rematchOffer: Color | null, 
/**
 * The next game, once agreed.
 */
rematchGameId: GameId | null, 
/**
 * Whether the players are connected.
 */
presence: Presence, };

/**
 * Payload of `resumed`.
 */
export type Resumed = { 
/**
 * The game.
 */
gameId: GameId, 
/**
 * Last event sent.
 */
seq: number, 
/**
 * Life of the log.
 */
epoch: string, };

/**
 * Payload of `game_not_found`.
 */
export type GameOnly = { 
/**
 * The id asked for.
 */
gameId: GameId, };

/**
 * Payload of `ack`.
 */
export type Ack = { 
/**
 * The game.
 */
gameId?: GameId, 
/**
 * Life of the log.
 */
epoch?: string, 
/**
 * The event that was the request's effect.
 */
seq?: number, 
/**
 * The half move made.
 */
ply?: number, };

/**
 * Why a request was refused.
 */
export type ErrorCode = "bad_json" | "bad_message" | "unknown_type" | "too_large" | "rate_limited" | "unauthorized" | "forbidden" | "not_a_player" | "not_your_turn" | "illegal_move" | "stale_ply" | "game_not_found" | "game_full" | "game_over" | "too_early" | "too_late" | "no_offer" | "no_claim" | "bad_time_control" | "too_many_games" | "unavailable";

/**
 * Payload of `error`.
 */
export type ErrorBody = { 
/**
 * For programs.
 */
code: ErrorCode, 
/**
 * For people.
 */
message: string, 
/**
 * Whether the same request may succeed later.
 */
retryable: boolean, 
/**
 * The game meant.
 */
gameId?: GameId, 
/**
 * When to try again.
 */
retryAfterMs?: number, };

/**
 * Payload of `viewers`.
 */
export type Viewers = { 
/**
 * The game.
 */
gameId: GameId, 
/**
 * Spectators' connections on all nodes; rounded in large rooms.
 */
count: number, };

/**
 * Payload of `presence`.
 */
export type PresenceChange = { 
/**
 * The game.
 */
gameId: GameId, 
/**
 * Which player.
 */
color: Color, 
/**
 * Connected to any node.
 */
online: boolean, 
/**
 * When the opponent may claim the win if he stays away.
 */
claimableAt?: Timestamp, };

/**
 * Who hears a line of chat.
 */
export type ChatChannel = "players" | "spectators";

/**
 * Who said it.
 */
export type ChatRole = "white" | "black" | "spectator";

/**
 * Payload of `chat`.
 */
export type ChatLine = { 
/**
 * The game.
 */
gameId: GameId, 
/**
 * Who hears it.
 */
channel: ChatChannel, 
/**
 * Who said it.
 */
user: Player, 
/**
 * As what.
 */
role: ChatRole, 
/**
 * What.
 */
text: string, 
/**
 * When.
 */
at: Timestamp, };

/**
 * Payload of `chat_history`: up to 50 payloads of `chat`, oldest first, as they were stored.
 */
export type ChatHistory = { 
/**
 * The game.
 */
gameId: GameId, 
/**
 * The lines.
 */
messages: Array<ChatLine>, };

/**
 * Payload of `pong`.
 */
export type Pong = { 
/**
 * What `ping` brought.
 */
t?: unknown, 
/**
 * The backplane's clock.
 */
serverTime: Timestamp, };

/**
 * Payload of `drain`.
 */
export type Drain = { 
/**
 * Reconnect at a random moment within this time.
 */
reconnectWithinMs: number, };

/**
 * One message of a gateway.
 */
export type ServerMessage = { "type": "welcome", "payload": Welcome } | { "type": "waiting", "payload": Waiting } | { "type": "game_added", "payload": GameAdded } | { "type": "invitation", "payload": Invitation } | { "type": "init_game", "payload": Snapshot } | { "type": "game_joined", "payload": Snapshot } | { "type": "resumed", "payload": Resumed } | { "type": "game_not_found", "payload": GameOnly } | { "type": "ack", "payload": Ack } | { "type": "error", "payload": ErrorBody } | { "type": "viewers", "payload": Viewers } | { "type": "presence", "payload": PresenceChange } | { "type": "chat", "payload": ChatLine } | { "type": "chat_history", "payload": ChatHistory } | { "type": "pong", "payload": Pong } | { "type": "drain", "payload": Drain };

/**
 * Answer of `GET /api/live`: games that run and are connected to, the most watched first. Private games are not listed.
 */
export type LiveGames = { 
/**
 * At most 50.
 */
games: Array<LiveGame>, };

/**
 * A game that runs.
 */
export type LiveGame = { 
/**
 * The game.
 */
gameId: GameId, 
/**
 * Who has White.
 */
whitePlayer: Player, 
/**
 * Who has Black.
 */
blackPlayer: Player, 
/**
 * Clocks; null for untimed.
 */
timeControl: TimeControl | null, 
/**
 * When it began.
 */
startedAt: Timestamp, 
/**
 * Spectators' connections on all nodes.
 */
viewers: number, 
/**
 * Half moves made.
 */
ply: number, 
/**
 * Position on the board, a few seconds old at most.
 */
fen: string, 
/**
 * The last move, `e2e4`; null before the first.
 */
lastMove: string | null, };

/** Every request by its `type`, with its payload. */
export type ClientMessages = {
  init_game: Seek;
  cancel_seek: Record<string, never>;
  create_game: CreateGame;
  join_game: JoinGame;
  join_room: JoinRoom;
  leave_room: GameRef;
  move: MoveRequest;
  claim_draw: ClaimDraw;
  resign: OfferRef;
  abort: OfferRef;
  offer_draw: OfferRef;
  accept_draw: OfferRef;
  decline_draw: OfferRef;
  claim_victory: OfferRef;
  offer_rematch: OfferRef;
  accept_rematch: OfferRef;
  decline_rematch: OfferRef;
  offer_takeback: OfferRef;
  accept_takeback: OfferRef;
  decline_takeback: OfferRef;
  exit_game: GameRef;
  chat: Chat;
  ping: Ping;
};

/** What a client does after a close. */
export type Reconnect = "never" | "backoff" | "jitter";

/** Close codes with a meaning of their own; others go by their range: 4000-4499 come back, 4500-4999 do not. */
export const CLOSE_CODES: Readonly<Record<number, readonly [name: string, reconnect: Reconnect]>> = {
  1000: ["normal", "never"],
  1001: ["going_away", "jitter"],
  1002: ["protocol_error", "never"],
  1003: ["unsupported", "never"],
  1007: ["not_utf8", "never"],
  1008: ["policy", "never"],
  1009: ["too_large", "never"],
  1011: ["internal", "backoff"],
  1012: ["restart", "jitter"],
  1013: ["try_again_later", "backoff"],
  4008: ["slow", "backoff"],
  4010: ["idle", "backoff"],
  4501: ["bad_token", "never"],
};

/** Version of the protocol this client was built for. */
export const PROTOCOL_VERSION = 1;

/** Longest shown name, in characters. */
export const NAME_CHARS_MAX = 32;

/** Longest chat line, in characters. */
export const CHAT_CHARS_MAX = 500;

/** Shortest thinking time of a game, in milliseconds. */
export const INITIAL_MS_MIN = 1000;

/** Longest thinking time of a game, in milliseconds. */
export const INITIAL_MS_MAX = 10800000;

/** Largest increment, in milliseconds. */
export const INCREMENT_MS_MAX = 180000;
