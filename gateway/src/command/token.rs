//! `rookery token`: a token for a user, signed with the settings' secret: for programs, for tests, and for accounts of an operator
//! who has no key of his own.

use crate::{config::Config, identity::Tokens};
use anyhow::Context;
use shared::{UserId, game::Player};

/// A token of that user, good for so long.
pub fn issue(
    config: &Config,
    user: &str,
    name: Option<&str>,
    seconds: u64,
) -> anyhow::Result<String> {
    let tokens = Tokens::new(&config.secrets()?, &config.jwt_audience, &config.jwt_issuer);
    Ok(tokens.issue_for(&self::user(user, name)?, seconds))
}

/// The user of that id and name; without a name, the id is shown.
fn user(id: &str, name: Option<&str>) -> anyhow::Result<Player> {
    let id = UserId::parse(id).context("--user")?;
    Ok(Player {
        name: name.unwrap_or(id.as_str()).to_owned(),
        is_guest: id.as_str().starts_with("guest"),
        id,
    })
}
