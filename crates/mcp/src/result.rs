//! What a server answers, as text for a model: text as it is, the rest described.

use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};
use serde_json::Value;
use tools::ToolOutput;

/// Returns the whole answer; who carries it bounds it.
pub(crate) fn output(result: &CallToolResult) -> ToolOutput {
    let mut parts: Vec<String> = result.content.iter().map(part).collect();
    let structured = result.structured_content.as_ref().filter(|value| !value.is_null());
    let missing = structured.filter(|value| !parts.iter().any(|part| says(part, value)));
    parts.extend(missing.map(Value::to_string));
    let is_error = result.is_error == Some(true);
    let text = match parts.join("\n") {
        text if !text.is_empty() => text,
        _ if is_error => "The tool failed, and says nothing more.".to_owned(),
        _ => "The tool has answered nothing.".to_owned(),
    };
    ToolOutput { text, is_error }
}

/// Servers that know their manners say what is structured as text as well, for those who read only
/// that: as JSON, or as the one text that is in it.
fn says(part: &str, structured: &Value) -> bool {
    let only = structured.as_object().filter(|fields| fields.len() == 1);
    let only = only.and_then(|fields| fields.values().next()).and_then(Value::as_str);
    only == Some(part) || serde_json::from_str::<Value>(part).is_ok_and(|v| v == *structured)
}

fn part(block: &ContentBlock) -> String {
    match block {
        ContentBlock::Text(text) => text.text.clone(),
        ContentBlock::Image(image) => not_shown("image", &image.mime_type, &image.data),
        ContentBlock::Audio(audio) => not_shown("audio", &audio.mime_type, &audio.data),
        ContentBlock::Resource(embedded) => resource(&embedded.resource),
        ContentBlock::ResourceLink(link) => {
            let words = link.description.as_deref().unwrap_or_default();
            format!("[resource {} ({}) {words}]", link.uri, link.name)
        }
        _ => "[a part of a kind that is not known here]".to_owned(),
    }
}

fn resource(contents: &ResourceContents) -> String {
    match contents {
        ResourceContents::TextResourceContents { uri, text, .. } => {
            format!("[resource {uri}]\n{text}")
        }
        ResourceContents::BlobResourceContents { uri, mime_type, blob, .. } => {
            let kind = mime_type.as_deref().unwrap_or("bytes");
            not_shown(&format!("resource {uri}"), kind, blob)
        }
        _ => "[a resource of a kind that is not known here]".to_owned(),
    }
}

/// Base64 is no reading for a model.
fn not_shown(what: &str, mime_type: &str, base64: &str) -> String {
    let bytes = base64.trim_end_matches('=').len() * 3 / 4;
    format!("[{what}, {mime_type}, {bytes} bytes, not shown]")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(result: Value) -> ToolOutput {
        output(&serde_json::from_value(result).unwrap())
    }

    #[test]
    fn text_is_kept_and_the_rest_is_described() {
        let output = said(json!({ "content": [
            { "type": "text", "text": "one" },
            { "type": "image", "data": "aGVsbG8=", "mimeType": "image/png" },
            { "type": "resource", "resource": { "uri": "a://b", "text": "inside" } },
            { "type": "resource_link", "uri": "c://d", "name": "n", "description": "why" },
        ] }));
        assert_eq!(
            output.text,
            "one\n[image, image/png, 5 bytes, not shown]\n[resource a://b]\ninside\n\
             [resource c://d (n) why]"
        );
        assert!(!output.is_error);
    }

    #[test]
    fn what_is_structured_is_said_once() {
        let both = json!({ "content": [{ "type": "text", "text": "{ \"n\": 1 }" }],
            "structuredContent": { "n": 1 } });
        assert_eq!(said(both).text, "{ \"n\": 1 }");
        let one = json!({ "content": [{ "type": "text", "text": "one" }],
            "structuredContent": { "content": "one" } });
        assert_eq!(said(one).text, "one");
        let other = json!({ "content": [{ "type": "text", "text": "one" }],
            "structuredContent": { "n": 1 } });
        assert_eq!(said(other).text, "one\n{\"n\":1}");
    }

    #[test]
    fn an_error_stays_one_also_if_it_says_nothing() {
        let output = said(json!({ "content": [], "isError": true }));
        assert!(output.is_error && output.text.contains("failed"), "{output:?}");
        assert_eq!(said(json!({ "content": [] })).text, "The tool has answered nothing.");
    }
}
