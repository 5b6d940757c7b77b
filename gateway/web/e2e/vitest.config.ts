import { defineConfig } from "vitest/config";

// Real browsers and servers: one file at a time, and time enough for a busy machine.
export default defineConfig({
  test: {
    dir: import.meta.dirname,
    include: [process.env["SCREENSHOTS"] ? "screenshots.ts" : "*.test.ts"],
    fileParallelism: false,
    testTimeout: 90_000,
    hookTimeout: 60_000,
  },
});
