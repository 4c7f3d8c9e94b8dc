//! What happens to one request between its arrival and its answer: let in, decide, count.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::HeaderMap;
use serde_json::Value;
use tokio::sync::watch;

use crate::Options;
use crate::answer::Answer;
use crate::cache::{Cache, Usage};
use crate::conversation::{Event, arrived};
use crate::digest::digest;
use crate::echoed::Echoed;
use crate::fault::{Ending, FaultRule, Faults, Pace, Target};
use crate::journal::{Answered, Entry, Journal, SeenToolResult, bounded};
use crate::play::{FILLER, Frame};
use crate::script::{Decided, Source};
use crate::wire::{Prompt, Refusal, Reply, Wire, tokens};

/// Most steps whose attempts are counted; the oldest go first.
const ATTEMPTS_MAX: usize = 100_000;

/// Most tool results and sub-agent results that a journal entry lists: the newest.
const LISTED_MAX: usize = 64;

/// Most bytes of a flood that is sent as one JSON body, which must be held in memory.
const FLOOD_WHOLE_MAX: u64 = 256 * 1024 * 1024;

/// Everything that lasts from one request to the next.
#[derive(Debug)]
pub struct App {
    pub options: Options,
    pub journal: Journal,
    memory: Mutex<Memory>,
    pub stopped: watch::Receiver<bool>,
}

#[derive(Debug)]
struct Memory {
    cache: Cache,
    faults: Faults,
    attempts: Attempts,
    echoed: Echoed,
}

/// How often each fault of a step has struck.
#[derive(Debug, Default)]
struct Attempts {
    counts: HashMap<String, u32>,
    oldest: VecDeque<String>,
}

impl Attempts {
    /// Says whether a fault that strikes `times` times strikes `what` once more.
    fn strikes(&mut self, what: String, times: Option<u32>) -> bool {
        let Some(times) = times else { return true };
        if self.counts.len() >= ATTEMPTS_MAX
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.counts.remove(&oldest);
        }
        let count = self.counts.entry(what.clone()).or_insert_with(|| {
            self.oldest.push_back(what);
            0
        });
        let strikes = *count < times;
        *count += u32::from(strikes);
        strikes
    }
}

/// An answer that is ready to be played.
pub struct Ready {
    pub pace: Pace,
    pub frames: Vec<Frame>,
    pub stream: bool,
}

pub fn text_header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

pub fn api_key(headers: &HeaderMap) -> Option<&str> {
    let bearer = || text_header(headers, "authorization")?.strip_prefix("Bearer ");
    let named = |name| text_header(headers, name);
    named("x-api-key").or_else(|| named("x-goog-api-key")).or_else(bearer)
}

impl App {
    pub fn new(options: Options, stopped: watch::Receiver<bool>) -> io::Result<App> {
        let memory = Memory {
            cache: Cache::new(options.cache_min),
            faults: Faults::new(options.seed, options.faults.clone()),
            attempts: Attempts::default(),
            echoed: Echoed::default(),
        };
        let journal = Journal::with_file(options.journal.as_deref())?;
        Ok(App { options, journal, memory: Mutex::new(memory), stopped })
    }

