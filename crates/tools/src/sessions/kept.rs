//! `result_read`: reads on in a text that was cut, a page or some of its lines at a time.

use grep_matcher::Matcher;
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use types::BlobId;

use crate::arguments::{Arguments, Refused};

/// Bytes of a page: a quarter of what a result may hold.
pub(super) const LIMIT: u32 = 16 * 1024;
/// A page may not be as long as what was cut.
pub(super) const LIMIT_MAX: u32 = 48 * 1024;

const PATTERN_BYTES_MAX: usize = 1_024;

/// How much of a long line is shown around the first match in it.
const LEAD_BYTES: usize = 100;
const LINE_BYTES_MAX: usize = 400;

pub(super) const REFUSED: &[Refused] = &[
    ("hash", "use `id`"),
    ("lines", "use `offset` and `limit`, in bytes"),
    ("query", "use `pattern`"),
    ("regex", "use `pattern`"),
];

/// A call, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRequest {
    pub id: BlobId,
    /// The byte to begin at.
    pub offset: usize,
    /// Most bytes of the answer, but for its first line.
    pub limit: usize,
    /// Only lines that match.
    pub pattern: Option<String>,
}

pub(super) fn parse(arguments: &Arguments) -> Result<KeptRequest, String> {
    let id = arguments.required("id")?.trim().trim_matches('"');
    let id = id.parse().map_err(|error| format!("`id` is not valid: {error}"))?;
    let request = KeptRequest {
        id,
        offset: arguments.integer("offset", 0..=u32::MAX)?.unwrap_or(0) as usize,
        limit: arguments.integer("limit", 1..=LIMIT_MAX)?.unwrap_or(LIMIT) as usize,
        pattern: arguments.word("pattern", PATTERN_BYTES_MAX)?.map(str::to_owned),
    };
    request.matcher()?;
    Ok(request)
}

impl KeptRequest {
    fn matcher(&self) -> Result<Option<RegexMatcher>, String> {
        let Some(pattern) = &self.pattern else { return Ok(None) };
        let matcher = RegexMatcherBuilder::new().line_terminator(Some(b'\n')).build(pattern);
        matcher.map(Some).map_err(|error| format!("`pattern` is no regular expression: {error}"))
    }

    /// What of `text` is asked for. The first line says where it stands.
    pub fn page(&self, text: &str) -> Result<String, String> {
        let from = text.floor_char_boundary(self.offset);
        if self.offset >= text.len() {
            return Err(format!(
                "`offset` is {}, and the text has {} bytes",
                self.offset,
                text.len()
            ));
        }
        match self.matcher()? {
            Some(matcher) => self.matching(text, from, &matcher),
            None => Ok(self.part(text, from)),
        }
    }

    fn part(&self, text: &str, from: usize) -> String {
        let mut to = text.floor_char_boundary(from + self.limit);
        if to == from {
            // Not even one character fits: it is shown all the same, or nobody would get on.
            to = text.ceil_char_boundary(from + 1);
        }
        let next = match to == text.len() {
            true => "the end".to_owned(),
            false => format!("go on with offset {to}"),
        };
        format!("[bytes {from} to {to} of {}; {next}]\n{}", text.len(), &text[from..to])
    }

    /// The lines that match, each behind the byte at which it begins.
    fn matching(&self, text: &str, from: usize, matcher: &RegexMatcher) -> Result<String, String> {
        let (mut shown, mut count, mut at) = (String::new(), 0, from);
        let mut next = None;
        for line in text[from..].split_inclusive('\n') {
            let bare = line.trim_end_matches(['\n', '\r']);
            let found = matcher.find(bare.as_bytes()).map_err(|error| error.to_string())?;
            if let Some(found) = found {
                let row = format!("{at}: {}\n", around(bare, found.start()));
                if count > 0 && shown.len() + row.len() > self.limit {
                    next = Some(at);
                    break;
                }
                shown += &row;
                count += 1;
            }
            at += line.len();
        }
        let more = match next {
            Some(next) => format!("there are more: go on with offset {next}"),
            None => "no more".to_owned(),
        };
        let total = text.len();
        Ok(format!("[{count} lines match from byte {from} of {total}; {more}]\n{shown}"))
    }
}

/// A line, or the part of a long one that is around its match.
fn around(line: &str, found: usize) -> String {
    if line.len() <= LINE_BYTES_MAX {
        return line.to_owned();
    }
    let from = line.floor_char_boundary(found.saturating_sub(LEAD_BYTES));
    let to = line.floor_char_boundary(from + LINE_BYTES_MAX);
    let (before, after) = (if from > 0 { "…" } else { "" }, if to < line.len() { "…" } else { "" });
    format!("{before}{}{after}", &line[from..to])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(offset: usize, limit: usize, pattern: Option<&str>) -> KeptRequest {
        KeptRequest { id: BlobId::of(""), offset, limit, pattern: pattern.map(str::to_owned) }
    }

    #[test]
    fn pages_give_every_byte_once() {
        let text = "aé🜁\n".repeat(100);
        let (mut read, mut offset) = (String::new(), 0);
        loop {
            let page = request(offset, 7, None).page(&text).unwrap();
            let (head, part) = page.split_once('\n').unwrap();
            read += part;
            let Some((_, next)) = head.trim_end_matches(']').split_once("go on with offset ")
            else {
                assert!(head.ends_with("the end]"), "{head}");
                break;
            };
            offset = next.parse().unwrap();
        }
        assert_eq!(read, text);
        let error = request(800, 7, None).page(&text).unwrap_err();
        assert_eq!(error, "`offset` is 800, and the text has 800 bytes");
    }

    #[test]
    fn lines_that_match_are_shown_with_their_place() {
        let text = format!("one\ntwo\r\n{}three{}\nfour two\n", "x".repeat(900), "y".repeat(900));
        let page = request(0, 1_000, Some("t[wh]")).page(&text).unwrap();
        let lines: Vec<&str> = page.lines().collect();
        assert_eq!(lines[0], format!("[3 lines match from byte 0 of {}; no more]", text.len()));
        assert_eq!(lines[1], "4: two");
        assert!(lines[2].starts_with("9: …xxx") && lines[2].contains("xthreey"), "{page}");
        assert!(lines[2].ends_with("y…") && lines[2].len() < 420, "{page}");
        assert!(lines[3].ends_with(": four two"), "{page}");
        let page = request(0, 8, Some("two")).page(&text).unwrap();
        let next = text.find("four").unwrap();
        assert!(page.contains(&format!("[1 lines match from byte 0 of {}", text.len())), "{page}");
        assert!(page.contains(&format!("go on with offset {next}]")), "{page}");
        assert!(request(0, 8, Some("none")).page(&text).unwrap().starts_with("[0 lines match"));
    }

    #[test]
    fn wrong_arguments_are_refused_by_name() {
        let parse = |json: serde_json::Value| {
            let call = super::super::parse("result_read", &json.to_string());
            call.map(|_| ()).unwrap_err()
        };
        let id = BlobId::of("text").to_string();
        for (arguments, part) in [
            (serde_json::json!({}), "`id` is missing"),
            (serde_json::json!({ "id": "blob:1" }), "`blob:<hash>`"),
            (serde_json::json!({ "id": id, "pattern": "(" }), "`pattern` is no regular expression"),
            (serde_json::json!({ "id": id, "limit": 1_000_000 }), "`limit`"),
            (serde_json::json!({ "id": id, "lines": 3 }), "use `offset`"),
        ] {
            assert!(parse(arguments).contains(part), "{part}");
        }
    }
}
