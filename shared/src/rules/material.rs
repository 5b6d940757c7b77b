//! When there is not enough left to mate with.
//!
//! The same answers as python-chess' `has_insufficient_material` and `is_insufficient_material`, which the oracle test
//! compares. Material alone is judged: a blocked position that nobody can win counts as sufficient.

use super::{Color, Position, Role};

const LIGHT_SQUARES: u64 = 0x55AA_55AA_55AA_55AA;
const DARK_SQUARES: u64 = !LIGHT_SQUARES;

impl Position {
    /// Can this side never mate, whatever the opponent does? Then the opponent's flag gives it a draw, not a win.
    #[must_use]
    pub fn has_insufficient_material(&self, color: Color) -> bool {
        let ours = self.of(color);
        let pawns = self.role(Role::Pawn);
        let knights = self.role(Role::Knight);
        let bishops = self.role(Role::Bishop);
        if ours & (pawns | self.role(Role::Rook) | self.role(Role::Queen)) != 0 {
            return false;
        }
        if ours & knights != 0 {
            // One knight mates only with the help of an enemy piece that blocks its own king: anything but a queen.
            let blockers =
                self.of(color.other()) & !(self.role(Role::King) | self.role(Role::Queen));
            return ours.count_ones() <= 2 && blockers == 0;
        }
        if ours & bishops != 0 {
            // Bishops of one colour cannot mate unless an enemy piece blocks squares of the other colour.
            let one_colour = bishops & DARK_SQUARES == 0 || bishops & LIGHT_SQUARES == 0;
            return one_colour && pawns == 0 && knights == 0;
        }
        true
    }

    /// A dead position: neither side can ever mate (K-K, KB-K, KN-K, bishops all of one colour).
    #[must_use]
    pub fn is_insufficient_material(&self) -> bool {
        Color::ALL
            .into_iter()
            .all(|color| self.has_insufficient_material(color))
    }
}
