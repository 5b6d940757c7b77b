// Whole games, by two or three people in browsers of their own, on gateways of their own.

import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cluster, type Gateway } from "./cluster.ts";
import { openBrowser, pair, Person, playAll } from "./table.ts";

let browser: Browser;
let cluster: Cluster;
let gateways: Gateway[];
const at = (index: number): Gateway => gateways[index]!;
/** Somebody whose opponent left for good at the start; the minute until the win may be claimed passes beside the other tests. */
let deserted: Person;

beforeAll(async () => {
  [browser, cluster] = await Promise.all([openBrowser(), Cluster.withRedis()]);
  gateways = await Promise.all([cluster.gateway(), cluster.gateway(), cluster.gateway()]);
  const [white, black] = await twoAtTheBoard("30+0 Classical");
  await playAll(white, black, ["e2e4", "e7e5"]);
  await white.leave();
  deserted = black;
});
afterAll(async () => {
  await browser?.close();
  await cluster?.stop();
});

/** Two people on two gateways, at the board. */
async function twoAtTheBoard(time?: string): Promise<[Person, Person]> {
  const a = await (await Person.enter(browser)).visit(at(0).url);
  const b = await (await Person.enter(browser)).visit(at(1).url);
  return pair(a, b, time);
}

describe("on three gateways", () => {
  test("two play to mate by clicking, a third watches by link", async () => {
    const [white, black] = await twoAtTheBoard("3+2 Blitz");
    const path = new URL(white.page.url()).pathname;
    expect(new URL(black.page.url()).pathname).toBe(path);
    const watcher = await (await Person.enter(browser)).visit(at(2).url + path);
    await watcher.seesConnectedTo("node-3");
    await watcher.seesText("Watching");

    await playAll(white, black, ["e2e4", "e7e5", "d1h5", "b8c6", "f1c4", "g8f6", "h5f7"], [watcher]);
    for (const person of [white, black, watcher]) {
      await person.seesMoves("e4", "e5", "Qh5", "Nc6", "Bc4", "Nf6", "Qxf7#");
      await person.seesOutcome(/^1-0\s*White wins by checkmate$/);
    }
    await white.seesText("You win");
    await black.seesText("You lose");
    for (const person of [white, black, watcher]) expect([...person.hosts]).toEqual([new URL(person.page.url()).host]);

    // A finished game opens by its link, and can be stepped through.
    const late = await (await Person.enter(browser)).visit(at(1).url + path);
    await late.seesOutcome(/White wins by checkmate/);
    await late.page.keyboard.press("Home");
    await late.sees("e2", "wp");
    await late.page.keyboard.press("ArrowRight");
    await late.sees("e4", "wp");
    await late.sees("f7", "bp");
    await late.page.getByRole("button", { name: "Qxf7#" }).click();
    await late.sees("f7", "wq");
    for (const person of [white, black, watcher, late]) await person.leave();
  });

  test("no click falls into an animation: moves are made the moment the opponent's is heard of", async () => {
    const moving = { reducedMotion: "no-preference" as const };
    const a = await (await Person.enter(browser, moving)).visit(at(0).url);
    const b = await (await Person.enter(browser, moving)).visit(at(1).url);
    const [white, black] = await pair(a, b);
    const moves = "e2e4 e7e5 g1f3 b8c6 f1b5 a7a6 b5a4 g8f6 e1g1 f8e7 f1e1 b7b5 a4b3 d7d6 c2c3 e8g8".split(" ");
    for (const [ply, move] of moves.entries()) {
      const mover = ply % 2 === 0 ? white : black;
      // The list of moves is there at once, the piece still slides.
      if (ply > 0) await mover.page.locator(".san").nth(ply - 1).waitFor();
      const start = await mover.middle(move.slice(0, 2));
      const end = await mover.middle(move.slice(2, 4));
      await mover.page.mouse.click(start.x, start.y);
      await mover.page.mouse.click(end.x, end.y);
    }
    for (const person of [white, black]) {
      await person.seesMoves(..."e4 e5 Nf3 Nc6 Bb5 a6 Ba4 Nf6 O-O Be7 Re1 b5 Bb3 d6 c3 O-O".split(" "));
      for (const [square, piece] of [["g1", "wk"], ["e1", "wr"], ["b3", "wb"], ["g8", "bk"], ["f8", "br"], ["c3", "wp"], ["e8", null]] as const) {
        await person.sees(square, piece);
      }
      await person.leave();
    }
  });

  test("castling, en passant and promotion look right on both sides", async () => {
    const [white, black] = await twoAtTheBoard();
    await playAll(white, black, ["e2e4", "g8f6", "e4e5", "d7d5", "e5d6", "b8a6", "g1f3", "a6b8", "f1e2", "b8a6", "e1g1", "a6b8"]);
    for (const person of [white, black]) {
      await person.sees("d5", null);
      await person.sees("g1", "wk");
      await person.sees("f1", "wr");
    }
    await playAll(white, black, ["d6c7", "b8a6"]);
    await white.clickMove("c7", "d8");
    const choice = white.page.getByTestId("promotion");
    await choice.getByRole("button", { name: "Knight" }).click();
    for (const person of [white, black]) await person.sees("d8", "wn");
    await black.seesText("cxd8=N");
    for (const person of [white, black]) await person.leave();
  });

  test("a premove is played as soon as it can be, and dropped when it cannot", async () => {
    const [white, black] = await twoAtTheBoard();
    await black.clickMove("e7", "e5");
    await expect.poll(() => black.page.locator(".mark.premove").count()).toBe(2);
    await white.moves("e2", "e4");
    for (const person of [white, black]) await person.seesMoves("e4", "e5");
    // Takes nothing there by the time it is played, so it is not legal.
    await black.clickMove("e5", "d4");
    await white.moves("g1", "f3");
    for (const person of [white, black]) await person.seesMoves("e4", "e5", "Nf3");
    await expect.poll(() => black.page.locator(".mark.premove").count()).toBe(0);
    for (const person of [white, black]) await person.leave();
  });

  test("a draw by repetition is claimed by whose turn it is", async () => {
    const [white, black] = await twoAtTheBoard();
    const back = ["g1f3", "g8f6", "f3g1", "f6g8"];
    await playAll(white, black, [...back, ...back]);
    await white.page.getByRole("button", { name: "Claim draw: threefold repetition" }).waitFor();
    expect(await black.page.getByRole("button", { name: /^Claim draw/ }).count()).toBe(0);
    await white.press(/^Claim draw/);
    for (const person of [white, black]) {
      await person.seesOutcome(/^1\/2-1\/2\s*Draw by threefold repetition$/);
      await person.leave();
    }
  });

  test("a draw is claimed with the move that would bring the third repetition", async () => {
    const [white, black] = await twoAtTheBoard();
    const back = ["g1f3", "g8f6", "f3g1", "f6g8"];
    await playAll(white, black, [...back, ...back.slice(0, 3)]);
    expect(await white.page.getByRole("button", { name: /^Claim draw/ }).count()).toBe(0);
    await black.press("Claim draw with Ng8: threefold repetition");
    for (const person of [white, black]) {
      await person.seesOutcome(/^1\/2-1\/2\s*Draw by threefold repetition$/);
      await person.leave();
    }
  });

  test("draw, rematch with colours changed, takeback, resignation, chat", async () => {
    const [white, black] = await twoAtTheBoard();
    await playAll(white, black, ["e2e4", "e7e5"]);
    await white.page.getByPlaceholder("Write to your opponent").fill("good luck <b>");
    await white.page.keyboard.press("Enter");
    await black.seesText("good luck <b>");
    await black.press("Switch off the chat");
    await black.seesText(/^Chat is off/);
    expect(await black.page.getByText("good luck <b>").count()).toBe(0);
    await black.page.reload();
    await black.seesText(/^Chat is off/);
    await black.press("Switch on the chat");
    await black.seesText("good luck <b>");
    // Escape on the way does not keep the result from being shown.
    await black.page.keyboard.press("Escape");
    await white.pressTwice("Draw", "Offer a draw?");
    await black.seesText(/offers a draw/);
    await black.press("Accept");
    for (const person of [white, black]) await person.seesOutcome(/Draw by agreement/);

    const path = new URL(white.page.url()).pathname;
    await black.press("Rematch");
    await white.press("Accept rematch");
    await white.page.waitForURL((url) => url.pathname !== path);
    await black.page.waitForURL(white.page.url().replace(/^.*?\/game/, "**/game"));
    expect([await white.seat(), await black.seat()]).toEqual(["black", "white"]);

    await playAll(black, white, ["d2d4", "d7d5"]);
    await white.press("Takeback");
    await black.seesText(/asks to take a move back/);
    await black.press("Accept");
    for (const person of [white, black]) await person.seesMoves("d4");
    await white.moves("g8", "f6");
    await black.pressTwice("Resign", "Resign?");
    for (const person of [white, black]) await person.seesOutcome(/^0-1\s*Black wins by resignation$/);
    for (const person of [white, black]) await person.leave();
  });

  test("an offer is declined, the opponent goes away and comes back, the wheel steps, a game is aborted", async () => {
    const [white, black] = await twoAtTheBoard();
    await playAll(white, black, ["e2e4", "e7e5", "g1f3"]);
    await black.press("Takeback");
    await white.seesText(/asks to take a move back/);
    await white.press("Decline");
    await black.seesText(/declined the takeback/);

    const url = black.page.url();
    await black.page.goto("about:blank");
    await white.seesText(/^away · claim in \d+ s$/);
    await black.visit(url);
    await expect.poll(() => white.page.getByText(/^away/).count()).toBe(0);
    expect(await black.seat()).toBe("black");
    await black.moves("b8", "c6");
    await white.sees("c6", "bn");

    await white.page.mouse.move(...Object.values(await white.middle("e4")) as [number, number]);
    await white.page.mouse.wheel(0, -100);
    await white.sees("b8", "bn");
    await white.press("Back to live");
    await white.sees("b8", null);
    for (const person of [white, black]) await person.leave();

    const [first, second] = await twoAtTheBoard();
    await first.pressTwice("Abort", "Abort?");
    for (const person of [first, second]) {
      await person.seesOutcome(/Game aborted/);
      await person.leave();
    }
  });

  test("a flag falls, and the clock says so", async () => {
    const a = await (await Person.enter(browser)).visit(at(0).url);
    const b = await (await Person.enter(browser)).visit(at(1).url);
    for (const person of [a, b]) {
      await person.press("Custom");
      await person.page.getByLabel("Minutes each").fill("0.25");
      await person.page.getByLabel("Seconds added per move").fill("0");
      await person.press("Find an opponent");
      if (person === a) await a.seesText(/Looking for an opponent/);
    }
    const [white, black] = (await a.seat()) === "white" ? [a, b] : [b, a];
    await playAll(white, black, ["e2e4", "e7e5"]);
    await black.page.getByTestId("outcome").waitFor({ timeout: 60_000 });
    for (const person of [white, black]) await person.seesOutcome(/^0-1\s*Black wins on time$/);
    await expect.poll(() => white.page.getByTestId("clock-white").textContent()).toBe("0:00.0");
    for (const person of [white, black]) await person.leave();
  });

  test("after a minute of the opponent's absence the win is claimed", async () => {
    const claim = deserted.page.getByRole("button", { name: "Claim the win" });
    await claim.waitFor({ timeout: 100_000 });
    await claim.click();
    await deserted.seesOutcome(/^0-1\s*Black wins by abandonment$/);
    await deserted.seesText("You win");
    await deserted.leave();
  });

  test("a friend joins by link, under a name of his own", async () => {
    const host = await (await Person.enter(browser)).visit(at(0).url);
    await host.press("Play a friend by link");
    await host.page.getByLabel("Time").selectOption({ label: "10+5 · Rapid" });
    await host.page.getByText("Black", { exact: true }).click();
    await host.press("Make the link");
    await host.seesText("Waiting for your friend");
    const link = await host.page.getByLabel("Link to the game").inputValue();
    const friend = await (await Person.enter(browser)).visit(at(2).url + new URL(link).pathname);
    await friend.seesText(/invites you to a game/);
    await friend.seesText(/10\+5 · Rapid, you play White/);
    await friend.page.getByLabel("Play as").fill("Judit");
    await friend.press("Join the game");
    expect(await friend.seat()).toBe("white");
    expect(await host.seat()).toBe("black");
    await host.seesText("Judit");
    await playAll(friend, host, ["e2e4", "c7c5"]);
    const third = await (await Person.enter(browser)).visit(at(1).url + new URL(link).pathname);
    await third.seesText("Watching");
    await third.seesMoves("e4", "c5");
    for (const person of [host, friend, third]) await person.leave();
  });
});
