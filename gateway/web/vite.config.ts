import { defineConfig } from "vite";
import type { Plugin } from "vite";
import { configDefaults } from "vitest/config";

/** The page reads no PGN, and chess.js' parser for it is a third of that library. */
function withoutPgnParser(): Plugin {
  const call = "peg$parse(pgn)";
  return {
    name: "without-pgn-parser",
    transform(code, id) {
      if (!/chess\.js[\\/]dist[\\/]esm[\\/]chess\.js$/.test(id)) return null;
      if (!code.includes(call)) throw new Error(`chess.js has changed: there is no ${call} to leave out`);
      return { code: code.replace(call, "undefined"), map: null };
    },
  };
}

export default defineConfig({
  plugins: [withoutPgnParser()],
  build: {
    target: "es2022",
    // Every asset stays a file of its own: the page's policy allows no inline script or style, and the piece sprite is
    // read by its address.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  test: { exclude: [...configDefaults.exclude, "e2e/**"], environment: "node" },
} as import("vitest/config").ViteUserConfig);
