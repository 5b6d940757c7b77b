// The board: cm-chessboard for pieces and pointers, and on top of it marks, coordinates and a keyboard cursor.
//
// Own moves and steps through the game are drawn at once and outside the board's animation queue, because while that
// queue works the board hears no clicks. A move by pointer is therefore always "refused" to the board, and shown by the
// next `show`. Styles are set through properties, never as attributes, which the page's policy forbids.

import { Chessboard, type InputEvent } from "cm-chessboard/src/Chessboard.js";
import spriteUrl from "cm-chessboard/assets/pieces/standard.svg?url";
import type { Color } from "./protocol/messages.ts";

/** How long the opponent's move takes on the screen. Longer and fast players' clicks would fall into it. */
const SLIDE_MS = 120;
const SVG = "http://www.w3.org/2000/svg";

/** What the board shows. */
export interface Picture {
  fen: string;
  orientation: Color;
  /** Whether the change may slide: the opponent's move, while looking at the live game. */
  slide: boolean;
  lastMove: { from: string; to: string } | null;
  check: string | null;
  premove: { from: string; to: string } | null;
  /** Whose pieces may be picked up; null for nobody's. */
  movable: Color | null;
}

export interface Hands {
  /** Where the piece on that square may go. */
  targets(square: string): ReadonlySet<string>;
  /** A piece was put down there. */
  move(from: string, to: string): void;
  /** Something other than a move was clicked. */
  cancel(): void;
  /** The keyboard cursor stands there. */
  cursor(square: string): void;
}

const side = (color: Color): "w" | "b" => (color === "white" ? "w" : "b");

/** Reads the pieces into the page once; boards of all sizes refer to them by id. */
export async function loadPieces(): Promise<void> {
  const holder = document.createElement("div");
  holder.id = "cm-chessboard-sprite";
  holder.hidden = true;
  document.body.append(holder);
  const text = await (await fetch(spriteUrl)).text();
  const sprite = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
  holder.append(document.importNode(sprite, true));
}

export class Board {
  private readonly board: Chessboard;
  private picture: Picture | null = null;
  private selected: string | null = null;
  private cursorSquare: string | null = null;
  private focused = false;
  private sliding = false;
  private enabledFor: Color | null = null;
  private readonly marks: SVGGElement;
  private readonly onKey = (event: KeyboardEvent): void => this.key(event);
  private readonly onFocus = (): void => this.focus(true);
  private readonly onBlur = (): void => this.focus(false);
  private readonly onVisible = (): void => this.settle();
  private readonly onDown = (event: Event): void => {
    // The board keeps the browser from moving the focus; whoever wrote in the chat goes back to playing, arrow keys too.
    if (document.activeElement instanceof HTMLInputElement) document.activeElement.blur();
    const square = (event.target as Element).getAttribute?.("data-square");
    if (this.picture?.premove && !this.selected && square && !this.isOwn(square)) this.hands.cancel();
  };
  private readonly onMenu = (): void => this.hands.cancel();

  constructor(
    private readonly element: HTMLElement,
    private readonly hands: Hands,
  ) {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.board = new Chessboard(element, {
      style: { showCoordinates: false, animationDuration: still ? 0 : SLIDE_MS, pieces: { file: spriteUrl } },
    });
    const { view } = this.board;
    view.svg.setAttribute("aria-hidden", "true");
    this.marks = view.markersLayer.appendChild(document.createElementNS(SVG, "g"));
    this.board.state.extensionPoints["afterRedrawBoard"] = [() => this.draw()];
    this.dragWithinPolicy();
    element.addEventListener("keydown", this.onKey);
    element.addEventListener("focus", this.onFocus);
    element.addEventListener("blur", this.onBlur);
    element.addEventListener("pointerdown", this.onDown, { capture: true });
    element.addEventListener("contextmenu", this.onMenu);
    document.addEventListener("visibilitychange", this.onVisible);
  }

