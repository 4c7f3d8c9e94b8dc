//! Answers put together from their frames, as each provider's documentation says.

use serde_json::{Value, json};

use super::{Call, Said};

pub fn anthropic(message: &Value) -> (Vec<Value>, Said) {
    let blocks = message["content"].as_array().unwrap();
    let of = |kind: &str| blocks.iter().filter(|b| b["type"] == kind).collect::<Vec<_>>();
    let call = |block: &&Value| Call {
        id: block["id"].as_str().unwrap().to_owned(),
        name: block["name"].as_str().unwrap().to_owned(),
        arguments: block["input"].clone(),
    };
    let said = Said {
        text: of("text").iter().map(|block| block["text"].as_str().unwrap()).collect(),
        calls: of("tool_use").iter().map(call).collect(),
        stop: message["stop_reason"].as_str().unwrap().to_owned(),
        usage: message["usage"].clone(),
    };
    (vec![json!({"role": "assistant", "content": blocks})], said)
}

pub fn openai(completion: &Value) -> (Vec<Value>, Said) {
    let choice = &completion["choices"][0];
    let message = &choice["message"];
    let call = |call: &Value| Call {
        id: call["id"].as_str().unwrap().to_owned(),
        name: call["function"]["name"].as_str().unwrap().to_owned(),
        arguments: serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap(),
    };
    let said = Said {
        text: message["content"].as_str().unwrap_or("").to_owned(),
        calls: message["tool_calls"].as_array().into_iter().flatten().map(call).collect(),
        stop: choice["finish_reason"].as_str().unwrap().to_owned(),
        usage: completion["usage"].clone(),
    };
    (vec![message.clone()], said)
}

/// Returns the data of each frame, and checks that nothing else is in the stream.
fn data(text: &str) -> Vec<&str> {
    let ends = if text.ends_with("\r\n\r\n") { "\r\n\r\n" } else { "\n\n" };
    let body = text.strip_suffix(ends).expect("a stream ends with a whole frame");
    body.split(ends)
        .map(|frame| {
            let data = frame.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
            if let Some(event) = frame.lines().find_map(|line| line.strip_prefix("event: ")) {
                let value: Value = serde_json::from_str(data).unwrap();
                assert_eq!(value["type"], event, "an event's name and type are the same");
            }
            data
        })
        .collect()
}

fn add(target: &mut Value, piece: &Value) {
    let text = target.as_str().unwrap_or("").to_owned() + piece.as_str().unwrap();
    *target = text.into();
}

/// Puts an Anthropic message together, as the provider's documentation says.
pub fn from_frames(text: &str) -> Value {
    let mut message = Value::Null;
    let mut json_parts = Value::Null;
    for data in data(text) {
        let event: Value = serde_json::from_str(data).unwrap();
        let at = event["index"].as_u64().unwrap_or(0) as usize;
        match event["type"].as_str().unwrap() {
            "message_start" => message = event["message"].clone(),
            "content_block_start" => {
                let blocks = message["content"].as_array_mut().unwrap();
                assert_eq!(blocks.len(), at);
                blocks.push(event["content_block"].clone());
                json_parts = "".into();
            }
            "content_block_delta" => {
                let (delta, block) = (&event["delta"], &mut message["content"][at]);
                match delta["type"].as_str().unwrap() {
                    "text_delta" => add(&mut block["text"], &delta["text"]),
                    "thinking_delta" => add(&mut block["thinking"], &delta["thinking"]),
                    "signature_delta" => add(&mut block["signature"], &delta["signature"]),
                    "input_json_delta" => add(&mut json_parts, &delta["partial_json"]),
                    other => panic!("unknown delta {other}"),
                }
            }
            "content_block_stop" if message["content"][at]["type"] == "tool_use" => {
                message["content"][at]["input"] =
                    serde_json::from_str(json_parts.as_str().unwrap()).unwrap();
            }
            "message_delta" => {
                message["stop_reason"] = event["delta"]["stop_reason"].clone();
                message["usage"] = event["usage"].clone();
            }
            "message_stop" => return message,
            _ => {}
        }
    }
    panic!("the stream has no message_stop: {text}");
}

/// Puts an OpenAI completion together.
pub fn from_chunks(text: &str) -> Value {
    let mut choice = json!({"message": {"role": "assistant", "content": null}});
    let mut usage = Value::Null;
    let data = data(text);
    let (done, chunks) = data.split_last().unwrap();
    assert_eq!(*done, "[DONE]");
    for chunk in chunks {
        let chunk: Value = serde_json::from_str(chunk).unwrap();
        if !chunk["usage"].is_null() {
            usage = chunk["usage"].clone();
        }
        let Some(part) = chunk["choices"].get(0) else { continue };
        if !part["finish_reason"].is_null() {
            choice["finish_reason"] = part["finish_reason"].clone();
        }
        let (delta, message) = (&part["delta"], &mut choice["message"]);
        if delta["content"].as_str().is_some_and(|piece| !piece.is_empty()) {
            add(&mut message["content"], &delta["content"]);
        }
        if !delta["reasoning_content"].is_null() {
            add(&mut message["reasoning_content"], &delta["reasoning_content"]);
        }
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let at = call["index"].as_u64().unwrap() as usize;
            if call.get("id").is_some() {
                let mut call = call.clone();
                call.as_object_mut().unwrap().shift_remove("index");
                if at == 0 {
                    message["tool_calls"] = json!([]);
                }
                message["tool_calls"].as_array_mut().unwrap().push(call);
            } else {
                let target = &mut message["tool_calls"][at]["function"]["arguments"];
                add(target, &call["function"]["arguments"]);
            }
        }
    }
    if choice["message"]["tool_calls"].is_null() && choice["message"]["content"].is_null() {
        choice["message"]["content"] = "".into();
    }
    json!({"choices": [choice], "usage": usage})
}

