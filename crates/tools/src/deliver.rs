//! What a task has to hand in: looked at by the gateway, not taken on the child's word.
//!
//! Nothing is fetched: a schema that refers to another document is refused.

use std::fs;
use std::path::Path;

use serde_json::Value;
use types::Deliverables;

use crate::workspace::Workspace;

/// Faults of an answer that are told at once. More of them help nobody.
const FAULTS_MAX: usize = 8;

/// Longest text of one fault: it may quote the answer.
const FAULT_CHARS_MAX: usize = 300;

/// Returns what is wrong with a schema, and where, if it is none.
pub fn schema_fault(schema: &Value) -> Option<String> {
    let error = jsonschema::validator_for(schema).err()?;
    let place = error.instance_path().to_string();
    let place = if place.is_empty() { "/".to_owned() } else { place };
    Some(format!("at `{place}`: {}", shortened(&error.to_string())))
}

/// Returns what is missing of `wanted`, a sentence for each; nothing if all of it is there.
///
/// Files are looked for in `workspace` and nowhere outside it.
pub fn missing(wanted: &Deliverables, workspace: &Path, answer: &str) -> Vec<String> {
    let mut missing: Vec<String> =
        wanted.files.iter().filter_map(|file| file_fault(workspace, file)).collect();
    if let Some(schema) = &wanted.schema {
        missing.extend(answer_faults(schema, answer));
    }
    missing
}

fn file_fault(workspace: &Path, file: &str) -> Option<String> {
    let place = Workspace::open(workspace).and_then(|workspace| workspace.resolve(file));
    let path = match place {
        Ok(path) => path,
        Err(error) => return Some(format!("file `{file}`: {error}")),
    };
    match fs::metadata(&path) {
        Ok(found) if !found.is_file() => Some(format!("file `{file}`: it is no file")),
        Ok(found) if found.len() == 0 => Some(format!("file `{file}`: it is empty")),
        Ok(_) => None,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Some(format!("file `{file}`: there is none"))
        }
        Err(error) => Some(format!("file `{file}`: it cannot be looked at: {error}")),
    }
}

fn answer_faults(schema: &Value, answer: &str) -> Vec<String> {
    let validator = match jsonschema::validator_for(schema) {
        Ok(validator) => validator,
        Err(error) => {
            let why = shortened(&error.to_string());
            return vec![format!("the answer cannot be checked: the schema is not valid: {why}")];
        }
    };
    let value: Value = match serde_json::from_str(json_of(answer)) {
        Ok(value) => value,
        Err(error) => {
            return vec![format!(
                "the answer must be JSON and nothing else, to meet the schema; it is not: {error}"
            )];
        }
    };
    let fault = |error: jsonschema::ValidationError<'_>| {
        let place = error.instance_path().to_string();
        let place = if place.is_empty() { "/".to_owned() } else { place };
        format!("the answer at `{place}`: {}", shortened(&error.to_string()))
    };
    validator.iter_errors(&value).take(FAULTS_MAX).map(fault).collect()
}

/// The JSON of an answer: all of it, or the one code block that is all of it. Models write one
/// around their JSON even when they are told not to.
fn json_of(answer: &str) -> &str {
    let words = answer.trim();
    let inner = words.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    match inner.and_then(|inner| inner.split_once('\n')) {
        Some((language, body)) if matches!(language.trim(), "" | "json") => body,
        _ => words,
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(FAULT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_must_be_there_and_say_something() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        fs::write(folder.path().join("sub/full.md"), "x").unwrap();
        fs::write(folder.path().join("empty.md"), "").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
        let look = |file: &str| {
            let wanted = Deliverables { files: vec![file.to_owned()], schema: None };
            missing(&wanted, folder.path(), "")
        };
        assert!(look("sub/full.md").is_empty());
        assert!(look("./sub/full.md").is_empty());
        for (file, why) in [
            ("none.md", "there is none"),
            ("empty.md", "it is empty"),
            ("sub", "it is no file"),
            ("../x", "outside"),
            ("/etc/passwd", "outside"),
            ("link", "outside"),
        ] {
            let told = look(file);
            assert!(told.len() == 1 && told[0].contains(why), "{file}: {told:?}");
        }
    }

    #[test]
    fn an_answer_must_meet_its_schema() {
        let schema = json!({
            "type": "object",
            "properties": { "count": { "type": "integer", "minimum": 1 } },
            "required": ["count"],
        });
        let look = |answer: &str| {
            let wanted = Deliverables { files: Vec::new(), schema: Some(schema.clone()) };
            missing(&wanted, Path::new("/nowhere"), answer)
        };
        for answer in [
            r#"{"count":1}"#,
            " {\"count\": 2}\n",
            "```json\n{\"count\":3}\n```",
            "```\n{\"count\":3}\n```\n",
        ] {
            assert_eq!(look(answer), [""; 0], "{answer}");
        }
        for (answer, why) in [
            ("I found three", "must be JSON"),
            ("Here: ```json\n{\"count\":3}\n```", "must be JSON"),
            (r#"{"count":0}"#, "`/count`"),
            (r#"{"count":"many"}"#, "`/count`"),
            ("{}", "count"),
            ("[]", "object"),
        ] {
            let told = look(answer);
            assert!(told.len() == 1 && told[0].contains(why), "{answer}: {told:?}");
        }
    }

    #[test]
    fn what_is_no_schema_is_told() {
        assert_eq!(schema_fault(&json!({ "type": "object" })), None);
        assert_eq!(schema_fault(&json!(true)), None);
        for (schema, place) in [
            (json!({ "type": "objekt" }), "at `/type`"),
            (json!({ "properties": { "n": { "type": 7 } } }), "at `/properties/n/type`"),
            (json!({ "properties": [] }), "at `/properties`"),
            (json!({ "$ref": "https://example.com/other.json" }), "at `/"),
            (json!({ "$ref": "file:///etc/passwd" }), "at `/"),
            (json!({ "pattern": "(" }), "at `/"),
        ] {
            let told = schema_fault(&schema).unwrap_or_default();
            assert!(told.starts_with(place), "{schema}: {told}");
        }
    }

    #[test]
    fn many_faults_are_cut_to_a_few() {
        let schema = json!({ "items": { "type": "string" } });
        let wanted = Deliverables { files: Vec::new(), schema: Some(schema) };
        let answer = format!("[{}1]", "1,".repeat(500));
        assert_eq!(missing(&wanted, Path::new("/"), &answer).len(), FAULTS_MAX);
    }
}
