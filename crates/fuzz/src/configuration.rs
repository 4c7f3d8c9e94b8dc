//! The configuration's file.

use std::io;
use std::path::Path;

use windlass::config::{self, ConfigErrors, Outside, Paths, Problem};

/// What every variable and every file of secrets says.
const SECRET: &str = "hunter2-never-shown";

/// A world with this one file.
struct World<'a> {
    text: &'a str,
    config: &'a Path,
}

impl Outside for World<'_> {
    fn var(&self, name: &str) -> Option<String> {
        (!name.is_empty()).then(|| SECRET.to_owned())
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        Ok(if path == self.config { self.text } else { SECRET }.to_owned())
    }
}

/// A file is a configuration that can be asked for every key, or a list of problems, each in its
/// place. No secret is shown by either.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let paths = Paths {
        config: "/etc/windlass/windlass.json".into(),
        config_named: true,
        state: "/var/lib/windlass".into(),
        home: Some("/home/someone".into()),
    };
    let world = World { text, config: &paths.config };
    let shown = match config::load_in(&paths, &world) {
        Ok(loaded) => {
            check(text, &loaded.warnings);
            let whole = loaded.config.get("").expect("the whole is there");
            assert_eq!(Ok(loaded), config::load_in(&paths, &world).map_err(|e| e.to_string()));
            whole.to_string()
        }
        Err(ConfigErrors::Invalid { problems, .. }) => {
            assert!(!problems.is_empty(), "refused without a reason");
            check(text, &problems);
            problems.iter().map(|problem| format!("{problem}\n")).collect()
        }
        Err(error @ ConfigErrors::Unreadable { .. }) => panic!("the file is there: {error}"),
    };
    assert!(text.contains(SECRET) || !shown.contains(SECRET), "{shown}");
}

fn check(text: &str, problems: &[Problem]) {
    let lines = text.lines().count().max(1);
    for problem in problems {
        assert!(!problem.message.is_empty(), "{problem}");
        if let Some(place) = problem.place {
            // What is missing at the end of a file that ends with a line feed is one line further.
            assert!((1..=lines + 1).contains(&place.line), "{problem}, of {lines} lines");
            assert!(place.column >= 1, "{problem}");
        }
    }
}
