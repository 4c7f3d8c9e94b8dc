//! Server-sent events out of bytes, however the bytes are cut.
//!
//! A parser of our own and not `sse-stream`: that one ends the stream at an unknown field or at a
//! line without a colon, which the standard says to ignore, and it has no bound on an event.
//!
//! # Source
//!
//! "Interpreting an event stream" in the HTML standard, section 9.2.6. `id` and `retry` are
//! ignored: a model call is never resumed by the client.

use crate::error::Fault;

/// Largest event, in bytes. The largest known ones are encoded images and encrypted thinking,
/// below one MiB.
const EVENT_BYTES_MAX: usize = 4 << 20;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// One dispatched event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// Empty if the stream did not name it.
    pub name: String,
    pub data: String,
}

/// Takes bytes, gives events. Holds at most one event and one line.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    event: Event,
    has_data: bool,
    /// The last byte was a CR, so an LF that comes next belongs to it.
    after_cr: bool,
    past_first_line: bool,
}

impl Parser {
    /// Appends the events that `chunk` completes to `events`.
    pub fn feed(&mut self, chunk: &[u8], events: &mut Vec<Event>) -> Result<(), Fault> {
        let mut rest = chunk;
        while let Some(&first) = rest.first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let end = rest.iter().position(|b| matches!(b, b'\r' | b'\n'));
            let part = &rest[..end.unwrap_or(rest.len())];
            if self.held() + part.len() > EVENT_BYTES_MAX {
                let reason = format!("an event has more than {EVENT_BYTES_MAX} bytes");
                return Err(Fault::invalid_reply(reason));
            }
            self.line.extend_from_slice(part);
            let Some(end) = end else { break };
            self.after_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut self.line);
            self.take_line(&line, events)?;
        }
        Ok(())
    }

    fn held(&self) -> usize {
        self.line.len() + self.event.name.len() + self.event.data.len()
    }

    fn take_line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<(), Fault> {
        let first = !std::mem::replace(&mut self.past_first_line, true);
        let line = if first { line.strip_prefix(BOM).unwrap_or(line) } else { line };
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if std::mem::take(&mut self.has_data) {
                events.push(event);
            }
            return Ok(());
        }
        let colon = line.iter().position(|b| *b == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(text(value)?);
            }
            b"event" => self.event.name = text(value)?.to_owned(),
            _ => {}
        }
        Ok(())
    }
}

/// Replacing broken characters would alter what the model said, so they are an error.
fn text(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| Fault::invalid_reply("the stream is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(chunks: &[&[u8]]) -> Result<Vec<Event>, Fault> {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for chunk in chunks {
            parser.feed(chunk, &mut events)?;
        }
        Ok(events)
    }

    fn event(name: &str, data: &str) -> Event {
        Event { name: name.to_owned(), data: data.to_owned() }
    }

    const STREAM: &str = "\u{feff}data: a\r\ndata:  b\r\n\r\n: note\n\nevent: é\rdata\rdata:€\r\r\
        id: 1\nretry: x\nbroken line\nevent: lost\n\ndata: {\"x\":1}\n\ndata: cut";

    fn expected() -> Vec<Event> {
        vec![event("", "a\n b"), event("é", "\n€"), event("", "{\"x\":1}")]
    }

    #[test]
    fn every_way_to_cut_a_stream_in_two_gives_the_same_events() {
        let bytes = STREAM.as_bytes();
        for cut in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            assert_eq!(parse(&[head, tail]).unwrap(), expected(), "cut at {cut}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(parse(&single).unwrap(), expected());
    }

    #[test]
    fn an_event_is_bounded_across_lines_and_without_any_line() {
        let line = [b"data: ".as_slice(), &vec![b'x'; 1 << 20], b"\n"].concat();
        assert!(parse(&[&line[..]; 3]).is_ok());
        assert!(parse(&[&line[..]; 5]).is_err());
        assert!(parse(&[&vec![b'x'; EVENT_BYTES_MAX + 1]]).is_err());
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        assert!(parse(&[b"data: \xff\n"]).is_err());
        assert!(parse(&[b"\xff: \xff\n\n"]).unwrap().is_empty());
    }
}
