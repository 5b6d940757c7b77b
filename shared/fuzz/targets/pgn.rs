//! Any text as PGN: read to its end, and what was read comes back when written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::notation::pgn;

fuzz_target!(|text: &str| {
    for game in pgn::games(text).flatten() {
        let written = pgn::write(&game);
        let again = pgn::games(&written)
            .next()
            .expect("a game was written")
            .expect("what we write we read");
        assert_eq!(
            (&again.moves.len(), &again.result, &again.start),
            (&game.moves.len(), &game.result, &game.start)
        );
        for (ours, first) in again.moves.iter().zip(&game.moves) {
            assert_eq!((ours.mv, ours.san), (first.mv, first.san));
            // Tenths are written, the rest is cut.
            assert_eq!(ours.clock_ms, first.clock_ms.map(|ms| ms - ms % 100));
        }
    }
});
