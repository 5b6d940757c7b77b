// What a player may do besides moving, and the opponent's offers.

import { useEffect, useMemo, useState } from "preact/hooks";
import type { App } from "../app.ts";
import { type Game, isOurTurn, isPlaying } from "../game.ts";
import { drawClaim, other } from "../rules.ts";
import { Rematch } from "./game.tsx";
import { Icon } from "./icons.tsx";

/** Before this ply the game may be aborted instead of resigned. */
const ABORT_BEFORE_PLY = 2;
/** How long a dangerous button stays armed. */
const ARMED_MS = 4_000;

export function Actions({ app, game }: { app: App; game: Game }) {
  const ours = isOurTurn(game);
  const claim = useMemo(() => (ours ? drawClaim(game.positions) : null), [ours, game.positions]);
  if (game.over) {
    return (
      <div class="actions">
        <Rematch app={app} game={game} />
        <a class="button" href="/">{game.color ? "New opponent" : "To the lobby"}</a>
      </div>
    );
  }
  if (!isPlaying(game)) return null;
  const young = game.moves.length < ABORT_BEFORE_PLY;
  const ownMoves = game.color === "white" ? game.moves.length > 0 : game.moves.length > 1;
  return (
    <div class="actions">
      {claim && (
        <button type="button" class="button primary" onClick={() => app.claimDraw(claim)}>
          Claim draw{claim.move && ` with ${claim.move.san}`}: {claim.reason}
        </button>
      )}
      <button
        type="button"
        class="button"
        disabled={!ownMoves || game.takebackOffer === game.color}
        onClick={() => app.act("offer_takeback")}
      >
        <Icon name="undo" /> Takeback
      </button>
      <Armed key={`draw ${game.moves.length}`} words="Draw" armed="Offer a draw?" icon="draw" disabled={young || game.drawOffer !== null} run={() => app.act("offer_draw")} />
      {young ? (
        <Armed words="Abort" armed="Abort?" icon="close" disabled={false} run={() => app.act("abort")} />
      ) : (
        <Armed words="Resign" armed="Resign?" icon="flag" disabled={false} run={() => app.act("resign")} />
      )}
    </div>
  );
}

/** A button that asks once more before it acts. */
function Armed({ words, armed, icon, disabled, run }: { words: string; armed: string; icon: "draw" | "flag" | "close"; disabled: boolean; run(): void }) {
  const [isArmed, setArmed] = useState(false);
  useEffect(() => {
    if (!isArmed) return;
    const timer = setTimeout(() => setArmed(false), ARMED_MS);
    return () => clearTimeout(timer);
  }, [isArmed]);
  return (
    <button
      type="button"
      class={`button${isArmed ? " danger" : ""}`}
      disabled={disabled}
      onClick={() => {
        if (isArmed) run();
        setArmed(!isArmed);
      }}
    >
      <Icon name={isArmed ? "check" : icon} /> {isArmed ? armed : words}
    </button>
  );
}

export function Offers({ app, game }: { app: App; game: Game }) {
  if (!game.color || game.over) return null;
  const theirs = other(game.color);
  const name = game[theirs].player.name;
  if (game.drawOffer === theirs) {
    return <Offer text={`${name} offers a draw.`} accept={() => app.act("accept_draw")} decline={() => app.act("decline_draw")} />;
  }
  if (game.takebackOffer === theirs) {
    return <Offer text={`${name} asks to take a move back.`} accept={() => app.act("accept_takeback")} decline={() => app.act("decline_takeback")} />;
  }
  if (game.drawOffer === game.color) return <p class="muted small">Draw offered. It stands until the next move.</p>;
  if (game.takebackOffer === game.color) return <p class="muted small">Takeback asked for.</p>;
  return null;
}

function Offer({ text, accept, decline }: { text: string; accept(): void; decline(): void }) {
  return (
    <div class="offer" role="group" aria-label="Offer" data-testid="offer">
      <span>{text}</span>
      <button type="button" class="button primary small" onClick={accept}>Accept</button>
      <button type="button" class="button small" onClick={decline}>Decline</button>
    </div>
  );
}
