// Tells on the first line where the server listens, and ends with whoever started it.

export function listening({ address, port }) {
  console.log(`listening http=${address}:${port}`);
  process.stdin.on("end", () => process.exit()).resume();
}
