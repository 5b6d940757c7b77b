"""Plays random games and asks both python-chess and our rules about every position on the way.

Compared: FEN, legal moves, SAN of each, check, how the game ends by itself, material to mate with of each side, and the
draws that can be claimed on the board and with each move. Games start from the initial position, from random endgames,
and from positions made for en passant, promotion and castling; players like to move back and forth, so that positions
repeat. Random boards, most of them impossible, show that FEN is accepted exactly when python-chess calls it valid.

The seed is printed, and a run with the same seed asks the same questions.
"""

import argparse
import random
import subprocess
import sys
import time

import chess

SEEDS = [
    # En passant: pinned, giving check, by two pawns.
    "4k3/2p1p1p1/8/1P1P1P1P/1p1p1p1p/8/P1P1P1P1/4K3 w - - 0 1",
    "8/2p1p3/8/KP1P2r1/1R2p1pk/8/3P1P2/8 w - - 0 1",
    "1b6/2p1p3/8/1P1P4/3K4/8/5p1p/q5k1 w - - 0 1",
    # Promotion with and without capture, check and mate.
    "rn4nr/PPPPPP2/8/k7/7K/8/pppppp2/RN4NR w - - 0 1",
    "1r1r1r2/P1P1P1P1/8/k7/7K/8/p1p1p1p1/1R1R1R2 b - - 0 1",
    # Castling through, out of and into check, with each right lost in each way.
    "r3k2r/8/8/8/8/8/8/R3K2R w KQkq - 0 1",
    "r3k2r/pp1b1ppp/8/2q1n3/2Q1N3/8/PP1B1PPP/R3K2R b KQkq - 4 12",
    # Many pieces that can go to one square.
    "k7/8/2N1N1N1/1Q5Q/3R1R2/1Q5Q/2N3N1/K7 w - - 0 1",
    "k7/2n3n1/1q5q/3r1r2/1q5q/2n1n1n1/8/K7 b - - 0 1",
    # The counters near their limits.
    "4k2r/7p/8/8/8/8/P7/R3K3 w Q - 96 90",
    "4k2r/7p/8/8/8/8/P7/R3K3 b k - 145 120",
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("oracle", help="the example binary to ask")
    parser.add_argument("--positions", type=int, default=20_000)
    parser.add_argument("--boards", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    args = parser.parse_args()
    print(f"seed {args.seed}", flush=True)
    rng = random.Random(args.seed)
    assert all(chess.Board(fen).is_valid() for fen in SEEDS)
    began = time.monotonic()

    with subprocess.Popen([args.oracle], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        tally = {}
        positions = 0
        while positions < args.positions:
            positions += compare_game(process, rng, tally)
        accepted = sum(compare_board(process, rng, tally) for _ in range(args.boards))
        process.stdin.close()

    for rule in ["checkmate", "stalemate", "insufficient_material", "fivefold_repetition", "seventyfive_moves",
                 "threefold_repetition", "fifty_moves", "en_passant", "castling", "promotion"]:
        if not tally.get(rule):
            sys.exit(f"{rule} never came up in {positions} positions: ask for more")
    print(", ".join(f"{name} {count}" for name, count in sorted(tally.items())))
    print(f"{positions} positions and {args.boards} boards ({accepted} of them sound) agree, "
          f"in {time.monotonic() - began:.0f} s")


def ask(process, question):
    process.stdin.write(question + "\n")
    process.stdin.flush()
    answer = []
    while (line := process.stdout.readline()) not in ("\n", ""):
        answer.append(line.rstrip("\n"))
    return answer


def compare_game(process, rng, tally):
    """Plays one game; answers how many positions were compared."""
    board = start(rng)
    fen = board.fen()
    expected = [describe(board, tally)]
    plies_max = rng.randrange(20, 240)
    while len(expected) < plies_max and not ended(board):
        mv = choose(board, rng)
        tally["castling"] = tally.get("castling", 0) + board.is_castling(mv)
        tally["en_passant"] = tally.get("en_passant", 0) + board.is_en_passant(mv)
        tally["promotion"] = tally.get("promotion", 0) + (mv.promotion is not None)
        board.push(mv)
        expected.append(describe(board, tally))
    question = " ".join(["game", fen] + [mv.uci() for mv in board.move_stack])
    answer = ask(process, question)
    for ply, (ours, theirs) in enumerate(zip(answer, expected)):
        if ours != theirs:
            sys.exit(f"{question}\nafter {ply} plies\nours:         {ours}\npython-chess: {theirs}")
    if len(answer) != len(expected):
        sys.exit(f"{question}\n{len(answer)} answers, {len(expected)} expected")
    return len(expected)


def start(rng):
    kind = rng.random()
    if kind < 0.4:
        return chess.Board()
    if kind < 0.7:
        return chess.Board(rng.choice(SEEDS))
    while True:
        board = scatter(rng, rng.randrange(1, 5))
        # A game cannot start where it ends.
        if board.is_valid() and not ended(board):
            return board


def scatter(rng, pieces):
    """Two kings and some pieces anywhere; pawns more often than others."""
    board = chess.Board(None)
    squares = rng.sample(range(64), pieces + 2)
    for color in chess.COLORS:
        board.set_piece_at(squares.pop(), chess.Piece(chess.KING, color))
    for square in squares:
        role = rng.choice([chess.PAWN, chess.PAWN, chess.PAWN, chess.KNIGHT, chess.BISHOP, chess.BISHOP, chess.ROOK,
                           chess.QUEEN])
        board.set_piece_at(square, chess.Piece(role, rng.random() < 0.5))
    board.turn = rng.random() < 0.5
    return board


def choose(board, rng):
    """A random move, and often the one that puts the last piece back."""
    legal = list(board.legal_moves)
    if len(board.move_stack) >= 2 and rng.random() < 0.35:
        last = board.move_stack[-2]
        back = chess.Move(last.to_square, last.from_square)
        if back in legal:
            return back
    if rng.random() < 0.1:
        # Mates are rare among random moves.
        mates = [mv for mv in legal if board.gives_check(mv) and board.san(mv).endswith("#")]
        if mates:
            return mates[0]
    if rng.random() < 0.4:
        special = [mv for mv in legal if mv.promotion or board.is_en_passant(mv) or board.is_castling(mv)]
        if special:
            return rng.choice(special)
    if rng.random() < 0.3:
        # Pawns bring about most of what is rare.
        pushes = [mv for mv in legal if board.piece_type_at(mv.from_square) == chess.PAWN]
        if pushes:
            return rng.choice(pushes)
    return rng.choice(legal)


def ended(board):
    return end(board) is not None


def end(board):
    """What ends a game by itself, in the order of our rules."""
    if board.is_checkmate():
        return "checkmate"
    if board.is_stalemate():
        return "stalemate"
    if board.is_insufficient_material():
        return "insufficient_material"
    if board.is_fivefold_repetition():
        return "fivefold_repetition"
    if board.is_seventyfive_moves():
        return "seventyfive_moves"
    return None


def claimable(board):
    if board.is_repetition(3):
        return "threefold_repetition"
    if board.halfmove_clock >= 100:
        return "fifty_moves"
    return None


def describe(board, tally):
    """The line that our oracle should answer."""
    over = end(board) if board.move_stack else None
    claim = None if over else claimable(board)
    for name in (over, claim):
        if name:
            tally[name] = tally.get(name, 0) + 1
    moves = []
    for mv in board.legal_moves:
        text = f"{mv.uci()} {board.san(mv)}"
        if not over:
            board.push(mv)
            draw = claimable(board)
            if draw:
                text += " " + (end(board) or draw)
            board.pop()
        moves.append(text)
    bare = "".join(letter for letter, color in (("W", chess.WHITE), ("B", chess.BLACK))
                   if board.has_insufficient_material(color))
    return "\t".join([board.fen(), over or "-", "+" if board.is_check() else "", bare, claim or "-",
                      ",".join(sorted(moves))])


def compare_board(process, rng, tally):
    """Asks about one random board; answers whether it is sound."""
    board = scatter(rng, rng.choice([1, 2, 3, 4, 6, 8, 12, 20, 30]))
    if rng.random() < 0.3:
        # Kings and rooks at home now and then, so that castling rights may fit.
        for square, piece in (("e1", "K"), ("a1", "R"), ("h1", "R"), ("e8", "k"), ("a8", "r"), ("h8", "r")):
            if rng.random() < 0.8:
                for other in board.pieces(chess.KING, piece == "K") if piece in "Kk" else ():
                    board.remove_piece_at(other)
                board.set_piece_at(chess.parse_square(square), chess.Piece.from_symbol(piece))
    if rng.random() < 0.3:
        board.castling_rights = sum(rng.sample([chess.BB_A1, chess.BB_H1, chess.BB_A8, chess.BB_H8], rng.randrange(5)))
    if rng.random() < 0.4:
        jumped = [square for square in chess.SQUARES if chess.square_rank(square) == (4 if board.turn else 3)
                  and board.piece_at(square) == chess.Piece(chess.PAWN, not board.turn)]
        beyond = 8 if board.turn else -8
        board.ep_square = rng.choice(jumped) + beyond if jumped and rng.random() < 0.9 else rng.randrange(64)
    # `fen()` would leave out what does not fit.
    castling = "".join(letter for letter, bit in zip("KQkq", (chess.BB_H1, chess.BB_A1, chess.BB_H8, chess.BB_A8))
                       if board.castling_rights & bit)
    square = "-" if board.ep_square is None else chess.square_name(board.ep_square)
    text = f"{board.board_fen()} {'w' if board.turn else 'b'} {castling or '-'} {square} 0 1"

    [answer] = ask(process, "fen " + text)
    status = board.status()
    if status == chess.STATUS_VALID:
        if is_impossible(board, answer):
            tally["stricter"] = tally.get("stricter", 0) + 1
            return False
        if answer != board.fen():
            sys.exit(f"fen {text}\nours:         {answer}\npython-chess: {board.fen()}")
        return True
    if "/" in answer:
        sys.exit(f"fen {text}\nours:         {answer}\npython-chess: {status!r}")
    return False


def is_impossible(board, answer):
    """Where we are stricter than python-chess, and right."""
    if answer == "Position(TooManyPromoted)":
        return any(promoted(board, color) > 8 - len(board.pieces(chess.PAWN, color)) for color in chess.COLORS)
    if answer == "Position(EnPassant)" and board.ep_square is not None:
        # The king would have stood in check when the other side was to move, the pawn still on its first square.
        before = board.copy()
        before.ep_square = None
        before.turn = not board.turn
        beyond = 8 if before.turn else -8
        before.set_piece_at(board.ep_square - beyond, before.remove_piece_at(board.ep_square + beyond))
        return before.was_into_check()
    return False


def promoted(board, color):
    """At least so many pieces must have been pawns."""
    bishops = board.pieces(chess.BISHOP, color)
    light = len(bishops & chess.SquareSet(chess.BB_LIGHT_SQUARES))
    counts = [(light, 1), (len(bishops) - light, 1)]
    counts += [(len(board.pieces(role, color)), n) for role, n in ((chess.KNIGHT, 2), (chess.ROOK, 2), (chess.QUEEN, 1))]
    return sum(max(0, count - at_first) for count, at_first in counts)


if __name__ == "__main__":
    main()
