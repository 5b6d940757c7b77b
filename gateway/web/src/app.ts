// Everything the page knows and does between the connection and the views: which room is open, what waits for an
// answer, what a person asked for. Views read `state` and call methods; nothing else changes it.

import { localNow, ServerClock } from "./clock.ts";
import {
  fenAt,
  fromSnapshot,
  type Game,
  isOurTurn,
  isPlaying,
  latestFen,
  plyOf,
  reduce,
  turn,
  withoutPending,
  withPending,
} from "./game.ts";
import { loadPreferences, loadToken, type Preferences, savePreferences, saveToken } from "./preferences.ts";
import {
  type ClientMessages,
  type Color,
  type ColorChoice,
  type Event,
  type Invitation,
  type Player,
  PROTOCOL_VERSION,
  type Snapshot,
  type TimeControl,
  type Welcome,
} from "./protocol/messages.ts";
import { type DrawClaim, parseTyped, play, promotes, type Promotion, type Squares, spoken } from "./rules.ts";
import { type Asked, type Callbacks, Connection, type Incoming, Lost, Refused, type SocketLike, type Status } from "./socket.ts";
import { sound, type Sound } from "./sound.ts";
import { colorName, errorText, resultText } from "./text.ts";

/** A reconnect shorter than this is nobody's business: a rolling restart should not be seen. */
const BANNER_AFTER_MS = 1_500;
const TOAST_MS = 5_000;
/** Close code of a token that is not accepted. */
const BAD_TOKEN = 4501;
/** The next game's room is made by whoever sees the agreement first, which may be a moment after it is announced. */
const REMATCH_TRIES = { count: 8, pauseMs: 400 };

export type Route = { name: "lobby" } | { name: "game"; id: string };

export type Room =
  | { kind: "none" }
  | { kind: "loading"; id: string }
  | { kind: "missing"; id: string }
  | { kind: "invitation"; id: string; invitation: Invitation }
  | { kind: "game"; id: string; game: Game };

/** How this person looks at the open game. */
export interface Look {
  /** Half move looked at; null follows the game. */
  ply: number | null;
  flipped: boolean;
  premove: Squares | null;
  /** A pawn waits for its promotion. */
  promotion: { from: string; to: string } | null;
  /** The result was read and put away. */
  resultSeen: boolean;
  /** The newest change was our own, so it must not slide. */
  ownMove: boolean;
}

export interface Toast {
  id: number;
  text: string;
  kind: "info" | "error";
}

export interface State {
  route: Route;
  status: Status;
  /** The connection has been gone long enough to say so. */
  banner: boolean;
  /** The gateway speaks a later protocol than this page. */
  outdated: boolean;
  node: string;
  latency: number | null;
  /** What became of the last reconnect. */
  notice: string | null;
  user: Player | null;
  activeGames: readonly string[];
  /** What is sought; undefined for nothing, null for an untimed game. */
  seek: TimeControl | null | undefined;
  room: Room;
  /** The game shown small in the lobby. */
  featured: Game | null;
  look: Look;
  toasts: readonly Toast[];
  /** What a screen reader says next. */
  spoken: string;
  preferences: Preferences;
}

const FRESH_LOOK: Look = { ply: null, flipped: false, premove: null, promotion: null, resultSeen: false, ownMove: false };

export function routeOf(path: string): Route {
  const id = /^\/game\/([A-Za-z0-9]{1,32})\/?$/.exec(path)?.[1];
  return id ? { name: "game", id } : { name: "lobby" };
}

function openSocket(): SocketLike {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const token = loadToken();
  const url = `${scheme}://${location.host}/ws`;
  // As a subprotocol the token stays out of addresses, and so out of logs.
  return (token ? new WebSocket(url, ["rookery", token]) : new WebSocket(url)) as SocketLike;
}

export class App {
  state: State;
  readonly clock = new ServerClock();
  private readonly listeners = new Set<() => void>();
  private readonly connection: Connection;
  private moveAsked: Asked | null = null;
  private connections = 0;
  private bannerTimer: ReturnType<typeof setTimeout> | undefined;
  private toastId = 0;
  private featuredId: string | null = null;
  /** Games whose start was asked for here: their `init_game` may change the page. */
  private readonly expected = new Set<string>();

