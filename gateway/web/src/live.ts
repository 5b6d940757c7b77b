// The list of running games, the most watched first, as `GET /api/live` tells it.

import type { LiveGame, LiveGames } from "./protocol/messages.ts";

/** How often the list is asked for while somebody looks at it. */
const PERIOD_MS = 5_000;

/** Calls `show` with each new list until the returned function is called. */
export function followLive(show: (games: LiveGame[]) => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let stopped = false;
  const ask = async (): Promise<void> => {
    if (!document.hidden) {
      try {
        const response = await fetch("/api/live");
        // An older gateway has no list, and one whose backplane is away has none now.
        if (response.ok && !stopped) show(((await response.json()) as LiveGames).games);
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
