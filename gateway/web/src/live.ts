// The list of running games, the most watched first, as `GET /api/live` tells it. A gateway without it answers 404, and
// is not asked again.

import type { Player, TimeControl } from "./protocol/messages.ts";

/** How often the list is asked for while somebody looks at it. */
const PERIOD_MS = 5_000;

export interface LiveGame {
  gameId: string;
  viewers: number;
  whitePlayer: Player;
  blackPlayer: Player;
  timeControl: TimeControl | null;
}

/** Calls `show` with each new list until the returned function is called. */
export function followLive(show: (games: LiveGame[]) => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let stopped = false;
  const ask = async (): Promise<void> => {
    if (!document.hidden) {
      try {
        const response = await fetch("/api/live");
        if (response.status === 404) return;
        const body = (await response.json()) as { games?: LiveGame[] };
        if (!stopped && response.ok && Array.isArray(body.games)) show(body.games);
      } catch {
        // The gateway is away; the connection says so already.
      }
    }
    if (!stopped) timer = setTimeout(() => void ask(), PERIOD_MS);
  };
  void ask();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}
