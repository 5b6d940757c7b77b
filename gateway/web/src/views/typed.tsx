// A move in writing, for keyboards and screen readers, and for those who like it.

import { useState } from "preact/hooks";
import type { App } from "../app.ts";

export function TypedMove({ app }: { app: App }) {
  const [error, setError] = useState<string | null>(null);
  return (
    <form
      class="typed"
      onSubmit={(event) => {
        event.preventDefault();
        const input = event.currentTarget.elements.namedItem("move") as HTMLInputElement;
        if (!input.value.trim()) return;
        const refusal = app.typed(input.value);
        setError(refusal);
        if (!refusal) input.value = "";
      }}
    >
      <label for="typed-move">Type a move</label>
      <input
        id="typed-move"
        name="move"
        placeholder="e4, Nf3, O-O"
        autocomplete="off"
        autocapitalize="off"
        spellcheck={false}
        enterkeyhint="send"
        aria-describedby="typed-error"
        aria-invalid={error !== null}
        onInput={() => setError(null)}
      />
      <p id="typed-error" class="field-error" role="alert">{error}</p>
    </form>
  );
}
