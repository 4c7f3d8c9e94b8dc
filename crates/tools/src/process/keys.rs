//! Names of keys become what a terminal sends for them.

/// Keys with a name of their own.
const NAMED: &[(&str, &str)] = &[
    ("enter", "\r"),
    ("return", "\r"),
    ("tab", "\t"),
    ("space", " "),
    ("escape", "\x1b"),
    ("esc", "\x1b"),
    ("backspace", "\x7f"),
    ("bspace", "\x7f"),
    ("up", "\x1b[A"),
    ("down", "\x1b[B"),
    ("right", "\x1b[C"),
    ("left", "\x1b[D"),
    ("home", "\x1b[H"),
    ("end", "\x1b[F"),
    ("insert", "\x1b[2~"),
    ("delete", "\x1b[3~"),
    ("pageup", "\x1b[5~"),
    ("pagedown", "\x1b[6~"),
    ("btab", "\x1b[Z"),
    ("f1", "\x1bOP"),
    ("f2", "\x1bOQ"),
    ("f3", "\x1bOR"),
    ("f4", "\x1bOS"),
    ("f5", "\x1b[15~"),
    ("f6", "\x1b[17~"),
    ("f7", "\x1b[18~"),
    ("f8", "\x1b[19~"),
    ("f9", "\x1b[20~"),
    ("f10", "\x1b[21~"),
    ("f11", "\x1b[23~"),
    ("f12", "\x1b[24~"),
];

/// Returns what the key `name` sends: a named key, one character, or either after `C-` or `M-`.
pub(super) fn key(name: &str) -> Result<Vec<u8>, String> {
    let lower = name.to_ascii_lowercase();
    if let Some((_, bytes)) = NAMED.iter().find(|(known, _)| *known == lower) {
        return Ok(bytes.as_bytes().to_vec());
    }
    let mut characters = name.chars();
    if let (Some(only), None) = (characters.next(), characters.next()) {
        return Ok(only.to_string().into_bytes());
    }
    if let Some(rest) = after(name, &["M-", "m-", "Alt-", "alt-"]) {
        return Ok([vec![0x1b], key(rest)?].concat());
    }
    if let Some(rest) = after(name, &["C-", "c-", "Ctrl-", "ctrl-", "^"])
        && let Some(byte) = control(rest)
    {
        return Ok(vec![byte]);
    }
    Err(format!(
        "`{name}` is no key: expected a character, `C-c`, `M-x`, or one of Enter, Tab, Escape, \
         Space, Backspace, Up, Down, Left, Right, Home, End, PageUp, PageDown, Insert, Delete, \
         F1 to F12"
    ))
}

fn after<'a>(name: &'a str, prefixes: &[&str]) -> Option<&'a str> {
    prefixes.iter().find_map(|prefix| name.strip_prefix(prefix))
}

/// What a character sends with the control key held.
fn control(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [byte] if byte.is_ascii_alphabetic() || b"@[\\]^_".contains(byte) => {
            Some(byte.to_ascii_uppercase() & 0x1f)
        }
        [b'?'] => Some(0x7f),
        [b' '] => Some(0),
        _ if text.eq_ignore_ascii_case("space") => Some(0),
        _ => None,
    }
}

/// Reads bytes from hexadecimal digits, such as `1b` or `1b 5b 41`.
pub(super) fn hex(text: &str) -> Result<Vec<u8>, String> {
    let byte = |word: &str| {
        let digits = word.strip_prefix("0x").unwrap_or(word);
        u8::from_str_radix(digits, 16).ok().filter(|_| digits.len() <= 2)
    };
    let bytes: Option<Vec<u8>> = text.split_whitespace().map(byte).collect();
    bytes.ok_or_else(|| format!("`hex` must be bytes such as `1b` or `0d`; got `{text}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_bytes() {
        for (name, bytes) in [
            ("Enter", &b"\r"[..]),
            ("a", b"a"),
            ("é", "é".as_bytes()),
            ("C-c", b"\x03"),
            ("Ctrl-d", b"\x04"),
            ("^Z", b"\x1a"),
            ("C-Space", b"\0"),
            ("M-x", b"\x1bx"),
            ("M-Up", b"\x1b\x1b[A"),
            ("F12", b"\x1b[24~"),
            ("^", b"^"),
        ] {
            assert_eq!(key(name).unwrap(), bytes, "{name}");
        }
        for name in ["", "C-", "C-cc", "Hyper-x", "M-", "hello"] {
            assert!(key(name).unwrap_err().contains("is no key"), "{name}");
        }
    }

    #[test]
    fn hex_becomes_bytes() {
        assert_eq!(hex("1b 5B 0x41").unwrap(), b"\x1b[A");
        for text in ["1bb", "zz", "-1"] {
            assert!(hex(text).is_err(), "{text}");
        }
    }
}
