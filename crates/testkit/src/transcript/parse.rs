//! From text to steps.

use std::time::Duration;

use super::{Numbered, Scenario, Step, Transcript};

pub(super) fn transcript(text: &str) -> Result<Transcript, String> {
    let mut scenario = Scenario::default();
    let mut steps = Vec::new();
    let mut in_head = true;
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            in_head = in_head && scenario.is_untouched();
            continue;
        }
        if in_head {
            head_line(&mut scenario, line).map_err(|error| format!("line {number}: {error}"))?;
        } else {
            let step = step(line).map_err(|error| format!("line {number}: {error}"))?;
            add(&mut steps, Numbered { line: number, step });
        }
    }
    if steps.is_empty() {
        return Err("there is no dialogue; an empty line ends the head".to_owned());
    }
    let mut implied = scenario.prologue();
    implied.extend(steps);
    Ok(Transcript { scenario, steps: implied })
}

fn head_line(scenario: &mut Scenario, line: &str) -> Result<(), String> {
    let (key, value) = line.split_once(':').ok_or("a head line is `key: value`")?;
    scenario.set(key.trim(), value.trim())
}

/// Consecutive lines of a body are one body.
fn add(steps: &mut Vec<Numbered>, next: Numbered) {
    if let (Step::Body(more), Some(Numbered { step: Step::Body(body), .. })) = (&next.step, steps.last_mut())
    {
        body.extend_from_slice(more);
    } else {
        steps.push(next);
    }
}

fn step(line: &str) -> Result<Step, String> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    Ok(match word {
        "C:" => Step::Send(with_crlf(unescape(rest)?)),
        "C-raw:" => Step::Send(unescape(rest)?),
        "C-packet:" => Step::Packet(unescape(rest)?),
        "C-fill:" => Step::Send(fill(rest)?),
        "S:" => expectation(rest),
        "TLS" => Step::Tls,
        "WAIT" => Step::Wait(duration(rest)?),
        "DRAIN" => Step::Drain,
        "HANGUP" => Step::HangUp,
        "CLOSE" => Step::Close((!rest.is_empty()).then(|| rest.to_owned())),
        "ASKED:" => Step::Asked(rest.to_owned()),
        "BODY:" => Step::Body(with_crlf(unescape(rest)?)),
        "BODY-raw:" => Step::Body(unescape(rest)?),
        "DISCARDED" => Step::Discarded,
        other => return Err(format!("`{other}` is no step")),
    })
}

fn expectation(text: &str) -> Step {
    match text.strip_suffix(" *") {
        Some(code) if code.len() == 3 => Step::ExpectCode(code.to_owned()),
        _ => Step::Expect(text.to_owned()),
    }
}

fn with_crlf(mut octets: Vec<u8>) -> Vec<u8> {
    octets.extend_from_slice(b"\r\n");
    octets
}

fn fill(rest: &str) -> Result<Vec<u8>, String> {
    let (count, letter) = rest.split_once(' ').ok_or("`C-fill: COUNT LETTER`")?;
    let count = count.parse().map_err(|_| format!("`{count}` is no count"))?;
    Ok(unescape(letter)?.repeat(count))
}

/// `5m`, `30s`, `2h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration such as 5m");
    let (number, seconds) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3600),
        _ => return Err(wrong()),
    };
    number.parse::<u64>().map(|number| Duration::from_secs(number * seconds)).map_err(|_| wrong())
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'\\' {
            octets.push(*first);
            continue;
        }
        let (octet, length) = escaped(rest).ok_or_else(|| format!("`{text}` holds an unknown escape"))?;
        octets.push(octet);
        rest = &rest[length..];
    }
    Ok(octets)
}

fn escaped(rest: &[u8]) -> Option<(u8, usize)> {
    Some(match rest.first()? {
        b'r' => (b'\r', 1),
        b'n' => (b'\n', 1),
        b'0' => (0, 1),
        b't' => (b'\t', 1),
        b'\\' => (b'\\', 1),
        b'x' => (u8::from_str_radix(std::str::from_utf8(rest.get(1..3)?).ok()?, 16).ok()?, 3),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_stand_for_octets() {
        assert_eq!(unescape(r"a\r\n\0\xff\\").unwrap(), b"a\r\n\0\xff\\");
        assert!(unescape(r"\q").is_err() && unescape(r"\xf").is_err());
    }

    #[test]
    fn an_unknown_step_is_an_error_with_its_line() {
        let error = transcript("listener: relay\n\nS: 220 *\nX: what\n").unwrap_err();
        assert!(error.starts_with("line 4:"), "{error}");
    }

    #[test]
    fn body_lines_are_joined() {
        let parsed = transcript("listener: relay\n\nBODY: a\nBODY-raw: b\n").unwrap();
        assert_eq!(parsed.steps, [Numbered { line: 3, step: Step::Body(b"a\r\nb".to_vec()) }]);
    }
}