  show(picture: Picture): void {
    const before = this.picture;
    this.picture = picture;
    const turned = before?.orientation !== picture.orientation;
    if (turned) {
      this.board.state.orientation = side(picture.orientation);
      this.board.view.redrawBoard();
    }
    this.allow(picture.movable);
    const placed = picture.fen.split(" ")[0] ?? "";
    if (turned || this.board.getPosition() !== placed) {
      // A hidden page draws no frames, and a second slide would wait for the first: then the pieces are just put there.
      if (picture.slide && !turned && !this.sliding && !document.hidden) this.slide(picture.fen);
      else this.place(picture.fen);
    }
    if (this.selected && !this.isOwn(this.selected)) this.selected = null;
    this.draw();
  }

  destroy(): void {
    this.element.removeEventListener("keydown", this.onKey);
    this.element.removeEventListener("focus", this.onFocus);
    this.element.removeEventListener("blur", this.onBlur);
    this.element.removeEventListener("pointerdown", this.onDown, { capture: true });
    this.element.removeEventListener("contextmenu", this.onMenu);
    document.removeEventListener("visibilitychange", this.onVisible);
    this.board.destroy();
  }

  private slide(fen: string): void {
    this.sliding = true;
    void this.board.setPosition(fen, true).finally(() => {
      this.sliding = false;
      this.settle();
    });
  }

  private place(fen: string): void {
    const { view } = this.board;
    this.board.state.position.setFen(fen);
    // cm-chessboard tells a held piece that its square changed only in its own setters.
    (view.visualMoveInput as unknown as { positionChanged(): void }).positionChanged();
    view.redrawPieces();
  }

  /** A slide ends by drawing the position it was started for; by now there may be another. */
  private settle(): void {
    if (this.board.view && this.board.getPosition() === this.picture?.fen.split(" ")[0]) this.board.view.redrawPieces();
  }

  private allow(movable: Color | null): void {
    if (this.enabledFor === movable) return;
    if (this.enabledFor) {
      this.board.cancelMoveInput();
      this.board.disableMoveInput();
    }
    this.enabledFor = movable;
    if (movable) this.board.enableMoveInput((event) => this.input(event), side(movable));
  }

  private isOwn(square: string): boolean {
    const movable = this.picture?.movable;
    return !!movable && this.board.getPiece(square)?.[0] === side(movable);
  }

  private input(event: InputEvent): boolean {
    switch (event.type) {
      case "moveInputStarted":
        this.select(event.squareFrom);
        return true;
      case "validateMoveInput":
        this.select(null);
        // The board first forgets its own state of this move, then shows what became of it.
        if (event.squareTo) {
          const to = event.squareTo;
          queueMicrotask(() => this.tryMove(event.squareFrom, to));
        }
        return false;
      case "moveInputCanceled":
        this.select(null);
        return false;
      default:
        return false;
    }
  }

  private tryMove(from: string, to: string): void {
    // A click on another piece of one's own picked that one up instead.
    if (this.selected === to) return;
    if (this.hands.targets(from).has(to)) this.hands.move(from, to);
    else if (!this.isOwn(to)) this.hands.cancel();
  }

  private select(square: string | null): void {
    this.selected = square;
    this.draw();
  }

  private focus(focused: boolean): void {
    this.focused = focused;
    if (focused && this.element.matches(":focus-visible")) {
      this.cursorSquare ??= this.picture?.orientation === "black" ? "e7" : "e2";
      this.hands.cursor(this.cursorSquare);
    }
    this.draw();
  }

  /** Arrow keys walk over the board as it is seen, Enter picks up and puts down, Escape lets go. */
  private key(event: KeyboardEvent): void {
    const steps: Record<string, [number, number]> = {
      ArrowLeft: [-1, 0],
      ArrowRight: [1, 0],
      ArrowUp: [0, 1],
      ArrowDown: [0, -1],
    };
    const step = steps[event.key];
    const at = this.cursorSquare ?? "e2";
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (step) {
      const sign = this.picture?.orientation === "black" ? -1 : 1;
      const clamp = (n: number): number => Math.max(0, Math.min(7, n));
      const file = clamp("abcdefgh".indexOf(at[0] ?? "") + sign * step[0]);
      const rank = clamp(Number(at[1]) - 1 + sign * step[1]);
      this.cursorSquare = "abcdefgh"[file] + String(rank + 1);
      this.hands.cursor(this.cursorSquare);
    } else if (event.key === "Enter" || event.key === " ") {
      const from = this.selected;
      if (from && from !== at && !this.isOwn(at)) {
        this.selected = null;
        this.tryMove(from, at);
      } else this.selected = from !== at && this.isOwn(at) ? at : null;
    } else if (event.key === "Escape" && this.selected) {
      this.selected = null;
    } else return;
    event.preventDefault();
    event.stopPropagation();
    this.draw();
  }

