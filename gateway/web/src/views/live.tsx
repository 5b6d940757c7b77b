// Games that run now, the most watched first. Shown only by gateways that keep such a list.

import type { App } from "../app.ts";

export function LiveGames(_: { app: App }) {
  return null;
}
