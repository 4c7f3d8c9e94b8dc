//! Lines that change in place on a terminal, and are printed when they change elsewhere.

use std::io::{IsTerminal, Write};

#[derive(Debug)]
pub struct Screen {
    shown: Vec<String>,
    /// Stdout is for data: nothing is drawn, and words go to stderr.
    quiet: bool,
}

impl Screen {
    pub fn new(quiet: bool) -> Screen {
        Screen { shown: Vec::new(), quiet }
    }

    /// Shows `lines` in the place of those shown before.
    pub fn draw(&mut self, lines: &[String]) {
        if self.quiet || self.shown == lines {
            return;
        }
        let mut out = std::io::stdout().lock();
        let mut text = String::new();
        if std::io::stdout().is_terminal() {
            if !self.shown.is_empty() {
                text += &format!("\x1b[{}A\x1b[0J", self.shown.len());
            }
            for line in lines {
                text += line;
                text.push('\n');
            }
        } else {
            for line in lines.iter().filter(|line| !self.shown.contains(line)) {
                text += line;
                text.push('\n');
            }
        }
        // A terminal that has gone away is no reason to stop half way.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        self.shown = lines.to_vec();
    }

    /// Says something that stays.
    pub fn say(&mut self, text: &str) {
        if self.quiet {
            eprintln!("{text}");
        } else {
            let _ = writeln!(std::io::stdout(), "{text}");
        }
        self.shown.clear();
    }
}
