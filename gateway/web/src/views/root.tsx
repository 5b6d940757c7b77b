// The frame around every page: who one is, how it looks and sounds, what the connection does.

import { useEffect, useReducer, useState } from "preact/hooks";
import type { App } from "../app.ts";
import { isPlaying } from "../game.ts";
import type { Theme } from "../preferences.ts";
import { NAME_CHARS_MAX } from "../protocol/messages.ts";
import { stoppedText, timeControlText } from "../text.ts";
import { Dialog } from "./dialog.tsx";
import { GamePage } from "./game.tsx";
import { Icon } from "./icons.tsx";
import { Lobby } from "./lobby.tsx";

export function Root({ app }: { app: App }) {
  const [, redraw] = useReducer((n: number) => n + 1, 0);
  useEffect(() => app.subscribe(() => redraw(undefined)), [app]);
  const { state } = app;
  useEffect(() => {
    document.title = title(app);
  });
  return (
    <div class="page" onClick={(event) => followLink(app, event)}>
      <a class="skip" href="#main">Skip to the board</a>
      <Header app={app} />
      {state.banner && (
        <div class="banner" role="status">
          Connection lost. Reconnecting…
          {app.game && isPlaying(app.game) && " Your game goes on; a move you make now is sent as soon as it is back."}
          <button type="button" class="link" onClick={() => app.retryNow()}>Try now</button>
        </div>
      )}
      {state.outdated && (
        <div class="banner" role="status">
          There is a newer version of this page.
          <button type="button" class="link" onClick={() => location.reload()}>Load it</button>
        </div>
      )}
      {state.status.kind === "stopped" && (
        <div class="banner" role="alert">
          {stoppedText(state.status.code, state.status.reason)}{" "}
          <button type="button" class="link" onClick={() => app.retryNow()}>Connect again</button>
        </div>
      )}
      <main id="main" tabIndex={-1}>{state.route.name === "lobby" ? <Lobby app={app} /> : <GamePage app={app} />}</main>
      <Footer app={app} />
      <div class="toasts" role="status" aria-live="polite">
        {state.toasts.map((toast) => (
          <div key={toast.id} class={`toast ${toast.kind}`}>
            <span>{toast.text}</span>
            <button type="button" class="plain" aria-label="Dismiss" onClick={() => app.dismiss(toast.id)}><Icon name="close" /></button>
          </div>
        ))}
      </div>
      <div class="sr-only" role="status" aria-live="polite" aria-atomic="true" data-testid="spoken">{state.spoken}</div>
    </div>
  );
}

function title(app: App): string {
  const { game } = app;
  if (!game) return "Rookery";
  const names = `${game.white.player.name} – ${game.black.player.name}`;
  const ours = game.color && !game.over && game.color === (game.moves.length % 2 === 0 ? "white" : "black");
  return `${ours && !game.pending ? "Your move · " : ""}${names} · Rookery`;
}

/** Links within the page change it without loading it anew, so that the connection stays. */
function followLink(app: App, event: MouseEvent): void {
  const link = (event.target as Element).closest?.("a");
  const path = link?.getAttribute("href") ?? "";
  const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
  if (!link || !plain || link.target || !(path === "/" || path.startsWith("/game/"))) return;
  event.preventDefault();
  app.go(path);
}

const THEMES: { theme: Theme; icon: "auto" | "sun" | "moon"; words: string }[] = [
  { theme: "system", icon: "auto", words: "Theme: as the system" },
  { theme: "light", icon: "sun", words: "Theme: light" },
  { theme: "dark", icon: "moon", words: "Theme: dark" },
];

function Header({ app }: { app: App }) {
  const { preferences, seek } = app.state;
  const index = THEMES.findIndex((item) => item.theme === preferences.theme);
  const theme = THEMES[index] ?? THEMES[0]!;
  const next = THEMES[(index + 1) % THEMES.length]!;
  const soundWords = preferences.sound ? "Sound: on" : "Sound: off";
  return (
    <header class="top">
      <a class="brand" href="/">
        <svg viewBox="0 0 32 32" aria-hidden="true"><path d="M8 5h4v3h2V5h4v3h2V5h4v7l-3 2v8l3 3v2H8v-2l3-3v-8l-3-2z" /></svg>
        Rookery
      </a>
      {app.state.route.name === "game" && seek !== undefined && (
        <button type="button" class="button small" onClick={() => app.cancelSeek()}>
          <span class="spinner" aria-hidden="true" /> {timeControlText(seek)} · Cancel<span class="sr-only"> the search for an opponent</span>
        </button>
      )}
      <div class="top-tools">
        <NameButton app={app} />
        <button
          type="button"
          class="tool"
          title={soundWords}
          aria-label={soundWords}
          aria-pressed={preferences.sound}
          onClick={() => {
            app.prefer({ sound: !preferences.sound });
            app.play("notice");
          }}
        >
          <Icon name={preferences.sound ? "sound" : "mute"} />
        </button>
        <button type="button" class="tool" title={theme.words} aria-label={theme.words} onClick={() => app.prefer({ theme: next.theme })}>
          <Icon name={theme.icon} />
        </button>
      </div>
    </header>
  );
}

function NameButton({ app }: { app: App }) {
  const [open, setOpen] = useState(false);
  const { user, preferences } = app.state;
  if (!user) return null;
  if (!user.isGuest) return <span class="who">{user.name}</span>;
  const shown = preferences.name.trim() || user.name;
  return (
    <>
      <button type="button" class="who" onClick={() => setOpen(true)} aria-label={`Your name: ${shown}. Change it`}>{shown}</button>
      {open && (
        <Dialog title="Your name" close={() => setOpen(false)}>
          <form
            onSubmit={(event) => {
              event.preventDefault();
              const name = new FormData(event.currentTarget).get("name");
              app.prefer({ name: typeof name === "string" ? name.trim() : "" });
              setOpen(false);
            }}
          >
            <label class="field">
              <span>Shown to your opponents from the next game on</span>
              <input name="name" maxLength={NAME_CHARS_MAX} defaultValue={preferences.name} placeholder={user.name} autocomplete="nickname" autofocus />
            </label>
            <div class="dialog-buttons"><button type="submit" class="button primary">Save</button></div>
          </form>
        </Dialog>
      )}
    </>
  );
}

function Footer({ app }: { app: App }) {
  const { status, node, latency, notice } = app.state;
  const words = { live: "Connected", connecting: "Connecting", waiting: "Reconnecting", stopped: "Not connected" }[status.kind];
  return (
    <footer class="bottom">
      <span class={`light ${status.kind}`} aria-hidden="true" />
      <span data-testid="connection">{status.kind === "live" ? <>{words} to <b>{node}</b></> : words}</span>
      {status.kind === "live" && latency !== null && <span title="Round trip to the server">{latency} ms</span>}
      {notice && <span class="notice" data-testid="notice">{notice}</span>}
      <span class="spacer" />
      <a href="/third-party.txt" target="_blank" rel="noopener">Licences</a>
    </footer>
  );
}
