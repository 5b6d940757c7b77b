// The built page: small, and asking nobody else for anything. Run after `npm run build`.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";

const BUDGET_BYTES = 60_000;
const dist = join(import.meta.dirname, "../dist");
const files = existsSync(dist)
  ? readdirSync(dist, { recursive: true }).map(String).filter((name) => /\.(html|js|css|svg|txt)$/.test(name))
  : [];

describe.runIf(files.length > 0)("the bundle", () => {
  test(`is under ${BUDGET_BYTES} bytes, compressed, in all`, () => {
    const sizes = files.map((name) => [name, gzipSync(readFileSync(join(dist, name)), { level: 9 }).length] as const);
    const total = sizes.reduce((sum, [, size]) => sum + size, 0);
    console.info(`${total} bytes gzip:`, Object.fromEntries(sizes));
    expect(total).toBeLessThan(BUDGET_BYTES);
  });

  test("has only the pieces that may be given on", () => {
    expect(files.filter((name) => name.endsWith(".svg")).map((name) => name.replace(/-[\w-]{8}\./, "."))).toEqual(
      expect.arrayContaining(["assets/standard.svg", "favicon.svg"]),
    );
    expect(files.join(" ")).not.toContain("staunty");
    expect(readFileSync(join(dist, "third-party.txt"), "utf8")).toContain("Attribution-ShareAlike 3.0");
  });

  test("has no inline script or style, and no other host", () => {
    const page = readFileSync(join(dist, "index.html"), "utf8");
    expect(page).not.toMatch(/<style|style=|<script>|https?:/);
    for (const name of files.filter((file) => file.endsWith(".css"))) {
      expect(readFileSync(join(dist, name), "utf8")).not.toMatch(/url\(['"]?(https?:)?\/\/|@import/);
    }
  });
});
