//! Tests of the laws, notation and the game, over data files where a table says more than code.
// Tests may use maps in any order.
#![allow(clippy::unwrap_used, clippy::disallowed_types, missing_docs)]

mod corpus;
mod data;
mod fen;
mod fold;
mod perft;
mod pgn;
mod properties;
mod replay;
mod san;
mod scenario;
mod stored;
