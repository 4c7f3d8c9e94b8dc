//! Links between our pages: each relative one must lead to a file or folder of the clone.

use std::path::Path;

use pulldown_cmark::{Event, Parser, Tag};

use super::Finding;

/// Checks the links of the page at `path`, with `exists` to ask for what they lead to.
pub fn check(path: &Path, text: &str, exists: impl Fn(&Path) -> bool) -> Vec<Finding> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut found = Vec::new();
    for (event, range) in Parser::new(text).into_offset_iter() {
        let (Event::Start(Tag::Link { dest_url, .. }) | Event::Start(Tag::Image { dest_url, .. })) =
            event
        else {
            continue;
        };
        let Some(target) = target(&dest_url) else { continue };
        if target.starts_with('/') || !exists(&folder.join(target)) {
            let line = text[..range.start].matches('\n').count() + 1;
            let what = format!("the link to `{dest_url}` leads nowhere in this clone");
            found.push(Finding { path: path.to_path_buf(), line, what });
        }
    }
    found
}

/// The part of a link that names a file; nothing for links to the web or within the page.
fn target(link: &str) -> Option<&str> {
    let is_elsewhere = link.contains("://") || link.starts_with("mailto:");
    let file = link.split(['#', '?']).next().unwrap_or_default();
    (!is_elsewhere && !file.is_empty()).then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        let exists = |path: &Path| path == Path::new("docs/events.md");
        check(Path::new("docs/a.md"), text, exists).iter().map(|found| found.line).collect()
    }

    #[test]
    fn links_to_files_are_followed_and_others_are_not() {
        for text in [
            "[a](events.md)",
            "[a](events.md#order)",
            "[a](#here) [b](https://example.org/gone.md) <mailto:a@example.org>",
            "`[a](gone.md)`",
            "```text\n[a](gone.md)\n```",
        ] {
            assert_eq!(lines(text), [0; 0], "{text}");
        }
        for text in [
            "\n[a](gone.md)",
            "\n[a](/docs/events.md)",
            "\n![a](gone.png)",
            "\n[a][ref] and\n\n[ref]: gone.md",
        ] {
            assert_eq!(lines(text), [2], "{text}");
        }
    }
}
