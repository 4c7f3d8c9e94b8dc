"""The wire `openai-responses` against OpenAI's own library. By hand:

    windlass-stub --port 4010 &
    pip install openai && python crates/stub/tests/sdk/with_openai.py http://127.0.0.1:4010
"""

import json
import sys

from openai import BadRequestError, OpenAI

client = OpenAI(base_url=sys.argv[1] + "/v1", api_key="any", max_retries=0)
TOOLS = [{"type": "function", "name": "exec", "description": "runs a command", "strict": False,
          "parameters": {"type": "object", "properties": {"command": {"type": "string"}}}}]
PLAN = [{"think": "I must look first.", "say": "I look.",
         "call": [{"name": "exec", "arguments": {"command": "ls"}},
                  {"name": "exec", "arguments": {"command": "date"}}]},
        {"think": "Good.", "say": "done: {tools}"}]
SHARED = {"model": "stub-1", "tools": TOOLS, "store": False, "instructions": "Be brief.",
          "include": ["reasoning.encrypted_content"], "prompt_cache_key": "s-1"}


def whole(items):
    return client.responses.create(input=items, **SHARED)


def streamed(items):
    final, text, arguments = None, "", ""
    for event in client.responses.create(input=items, stream=True, **SHARED):
        if event.type == "response.output_text.delta":
            text += event.delta
        elif event.type == "response.function_call_arguments.delta":
            arguments += event.delta
        elif event.type == "response.completed":
            final = event.response
    assert text == final.output_text, (text, final.output_text)
    calls = [item.arguments for item in final.output if item.type == "function_call"]
    assert arguments == "".join(calls), (arguments, calls)
    return final


def helped(items):
    """The library puts the stream together itself, and is strict about its order."""
    with client.responses.stream(input=items, **SHARED) as stream:
        for _ in stream:
            pass
        return stream.get_final_response()


for ask in (whole, streamed, helped):
    items = [{"role": "user", "content": f"<<stub {json.dumps(PLAN)}>>"}]
    first = ask(items)
    assert [item.type for item in first.output] == [
        "reasoning", "message", "function_call", "function_call"], first.output
    assert first.output[0].encrypted_content
    items += [item.model_dump(exclude_none=True, exclude={"parsed_arguments"})
              for item in first.output]
    for item in items:
        item.pop("parsed_arguments", None)
        for part in item["content"] if isinstance(item.get("content"), list) else []:
            part.pop("parsed", None)
    try:
        ask(items)
        raise SystemExit("a call without its output was taken")
    except BadRequestError as error:
        assert "No tool output found" in str(error), error
    for number, item in enumerate(first.output[2:]):
        items.append({"type": "function_call_output", "call_id": item.call_id,
                      "output": f"result {number}"})
    last = ask(items)
    assert last.output_text == "done: result 0\nresult 1", last.output_text
    usage = last.usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert usage.output_tokens_details.reasoning_tokens > 0
    print(ask.__name__, "ok:", repr(last.output_text), usage.input_tokens_details.cached_tokens)
