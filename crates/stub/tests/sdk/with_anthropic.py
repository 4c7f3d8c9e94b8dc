"""The wire `anthropic-messages` against Anthropic's own library. By hand:

    windlass-stub --port 4010 &
    pip install anthropic && python crates/stub/tests/sdk/with_anthropic.py http://127.0.0.1:4010
"""

import json
import sys

from anthropic import Anthropic, BadRequestError

client = Anthropic(base_url=sys.argv[1], api_key="any", max_retries=0)
TOOLS = [{"name": "exec", "description": "runs a command",
          "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}}}]
PLAN = [{"think": "I must look first.", "say": "I look.",
         "call": [{"name": "exec", "arguments": {"command": "ls"}},
                  {"name": "exec", "arguments": {"command": "date"}}]},
        {"think": "Good.", "say": "done: {tools}"}]
SHARED = {"model": "stub-1", "max_tokens": 4000, "tools": TOOLS,
          "thinking": {"type": "enabled", "budget_tokens": 1024},
          "system": [{"type": "text", "text": "Be brief.",
                      "cache_control": {"type": "ephemeral"}}]}


def whole(messages):
    return client.messages.create(messages=messages, **SHARED)


def streamed(messages):
    """Event by event: what is put together by hand is what the library has put together."""
    text, arguments, stop = "", "", None
    with client.messages.stream(messages=messages, **SHARED) as stream:
        for event in stream:
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                text += event.delta.text
            elif event.type == "content_block_delta" and event.delta.type == "input_json_delta":
                arguments += event.delta.partial_json
            elif event.type == "message_delta":
                stop = event.delta.stop_reason
        final = stream.get_final_message()
    assert text == "".join(block.text for block in final.content if block.type == "text"), text
    calls = [json.dumps(block.input) for block in final.content if block.type == "tool_use"]
    assert json.loads(f"[{arguments.replace('}{', '},{')}]") == [json.loads(c) for c in calls]
    assert stop == final.stop_reason
    return final


for ask in (whole, streamed):
    messages = [{"role": "user", "content": f"<<stub {json.dumps(PLAN)}>>"}]
    first = ask(messages)
    assert [block.type for block in first.content] == [
        "thinking", "text", "tool_use", "tool_use"], first.content
    assert first.stop_reason == "tool_use" and first.content[0].signature
    calls = [block for block in first.content if block.type == "tool_use"]
    assert [call.input["command"] for call in calls] == ["ls", "date"], calls
    messages.append({"role": "assistant",
                     "content": [block.model_dump(exclude_none=True) for block in first.content]})
    try:
        ask(messages + [{"role": "user", "content": "and?"}])
        raise SystemExit("a call without its result was taken")
    except BadRequestError as error:
        assert "tool_use" in str(error) and "tool_result" in str(error), error
    messages.append({"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": call.id, "content": f"result {number}"}
        for number, call in enumerate(calls)]})
    last = ask(messages)
    text = "".join(block.text for block in last.content if block.type == "text")
    assert text == "done: result 0\nresult 1", last.content
    assert last.stop_reason == "end_turn" and last.usage.output_tokens > 0, last
    print(ask.__name__, "ok:", repr(text), last.usage.cache_read_input_tokens)
