// What this browser remembers: who it is and how its owner likes things. Storage may be switched off; then it forgets.

export type Theme = "system" | "light" | "dark";

export interface Preferences {
  theme: Theme;
  sound: boolean;
  /** Whether chat is shown. */
  chat: boolean;
  /** Shown name of a guest; empty for the one the gateway gives. */
  name: string;
}

const DEFAULTS: Preferences = { theme: "system", sound: false, chat: true, name: "" };
const KEYS = { preferences: "rookery.preferences", token: "rookery.token" };

function read(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function write(key: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    // Full or forbidden: kept for this page only.
  }
}

export function loadPreferences(): Preferences {
  try {
    return { ...DEFAULTS, ...(JSON.parse(read(KEYS.preferences) ?? "{}") as Partial<Preferences>) };
  } catch {
    return DEFAULTS;
  }
}

export function savePreferences(preferences: Preferences): void {
  write(KEYS.preferences, JSON.stringify(preferences));
  if (preferences.theme === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = preferences.theme;
}

export const loadToken = (): string | null => read(KEYS.token);
export const saveToken = (token: string | null): void => write(KEYS.token, token);
