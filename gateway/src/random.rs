//! Everything random: ids and lots. `shared` gets what it needs of this by argument.

use rand::RngExt;
use shared::GameId;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// `len` characters of `[0-9A-Za-z]`, 5.95 bits each.
pub fn base62(len: usize) -> String {
    let mut rng = rand::rng();
    (0..len)
        .map(|_| char::from(BASE62[rng.random_range(0..BASE62.len())]))
        .collect()
}

/// A game id nobody can guess: 95 random bits.
pub fn game_id() -> GameId {
    GameId::parse(&base62(16)).expect("16 letters and digits are a game id")
}

/// Heads or tails.
pub fn coin() -> bool {
    rand::rng().random()
}
