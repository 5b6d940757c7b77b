//! The clock reading of `[%clk …]`.

/// `H:MM:SS`, with tenths (cut, not rounded) when the reading is no whole second.
#[must_use]
pub fn format_clk(ms: u64) -> String {
    let seconds = ms / 1000;
    let tenths = ms % 1000 / 100;
    let whole = format!(
        "{}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
    if tenths == 0 {
        whole
    } else {
        format!("{whole}.{tenths}")
    }
}

/// Reads `H:MM:SS` with up to three decimals, in milliseconds.
#[must_use]
pub fn parse_clk(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = whole.split(':').map(|part| number(part, 6));
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || minutes > 59 || seconds > 59 {
        return None;
    }
    let scale = 10_u64.pow(3_u32.checked_sub(u32::try_from(fraction.len()).ok()?)?);
    Some((hours * 3600 + minutes * 60 + seconds) * 1000 + number(fraction, 3)? * scale)
}

/// Plain digits only: `u64::from_str` would take a sign.
fn number(text: &str, len_max: usize) -> Option<u64> {
    let plain =
        !text.is_empty() && text.len() <= len_max && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}
