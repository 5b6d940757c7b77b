// The page itself: by keyboard alone, on a phone, for screen readers, and as it comes over the wire. One gateway.

import { availableParallelism, loadavg } from "node:os";
import { AxeBuilder } from "@axe-core/playwright";
import { type Browser, devices } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cluster, type Gateway } from "./cluster.ts";
import { openBrowser, pair, Person, playAll } from "./table.ts";

let browser: Browser;
let cluster: Cluster;
let gateway: Gateway;

beforeAll(async () => {
  browser = await openBrowser();
  ({ cluster, gateway } = await Cluster.alone());
});
afterAll(async () => {
  await browser?.close();
  await cluster?.stop();
});

const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, userAgent: devices["iPhone 14"]?.userAgent };

async function axe(person: Person): Promise<void> {
  const { violations } = await new AxeBuilder({ page: person.page }).analyze();
  const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  expect(serious.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" | ")}`)).toEqual([]);
}

describe("over the wire", () => {
  test("the page revalidates, hashed files are kept for ever, all is compressed and strict", async () => {
    const get = (path: string, headers = {}) => fetch(gateway.url + path, { headers: { "accept-encoding": "gzip", ...headers } });
    const page = await get("/");
    expect(page.headers.get("cache-control")).toBe("no-cache");
    expect(page.headers.get("content-security-policy")).toMatch(/^default-src 'none'/);
    expect(page.headers.get("content-security-policy")).not.toContain("unsafe");
    expect(page.headers.get("x-content-type-options")).toBe("nosniff");
    expect(page.headers.get("content-encoding")).toBe("gzip");
    const html = await page.text();
    const again = await get("/game/abcdef", { "if-none-match": page.headers.get("etag") });
    expect(again.status).toBe(304);
    const assets = [...html.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)].map((match) => match[1]!);
    expect(assets.length).toBeGreaterThan(1);
    for (const path of assets) {
      const asset = await get(path);
      expect(asset.headers.get("cache-control")).toBe("public, max-age=31536000, immutable");
      expect(asset.headers.get("content-encoding")).toBe("gzip");
    }
    expect((await get("/assets/none.js")).status).toBe(404);
    expect(await (await get("/third-party.txt")).text()).toContain("Cburnett");
  });

  test("nothing is asked of another host, and the board of a game is there within a second", async () => {
    const a = await (await Person.enter(browser)).visit(gateway.url);
    const b = await (await Person.enter(browser)).visit(gateway.url);
    await pair(a, b);
    // A second of a machine's own time: where more wants to run than there are cores, less of it is ours.
    const limit = (): number => 1_000 * Math.max(1, loadavg()[0]! / availableParallelism());
    const times: number[] = [];
    // The best of a few, for the same reason.
    while (times.length < 10 && !times.some((ms) => ms < limit())) {
      // A context of its own is a cold cache.
      const cold = await Person.enter(browser);
      const start = performance.now();
      await cold.visit(a.page.url());
      await cold.page.locator('.pieces g[data-square="e1"]').waitFor();
      times.push(performance.now() - start);
      expect([...cold.hosts]).toEqual([new URL(gateway.url).host]);
      await cold.leave();
    }
    console.info("first board after ms:", times.map(Math.round));
    expect(Math.min(...times)).toBeLessThan(limit());
    for (const person of [a, b]) await person.leave();
  });
});

test("the lobby shows the most watched game live, and the others by name", async () => {
  const people = [];
  for (const name of ["Ada", "Bo", "Cy", "Di"]) {
    const person = await (await Person.enter(browser)).visit(gateway.url);
    await person.press(/^Your name/);
    await person.page.getByRole("textbox").fill(name);
    await person.press("Save");
    people.push(person);
  }
  const [ada, bo, cy, di] = people as [Person, Person, Person, Person];
  await pair(cy, di);
  const [white, black] = await pair(ada, bo);
  const watcher = await (await Person.enter(browser)).visit(white.page.url());
  await watcher.seesText("Watching");
  const looker = await (await Person.enter(browser)).visit(gateway.url);
  const small = looker.page.getByTestId("featured");
  await small.getByText("Ada").waitFor();
  await playAll(white, black, ["e2e4", "c7c5"]);
  await expect.poll(() => small.locator('use[href="#bp"][transform="translate(80 120)"]').count()).toBe(1);
  await looker.seesText(/Cy – Di|Di – Cy/);
  await axe(looker);
  await small.getByRole("link").click();
  await looker.seesText("Watching");
  await looker.seesMoves("e4", "c5");
  await playAll(white, black, ["g1f3"], [looker]);
  for (const person of [...people, watcher, looker]) await person.leave();
});

test("a finished game opens from the archive, when no log of it is left, and is stepped through", async () => {
  const { cluster: own, gateway: first } = await Cluster.alone();
  try {
    const a = await (await Person.enter(browser)).visit(first.url);
    const b = await (await Person.enter(browser)).visit(first.url);
    const [white, black] = await pair(a, b);
    await playAll(white, black, ["f2f3", "e7e5", "g2g4", "d8h4"]);
    await white.seesOutcome(/^0-1\s*Black wins by checkmate$/);
    const path = new URL(white.page.url()).pathname;
    for (const person of [white, black]) await person.leave();
    const archived = async (): Promise<string> => (await fetch(`${first.url}/api/games`)).text();
    await expect.poll(archived).toContain(path.split("/").at(-1));
    await first.kill();
    own.loseLogs();
    const second = await own.gateway();
    const late = await (await Person.enter(browser)).visit(second.url + path);
    await late.seesOutcome(/^0-1\s*Black wins by checkmate$/);
    await late.seesMoves("f3", "e5", "g4", "Qh4#");
    await late.sees("h4", "bq");
    await late.page.keyboard.press("Home");
    await late.sees("d8", "bq");
    await late.page.getByRole("button", { name: "f3", exact: true }).click();
    await late.sees("f3", "wp");
    await late.leave();
  } finally {
    await own.stop();
  }
});

describe("by keyboard alone", () => {
  test("a game is found, played on the board and in writing, stepped through and given up", async () => {
    const keys = await (await Person.enter(browser)).visit(gateway.url);
    const other = await (await Person.enter(browser)).visit(gateway.url);
    await keys.page.getByRole("button", { name: "1+0 Bullet" }).waitFor();
    for (let n = 0; n < 12; n++) {
      await keys.page.keyboard.press("Tab");
      if (await keys.page.getByRole("button", { name: "10+0 Rapid" }).evaluate((button) => button === document.activeElement)) break;
    }
    await keys.page.keyboard.press("Enter");
    await keys.seesText(/Looking for an opponent/);
    await other.seek("10+0 Rapid");
    const color = await keys.seat();
    if (color === "black") await other.moves("e2", "e4");

    await keys.page.getByTestId("board").focus();
    await keys.page.keyboard.press("Shift+Tab");
    await keys.page.keyboard.press("Tab");
    // The cursor starts on the king's pawn; two squares on is up, from either side.
    for (const key of ["Enter", "ArrowUp", "ArrowUp", "Enter"]) await keys.page.keyboard.press(key);
    await other.sees(color === "white" ? "e4" : "e5", color === "white" ? "wp" : "bp");
    await expect.poll(() => keys.page.getByTestId("spoken").textContent()).toMatch(color === "white" ? /White: e4/ : /Black: e5/);
    if (color === "white") await other.moves("e7", "e5");
    else await other.moves("g1", "f3");

    const typed = keys.page.getByLabel("Type a move");
    await typed.focus();
    await keys.page.keyboard.type("Ke3");
    await keys.page.keyboard.press("Enter");
    await keys.seesText("“Ke3” is not a legal move here.");
    await typed.fill(color === "white" ? "nf3" : "Nc6");
    await keys.page.keyboard.press("Enter");
    await other.sees(color === "white" ? "f3" : "c6", color === "white" ? "wn" : "bn");

    await keys.page.getByRole("button", { name: "First position" }).focus();
    await keys.page.keyboard.press("Enter");
    await keys.sees("e2", "wp");
    await keys.page.keyboard.press("End");
    await keys.sees("e2", null);
    for (const key of ["Enter", "Enter"]) {
      await keys.page.getByRole("button", { name: /^Resign/ }).focus();
      await keys.page.keyboard.press(key);
    }
    await other.seesText("You win");
    for (const person of [keys, other]) await person.leave();
  });
});

describe("on a phone", () => {
  test("a game is played by touch, nothing is wider than the screen", async () => {
    const phone = await (await Person.enter(browser, PHONE)).visit(gateway.url);
    const small = await (await Person.enter(browser, { ...PHONE, viewport: { width: 320, height: 568 } })).visit(gateway.url);
    const [white, black] = await pair(phone, small, "Untimed No clocks");
    for (const [person, from, to] of [[white, "e2", "e4"], [black, "c7", "c5"]] as const) {
      const piece = await person.pieceOn(from);
      await person.page.locator(`rect[data-square="${from}"]`).tap();
      await person.page.locator(`rect[data-square="${to}"]`).tap();
      for (const seer of [white, black]) await seer.sees(to, piece);
    }
    for (const person of [white, black]) {
      const { width } = person.page.viewportSize()!;
      expect(await person.page.evaluate(() => document.documentElement.scrollWidth)).toBe(width);
      const box = (await person.page.getByTestId("board").boundingBox())!;
      expect([box.x, box.width]).toEqual([0, width]);
      await axe(person);
      await person.leave();
    }
  });

  test("a piece is dragged by finger and by mouse", async () => {
    const phone = await (await Person.enter(browser, PHONE)).visit(gateway.url);
    const desk = await (await Person.enter(browser)).visit(gateway.url);
    const [white, black] = await pair(phone, desk, "Untimed No clocks");
    for (const [person, from, to] of [[white, "d2", "d4"], [black, "d7", "d5"]] as const) {
      const piece = await person.pieceOn(from);
      const [start, end] = [await person.middle(from), await person.middle(to)];
      if (person === phone) {
        const session = await person.page.context().newCDPSession(person.page);
        const touch = (type: "touchStart" | "touchMove" | "touchEnd", points: { x: number; y: number }[]) =>
          session.send("Input.dispatchTouchEvent", { type, touchPoints: points });
        await touch("touchStart", [start]);
        await touch("touchMove", [{ x: (start.x + end.x) / 2, y: (start.y + end.y) / 2 }]);
        await touch("touchMove", [end]);
        await touch("touchEnd", []);
      } else {
        await person.page.mouse.move(start.x, start.y);
        await person.page.mouse.down();
        await person.page.mouse.move(end.x, end.y, { steps: 3 });
        const dragged = (await person.page.locator(".dragged").boundingBox())!;
        expect(Math.abs(dragged.x + dragged.width / 2 - end.x)).toBeLessThan(2);
        await person.page.mouse.up();
      }
      for (const seer of [white, black]) await seer.sees(to, piece);
    }
    for (const person of [white, black]) await person.leave();
  });
});

test("who comes with a token that is no good any more goes on as a new guest", async () => {
  const person = await (await Person.enter(browser)).visit(gateway.url);
  await person.seesConnectedTo("node-1");
  await person.page.evaluate(() => localStorage.setItem("rookery.token", "not.a.token"));
  await person.page.reload();
  await person.seesText("Your old session had expired. You are a new guest now.");
  await person.seesConnectedTo("node-1");
  await person.leave();
});

test.each(["light", "dark"] as const)("axe finds nothing serious in the lobby, in a game and after it (%s)", async (colorScheme) => {
  const a = await (await Person.enter(browser, { colorScheme })).visit(gateway.url);
  const b = await (await Person.enter(browser, { colorScheme })).visit(gateway.url);
  await a.page.getByRole("button", { name: "1+0 Bullet" }).waitFor();
  await axe(a);
  await a.press("Play a friend by link");
  await axe(a);
  await a.page.keyboard.press("Escape");
  const [white, black] = await pair(a, b);
  await playAll(white, black, ["e2e4", "d7d5", "e4d5"]);
  await white.page.getByRole("button", { name: "Draw" }).click();
  await axe(white);
  await black.pressTwice("Resign", "Resign?");
  await white.seesText("You win");
  await axe(white);
  const none = await (await Person.enter(browser, { colorScheme })).visit(`${gateway.url}/game/nosuchgame`);
  await none.seesText("No such game");
  await axe(none);
  for (const person of [a, b, none]) await person.leave();
});
