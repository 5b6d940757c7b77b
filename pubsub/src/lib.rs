//! What a cluster agrees on: rooms of bytes in order. Knows no chess.
