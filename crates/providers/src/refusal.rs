//! What a provider means by an error: its status, its codes and its words, to one class.
//!
//! Codes are looked at before the status, and words only where no code exists: a window that is
//! too small is a plain 400 at most providers.

use std::time::Duration;

use serde_json::Value;
use types::{FailureClass, Overflow};

use crate::error::Fault;
use crate::http::bounded_wait;
use crate::overflow;

/// What an error body or an error event says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// `type`, `code`, Google's `status` and its reasons, in lower case, with spaces between them.
    pub codes: String,
    pub message: String,
    /// Some gateways put an HTTP status into `code`.
    pub status: Option<u16>,
    /// Google says in the body when to come back.
    pub retry_after: Option<Duration>,
    /// What is said of the numbers, if the prompt was too long.
    pub overflow: Overflow,
}

impl Refusal {
    /// Reads a body in any form that is in use; a body that is no JSON is the message itself.
    pub fn from_body(body: &str) -> Refusal {
        match serde_json::from_str(body) {
            Ok(value) => Refusal::from_json(&value),
            Err(_) => Refusal {
                message: body.to_owned(),
                overflow: overflow::told(&Value::Null, body),
                ..Refusal::default()
            },
        }
    }

    /// Reads `{"error": {"type", "code", "message"}}`, or any part of it.
    pub fn from_json(value: &Value) -> Refusal {
        let value = value.get(0).unwrap_or(value);
        let error = value.get("error").filter(|e| !e.is_null()).unwrap_or(value);
        let field = |name: &str| error.get(name).filter(|v| !v.is_null());
        let words = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
        let word = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_lowercase);
        let details = || error.get("details").and_then(Value::as_array).into_iter().flatten();
        let codes = ["type", "code", "status"].into_iter().filter_map(|name| word(field(name)));
        let reasons = details().filter_map(|detail| word(detail.get("reason")));
        let mut codes: Vec<String> = codes.chain(reasons).collect();
        if details().any(is_daily) {
            codes.push(DAILY_QUOTA.to_owned());
        }
        let message = field("message").or_else(|| field("detail")).unwrap_or(error);
        let status = field("code").and_then(Value::as_u64).and_then(|n| u16::try_from(n).ok());
        let message = words(message);
        Refusal {
            codes: codes.join(" "),
            overflow: overflow::told(error, &message),
            message,
            status: status.filter(|status| (400..600).contains(status)),
            retry_after: details().find_map(retry_delay),
        }
    }
}

/// What we add to the codes if a quota of the day is used up, and not one of the minute.
const DAILY_QUOTA: &str = "daily_quota";

/// Google's `QuotaFailure` names the quotas that were exceeded.
fn is_daily(detail: &Value) -> bool {
    let violations = detail.get("violations").and_then(Value::as_array).into_iter().flatten();
    violations.filter_map(|one| one["quotaId"].as_str()).any(|id| id.contains("PerDay"))
}

/// Google's `RetryInfo`: `"retryDelay": "34.5s"`.
fn retry_delay(detail: &Value) -> Option<Duration> {
    let seconds = detail.get("retryDelay")?.as_str()?.strip_suffix('s')?.parse::<f64>().ok()?;
    (seconds.is_finite() && seconds >= 0.0).then(|| bounded_wait(seconds))
}

/// Builds the fault of a refusal that came as a response with `status`, or within a stream.
pub(crate) fn fault(status: Option<u16>, refusal: &Refusal) -> Fault {
    let class = class(status, refusal);
    let place = match status {
        Some(200) => "HTTP 200 without an event stream".to_owned(),
        Some(status) => format!("HTTP {status}"),
        None => "error in the stream".to_owned(),
    };
    let codes = if refusal.codes.is_empty() { "" } else { " " };
    let reason = format!("{place}{codes}{}: {}", refusal.codes, refusal.message);
    let overflow = match class {
        FailureClass::Overflow => refusal.overflow,
        _ => Overflow::default(),
    };
    Fault { retry_after: refusal.retry_after, overflow, ..Fault::new(class, reason) }
}

