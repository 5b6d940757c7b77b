// A game as PGN, from what the page knows; the gateway's own record, with clock times, is at /api/games/{id}/pgn.

import type { Game } from "./game.ts";

const pad = (n: number): string => String(n).padStart(2, "0");

export function pgn(game: Game, site: string): string {
  const date = new Date(game.startedAt);
  const control = game.timeControl;
  const result = game.over?.result ?? "*";
  const tags: [string, string][] = [
    ["Event", "Rookery game"],
    ["Site", site],
    ["Date", `${date.getUTCFullYear()}.${pad(date.getUTCMonth() + 1)}.${pad(date.getUTCDate())}`],
    ["Round", "-"],
    ["White", game.white.player.name],
    ["Black", game.black.player.name],
    ["Result", result],
    ["TimeControl", control ? `${control.initialMs / 1000}+${control.incrementMs / 1000}` : "-"],
  ];
  const head = tags.map(([name, value]) => `[${name} "${value.replace(/["\\]/g, "\\$&")}"]`).join("\n");
  const words = game.moves.flatMap((move, index) => (index % 2 === 0 ? [`${index / 2 + 1}.`, move.san] : [move.san]));
  return `${head}\n\n${wrap([...words, result])}\n`;
}

/** Lines of at most 80 characters, as the standard asks. */
function wrap(words: string[]): string {
  const lines: string[] = [];
  let line = "";
  for (const word of words) {
    if (line && line.length + word.length + 1 > 80) {
      lines.push(line);
      line = word;
    } else line = line ? `${line} ${word}` : word;
  }
  return [...lines, line].join("\n");
}
