// The first page: choose a time and be paired, or ask a friend, or watch.

import { useEffect, useState } from "preact/hooks";
import type { App } from "../app.ts";
import { INCREMENT_MS_MAX, INITIAL_MS_MAX, INITIAL_MS_MIN, type ColorChoice, type TimeControl } from "../protocol/messages.ts";
import { speed, timeControlText } from "../text.ts";
import { Dialog } from "./dialog.tsx";
import { Icon } from "./icons.tsx";
import { LiveGames } from "./live.tsx";

const control = (minutes: number, increment: number): TimeControl => ({ initialMs: minutes * 60_000, incrementMs: increment * 1000 });

const PRESETS: (TimeControl | null)[] = [
  control(1, 0), control(2, 1), control(3, 0), control(3, 2), control(5, 0), control(10, 0),
  control(10, 5), control(15, 10), control(30, 0), control(30, 20), null,
];

const same = (a: TimeControl | null | undefined, b: TimeControl | null): boolean =>
  a === b || (!!a && !!b && a.initialMs === b.initialMs && a.incrementMs === b.incrementMs);

/** Seconds of waiting after which other ways are named. */
const ALONE_AFTER_S = 8;

export function Lobby({ app }: { app: App }) {
  const { seek, activeGames, status } = app.state;
  const [dialog, setDialog] = useState<"friend" | "custom" | null>(null);
  const offline = status.kind !== "live";
  return (
    <div class="lobby">
      <div class="lobby-play">
        <h1>Play chess</h1>
        {activeGames.length > 0 && (
          <div class="card active-games">
            <span>{activeGames.length === 1 ? "You have a game running." : `You have ${activeGames.length} games running.`}</span>
            {activeGames.slice(0, 3).map((id, index) => (
              <a key={id} class="button primary" href={`/game/${id}`}>{activeGames.length === 1 ? "Go back to it" : `Game ${index + 1}`}</a>
            ))}
          </div>
        )}
        <div class="presets" role="group" aria-label="Find an opponent">
          {PRESETS.map((preset) => {
            const sought = seek !== undefined && same(seek, preset);
            return (
              <button
                key={timeControlText(preset)}
                type="button"
                class={`preset${sought ? " sought" : ""}`}
                aria-pressed={sought}
                disabled={offline}
                onClick={() => (sought ? app.cancelSeek() : app.seek(preset))}
              >
                <b>{timeControlText(preset)}</b>
                <span>{preset ? speed(preset) : "No clocks"}</span>
              </button>
            );
          })}
          <button type="button" class="preset" disabled={offline} onClick={() => setDialog("custom")}>
            <b>Custom</b>
            <span>Your own time</span>
          </button>
        </div>
        {/* Below, so that no button slips away from under the hand. */}
        {seek !== undefined && <Seeking app={app} seek={seek} />}
        <button type="button" class="button wide" disabled={offline} onClick={() => setDialog("friend")}>
          <Icon name="friend" /> Play a friend by link
        </button>
      </div>
      <LiveGames app={app} />
      {dialog === "friend" && <FriendDialog app={app} close={() => setDialog(null)} />}
      {dialog === "custom" && (
        <CustomDialog
          close={() => setDialog(null)}
          choose={(chosen) => {
            setDialog(null);
            app.seek(chosen);
          }}
        />
      )}
    </div>
  );
}

function Seeking({ app, seek }: { app: App; seek: TimeControl | null }) {
  const [seconds, setSeconds] = useState(0);
  useEffect(() => {
    setSeconds(0);
    const timer = setInterval(() => setSeconds((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, [timeControlText(seek)]);
  return (
    <div class="card seeking">
      <span class="spinner" aria-hidden="true" />
      <span role="status">Looking for an opponent: {timeControlText(seek)}</span>
      <span class="muted" aria-hidden="true">{seconds} s</span>
      <button type="button" class="button" onClick={() => app.cancelSeek()}>Cancel</button>
      {seconds >= ALONE_AFTER_S && (
        <p class="muted small">Nobody else is looking for this yet. You can ask a friend by link, or play yourself from a private window.</p>
      )}
    </div>
  );
}

/** Minutes and seconds; null when the fields hold nothing possible. */
function readControl(form: HTMLFormElement): TimeControl | null {
  const data = new FormData(form);
  const initialMs = Math.round(Number(data.get("minutes")) * 60_000);
  const incrementMs = Math.round(Number(data.get("increment")) * 1000);
  const fits = initialMs >= INITIAL_MS_MIN && initialMs <= INITIAL_MS_MAX && incrementMs >= 0 && incrementMs <= INCREMENT_MS_MAX;
  return fits ? { initialMs, incrementMs } : null;
}

function ControlFields() {
  return (
    <div class="fields">
      <label class="field">
        <span>Minutes each</span>
        <input name="minutes" type="number" min="0.25" max={INITIAL_MS_MAX / 60_000} step="0.25" defaultValue="7" required inputMode="decimal" />
      </label>
      <label class="field">
        <span>Seconds added per move</span>
        <input name="increment" type="number" min="0" max={INCREMENT_MS_MAX / 1000} step="1" defaultValue="3" required inputMode="numeric" />
      </label>
    </div>
  );
}

function CustomDialog({ close, choose }: { close(): void; choose(control: TimeControl): void }) {
  return (
    <Dialog title="Custom time" close={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const chosen = readControl(event.currentTarget);
          if (chosen) choose(chosen);
        }}
      >
        <ControlFields />
        <div class="dialog-buttons"><button type="submit" class="button primary">Find an opponent</button></div>
      </form>
    </Dialog>
  );
}

const COLORS: { value: ColorChoice; words: string }[] = [
  { value: "white", words: "White" },
  { value: "random", words: "Random" },
  { value: "black", words: "Black" },
];

function FriendDialog({ app, close }: { app: App; close(): void }) {
  const [chosen, setChosen] = useState("4");
  return (
    <Dialog title="Play a friend" close={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const form = event.currentTarget;
          const timeControl = chosen === "custom" ? readControl(form) : PRESETS[Number(chosen)];
          if (timeControl === undefined || (chosen === "custom" && !timeControl)) return;
          void app.challenge(timeControl, new FormData(form).get("color") as ColorChoice);
          close();
        }}
      >
        <label class="field">
          <span>Time</span>
          <select value={chosen} onChange={(event) => setChosen(event.currentTarget.value)}>
            {PRESETS.map((preset, index) => (
              <option key={index} value={String(index)}>
                {preset ? `${timeControlText(preset)} · ${speed(preset)}` : "Untimed"}
              </option>
            ))}
            <option value="custom">Custom…</option>
          </select>
        </label>
        {chosen === "custom" && <ControlFields />}
        <fieldset class="choice">
          <legend>You play</legend>
          {COLORS.map(({ value, words }) => (
            <label key={value}>
              <input type="radio" name="color" value={value} defaultChecked={value === "random"} />
              <span>{words}</span>
            </label>
          ))}
        </fieldset>
        <div class="dialog-buttons"><button type="submit" class="button primary">Make the link</button></div>
      </form>
    </Dialog>
  );
}
