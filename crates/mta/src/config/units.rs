//! Durations and sizes as people write them: `"5m"`, `"35 MiB"`.

use std::time::Duration;

const DURATION_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
/// Counts over a longer time would let all of it through at once.
const LONGEST_PER: Duration = Duration::from_hours(24);
const SIZE_UNITS: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// A duration such as `500ms`, `30s`, `5m`, `2h` or `5d`; the error says in words what is wrong.
pub fn duration(text: &str) -> Result<Duration, String> {
    let example = "write a whole number and a unit: \"500ms\", \"30s\", \"5m\", \"2h\" or \"5d\"";
    let (number, unit) = split(text).ok_or(example)?;
    let factor = factor(&DURATION_UNITS, unit).ok_or(example)?;
    let milliseconds = number.checked_mul(factor).filter(|all| *all <= 366 * 10 * 86_400_000);
    milliseconds.map(Duration::from_millis).ok_or_else(|| "that is more than ten years".to_owned())
}

/// A size in octets such as `10 KiB`, `35 MiB` or `1 GiB`; the error says in words what is wrong.
pub fn size(text: &str) -> Result<u64, String> {
    let example = "write octets as a number, or a number and a unit: \"10 KiB\", \"35 MiB\" or \"1 GiB\"";
    let (number, unit) = split(text).ok_or(example)?;
    let factor = factor(&SIZE_UNITS, unit).ok_or(example)?;
    number.checked_mul(factor).ok_or_else(|| "that is too large".to_owned())
}

/// So many in so much time, such as `100/1m`, `10/s` or `1000/h`; the error says in words what is wrong.
pub fn rate(text: &str) -> Result<(u32, Duration), String> {
    let wrong = || {
        format!(
            "\"{text}\" is not a rate: write a number and a time span, \"100/1m\", \"10/s\" or \"1000/h\""
        )
    };
    let (number, span) = text.split_once('/').ok_or_else(wrong)?;
    let (number, span) = (number.trim_end(), span.trim_start());
    let messages = number.parse::<u32>().map_err(|_| wrong())?;
    let unit_alone = factor(&DURATION_UNITS, span).map(Duration::from_millis);
    let per = unit_alone.or_else(|| duration(span).ok()).ok_or_else(wrong)?;
    match (messages, per) {
        (0, _) => Err(format!("\"{text}\" would let nothing through")),
        (_, per) if per.is_zero() => Err(format!("\"{text}\" names no time at all")),
        (_, per) if per > LONGEST_PER => Err(format!("\"{text}\" counts over more than a day")),
        _ => Ok((messages, per)),
    }
}

/// So many in so much time, or `none`.
pub fn rate_or_none(text: &str) -> Result<Option<(u64, Duration)>, String> {
    if text == "none" {
        return Ok(None);
    }
    rate(text).map(|(number, per)| Some((number.into(), per)))
}

/// So many octets in so much time, such as `10 GiB/1d`, or `none`.
pub fn volume_or_none(text: &str) -> Result<Option<(u64, Duration)>, String> {
    if text == "none" {
        return Ok(None);
    }
    let wrong = || format!("\"{text}\" is not a size and a time span: write \"10 GiB/1d\" or \"500 MiB/1h\"");
    let (octets, span) = text.split_once('/').ok_or_else(wrong)?;
    let octets = size(octets.trim_end()).map_err(|_| wrong())?;
    if octets == 0 {
        return Err(format!("\"{text}\" would let nothing through"));
    }
    let (_, per) = rate(&format!("1/{}", span.trim_start())).map_err(|_| wrong())?;
    Ok(Some((octets, per)))
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    Some((text[..digits].parse().ok()?, text[digits..].trim_start()))
}

fn factor(units: &[(&str, u64)], unit: &str) -> Option<u64> {
    units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("5 m"), Ok(Duration::from_mins(5)));
        assert_eq!(duration("2h"), Ok(Duration::from_hours(2)));
        assert_eq!(duration("5d"), Ok(Duration::from_hours(120)));
        for wrong in ["", "5", "m", "5 min", "-5m", "1.5h", "5M", "99999999999999999999s", "99999999d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn volumes_have_a_size_and_a_time_and_none_switches_off() {
        let gib = 1 << 30;
        assert_eq!(volume_or_none("10 GiB/1d"), Ok(Some((10 * gib, Duration::from_hours(24)))));
        assert_eq!(volume_or_none("500 B / h"), Ok(Some((500, Duration::from_hours(1)))));
        assert_eq!((volume_or_none("none"), rate_or_none("none")), (Ok(None), Ok(None)));
        for wrong in ["10 GiB", "0/1d", "x/1d", "1 GiB/2d", "1 GiB/0s", ""] {
            assert!(volume_or_none(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rates_have_a_number_and_a_time() {
        assert_eq!(rate("100/1m"), Ok((100, Duration::from_mins(1))));
        assert_eq!(rate("10/s"), Ok((10, Duration::from_secs(1))));
        assert_eq!(rate("1000 / 2h"), Ok((1000, Duration::from_hours(2))));
        assert_eq!(rate("1/d"), Ok((1, Duration::from_hours(24))));
        for wrong in [
            "",
            "/",
            "10",
            "10/",
            "/s",
            "0/s",
            "-1/s",
            "1.5/s",
            "10/0s",
            "10/2d",
            "10/parsec",
            "9999999999/s",
            "1/s/s",
        ] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(size("10 KiB"), Ok(10_240));
        assert_eq!(size("35MiB"), Ok(36_700_160));
        assert_eq!(size("512 B"), Ok(512));
        for wrong in ["35", "35 MB", "1.5 MiB", "99999999999999 GiB", ""] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
