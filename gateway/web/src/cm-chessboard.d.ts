// The parts of cm-chessboard that board.ts uses; the package brings no types.

declare module "cm-chessboard/src/Chessboard.js" {
  export type Side = "w" | "b";
  export interface InputEvent {
    type: "moveInputStarted" | "movingOverSquare" | "validateMoveInput" | "moveInputCanceled" | "moveInputFinished";
    squareFrom: string;
    squareTo?: string | null;
  }
  export interface VisualMoveInput {
    movedPiece: string | null;
    draggablePiece: SVGSVGElement | null;
    isDragging(): boolean;
    createDraggablePiece(piece: string): void;
    moveDraggablePiece(x: number, y: number): void;
  }
  export interface View {
    svg: SVGSVGElement;
    squareWidth: number;
    squareHeight: number;
    width: number;
    height: number;
    markersLayer: SVGGElement;
    coordinatesGroup: SVGGElement;
    positionsAnimationTask: Promise<void>;
    visualMoveInput: VisualMoveInput;
    squareToPoint(square: string): { x: number; y: number };
    redrawPieces(): void;
    redrawBoard(): void;
  }
  export class Chessboard {
    constructor(context: HTMLElement, props: object);
    view: View;
    state: { orientation: Side; position: { setFen(fen: string): void }; extensionPoints: Record<string, (() => void)[]> };
    setPosition(fen: string, animated: boolean): Promise<void>;
    getPiece(square: string): string | null;
    getPosition(): string;
    enableMoveInput(handler: (event: InputEvent) => unknown, color: Side): void;
    disableMoveInput(): void;
    isMoveInputEnabled(): boolean;
    cancelMoveInput(): void;
    destroy(): void;
  }
}
