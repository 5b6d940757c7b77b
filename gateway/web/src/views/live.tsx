// Games that run now: the most watched one on a small board, live, and a list of the others. Nothing at all until the gateway has told its list.

import { useEffect, useState } from "preact/hooks";
import type { App } from "../app.ts";
import { type Game, lastMove, latestFen } from "../game.ts";
import { followLive } from "../live.ts";
import type { Color, LiveGame } from "../protocol/messages.ts";
import { timeControlText } from "../text.ts";
import { Clock } from "./clock.tsx";
import { Icon } from "./icons.tsx";
import { MiniBoard } from "./pieces.tsx";

/** Rows of the list. */
const ROWS_MAX = 8;

export function LiveGames({ app }: { app: App }) {
  const [games, setGames] = useState<LiveGame[] | null>(null);
  const first = games?.[0]?.gameId ?? null;
  useEffect(() => followLive(setGames), []);
  useEffect(() => app.feature(first), [app, first]);
  if (!games) return null;
  const { featured } = app.state;
  const [, ...others] = games;
  return (
    <section class="live-games" aria-label="Live games">
      <h2><Icon name="live" /> Live now</h2>
      {games.length === 0 && <p class="empty">Nobody plays just now. Start a game, and others can watch it here.</p>}
      {featured && <Featured app={app} game={featured} />}
      {others.length > 0 && (
        <ul>
          {others.slice(0, ROWS_MAX).map((game) => (
            <li key={game.gameId}>
              <a class="live-row" href={`/game/${game.gameId}`}>
                <span class="name">{game.whitePlayer.name} – {game.blackPlayer.name}</span>
                <span class="spacer" />
                <span class="muted small">{timeControlText(game.timeControl)}</span>
                <span class="viewers"><Icon name="eye" /> {game.viewers.toLocaleString("en")}<span class="sr-only"> watching</span></span>
              </a>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

function Featured({ app, game }: { app: App; game: Game }) {
  const row = (color: Color) => (
    <div class="featured-names">
      <span class={`disc ${color}`} aria-hidden="true" />
      <span class="name">{game[color].player.name}</span>
      <Clock app={app} game={game} color={color} />
    </div>
  );
  return (
    <div class="featured" data-testid="featured">
      {row("black")}
      <a href={`/game/${game.id}`} aria-label={`Watch ${game.white.player.name} against ${game.black.player.name}`}>
        <MiniBoard fen={latestFen(game)} lastMove={lastMove(game, game.moves.length)} />
      </a>
      {row("white")}
    </div>
  );
}
