// The game page: the board between the two players, the moves and what can be done beside it.

import { useEffect } from "preact/hooks";
import type { App } from "../app.ts";
import { type Game, isPlaying, sans, plyOf } from "../game.ts";
import type { Color } from "../protocol/messages.ts";
import { other } from "../rules.ts";
import { resultHeadline, resultText, speed, timeControlText } from "../text.ts";
import { Actions, Offers } from "./actions.tsx";
import { BoardView } from "./board.tsx";
import { Chat } from "./chat.tsx";
import { Icon } from "./icons.tsx";
import { InvitationCard } from "./invitation.tsx";
import { Moves } from "./moves.tsx";
import { PlayerBar } from "./player.tsx";
import { Share } from "./share.tsx";
import { TypedMove } from "./typed.tsx";

export function GamePage({ app }: { app: App }) {
  const { room } = app.state;
  switch (room.kind) {
    case "game":
      return <Playing app={app} game={room.game} />;
    case "invitation":
      return <InvitationCard app={app} invitation={room.invitation} />;
    case "missing":
      return (
        <div class="card middle">
          <h1>No such game</h1>
          <p>This link leads to no game. The invitation may have expired, or a letter of the address is missing.</p>
          <a class="button primary" href="/">To the lobby</a>
        </div>
      );
    default:
      return <div class="middle muted" role="status">Opening the game…</div>;
  }
}

/** The colour at the bottom of the board. */
export function orientation(app: App, game: Game): Color {
  const own = game.color ?? "white";
  return app.state.look.flipped ? other(own) : own;
}

function Playing({ app, game }: { app: App; game: Game }) {
  const bottom = orientation(app, game);
  useKeys(app);
  return (
    <div class="game">
      <h1 class="sr-only">{game.white.player.name} against {game.black.player.name}</h1>
      <section class="board-column" aria-label="Board">
        <PlayerBar app={app} game={game} color={other(bottom)} />
        <div class="board-frame">
          <BoardView app={app} game={game} orientation={bottom} />
          {game.over && game.color && !app.state.look.resultSeen && <Result app={app} game={game} over={game.over} />}
        </div>
        <PlayerBar app={app} game={game} color={bottom} />
      </section>
      <section class="panel" aria-label="Moves">
        <Status app={app} game={game} />
        <Moves app={app} sans={sans(game)} ply={app.state.look.ply ?? plyOf(game)} />
        {game.over && <p class="outcome" data-testid="outcome"><b>{game.over.result}</b> {resultText(game.over)}</p>}
        <Offers app={app} game={game} />
        <Actions app={app} game={game} />
        {isPlaying(game) && <TypedMove app={app} />}
      </section>
      <aside class="side" aria-label="About this game">
        <Share app={app} game={game} />
        <Chat app={app} game={game} />
      </aside>
    </div>
  );
}

function Status({ app, game }: { app: App; game: Game }) {
  const { look } = app.state;
  return (
    <div class="status-line">
      <span>{timeControlText(game.timeControl)} · {speed(game.timeControl)}</span>
      {game.color === null && <span class="badge">Watching</span>}
      <span class="spacer" />
      {game.viewers !== null && (
        <span class="viewers" title="People watching" data-testid="viewers"><Icon name="eye" /> {game.viewers.toLocaleString("en")}<span class="sr-only"> watching</span></span>
      )}
      {look.ply !== null && <button type="button" class="link" onClick={() => app.look(null)}>Back to live</button>}
    </div>
  );
}

function Result({ app, game, over }: { app: App; game: Game; over: NonNullable<Game["over"]> }) {
  return (
    <div class="result" role="dialog" aria-label="Result" data-testid="result">
      <button type="button" class="tool close" aria-label="Close" onClick={() => app.closeResult()}><Icon name="close" /></button>
      <h2>{resultHeadline(over, game.color)}</h2>
      <p>{resultText(over)}</p>
      <p class="score">{over.result === "1/2-1/2" ? "½–½" : over.result.replace("-", "–")}</p>
      <div class="result-buttons">
        <Rematch app={app} game={game} />
        <a class="button" href="/">New opponent</a>
      </div>
    </div>
  );
}

export function Rematch({ app, game }: { app: App; game: Game }) {
  if (game.rematchId) return <a class="button primary" href={`/game/${game.rematchId}`}>{game.color ? "To the next game" : "Watch the rematch"}</a>;
  if (!game.color || !game.over) return null;
  if (game.rematchOffer === game.color) return <button type="button" class="button" disabled>Rematch offered…</button>;
  if (game.rematchOffer) {
    return (
      <>
        <button type="button" class="button primary" onClick={() => app.act("accept_rematch")}>Accept rematch</button>
        <button type="button" class="button" onClick={() => app.act("decline_rematch")}>Decline</button>
      </>
    );
  }
  return <button type="button" class="button primary" onClick={() => app.act("offer_rematch")}><Icon name="rematch" /> Rematch</button>;
}

/** Keys that work anywhere but in a field, and on the board only where it does not use them itself. */
function useKeys(app: App): void {
  useEffect(() => {
    const listen = (event: KeyboardEvent): void => {
      const target = event.target as HTMLElement;
      if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, textarea, select, dialog, [role=radiogroup]")) return;
      const keys: Record<string, () => void> = {
        ArrowLeft: () => app.step(-1),
        ArrowRight: () => app.step(1),
        ArrowUp: () => app.look(0),
        ArrowDown: () => app.look(null),
        Home: () => app.look(0),
        End: () => app.look(null),
        f: () => app.flip(),
        Escape: () => {
          app.cancelPremove();
          app.promote(null);
          app.closeResult();
        },
      };
      const run = keys[event.key];
      if (!run) return;
      run();
      event.preventDefault();
    };
    addEventListener("keydown", listen);
    return () => removeEventListener("keydown", listen);
  }, [app]);
}
