// Writes `name.br` and `name.gz` beside every text file of dist, for the gateway to send as they are; then touches the
// gateway's build script, because cargo cannot watch a folder that was not there yet.
import { readFileSync, readdirSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const dist = new URL("../dist/", import.meta.url).pathname;
/** Below this, headers weigh more than what compression saves. */
const WORTH_BYTES = 512;

for (const name of readdirSync(dist, { recursive: true })) {
  const path = join(dist, String(name));
  if (!/\.(html|js|css|svg|txt)$/.test(path) || statSync(path).size < WORTH_BYTES) continue;
  const plain = readFileSync(path);
  const params = { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY };
  writeFileSync(`${path}.br`, brotliCompressSync(plain, { params }));
  writeFileSync(`${path}.gz`, gzipSync(plain, { level: 9 }));
}
const now = new Date();
utimesSync(new URL("../../build.rs", import.meta.url), now, now);