  constructor(open: () => SocketLike = openSocket) {
    this.state = {
      route: routeOf(location.pathname),
      status: { kind: "connecting" },
      banner: false,
      outdated: false,
      node: "",
      latency: null,
      notice: null,
      user: null,
      activeGames: [],
      seek: undefined,
      room: { kind: "none" },
      featured: null,
      look: FRESH_LOOK,
      toasts: [],
      spoken: "",
      preferences: loadPreferences(),
    };
    const callbacks: Callbacks = {
      welcome: (welcome) => this.welcomed(welcome),
      message: (message) => this.message(message),
      status: (status) => this.statusChanged(status),
      pong: (serverTime, sentAt, receivedAt) => {
        this.clock.sample(serverTime, sentAt, receivedAt);
        this.set({ latency: Math.round(receivedAt - sentAt) });
      },
      trouble: () => this.toast("The servers cannot be reached just now. What you did is being sent again.", "error"),
    };
    this.connection = new Connection(callbacks, { open, now: localNow });
    const { route } = this.state;
    if (route.name === "game") this.state.room = { kind: "loading", id: route.id };
  }

  start(): void {
    this.connection.connect();
    addEventListener("online", () => this.connection.hurry());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.connection.hurry();
    });
    addEventListener("popstate", () => this.open(routeOf(location.pathname)));
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private set(patch: Partial<State>): void {
    this.state = { ...this.state, ...patch };
    for (const listener of this.listeners) listener();
  }

  private setLook(patch: Partial<Look>): void {
    this.set({ look: { ...this.state.look, ...patch } });
  }

  get game(): Game | null {
    return this.state.room.kind === "game" ? this.state.room.game : null;
  }

  /** The gateway's time now, as well as it is known. */
  serverNow(): number {
    return this.clock.at(localNow());
  }

  // Going from page to page

  go(path: string): void {
    if (path !== location.pathname) history.pushState(null, "", path);
    this.open(routeOf(path));
    scrollTo(0, 0);
  }

  private open(route: Route): void {
    const before = this.state.room;
    if (before.kind !== "none" && (route.name !== "game" || route.id !== before.id)) this.leave(before);
    if (route.name === "lobby") {
      this.set({ route, room: { kind: "none" }, look: FRESH_LOOK });
    } else if (before.kind === "none" || before.id !== route.id) {
      this.set({ route, room: { kind: "loading", id: route.id }, look: FRESH_LOOK });
      this.join(route.id);
    } else this.set({ route });
    this.busy();
  }

  private leave(room: Exclude<Room, { kind: "none" }>): void {
    this.moveAsked = null;
    if (room.kind === "game" || room.kind === "invitation") this.quietly("leave_room", { gameId: room.id });
  }

  // The connection

  private welcomed(welcome: Welcome): boolean {
    saveToken(welcome.token);
    this.clock.restart(welcome.serverTime, localNow());
    this.connections += 1;
    const outdated = welcome.protocol > PROTOCOL_VERSION;
    this.set({ node: welcome.node, user: welcome.user, activeGames: welcome.activeGames, outdated });
    if (this.state.seek !== undefined) this.seek(this.state.seek);
    if (this.featuredId) this.joinFeatured(this.featuredId);
    if (this.state.route.name !== "game") return false;
    this.join(this.state.route.id);
    return true;
  }

  private statusChanged(status: Status): void {
    clearTimeout(this.bannerTimer);
    const gone = status.kind === "connecting" || status.kind === "waiting";
    if (gone && !this.state.banner) this.bannerTimer = setTimeout(() => this.set({ banner: true }), BANNER_AFTER_MS);
    this.set({ status, ...(status.kind === "live" || status.kind === "stopped" ? { banner: false } : {}) });
    if (status.kind === "stopped" && status.code === BAD_TOKEN && loadToken()) {
      saveToken(null);
      this.toast("Your old session had expired. You are a new guest now.");
      this.connection.connect();
    }
  }

  retryNow(): void {
    this.connection.connect();
  }

  private busy(): void {
    this.connection.setBusy(this.game !== null && isPlaying(this.game));
  }

  // Rooms

  private join(id: string, tries = 0): void {
    const game = this.game?.id === id ? this.game : null;
    const seen = game ? { seq: game.seq, epoch: game.epoch } : {};
    const asked = this.connection.request("join_room", { gameId: id, ...seen }, { repeat: true, urgent: true });
    asked.answer.then(
      (answer) => {
        if (answer.type === "game_not_found" && tries > 0 && this.isOpen(id)) {
          setTimeout(() => this.isOpen(id) && this.join(id, tries - 1), REMATCH_TRIES.pauseMs);
        } else {
          if (answer.type === "game_not_found" && this.isOpen(id)) this.set({ room: { kind: "missing", id } });
          if (answer.type === "resumed" || answer.type === "game_joined") this.reconnected();
          this.connection.release();
        }
      },
      (error: unknown) => {
        this.connection.release();
        this.report(error);
      },
    );
  }

  private isOpen(id: string): boolean {
    return this.state.room.kind !== "none" && this.state.room.id === id;
  }

  private reconnected(): void {
    if (this.connections < 2 || !this.game) return;
    const move = Math.floor(this.game.moves.length / 2) + 1;
    this.set({ notice: `Reconnected to ${this.state.node}, resumed at move ${move}` });
  }

  private message(message: Incoming): void {
    if (this.featuredMessage(message)) return;
    if (!("seq" in message)) {
      switch (message.type) {
        case "init_game":
          return this.started(message.payload);
        case "invitation":
          if (this.isOpen(message.payload.gameId)) {
            const invitation = message.payload;
            this.set({ room: { kind: "invitation", id: invitation.gameId, invitation } });
          }
          return;
        case "game_joined":
          if (this.isOpen(message.payload.gameId)) this.snapshot(message.payload);
          return;
        case "waiting":
          return;
        case "error":
          // Errors that answer a request are told where it was made.
          if (message.id === undefined) this.toast(errorText(message.payload.code, message.payload.message), "error");
          return;
      }
    }
    const game = this.game;
    if (!game) return;
    this.setGame(reduce(game, message), "seq" in message ? message : null);
  }

  private started(snapshot: Snapshot): void {
    const { room, seek } = this.state;
    const id = snapshot.gameId;
    const wanted = seek !== undefined || this.isOpen(id) || this.expected.has(id) || this.follows(id);
    this.set({ activeGames: [...new Set([...this.state.activeGames, id])] });
    if (!wanted) return this.toast("One of your games has started.");
    const isNew = !(room.kind === "game" && room.id === id);
    if (isNew) {
      if (room.kind !== "none" && room.id !== id) this.leave(room);
      this.expected.delete(id);
      history.pushState(null, "", `/game/${id}`);
      this.set({ route: { name: "game", id }, room: { kind: "loading", id }, look: FRESH_LOOK, seek: undefined });
    }
    this.snapshot(snapshot);
    if (isNew && snapshot.moves.length === 0) {
      this.play("start");
      this.say(`Game started. You play ${snapshot.color ?? "nobody"}.`);
    }
  }

  /** Whether that game is the rematch of the one on screen. */
  private follows(id: string): boolean {
    return this.game?.rematchId === id;
  }

  private snapshot(snapshot: Snapshot): void {
    const room: Room = { kind: "game", id: snapshot.gameId, game: fromSnapshot(snapshot, this.game) };
    const finished = snapshot.status === "finished";
    // A game that was over when it was opened needs no announcement.
    const look = { ...this.state.look, resultSeen: this.state.look.resultSeen || (finished && !this.game) };
    this.set({ room, look });
    if (!room.game.pending) this.forgetMove();
    this.busy();
    this.premove();
  }

  private setGame(game: Game, event: Event | null): void {
    const before = this.game;
    if (!before || game === before) return;
    this.set({ room: { kind: "game", id: game.id, game } });
    if (before.pending && !game.pending) this.forgetMove();
    if (game.behind && !before.behind) this.join(game.id);
    if (event) this.eventHappened(before, game, event);
  }

  private forgetMove(): void {
    this.moveAsked?.forget();
    this.moveAsked = null;
  }

  /** What is heard of an event, and what follows from it here. */
  private eventHappened(before: Game, game: Game, event: Event): void {
    if (game.seq === before.seq) return;
    const { color } = game;
    switch (event.type) {
      case "move": {
        const own = before.pending?.uci === event.payload.move.uci;
        if (!own) this.setLook({ ownMove: false });
        const san = event.payload.move.san;
        if (!own) this.play(event.payload.check ? "check" : san.includes("x") ? "capture" : "move");
        this.say(`${colorName(turn(before))}: ${spoken(san)}.`);
        this.premove();
        return;
      }
      case "takeback":
        this.setLook({ premove: null, ply: null, ownMove: true });
        this.say("The last move was taken back.");
        return;
      case "game_over":
        this.setLook({ premove: null, promotion: null });
        this.set({ activeGames: this.state.activeGames.filter((id) => id !== game.id) });
        this.play("end");
        this.busy();
        if (game.over) this.say(resultText(game.over));
        return;
      case "draw_offered":
        return this.offered(event.payload.by, "offers a draw");
      case "takeback_offered":
        return this.offered(event.payload.by, "asks to take a move back");
      case "rematch_offered":
        return this.offered(event.payload.by, "offers a rematch");
      case "draw_declined":
        return this.declined(event.payload.by, "the draw");
      case "takeback_declined":
        return this.declined(event.payload.by, "the takeback");
      case "rematch_declined":
        return this.declined(event.payload.by, "the rematch");
      case "clock_credited":
        this.toast(`The server was away: ${Math.round(event.payload.ms / 100) / 10} s given back to ${colorName(event.payload.color)}.`);
        return;
      case "rematch":
        if (color) this.openRematch(event.payload.newGameId);
        return;
      default:
        return;
    }
  }

  private offered(by: Color, what: string): void {
    if (this.game?.color !== by) this.play("notice");
    this.say(`${colorName(by)} ${what}.`);
  }

  private declined(by: Color, what: string): void {
    if (this.game?.color && this.game.color !== by) this.toast(`${this.game[by].player.name} declined ${what}.`);
  }

  private openRematch(id: string): void {
    // `init_game` usually comes by itself; if it does not, the room is asked for.
    setTimeout(() => {
      if (!this.follows(id)) return;
      history.pushState(null, "", `/game/${id}`);
      if (this.state.room.kind !== "none") this.leave(this.state.room);
      this.set({ route: { name: "game", id }, room: { kind: "loading", id }, look: FRESH_LOOK });
      this.join(id, REMATCH_TRIES.count);
    }, REMATCH_TRIES.pauseMs * 2);
  }

  // Moves

  /** A piece was put down: a move, a premove, or a pawn that must first become something. */
  drop(from: string, to: string): void {
    const game = this.game;
    if (!game || !isPlaying(game)) return;
    if (!isOurTurn(game)) return this.setLook({ premove: { from, to } });
    if (promotes(latestFen(game), from, to)) return this.setLook({ promotion: { from, to } });
    this.move({ from, to });
  }

  promote(promotion: Promotion | null): void {
    const pawn = this.state.look.promotion;
    this.setLook({ promotion: null });
    if (pawn && promotion) this.move({ ...pawn, promotion });
  }

  cancelPremove(): void {
    if (this.state.look.premove) this.setLook({ premove: null });
  }

  /** A typed move; says why it was not made, or null. */
  typed(text: string): string | null {
    const game = this.game;
    if (!game || !isPlaying(game)) return "There is no game to move in.";
    if (!isOurTurn(game)) return "It is not your turn.";
    const made = parseTyped(latestFen(game), text);
    if (!made) return `“${text.trim()}” is not a legal move here.`;
    this.move(made);
    return null;
  }

  private premove(): void {
    const game = this.game;
    const wanted = this.state.look.premove;
    if (!game || !wanted || !isOurTurn(game)) return;
    this.setLook({ premove: null });
    const promotion = promotes(latestFen(game), wanted.from, wanted.to) ? ({ promotion: "q" } as const) : {};
    if (play(latestFen(game), { ...wanted, ...promotion })) this.move({ ...wanted, ...promotion });
  }

  private move(squares: Squares): void {
    const game = this.game;
    if (!game || !isOurTurn(game)) return;
    const played = play(latestFen(game), squares);
    if (!played) return;
    const ply = game.moves.length + 1;
    this.setLook({ ply: null, premove: null, ownMove: true });
    this.set({ room: { kind: "game", id: game.id, game: withPending(game, played, this.serverNow()) } });
    this.play(/[+#]$/.test(played.san) ? "check" : played.capture ? "capture" : "move");
    const { from, to, promotion } = played;
    const move = { from, to, ...(promotion && { promotion }) };
    const asked = this.connection.request("move", { gameId: game.id, move, ply, seq: game.seq }, { repeat: true });
    this.moveAsked = asked;
    asked.answer.catch((error: unknown) => {
      const now = this.game;
      if (now?.id === game.id && now.pending?.ply === ply) {
        this.set({ room: { kind: "game", id: now.id, game: withoutPending(now) } });
      }
      // A flag that fell meanwhile is told by the result.
      if (!(error instanceof Refused && error.body.code === "game_over")) this.report(error);
    });
  }

  // What players ask for

  act(
    type: Extract<
      keyof ClientMessages,
      | "resign" | "abort" | "offer_draw" | "accept_draw" | "decline_draw" | "claim_victory"
      | "offer_rematch" | "accept_rematch" | "decline_rematch"
      | "offer_takeback" | "accept_takeback" | "decline_takeback"
    >,
  ): void {
    if (this.game) this.ask(type, { gameId: this.game.id });
  }

  claimDraw({ move }: DrawClaim): void {
    if (this.game) this.ask("claim_draw", { gameId: this.game.id, ...(move && { move: move.uci }) });
  }

  private ask<K extends keyof ClientMessages>(type: K, payload: ClientMessages[K]): void {
    this.connection.request(type, payload, { repeat: true }).answer.catch((error: unknown) => this.report(error));
  }

  chat(text: string): Promise<boolean> {
    const game = this.game;
    if (!game) return Promise.resolve(false);
    return this.connection.request("chat", { gameId: game.id, text }).answer.then(
      () => true,
      (error: unknown) => {
        this.report(error instanceof Lost ? new Lost("The connection broke; your line may not have been sent.") : error);
        return false;
      },
    );
  }

  // The lobby

  /** Follows that game on the lobby's small board; answers how to stop. */
  feature(id: string | null): () => void {
    this.featuredId = id;
    this.set({ featured: null });
    if (id && this.state.status.kind === "live") this.joinFeatured(id);
    return () => {
      this.featuredId = null;
      if (id && !this.isOpen(id)) this.quietly("leave_room", { gameId: id });
    };
  }

  private joinFeatured(id: string): void {
    const seen = this.state.featured ? { seq: this.state.featured.seq, epoch: this.state.featured.epoch } : {};
    this.connection.request("join_room", { gameId: id, ...seen }, { urgent: true }).answer.catch(() => undefined);
  }

  /** Whether the message was the small board's. */
  private featuredMessage(message: Incoming): boolean {
    const { featured } = this.state;
    const id = this.featuredId;
    if (!id || this.isOpen(id) || !("gameId" in message.payload) || message.payload.gameId !== id) return false;
    if (message.type === "game_joined") this.set({ featured: fromSnapshot(message.payload, null) });
    else if (message.type === "init_game") return false;
    else if (featured) {
      const next = reduce(featured, message);
      if (next !== featured) this.set({ featured: next });
      if (next.behind && !featured.behind) this.joinFeatured(id);
    }
    return true;
  }

  private name(): { name?: string } {
    const name = this.state.preferences.name.trim();
    return name && this.state.user?.isGuest !== false ? { name } : {};
  }

  seek(timeControl: TimeControl | null): void {
    this.set({ seek: timeControl });
    this.connection
      .request("init_game", { timeControl, ...this.name() }, { repeat: true, urgent: true })
      .answer.catch((error: unknown) => {
        this.set({ seek: undefined });
        this.report(error);
      });
  }

  cancelSeek(): void {
    this.set({ seek: undefined });
    this.quietly("cancel_seek", {});
  }

  async challenge(timeControl: TimeControl | null, color: ColorChoice): Promise<void> {
    const key = crypto.getRandomValues(new Uint32Array(4)).join("-");
    try {
      const payload = { timeControl, color, key, ...this.name() };
      const answer = await this.connection.request("create_game", payload, { repeat: true }).answer;
      if (answer.type === "game_added") this.go(`/game/${answer.payload.gameId}`);
    } catch (error) {
      this.report(error);
    }
  }

  acceptInvitation(): void {
    const { room } = this.state;
    if (room.kind !== "invitation") return;
    this.expected.add(room.id);
    this.connection
      .request("join_game", { gameId: room.id, ...this.name() }, { repeat: true })
      .answer.catch((error: unknown) => {
        this.report(error);
        this.join(room.id);
      });
  }

  /** Asks without telling anybody how it ended. */
  private quietly<K extends keyof ClientMessages>(type: K, payload: ClientMessages[K]): void {
    if (this.state.status.kind === "live") this.connection.request(type, payload).answer.catch(() => undefined);
  }

  // Looking

  /** Steps through the game; `null` is the live position. */
  look(ply: number | null): void {
    const game = this.game;
    if (!game) return;
    const last = plyOf(game);
    const wanted = ply === null || ply >= last ? null : Math.max(0, ply);
    if (wanted === this.state.look.ply) return;
    this.setLook({ ply: wanted, ownMove: true });
    const san = game.moves[(wanted ?? last) - 1]?.san;
    if (wanted !== null) this.say(san ? `Move ${Math.ceil(wanted / 2)}, ${spoken(san)}.` : "Start of the game.");
  }

  step(by: number): void {
    if (this.game) this.look((this.state.look.ply ?? plyOf(this.game)) + by);
  }

  /** Position on screen. */
  shownFen(game: Game): string {
    return this.state.look.ply === null ? latestFen(game) : fenAt(game, this.state.look.ply);
  }

  flip(): void {
    this.setLook({ flipped: !this.state.look.flipped });
  }

  closeResult(): void {
    // A result that is still to come will be shown.
    if (this.game?.over) this.setLook({ resultSeen: true });
  }

  prefer(patch: Partial<Preferences>): void {
    const preferences = { ...this.state.preferences, ...patch };
    savePreferences(preferences);
    this.set({ preferences });
  }

  say(text: string): void {
    // The same words twice are silence to a screen reader; an invisible difference makes it speak.
    this.set({ spoken: text === this.state.spoken ? `${text}\u00a0` : text });
  }

  play(name: Sound): void {
    if (this.state.preferences.sound) sound(name);
  }

  toast(text: string, kind: Toast["kind"] = "info"): void {
    const id = ++this.toastId;
    const others = this.state.toasts.filter((toast) => toast.text !== text);
    this.set({ toasts: [...others.slice(-2), { id, text, kind }] });
    setTimeout(() => this.dismiss(id), TOAST_MS);
  }

  dismiss(id: number): void {
    this.set({ toasts: this.state.toasts.filter((toast) => toast.id !== id) });
  }

  private report(error: unknown): void {
    if (error instanceof Refused) this.toast(errorText(error.body.code, error.body.message), "error");
    else if (error instanceof Lost) this.toast(error.message === "not connected" ? "Not connected." : error.message, "error");
    else throw error;
  }
}
