import { defineConfig } from "vite";
import { configDefaults } from "vitest/config";

export default defineConfig({
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
