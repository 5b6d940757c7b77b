// People at the board, in verbs: what they do, and what they see on their screens. Nothing here looks inside the page.

import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { expect, vi } from "vitest";

/** How long something may take to be seen on a busy machine. */
export const SEEN_MS = 30_000;

export async function openBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    headless: true,
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ],
  });
}

export class Person {
  /** Everything the browser complained about; a test that ends with words here has failed. */
  readonly complaints: string[] = [];
  readonly hosts = new Set<string>();

  private constructor(readonly page: Page) {}

  static async enter(browser: Browser, options: BrowserContextOptions = {}): Promise<Person> {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: "reduce", ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(SEEN_MS);
    const person = new Person(page);
    page.on("console", (message) => {
      // Chromium itself reports a WebSocket that cannot be opened; that is no fault of the page's.
      if (message.type() === "error" && !/WebSocket connection to/.test(message.text())) person.complaints.push(message.text());
    });
    page.on("pageerror", (error) => person.complaints.push(String(error)));
    page.on("request", (request) => person.hosts.add(new URL(request.url()).host));
    return person;
  }

  async visit(url: string): Promise<this> {
    await this.page.goto(url);
    return this;
  }

  async seek(words: string): Promise<void> {
    await this.page.getByRole("button", { name: words, exact: true }).click();
  }

  /** The board is there, and the seat at its bottom. */
  async seat(): Promise<"white" | "black"> {
    await this.page.getByTestId("board").waitFor();
    const bars = this.page.getByTestId(/^player-/);
    return (await bars.nth(1).getAttribute("data-testid")) === "player-white" ? "white" : "black";
  }

  async clickMove(from: string, to: string): Promise<void> {
    await this.page.locator(`rect[data-square="${from}"]`).click();
    await this.page.locator(`rect[data-square="${to}"]`).click();
  }

  /** Moves a piece by click and waits until it stands there. */
  async moves(from: string, to: string): Promise<void> {
    const piece = await this.pieceOn(from);
    await this.clickMove(from, to);
    await this.sees(to, piece);
  }

  /** Middle of a square, in the window's pixels. */
  async middle(square: string): Promise<{ x: number; y: number }> {
    const box = await this.page.locator(`rect[data-square="${square}"]`).boundingBox();
    if (!box) throw new Error(`no square ${square}`);
    return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
  }

  async pieceOn(square: string): Promise<string | null> {
    // In one look: what is counted first and read then may be gone between.
    const pieces = this.page.locator(`.pieces g[data-square="${square}"]`);
    return pieces.evaluateAll((found) => found[0]?.getAttribute("data-piece") ?? null);
  }

  /** That piece (`wq`, or null for none) is drawn on that square. */
  async sees(square: string, piece: string | null): Promise<void> {
    await vi.waitFor(async () => expect(await this.pieceOn(square), `piece on ${square}`).toBe(piece), { timeout: SEEN_MS });
  }

  async seesMoves(...sans: string[]): Promise<void> {
    const list = this.page.getByTestId("moves").getByRole("button");
    await expect.poll(() => list.allTextContents(), { message: "move list" }).toEqual(sans);
  }

  async seesText(text: string | RegExp): Promise<void> {
    await this.page.getByText(text).first().waitFor({ state: "visible" });
  }

  async press(name: string | RegExp): Promise<void> {
    await this.page.getByRole("button", { name }).first().click();
  }

  /** A button that asks once more. */
  async pressTwice(name: string, again: string): Promise<void> {
    await this.press(name);
    await this.press(again);
  }

  async seesOutcome(text: string | RegExp): Promise<void> {
    const outcome = this.page.getByTestId("outcome");
    await outcome.waitFor();
    await expect.poll(() => outcome.textContent()).toMatch(text);
  }

  async seesConnectedTo(node: string): Promise<void> {
    await expect.poll(() => this.page.getByTestId("connection").textContent()).toBe(`Connected to ${node}`);
  }

  async leave(): Promise<void> {
    expect(this.complaints).toEqual([]);
    await this.page.context().close();
  }
}

/** Two people who sought the same game, White first. */
export async function pair(a: Person, b: Person, time = "5+0 Blitz"): Promise<[white: Person, black: Person]> {
  await a.seek(time);
  await a.seesText(/Looking for an opponent/);
  await b.seek(time);
  return (await a.seat()) === "white" ? [a, b] : [b, a];
}

/** Plays moves such as `e2e4`, each seen by everybody before the next. */
export async function playAll(white: Person, black: Person, moves: string[], watchers: Person[] = []): Promise<void> {
  for (const [index, move] of moves.entries()) {
    const [from, to] = [move.slice(0, 2), move.slice(2, 4)];
    const mover = index % 2 === 0 ? white : black;
    const piece = await mover.pieceOn(from);
    await mover.clickMove(from, to);
    for (const person of [white, black, ...watchers]) await person.sees(to, piece);
  }
}
