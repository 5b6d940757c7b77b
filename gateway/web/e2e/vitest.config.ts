import { defineConfig } from "vitest/config";
import { SEEN_MS } from "./table.ts";

// Real browsers and servers: one file at a time, and time enough for a busy machine.
export default defineConfig({
  test: {
    dir: import.meta.dirname,
    include: [process.env["SCREENSHOTS"] ? "screenshots.ts" : "*.test.ts"],
    fileParallelism: false,
    testTimeout: 180_000,
    expect: { poll: { timeout: SEEN_MS } },
    hookTimeout: 120_000,
  },
});
