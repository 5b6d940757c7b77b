// The list of moves, in pairs, and the buttons that step through them.

import { useEffect, useRef } from "preact/hooks";
import type { App } from "../app.ts";
import { Icon } from "./icons.tsx";

export function Moves({ app, sans, ply }: { app: App; sans: string[]; ply: number }) {
  const list = useRef<HTMLOListElement>(null);
  useEffect(() => {
    const box = list.current;
    const current = box?.querySelector<HTMLElement>("[aria-current]");
    if (!box) return;
    // Only the list scrolls, never the page.
    if (!current) box.scrollTop = 0;
    else {
      // The list is positioned, so these are measured from its own corner.
      const { offsetTop: top, offsetLeft: left } = current;
      if (top < box.scrollTop || top + current.offsetHeight > box.scrollTop + box.clientHeight) box.scrollTop = top - box.clientHeight / 2;
      if (left < box.scrollLeft || left + current.offsetWidth > box.scrollLeft + box.clientWidth) box.scrollLeft = left - box.clientWidth / 2;
    }
  }, [ply, sans.length]);
  const pairs = [];
  for (let n = 0; n < sans.length; n += 2) pairs.push([sans[n], sans[n + 1]] as const);
  const move = (san: string | undefined, at: number) =>
    san && (
      <button type="button" class="san" aria-current={ply === at ? "true" : undefined} onClick={() => app.look(at)}>{san}</button>
    );
  return (
    <div class="moves">
      <div class="steps" role="group" aria-label="Step through the game">
        <Step label="First position" icon="first" disabled={ply === 0} run={() => app.look(0)} />
        <Step label="Back" icon="previous" disabled={ply === 0} run={() => app.step(-1)} />
        <Step label="Forward" icon="next" disabled={ply === sans.length} run={() => app.step(1)} />
        <Step label="Last position" icon="last" disabled={ply === sans.length} run={() => app.look(null)} />
        <Step label="Flip the board" icon="flip" disabled={false} run={() => app.flip()} />
      </div>
      {sans.length === 0 && <p class="empty">No moves yet.</p>}
      <ol ref={list} class="move-list" aria-label="Moves" tabIndex={sans.length ? 0 : -1} data-testid="moves">
        {pairs.map(([white, black], index) => (
          <li key={index}>
            <span class="number" aria-hidden="true">{index + 1}</span>
            {move(white, index * 2 + 1)}
            {move(black, index * 2 + 2)}
          </li>
        ))}
      </ol>
    </div>
  );
}

function Step({ label, icon, disabled, run }: { label: string; icon: "first" | "previous" | "next" | "last" | "flip"; disabled: boolean; run(): void }) {
  return (
    <button type="button" class="step" aria-label={label} title={label} disabled={disabled} onClick={run}>
      <Icon name={icon} />
    </button>
  );
}
