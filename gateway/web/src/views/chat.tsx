// Talk: players with each other, watchers with each other.

import { useEffect, useRef, useState } from "preact/hooks";
import type { App } from "../app.ts";
import type { Game } from "../game.ts";
import { CHAT_CHARS_MAX, type ChatLine } from "../protocol/messages.ts";

const ROLES = { white: "White", black: "Black", spectator: "" } as const;

export function Chat({ app, game }: { app: App; game: Game }) {
  const { chat } = app.state.preferences;
  return (
    <section class="chat" aria-label="Chat">
      <div class="chat-head">
        <h2>Chat</h2>
        <button type="button" class="link small" onClick={() => app.prefer({ chat: !chat })}>
          {chat ? "Switch off" : "Switch on"}<span class="sr-only"> the chat</span>
        </button>
      </div>
      {chat ? <Talk app={app} game={game} /> : <p class="empty">Chat is off: you see no lines, in this game and the next.</p>}
    </section>
  );
}

function Talk({ app, game }: { app: App; game: Game }) {
  const list = useRef<HTMLUListElement>(null);
  const [sending, setSending] = useState(false);
  const own = app.state.user?.id;
  useEffect(() => {
    if (list.current) list.current.scrollTop = list.current.scrollHeight;
  }, [game.chat.length]);
  const room = game.color && !game.over ? "your opponent" : game.over ? "everybody here" : "the other watchers";
  return (
    <>
      {game.chat.length === 0 && <p class="empty">Say hello to {room}.</p>}
      <ul ref={list} class="chat-list" role="log" aria-label="Chat messages" tabIndex={game.chat.length ? 0 : -1} data-testid="chat">
        {game.chat.map((line, index) => <Line key={index} line={line} own={line.user.id === own} />)}
      </ul>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const input = event.currentTarget.elements.namedItem("text") as HTMLInputElement;
          const text = input.value.trim();
          if (!text || sending) return;
          setSending(true);
          void app.chat(text).then((sent) => {
            setSending(false);
            // A line that did not go through stays, to be sent again.
            if (sent && input.value.trim() === text) input.value = "";
          });
        }}
      >
        <input name="text" maxLength={CHAT_CHARS_MAX} placeholder={`Write to ${room}`} aria-label={`Write to ${room}`} autocomplete="off" enterkeyhint="send" />
      </form>
    </>
  );
}

function Line({ line, own }: { line: ChatLine; own: boolean }) {
  return (
    <li class={own ? "own" : ""}>
      {ROLES[line.role] && <span class={`role ${line.role}`}>{ROLES[line.role]}</span>}
      <b>{line.user.name}</b> {line.text}
    </li>
  );
}
