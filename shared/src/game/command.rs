//! What may be asked of a game, and how it answers. A [`Command`] comes from a seat (or from the server itself), with the
//! moment it arrived; everything random that its effect needs, such as the id of a rematch, comes in with it.

use crate::{Color, GameId, Ply, Seq, Timestamp, game::Event, rules::Move};

/// A request by the player of `by`'s seat, or by the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Make a move.
    Move {
        /// The seat that moves.
        by: Color,
        /// Which move.
        mv: MoveInput,
        /// The half move it is meant to be; without it, the next.
        ply: Option<Ply>,
        /// The last event the asker had seen: a takeback after it withdraws his request.
        seen: Option<Seq>,
    },
    /// Anything else a player may ask for.
    Act {
        /// The seat that asks.
        by: Color,
        /// What for.
        action: Action,
        /// The `seq` of the offer meant, if he named it.
        offer: Option<Seq>,
    },
    /// A deadline may have passed: flag, abort or abandon if so.
    CheckDeadline,
    /// The server aborts the game.
    ServerAbort,
    /// Give time lost to the server's own outage back to the side to move.
    CreditClock {
        /// Milliseconds.
        ms: i64,
    },
}

/// What a player may ask for besides a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Give up.
    Resign,
    /// End the game before it began.
    Abort,
    /// Offer a draw.
    OfferDraw,
    /// Accept the draw offered.
    AcceptDraw,
    /// Decline the draw offered.
    DeclineDraw,
    /// Claim a draw by threefold repetition or fifty moves; with a move, as it will stand after that move.
    ClaimDraw {
        /// The intended move, made only if the claim is right.
        mv: Option<MoveInput>,
    },
    /// Claim the win against a player who left.
    ClaimVictory {
        /// Since when the opponent has been away without a break, our outages not counted; `None` if he is here.
        absent_since: Option<Timestamp>,
    },
    /// Ask to take one's own last move back.
    OfferTakeback,
    /// Give the move back.
    AcceptTakeback,
    /// Decline to.
    DeclineTakeback,
    /// After the end, offer another game.
    OfferRematch {
        /// The id the new game gets if this offer meets the opponent's and so accepts it.
        new_game_id: GameId,
    },
    /// Accept another game; colours change.
    AcceptRematch {
        /// The id the new game gets.
        new_game_id: GameId,
    },
    /// Decline another game.
    DeclineRematch,
}

/// A move as a player wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MoveInput {
    /// By squares. A promotion on a move that is none is ignored.
    Squares(Move),
    /// UCI or SAN.
    Text(String),
}

/// What follows from a command that was not refused.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Append these events, in one step; then answer.
    Append {
        /// One or two events, numbered from the end of the log.
        events: Vec<Event>,
        /// `None`: acknowledge with the first event's `seq`. Else the command itself is refused for this reason, and the
        /// events are what its arrival brought to light (a flag that had fallen).
        refused: Option<Rejection>,
    },
    /// It was done before, and this is where: the request is a repetition and gets its first answer.
    Already {
        /// The event that was its effect.
        seq: Seq,
    },
    /// Nothing to do ([`Command::CheckDeadline`] before the deadline).
    Nothing,
}

/// Why a command was refused. Each is an answer to the asker alone, with the code of that name on the wire.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The other side is to move.
    #[error("it is not your turn")]
    NotYourTurn,
    /// The rules forbid it; the text says what was wrong.
    #[error("{0}")]
    IllegalMove(String),
    /// Another move stands at that ply, or a takeback withdrew it.
    #[error("{0}")]
    StalePly(String),
    /// The game has ended.
    #[error("the game is over")]
    GameOver,
    /// Not yet; the text says when.
    #[error("{0}")]
    TooEarly(String),
    /// No longer.
    #[error("{0}")]
    TooLate(String),
    /// There is no such offer open.
    #[error("there is no such offer")]
    NoOffer,
    /// The claim is not right.
    #[error("{0}")]
    NoClaim(String),
}
