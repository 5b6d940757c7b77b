// Reads an AsyncAPI document from standard input with the reference parser, and fails on anything it finds wrong.

import { text } from "node:stream/consumers";
import parser from "@asyncapi/parser";

const ERROR = 0;
const WARNING = 1;

const { document, diagnostics } = await new parser.Parser().parse(await text(process.stdin));
const wrong = diagnostics.filter(({ severity }) => severity === ERROR || severity === WARNING);
for (const { code, message, path } of wrong) console.error(`${code} at ${path.join("/")}: ${message}`);
if (!document || wrong.length > 0) process.exit(1);
const messages = document.channels().get("socket").messages().length;
console.log(`AsyncAPI ${document.version()}: ${messages} messages on ${document.channels().get("socket").address()}`);
