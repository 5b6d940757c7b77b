// Pictures for the README, taken from a real game between two browsers on two gateways, watched by three more.

import { mkdirSync } from "node:fs";
import { resolve } from "node:path";
import type { Browser, BrowserContextOptions } from "playwright-core";
import { afterAll, beforeAll, test } from "vitest";
import { Cluster, type Gateway } from "./cluster.ts";
import { openBrowser, pair, Person, playAll } from "./table.ts";

const DOCS = resolve(import.meta.dirname, "../../../docs");
const PHONE: BrowserContextOptions = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

/** Morphy against the Duke of Brunswick and Count Isouard, Paris 1858; the score is in the public domain. */
const OPERA =
  "e2e4 e7e5 g1f3 d7d6 d2d4 c8g4 d4e5 g4f3 d1f3 d6e5 f1c4 g8f6 f3b3 d8e7 b1c3 c7c6 c1g5 b7b5 c3b5 c6b5 c4b5 b8d7 e1c1 a8d8 d1d7 d8d7 h1d1 e7e6 b5d7 f6d7 b3b8 d7b8 d1d8";

let browser: Browser;
let cluster: Cluster;
let gateways: Gateway[];

beforeAll(async () => {
  mkdirSync(DOCS, { recursive: true });
  [browser, cluster] = await Promise.all([openBrowser(), Cluster.withRedis()]);
  gateways = await Promise.all([cluster.gateway(), cluster.gateway(), cluster.gateway()]);
});
afterAll(async () => {
  await browser?.close();
  await cluster?.stop();
});

/** Anderssen against Kieseritzky, London 1851, until the bishop is taken. */
const IMMORTAL = "e2e4 e7e5 f2f4 e5f4 f1c4 d8h4 e1f1 b7b5 c4b5 g8f6 g1f3 h4h6 d2d3 f6h5 f3h4 h6g5 h4f5 c7c6 g2g4 h5f6";

async function named(person: Person, name: string): Promise<void> {
  await person.press(/^Your name/);
  await person.page.getByRole("textbox").fill(name);
  await person.press("Save");
}

const enter = async (node: number, path = "/", options: BrowserContextOptions = {}): Promise<Person> =>
  (await Person.enter(browser, { deviceScaleFactor: 1, ...options })).visit(gateways[node]!.url + path);

const picture = async (person: Person, name: string): Promise<void> => {
  // Toasts are gone by then, and pieces have arrived.
  await person.page.locator(".toast").first().waitFor({ state: "detached" });
  await person.page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
  await person.page.screenshot({ path: `${DOCS}/${name}.png` });
};

test("the lobby", async () => {
  const [a, b, c, d] = [await enter(0), await enter(1), await enter(1), await enter(2)];
  await named(a, "Ada Lovelace");
  await named(b, "Alan Turing");
  await named(c, "Vera Menchik");
  await named(d, "Sonja Graf");
  await pair(c, d, "3+2 Blitz");
  const [white, black] = await pair(a, b, "10+0 Rapid");
  const watchers = [await enter(0, new URL(a.page.url()).pathname), await enter(2, new URL(a.page.url()).pathname)];
  await playAll(white, black, IMMORTAL.split(" "));
  const visitor = await enter(2);
  await visitor.seesText(/Menchik|Graf/);
  await visitor.page.getByTestId("featured").waitFor();
  await picture(visitor, "lobby");
  for (const person of [a, b, c, d, visitor, ...watchers]) await person.page.context().close();
}, 180_000);

test("a game", async () => {
  const morphy = await enter(0);
  await named(morphy, "Paul Morphy");
  await morphy.press("Play a friend by link");
  await morphy.page.getByLabel("Time").selectOption({ label: "15+10 · Rapid" });
  await morphy.page.getByText("White", { exact: true }).click();
  await morphy.press("Make the link");
  const link = await morphy.page.getByLabel("Link to the game").inputValue();
  const path = new URL(link).pathname;
  const duke = await enter(1, path, PHONE);
  await duke.page.getByLabel("Play as").fill("Duke Karl");
  await duke.press("Join the game");
  await duke.seat();
  const watcher = await enter(2, path, { colorScheme: "dark" });
  const others = [await enter(2, path), await enter(0, path)];

  const moves = OPERA.split(" ");
  await playAll(morphy, duke, moves.slice(0, 26), [watcher]);
  await duke.page.getByPlaceholder("Write to your opponent").fill("The opera is loud tonight.");
  await duke.page.keyboard.press("Enter");
  await morphy.page.getByPlaceholder("Write to your opponent").fill("Then listen, while I castle.");
  await morphy.page.keyboard.press("Enter");
  await watcher.page.getByPlaceholder("Write to the other watchers").fill("Both rooks, and the queen next?");
  await watcher.page.keyboard.press("Enter");
  await watcher.seesText("Both rooks, and the queen next?");
  await morphy.page.locator('rect[data-square="h1"]').click();
  await picture(morphy, "game");
  await morphy.page.keyboard.press("Escape");
  await duke.page.evaluate(() => scrollTo(0, 0));
  await picture(duke, "phone");
  await picture(watcher, "dark");

  await morphy.page.locator('rect[data-square="h1"]').click();
  await playAll(morphy, duke, moves.slice(26), [watcher]);
  await morphy.seesOutcome(/White wins by checkmate/);
  for (const person of [morphy, duke, watcher, ...others]) await person.page.context().close();
}, 180_000);
