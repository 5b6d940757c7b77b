// One player: name, whether he is here, what he captured, his clock.

import { useEffect, useState } from "preact/hooks";
import type { App } from "../app.ts";
import { type Game, turn } from "../game.ts";
import type { Color } from "../protocol/messages.ts";
import { material, other } from "../rules.ts";
import { Clock } from "./clock.tsx";
import { Piece } from "./pieces.tsx";

export function PlayerBar({ app, game, color }: { app: App; game: Game; color: Color }) {
  const seat = game[color];
  const toMove = !game.over && turn(game) === color;
  const presence = seat.online ? "Online" : "Away";
  return (
    <div class={`player${toMove ? " to-move" : ""}`} data-testid={`player-${color}`}>
      <span class={`disc ${color}`} aria-hidden="true" />
      <div class="player-text">
        <div class="player-name">
          <span class="name">{seat.player.name}</span>
          <span class={`presence ${seat.online ? "online" : "away"}`} role="img" aria-label={presence} title={presence} />
          {!seat.online && !game.over && <Away app={app} game={game} color={color} />}
        </div>
        <Captured fen={app.shownFen(game)} by={color} />
      </div>
      <Clock app={app} game={game} color={color} />
    </div>
  );
}

/** The other side's pieces that are gone, and the lead in pawns. */
function Captured({ fen, by }: { fen: string; by: Color }) {
  const { lost, ahead } = material(fen);
  const lead = by === "white" ? ahead : -ahead;
  const pieces = lost[other(by)];
  return (
    <div class="captured" aria-label={lead > 0 ? `Ahead by ${lead}` : undefined} role={lead > 0 ? "img" : undefined}>
      {pieces.map((piece, index) => (
        <span key={index} class={pieces[index - 1] === piece ? "again" : ""}><Piece color={other(by)} piece={piece} /></span>
      ))}
      {lead > 0 && <span class="lead">+{lead}</span>}
    </div>
  );
}

/** The opponent is away: how long until the win may be claimed. */
function Away({ app, game, color }: { app: App; game: Game; color: Color }) {
  const [, tick] = useState(0);
  const from = game[color].claimableAt;
  const left = from === null ? null : Math.ceil((from - app.serverNow()) / 1000);
  useEffect(() => {
    const timer = setInterval(() => tick((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, []);
  if (game.color !== other(color) || left === null) return <span class="muted small">away</span>;
  if (left > 0) return <span class="muted small">away · claim in {left} s</span>;
  return <button type="button" class="button small" onClick={() => app.act("claim_victory")}>Claim the win</button>;
}