    pub fn set_faults(&self, rules: Vec<FaultRule>) {
        self.memory().faults.set(rules);
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Counters and caches: a panic elsewhere leaves them usable.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides about one request, and notes it in `entry`. For `method` see [`Wire::read`].
    pub fn consider(
        &self,
        (wire, method): (Wire, &str),
        headers: &HeaderMap,
        body: &[u8],
        entry: &mut Entry,
    ) -> Result<Ready, Refusal> {
        entry.body_bytes = body.len();
        entry.body_hash = digest(body);
        self.check_key(wire, headers)?;
        if wire == Wire::Anthropic && !headers.contains_key("anthropic-version") {
            return Err(Refusal::bad("anthropic-version: header is required"));
        }
        let body: Value = serde_json::from_slice(body).map_err(|error| bad_json(wire, &error))?;
        let prompt = wire.read(method, &body)?;
        describe(&prompt, entry);
        entry.sampling = sampling(&body);
        self.check_model(wire, &prompt.model)?;
        self.check_window(wire, &prompt)?;
        self.memory().echoed.check(&prompt.talk)?;
        let decided = self
            .options
            .script
            .decide(&prompt.model, &prompt.talk)
            .map_err(|error| Refusal::bad(error.to_string()))?;
        entry.verdict = "ok".to_owned();
        Ok(self.prepare(wire, &prompt, decided, entry))
    }

    fn check_key(&self, wire: Wire, headers: &HeaderMap) -> Result<(), Refusal> {
        let keys = &self.options.api_keys;
        let message = match (wire, api_key(headers)) {
            _ if keys.is_empty() => return Ok(()),
            (_, Some(key)) if keys.iter().any(|known| known == key) => return Ok(()),
            (Wire::Anthropic, None) => "x-api-key header is required",
            (Wire::Anthropic, Some(_)) => "invalid x-api-key",
            (Wire::Google, None) => {
                let text = "Method doesn't allow unregistered callers (callers without \
                            established identity). Please use API Key or other form of API \
                            consumer identity to call this API.";
                return Err(Refusal { message: text.to_owned(), ..Refusal::of_status(403) });
            }
            (Wire::Google, Some(_)) => {
                let text = "API key not valid. Please pass a valid API key.";
                return Err(Refusal::bad(text).code("API_KEY_INVALID"));
            }
            (Wire::Openai | Wire::Responses, None) => {
                let text = "You didn't provide an API key. You need to provide your API key in an \
                            Authorization header using Bearer auth (i.e. Authorization: Bearer \
                            YOUR_KEY).";
                let refusal = Refusal { code: None, ..Refusal::of_status(401) };
                return Err(Refusal { message: text.to_owned(), ..refusal });
            }
            (Wire::Openai | Wire::Responses, Some(_)) => "Incorrect API key provided.",
        };
        Err(Refusal { message: message.to_owned(), ..Refusal::of_status(401) })
    }

    fn check_model(&self, wire: Wire, model: &str) -> Result<(), Refusal> {
        let known = &self.options.models;
        if known.is_empty() || known.iter().any(|name| name == model) {
            return Ok(());
        }
        Err(match wire {
            Wire::Anthropic => {
                Refusal { message: format!("model: {model}"), ..Refusal::of_status(404) }
            }
            Wire::Google => {
                let message = format!(
                    "models/{model} is not found for API version v1beta, or is not supported for \
                     generateContent. Call ListModels to see the list of available models and \
                     their supported methods."
                );
                Refusal { message, ..Refusal::of_status(404) }
            }
            Wire::Openai | Wire::Responses => {
                let message =
                    format!("The model `{model}` does not exist or you do not have access to it.");
                Refusal { message, ..Refusal::of_status(404) }.code("model_not_found")
            }
        })
    }

    fn check_window(&self, wire: Wire, prompt: &Prompt) -> Result<(), Refusal> {
        let (input, window) = (prompt.input_tokens(), self.options.context_window);
        let output = prompt.output_limit.unwrap_or(0);
        match wire {
            Wire::Anthropic if input > window => {
                let text = format!("prompt is too long: {input} tokens > {window} maximum");
                Err(Refusal::bad(text))
            }
            Wire::Anthropic if input.saturating_add(output) > window => Err(Refusal::bad(format!(
                "input length and `max_tokens` exceed context limit: {input} + {output} > \
                     {window}, decrease input length or `max_tokens` and try again"
            ))),
            Wire::Openai if input.saturating_add(output) > window => Err(Refusal::bad(format!(
                "This model's maximum context length is {window} tokens. However, you \
                     requested {} tokens ({input} in the messages, {output} in the completion). \
                     Please reduce the length of the messages or completion.",
                input.saturating_add(output)
            ))
            .param("messages")
            .code("context_length_exceeded")),
            Wire::Responses if input.saturating_add(output) > window => Err(Refusal::bad(
                "Your input exceeds the context window of this model. Please adjust your input \
                 and try again.",
            )
            .param("input")
            .code("context_length_exceeded")),
            Wire::Google if input > window => Err(Refusal::bad(format!(
                "The input token count ({input}) exceeds the maximum number of tokens allowed \
                 ({window})."
            ))),
            _ => Ok(()),
        }
    }

    /// Counts, lets faults strike, and writes the answer's frames.
    fn prepare(&self, wire: Wire, prompt: &Prompt, decided: Decided, entry: &mut Entry) -> Ready {
        let mut answer = decided.answer.limited(prompt.output_limit);
        let mut memory = self.memory();
        let pace = memory.strike(prompt, &decided.faults, entry);
        if !matches!(pace.ending, Ending::Error(_)) {
            let owner = format!("{} {}", prompt.model, entry.key_hash);
            let usage = memory.cache.account(wire, &owner, &prompt.blocks, entry.at_ms);
            let reasoning = answer.think.as_deref().map_or(0, |text| tokens(text.len()));
            entry.usage = Usage { output: answer.tokens(), reasoning, ..usage };
            memory.echoed.remember(&prompt.talk.digest, &answer.text);
        }
        drop(memory);
        entry.answer = answered(&answer, &decided.source, decided.step);
        let id = format!("stub{}", digest(format!("{} {}", entry.seq, entry.conversation)));
        let flood = match pace.ending {
            Ending::Flood { bytes } => bytes.div_ceil(FILLER.len() as u64),
            _ => 0,
        };
        if flood > 0 && !prompt.stream {
            let times = flood.min(FLOOD_WHOLE_MAX / FILLER.len() as u64) as usize;
            answer.text.insert_str(0, &FILLER.repeat(times));
        }
        let reply = Reply {
            id: &id,
            model: self.options.names.get(&prompt.model).unwrap_or(&prompt.model),
            created_s: entry.at_ms / 1_000,
            digest: &prompt.talk.digest,
            answer: &answer,
            usage: entry.usage,
            include_usage: prompt.include_usage,
        };
        let frames = match prompt.stream {
            true => reply.frames(wire, flood),
            false => halves(&reply.whole(wire).to_string(), answer.tokens()),
        };
        Ready {
            pace: if prompt.stream { pace } else { whole(pace) },
            frames,
            stream: prompt.stream,
        }
    }
}

impl Memory {
    /// Returns how this answer goes out: the faults of all requests, then those of its step.
    fn strike(&mut self, prompt: &Prompt, of_step: &[FaultRule], entry: &mut Entry) -> Pace {
        let newest = prompt.talk.newest_text().unwrap_or("");
        let target = Target { seq: entry.seq, model: &prompt.model, newest };
        let mut struck = self.faults.strike(target);
        let request = entry.idempotency_key.as_deref().unwrap_or(&entry.conversation);
        let mut failed = struck.iter().any(|fault| !fault.is_pace());
        for (index, rule) in of_step.iter().enumerate() {
            // A fault that cannot strike now keeps its count for the next attempt.
            if failed && !rule.fault.is_pace() {
                continue;
            }
            let what = format!("{request} {} {index}", prompt.model);
            if rule.fits(target) && self.attempts.strikes(what, rule.times) {
                failed |= !rule.fault.is_pace();
                struck.push(rule.fault.clone());
            }
        }
        entry.faults = struck.iter().map(|fault| fault.kind().to_owned()).collect();
        let mut pace = Pace::default();
        struck.into_iter().for_each(|fault| pace.add(fault));
        if let Ending::Error(failure) = &pace.ending {
            entry.status = failure.status;
        }
        pace
    }
}

/// A JSON body in two frames, so that a stall or a cut can come between them.
fn halves(text: &str, tokens: u64) -> Vec<Frame> {
    let (first, second) = text.split_at(text.floor_char_boundary(text.len() / 2));
    vec![Frame::new(first.to_owned(), tokens), Frame::new(second.to_owned(), 0)]
}

/// Faults that only a stream can show become what a whole answer can.
fn whole(pace: Pace) -> Pace {
    let ending = match pace.ending {
        Ending::ErrorEvent { failure, .. } => Ending::Error(failure),
        other => other,
    };
    Pace { ending, ..pace }
}

fn bad_json(wire: Wire, error: &serde_json::Error) -> Refusal {
    Refusal::bad(match wire {
        Wire::Anthropic => format!("The request body is not valid JSON: {error}"),
        Wire::Google => format!("Invalid JSON payload received. {error}"),
        Wire::Openai | Wire::Responses => format!(
            "We could not parse the JSON body of your request. (HINT: This likely means you \
             aren't using your HTTP library correctly. {error})"
        ),
    })
}

/// What is said of how to draw, and how much: on most wires beside all else, on one apart.
fn sampling(body: &Value) -> BTreeMap<String, Value> {
    const WORDS: &[&str] = &[
        "temperature",
        "top_p",
        "topP",
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
        "maxOutputTokens",
    ];
    let place = body.get("generationConfig").unwrap_or(body);
    let said = WORDS.iter().filter_map(|word| Some(((*word).to_owned(), place.get(word)?.clone())));
    said.collect()
}

/// Notes in `entry` what was asked.
fn describe(prompt: &Prompt, entry: &mut Entry) {
    let talk = &prompt.talk;
    entry.model = prompt.model.clone();
    entry.stream = prompt.stream;
    entry.prefix_hash = talk.prefix.clone();
    entry.conversation = talk.digest.clone();
    entry.messages = talk.messages;
    entry.thinking.clone_from(&prompt.thinking);
    entry.newest_text = bounded(talk.newest_text().unwrap_or(""));
    entry.tools = talk.tools.clone();
    let results: Vec<&Event> =
        talk.events.iter().filter(|event| matches!(event, Event::ToolResult { .. })).collect();
    let newest = results.iter().skip(results.len().saturating_sub(LISTED_MAX));
    entry.tool_results = newest
        .filter_map(|event| match event {
            Event::ToolResult { call_id, name, text } => Some(SeenToolResult {
                call_id: call_id.clone(),
                name: name.clone(),
                text: bounded(text),
            }),
            _ => None,
        })
        .collect();
    let arrived: Vec<_> = talk.texts().flat_map(|(_, text)| arrived(text)).collect();
    let skipped = arrived.len().saturating_sub(LISTED_MAX);
    entry.results = arrived.into_iter().skip(skipped).map(|result| bounded(&result.task)).collect();
}

fn answered(answer: &Answer, source: &Source, step: Option<usize>) -> Answered {
    let (kind, rule) = match source {
        Source::Rule(rule) => ("rule", Some(*rule)),
        Source::Directive => ("directive", None),
        Source::Echo => ("echo", None),
    };
    let calls = answer.calls.iter().map(|call| call.name.clone()).collect();
    Answered { kind: kind.to_owned(), rule, step, text: bounded(&answer.text), calls }
}
