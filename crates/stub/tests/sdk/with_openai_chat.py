"""The wire `openai-completions` against OpenAI's own library. By hand:

    windlass-stub --port 4010 &
    pip install openai && python crates/stub/tests/sdk/with_openai_chat.py http://127.0.0.1:4010
"""

import json
import sys

from openai import BadRequestError, OpenAI

client = OpenAI(base_url=sys.argv[1] + "/v1", api_key="any", max_retries=0)
TOOLS = [{"type": "function", "function": {
    "name": "exec", "description": "runs a command",
    "parameters": {"type": "object", "properties": {"command": {"type": "string"}}}}}]
PLAN = [{"say": "I look.",
         "call": [{"name": "exec", "arguments": {"command": "ls"}},
                  {"name": "exec", "arguments": {"command": "date"}}]},
        {"say": "done: {tools}"}]
SHARED = {"model": "stub-1", "tools": TOOLS}


def whole(messages):
    answer = client.chat.completions.create(messages=messages, **SHARED)
    choice = answer.choices[0]
    return choice.message.model_dump(exclude_none=True), choice.finish_reason, answer.usage


def streamed(messages):
    """Piece by piece, as a client does that has nobody to help it."""
    text, calls, stop, usage = "", {}, None, None
    for piece in client.chat.completions.create(
            messages=messages, stream=True, stream_options={"include_usage": True}, **SHARED):
        usage = piece.usage or usage
        for choice in piece.choices:
            text += choice.delta.content or ""
            stop = choice.finish_reason or stop
            for part in choice.delta.tool_calls or []:
                call = calls.setdefault(part.index, {
                    "id": part.id, "type": "function",
                    "function": {"name": part.function.name, "arguments": ""}})
                call["function"]["arguments"] += part.function.arguments or ""
    message = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [calls[index] for index in sorted(calls)]
    return message, stop, usage


def helped(messages):
    """The library puts the stream together itself, and is strict about its order."""
    with client.chat.completions.stream(
            messages=messages, stream_options={"include_usage": True}, **SHARED) as stream:
        for _ in stream:
            pass
        answer = stream.get_final_completion()
    choice = answer.choices[0]
    message = choice.message.model_dump(exclude_none=True)
    message.pop("parsed", None)
    for call in message.get("tool_calls", []):
        call["function"].pop("parsed_arguments", None)
        call.pop("index", None)
    return message, choice.finish_reason, answer.usage


for ask in (whole, streamed, helped):
    messages = [{"role": "system", "content": "Be brief."},
                {"role": "user", "content": f"<<stub {json.dumps(PLAN)}>>"}]
    message, stop, _ = ask(messages)
    calls = message["tool_calls"]
    assert stop == "tool_calls" and message["content"] == "I look.", (stop, message)
    assert [json.loads(call["function"]["arguments"])["command"] for call in calls] == [
        "ls", "date"], calls
    messages.append(message)
    try:
        ask(messages + [{"role": "user", "content": "and?"}])
        raise SystemExit("a call without its result was taken")
    except BadRequestError as error:
        assert "tool_call_id" in str(error), error
    messages += [{"role": "tool", "tool_call_id": call["id"], "content": f"result {number}"}
                 for number, call in enumerate(calls)]
    message, stop, usage = ask(messages)
    assert message["content"] == "done: result 0\nresult 1" and stop == "stop", message
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    print(ask.__name__, "ok:", repr(message["content"]), usage.prompt_tokens)
