// A game that waits for its second player: the link for who made it, the seat for who opens it.

import type { App } from "../app.ts";
import { NAME_CHARS_MAX, type Invitation } from "../protocol/messages.ts";
import { colorName, speed, timeControlText } from "../text.ts";
import { Copy } from "./share.tsx";

export function InvitationCard({ app, invitation }: { app: App; invitation: Invitation }) {
  const { user, preferences } = app.state;
  const time = invitation.timeControl ? `${timeControlText(invitation.timeControl)} · ${speed(invitation.timeControl)}` : "untimed";
  const link = `${location.origin}/game/${invitation.gameId}`;
  if (user?.id === invitation.by.id) {
    const own = invitation.color === "random" ? "a random colour" : colorName(invitation.color === "white" ? "black" : "white");
    return (
      <div class="card middle" data-testid="invitation">
        <h1>Waiting for your friend</h1>
        <p>Send this link. The game starts when it is accepted: {time}, you play {own}.</p>
        <div class="link-row">
          <input class="link-text" readOnly value={link} aria-label="Link to the game" onFocus={(event) => event.currentTarget.select()} />
          <Copy app={app} words="Copy link" text={() => link} />
        </div>
        <p class="muted small">The link is good for a day. Keep this page open: once the game starts, the first move has to come soon.</p>
      </div>
    );
  }
  const free = invitation.color === "random" ? "a random colour" : colorName(invitation.color);
  return (
    <div class="card middle" data-testid="invitation">
      <h1>{invitation.by.name} invites you to a game</h1>
      <p>{time}, you play {free}.</p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const name = new FormData(event.currentTarget).get("name");
          if (typeof name === "string") app.prefer({ name: name.trim() });
          app.acceptInvitation();
        }}
      >
        {user?.isGuest && (
          <label class="field">
            <span>Play as</span>
            <input name="name" maxLength={NAME_CHARS_MAX} defaultValue={preferences.name} placeholder={user.name} autocomplete="nickname" />
          </label>
        )}
        <button type="submit" class="button primary wide">Join the game</button>
      </form>
    </div>
  );
}
