// The game to take away: its link, its moves, its position.

import { useEffect, useState } from "preact/hooks";
import type { App } from "../app.ts";
import type { Game } from "../game.ts";
import { pgn } from "../pgn.ts";
import { Icon } from "./icons.tsx";

const COPIED_MS = 2_000;

export function Share({ app, game }: { app: App; game: Game }) {
  const link = `${location.origin}/game/${game.id}`;
  return (
    <details class="share">
      <summary>Share and export</summary>
      <div class="share-buttons">
        <Copy words="Copy link" text={() => link} app={app} />
        <Copy words="Copy FEN" text={() => app.shownFen(game)} app={app} />
        <Copy words="Copy PGN" text={() => pgn(game, link)} app={app} />
        <a class="button small" href={`/api/games/${game.id}/pgn`} download={`rookery-${game.id}.pgn`}>
          <Icon name="download" /> PGN file
        </a>
      </div>
    </details>
  );
}

export function Copy({ app, words, text }: { app: App; words: string; text(): string }) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), COPIED_MS);
    return () => clearTimeout(timer);
  }, [copied]);
  return (
    <button
      type="button"
      class="button small"
      onClick={() => {
        copy(text()).then(
          () => setCopied(true),
          () => app.toast("This browser does not let the page copy. Select the text and copy it yourself.", "error"),
        );
      }}
    >
      <Icon name={copied ? "check" : "copy"} /> {copied ? "Copied" : words}
    </button>
  );
}

/** The clipboard exists only on HTTPS and localhost; elsewhere the old way. */
async function copy(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "sr-only";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("not copied");
}
