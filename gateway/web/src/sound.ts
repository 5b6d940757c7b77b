// Short sounds made in code: no files, no licence, nothing to load. Silent until chosen.

export type Sound = "move" | "capture" | "check" | "start" | "end" | "notice" | "low-time";

/** Notes as frequency in Hz, start and length in seconds. */
const NOTES: Record<Sound, [hz: number, at: number, length: number][]> = {
  move: [[330, 0, 0.05]],
  capture: [[240, 0, 0.06], [180, 0.03, 0.06]],
  check: [[520, 0, 0.06], [660, 0.07, 0.07]],
  start: [[392, 0, 0.1], [523, 0.11, 0.14]],
  end: [[523, 0, 0.12], [392, 0.13, 0.2]],
  notice: [[590, 0, 0.08]],
  "low-time": [[880, 0, 0.05], [880, 0.1, 0.05]],
};
const LOUDNESS = 0.12;

let context: AudioContext | null = null;

export function sound(name: Sound): void {
  try {
    context ??= new AudioContext();
    void context.resume();
    for (const [hz, at, length] of NOTES[name]) {
      const start = context.currentTime + at;
      const tone = new OscillatorNode(context, { type: "triangle", frequency: hz });
      const gain = new GainNode(context, { gain: LOUDNESS });
      gain.gain.setTargetAtTime(0, start + length * 0.4, length / 4);
      tone.connect(gain).connect(context.destination);
      tone.start(start);
      tone.stop(start + length * 2);
    }
  } catch {
    // No audio here.
  }
}