pub fn responses(response: &Value) -> (Vec<Value>, Said) {
    let items = response["output"].as_array().unwrap();
    let of = |kind: &str| items.iter().filter(|i| i["type"] == kind).collect::<Vec<_>>();
    let call = |item: &&Value| Call {
        id: item["call_id"].as_str().unwrap().to_owned(),
        name: item["name"].as_str().unwrap().to_owned(),
        arguments: serde_json::from_str(item["arguments"].as_str().unwrap()).unwrap(),
    };
    let said = Said {
        text: of("message").iter().map(|m| m["content"][0]["text"].as_str().unwrap()).collect(),
        calls: of("function_call").iter().map(call).collect(),
        stop: response["incomplete_details"]["reason"].as_str().unwrap_or("completed").to_owned(),
        usage: response["usage"].clone(),
    };
    (items.clone(), said)
}

/// Puts a response together from its deltas, and checks that the finished items say the same.
pub fn from_events(text: &str) -> Value {
    let mut items: Vec<Value> = Vec::new();
    for (number, data) in data(text).into_iter().enumerate() {
        let event: Value = serde_json::from_str(data).unwrap();
        // A flood says one event again and again.
        assert!(event["sequence_number"].as_u64().unwrap() <= number as u64, "{event}");
        let at = event["output_index"].as_u64().unwrap_or(0) as usize;
        match event["type"].as_str().unwrap() {
            "response.output_item.added" => {
                assert_eq!(items.len(), at);
                items.push(event["item"].clone());
            }
            "response.reasoning_summary_part.added" => {
                items[at]["summary"].as_array_mut().unwrap().push(event["part"].clone());
            }
            "response.content_part.added" => {
                items[at]["content"].as_array_mut().unwrap().push(event["part"].clone());
            }
            "response.reasoning_summary_text.delta" => {
                add(&mut items[at]["summary"][0]["text"], &event["delta"]);
            }
            "response.output_text.delta" => {
                add(&mut items[at]["content"][0]["text"], &event["delta"]);
            }
            "response.function_call_arguments.delta" => {
                add(&mut items[at]["arguments"], &event["delta"]);
            }
            "response.output_item.done" => {
                let (item, done) = (&mut items[at], &event["item"]);
                if done["type"] == "reasoning" {
                    item["encrypted_content"] = done["encrypted_content"].clone();
                }
                item["status"] = done["status"].clone();
                let (item, mut whole) = (item.clone(), done.clone());
                whole["status"] = item["status"].clone();
                let filled = item["content"][0]["text"].as_str().is_some_and(|t| t.len() > 10_000);
                assert!(filled || item == whole, "{item} {whole}");
                if whole["status"].is_null() {
                    whole.as_object_mut().unwrap().shift_remove("status");
                }
                items[at] = if filled { item } else { whole };
            }
            "response.completed" | "response.incomplete" => {
                let mut response = event["response"].clone();
                response["output"] = items.into();
                return response;
            }
            _ => {}
        }
    }
    panic!("the stream has no response.completed: {text}");
}

pub fn google(answer: &Value) -> (Vec<Value>, Said) {
    let candidate = &answer["candidates"][0];
    let parts = candidate["content"]["parts"].as_array().unwrap();
    let words = parts.iter().filter(|part| part["thought"] != true);
    let call = |part: &Value| {
        let call = part.get("functionCall")?;
        Some(Call {
            id: call["id"].as_str().unwrap().to_owned(),
            name: call["name"].as_str().unwrap().to_owned(),
            arguments: call["args"].clone(),
        })
    };
    let said = Said {
        text: words.filter_map(|part| part["text"].as_str()).collect(),
        calls: parts.iter().filter_map(call).collect(),
        stop: candidate["finishReason"].as_str().unwrap().to_owned(),
        usage: answer["usageMetadata"].clone(),
    };
    // The empty text at the end of a stream says nothing.
    let told = parts.iter().filter(|part| **part != json!({"text": ""})).cloned();
    (vec![json!({"role": "model", "parts": told.collect::<Vec<_>>()})], said)
}

/// Puts an answer together from its pieces: texts of one kind grow, all else stays.
pub fn from_pieces(text: &str) -> Value {
    let mut whole = Value::Null;
    let mut parts: Vec<Value> = Vec::new();
    for data in data(text) {
        whole = serde_json::from_str(data).unwrap();
        for part in whole["candidates"][0]["content"]["parts"].as_array().unwrap() {
            let plain = part.get("text").is_some() && part.get("thoughtSignature").is_none();
            match parts.last_mut() {
                Some(last)
                    if plain && last["text"].is_string() && last["thought"] == part["thought"] =>
                {
                    add(&mut last["text"], &part["text"]);
                }
                _ => parts.push(part.clone()),
            }
        }
    }
    whole["candidates"][0]["content"]["parts"] = parts.into();
    whole
}
