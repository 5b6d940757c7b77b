//! `rookery health`: asks a node on this machine whether it is ready, for the HEALTHCHECK of a container and for scripts.

use super::ask_admin;
use crate::config::Config;
use serde_json::Value;

/// Asks `/readyz`, or `/livez`. Words for people if it is as it should be; the reasons if not.
pub async fn run(config: &Config, live: bool) -> Result<String, String> {
    let path = if live { "/livez" } else { "/readyz" };
    let (status, body) = ask_admin(config, path).await?;
    if live {
        return match status.is_success() {
            true => Ok("alive".to_owned()),
            false => Err(format!("{path} answers {status}")),
        };
    }
    let told: Value = serde_json::from_slice(&body).unwrap_or_default();
    let reasons = told["reasons"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let reasons = reasons.collect::<Vec<_>>().join("; ");
    match (status.is_success(), reasons.is_empty()) {
        (true, true) => Ok("ready".to_owned()),
        (true, false) => Ok(format!("ready, but: {reasons}")),
        (false, true) => Err(format!("{path} answers {status}")),
        (false, false) => Err(format!("not ready: {reasons}")),
    }
}