  private draw(): void {
    const { picture, board, marks } = this;
    if (!picture || !board.view) return;
    marks.replaceChildren();
    const mark = (square: string | null | undefined, name: string): void => {
      if (square) marks.append(this.square(square, name));
    };
    mark(picture.lastMove?.from, "last-move");
    mark(picture.lastMove?.to, "last-move");
    mark(picture.check, "check");
    mark(picture.premove?.from, "premove");
    mark(picture.premove?.to, "premove");
    mark(this.selected, "selected");
    if (this.selected) {
      for (const square of this.hands.targets(this.selected)) {
        marks.append(board.getPiece(square) ? this.square(square, "target-taken") : this.dot(square));
      }
    }
    if (this.focused && this.element.matches(":focus-visible")) mark(this.cursorSquare, "cursor");
    this.coordinates(picture.orientation);
  }

  private square(square: string, name: string): SVGElement {
    const { x, y } = this.board.view.squareToPoint(square);
    // Marks with a line are drawn inside the square, by half the line's width.
    const inset = name === "target-taken" || name === "cursor" ? 2.5 : 0;
    const size = this.board.view.squareWidth - 2 * inset;
    return shape("rect", { x: x + inset, y: y + inset, width: size, height: size, class: `mark ${name}`, "data-mark": square });
  }

  private dot(square: string): SVGElement {
    const { x, y } = this.board.view.squareToPoint(square);
    const half = this.board.view.squareWidth / 2;
    return shape("circle", { cx: x + half, cy: y + half, r: half * 0.3, class: "mark target", "data-mark": square });
  }

  private coordinates(orientation: Color): void {
    const { coordinatesGroup: group, squareWidth: width, height } = this.board.view;
    const size = Math.max(9, Math.min(13, width * 0.19));
    const flip = orientation === "black";
    group.replaceChildren();
    for (let n = 0; n < 8; n++) {
      const shade = (dark: boolean): string => `coordinate ${dark ? "on-dark" : "on-light"}`;
      const file = shape("text", { x: (n + 1) * width - 3, y: height - 4, "font-size": size, "text-anchor": "end", class: shade(n % 2 === 0) });
      file.textContent = "abcdefgh"[flip ? 7 - n : n] ?? "";
      const rank = shape("text", { x: 3, y: n * width + size + 1, "font-size": size, class: shade(n % 2 === 1) });
      rank.textContent = String(flip ? n + 1 : 8 - n);
      group.append(file, rank);
    }
  }

  /** cm-chessboard places a dragged piece by a style attribute; here it is placed by properties. */
  private dragWithinPolicy(): void {
    const { view } = this.board;
    const input = view.visualMoveInput;
    input.createDraggablePiece = (piece) => {
      const svg = document.createElementNS(SVG, "svg");
      const size = view.squareWidth;
      for (const [name, value] of Object.entries({ width: size, height: size, viewBox: "0 0 40 40" })) {
        svg.setAttribute(name, String(value));
      }
      svg.classList.add("dragged");
      svg.append(shape("use", { href: `#${piece}` }));
      document.body.append(svg);
      input.draggablePiece = svg;
    };
    input.moveDraggablePiece = (x, y) => {
      const svg = input.draggablePiece;
      if (!svg) return;
      svg.style.left = `${x - view.squareWidth / 2}px`;
      svg.style.top = `${y - view.squareHeight / 2}px`;
    };
  }
}

function shape(name: string, attributes: Record<string, string | number>): SVGElement {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  return element;
}
