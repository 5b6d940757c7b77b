// Games that run now, the most watched first. Shown only by gateways that keep such a list.

export function LiveGames() {
  return null;
}
