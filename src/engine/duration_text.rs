//! Durations as users write them.

use std::time::Duration;

/// Longer is a mistake, and would overflow clocks.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A number with its unit, such as `500ms`, `10s`, `5m`, `2h` or `1d`; `0` needs none. At most 365 days.
///
/// # Errors
/// What is wrong, as the end of a sentence that begins with the value.
pub fn duration(text: &str) -> Result<Duration, String> {
    const FORMS: &str = "write a whole number and its unit: 500ms, 10s, 5m, 2h or 1d";
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text.get(digits.len()..).unwrap_or_default();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("is no duration; {FORMS}"));
    }
    let seconds_per_unit = match unit {
        "ms" => None,
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(60 * 60),
        "d" => Some(24 * 60 * 60),
        "" if digits.bytes().all(|b| b == b'0') => Some(0),
        "" => return Err("has no unit; write it with one, such as 500ms, 10s, 5m, 2h or 1d".to_owned()),
        _ => return Err(format!("has an unknown unit; {FORMS}")),
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| match seconds_per_unit {
            None => Some(Duration::from_millis(number)),
            Some(seconds) => number.checked_mul(seconds).map(Duration::from_secs),
        })
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| "is too long; at most 365d are taken".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_needs_its_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for bad in ["", "5", "s", "1.5s", "5 s", "366d", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }
}