fn class(status: Option<u16>, refusal: &Refusal) -> FailureClass {
    use FailureClass as C;

    let message = refusal.message.to_lowercase();
    let code = |names: &[&str]| names.iter().any(|name| refusal.codes.contains(name));
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let status = status.filter(|status| *status != 200).or(refusal.status);

    if code(&["insufficient_quota", "billing", "payment_required", "insufficient_balance"])
        || code(&[DAILY_QUOTA])
        || says(&["credit balance is too low", "insufficient balance"])
    {
        return C::Quota;
    }
    let of_the_request = matches!(status, None | Some(400 | 413 | 422 | 500));
    if of_the_request && (code(overflow::CODES) || says(overflow::WORDS)) {
        return C::Overflow;
    }
    if code(&["model_not_found", "model_not_exist"]) {
        return C::UnknownModel;
    }
    // Google's wrong key is a plain 400.
    if code(&["api_key_invalid", "api_key_expired"]) || says(&["api key not valid"]) {
        return C::Auth;
    }
    match status {
        Some(401 | 403) => C::Auth,
        Some(402) => C::Quota,
        Some(404) if says(&["model"]) || code(&["not_found_error"]) => C::UnknownModel,
        Some(408) => C::Network,
        Some(413) => C::Overflow,
        Some(429) => C::RateLimit,
        // The same idempotency key is being served, or the provider is not ready: come back.
        Some(409 | 425) => C::Overload,
        Some(500..) => C::Overload,
        Some(300..) => C::BadRequest,
        _ if code(&["overloaded", "api_error", "server_error"]) => C::Overload,
        _ if code(&["rate_limit"]) => C::RateLimit,
        _ if code(&["authentication", "permission", "invalid_api_key"]) => C::Auth,
        _ if code(&["not_found_error"]) => C::UnknownModel,
        _ if code(&["timeout"]) => C::Network,
        _ if code(&["invalid_", "policy", "unsupported"]) => C::BadRequest,
        _ if code(&["error"]) => C::Overload,
        _ => C::InvalidReply,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_of_a_refusal() {
        use FailureClass::*;

        let anthropic = |kind: &str, message: &str| {
            format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"{message}"}}}}"#)
        };
        let openai = |code: &str, message: &str| {
            format!(r#"{{"error":{{"message":"{message}","type":"t","code":"{code}"}}}}"#)
        };
        let google = |code: u16, status: &str, message: &str| {
            format!(r#"{{"error":{{"code":{code},"message":"{message}","status":"{status}"}}}}"#)
        };
        let too_long = "prompt is too long: 210000 tokens > 200000 maximum";
        let window = "This model's maximum context length is 8192 tokens.";
        let poor = "Your credit balance is too low to access the API.";
        #[rustfmt::skip]
        let table = [
            (Some(400), anthropic("invalid_request_error", "messages.0: bad"),  BadRequest),
            (Some(400), anthropic("invalid_request_error", too_long),           Overflow),
            (Some(400), anthropic("invalid_request_error", poor),               Quota),
            (Some(401), anthropic("authentication_error", "invalid x-api-key"), Auth),
            (Some(402), anthropic("billing_error", "pay"),                      Quota),
            (Some(403), anthropic("permission_error", "no"),                    Auth),
            (Some(404), anthropic("not_found_error", "model: nope"),            UnknownModel),
            (Some(413), anthropic("request_too_large", "big"),                  Overflow),
            (Some(429), anthropic("rate_limit_error", "slow down"),             RateLimit),
            (Some(500), anthropic("api_error", "oops"),                         Overload),
            (Some(529), anthropic("overloaded_error", "busy"),                  Overload),
            (None,      anthropic("overloaded_error", "busy"),                  Overload),
            (None,      anthropic("rate_limit_error", "slow down"),             RateLimit),
            (None,      anthropic("invalid_request_error", too_long),           Overflow),
            (None,      anthropic("new_kind_of_error", "?"),                    Overload),
            (Some(400), openai("context_length_exceeded", window),              Overflow),
            (Some(400), openai("null", window),                                 Overflow),
            (Some(404), openai("model_not_found", "no such model"),             UnknownModel),
            (Some(400), openai("model_not_found", "no such model"),             UnknownModel),
            (Some(429), openai("insufficient_quota", "pay"),                    Quota),
            (Some(429), openai("rate_limit_exceeded", "context window"),        RateLimit),
            (Some(200), openai("server_error", "oops"),                         Overload),
            (None,      r#"{"error":{"code":429,"message":"busy"}}"#.into(),    RateLimit),
            (Some(404), r#"{"error":"model 'x' not found"}"#.into(),            UnknownModel),
            (Some(404), "<html>nothing here</html>".into(),                     BadRequest),
            (Some(302), String::new(),                                          BadRequest),
            (Some(503), String::new(),                                          Overload),
            (Some(408), String::new(),                                          Network),
            (Some(200), "<html>welcome</html>".into(),                          InvalidReply),
            (Some(200), r#"[{"error":{"code":401,"message":"no"}}]"#.into(),    Auth),
            (None,      openai("invalid_prompt", "no such item"),               BadRequest),
            (Some(400), google(400, "INVALID_ARGUMENT", "The input token count (9) exceeds the \
                               maximum number of tokens allowed (8)."),         Overflow),
            (Some(400), google(400, "INVALID_ARGUMENT", "API key not valid."),  Auth),
            (Some(400), google(400, "INVALID_ARGUMENT", "Corrupted thought signature."),
                                                                                BadRequest),
            (Some(404), google(404, "NOT_FOUND", "models/x is not found"),      UnknownModel),
            (Some(429), google(429, "RESOURCE_EXHAUSTED", "slow down"),         RateLimit),
            (None,      google(503, "UNAVAILABLE", "The model is overloaded"),  Overload),
            (Some(204), String::new(),                                          InvalidReply),
        ];
        for (status, body, expected) in table {
            let refusal = Refusal::from_body(&body);
            assert_eq!(class(status, &refusal), expected, "{status:?} {body}");
        }
    }

    #[test]
    fn google_says_in_the_body_when_to_come_back() {
        let body = |id: &str| {
            format!(
                r#"[{{"error":{{"code":429,"message":"quota","status":"RESOURCE_EXHAUSTED","details":[
                    {{"@type":"QuotaFailure","violations":[{{"quotaId":"Requests{id}PerProject"}}]}},
                    {{"@type":"RetryInfo","retryDelay":"34.5s"}}]}}}}]"#
            )
        };
        for (id, class) in [("PerMinute", FailureClass::RateLimit), ("PerDay", FailureClass::Quota)]
        {
            let fault = fault(Some(429), &Refusal::from_body(&body(id)));
            assert_eq!(
                (fault.class, fault.retry_after),
                (class, Some(Duration::from_millis(34_500)))
            );
        }
        let odd = r#"{"error":{"code":429,"details":[{"retryDelay":"-1s"},{"retryDelay":7},"x"]}}"#;
        assert_eq!(fault(None, &Refusal::from_body(odd)).retry_after, None);
    }
}
