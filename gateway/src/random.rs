//! Everything random in a node: ids and lots. `shared` gets what it needs of this by argument.

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use shared::GameId;
use std::sync::{Mutex, PoisonError};

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Where a node draws from. By default the operating system's randomness, which nobody can guess.
#[derive(Debug, Default)]
pub struct Random(Option<Mutex<StdRng>>);

impl Random {
    /// Everything follows from the seed, so that a simulation can be replayed. Anybody could guess its ids.
    pub fn seeded(seed: u64) -> Random {
        Random(Some(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// `len` characters of `[0-9A-Za-z]`, 5.95 bits each.
    pub fn base62(&self, len: usize) -> String {
        self.draw(|rng| {
            (0..len)
                .map(|_| char::from(BASE62[rng.random_range(0..BASE62.len())]))
                .collect()
        })
    }

    /// A game id nobody can guess: 95 random bits.
    pub fn game_id(&self) -> GameId {
        GameId::parse(&self.base62(16)).expect("16 letters and digits are a game id")
    }

    /// Heads or tails.
    pub fn coin(&self) -> bool {
        self.draw(|rng| rng.random())
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut dyn Rng) -> T) -> T {
        match &self.0 {
            None => draw(&mut rand::rng()),
            Some(seeded) => draw(&mut *seeded.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn a_seed_is_all_there_is_to_know() {
        let ids = |random: Random| [random.game_id(), random.game_id()];
        assert_eq!(ids(Random::seeded(7)), ids(Random::seeded(7)));
        assert_ne!(ids(Random::seeded(7)), ids(Random::seeded(8)));
        assert_ne!(ids(Random::default()), ids(Random::default()));
    }
}
