"""The wire `google-generative-ai` against Google's own library. By hand:

    windlass-stub --port 4010 &
    pip install google-genai && python crates/stub/tests/sdk/with_google_genai.py http://127.0.0.1:4010
"""

import json
import sys

from google import genai
from google.genai import errors, types

client = genai.Client(api_key="any", http_options=types.HttpOptions(base_url=sys.argv[1]))
SCHEMA = {"type": "object", "properties": {"command": {"type": "string"}}}
CONFIG = types.GenerateContentConfig(
    system_instruction="Be brief.", max_output_tokens=1000,
    automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    tools=[types.Tool(function_declarations=[types.FunctionDeclaration(
        name="exec", description="runs a command", parameters_json_schema=SCHEMA)])])
PLAN = [{"think": "I must look first.", "say": "I look.",
         "call": [{"name": "exec", "arguments": {"command": "ls"}},
                  {"name": "exec", "arguments": {"command": "date"}}]},
        {"think": "Good.", "say": "done: {tools}"}]


def whole(contents):
    answer = client.models.generate_content(model="stub-1", contents=contents, config=CONFIG)
    return answer.candidates[0].content.parts, answer.usage_metadata


def streamed(contents):
    parts, usage = [], None
    for piece in client.models.generate_content_stream(
            model="stub-1", contents=contents, config=CONFIG):
        for part in piece.candidates[0].content.parts:
            plain = part.text is not None and part.thought_signature is None
            if plain and parts and parts[-1].text and parts[-1].thought == part.thought:
                parts[-1].text += part.text
            elif part.text or not plain:
                parts.append(part)
        usage = piece.usage_metadata
    return parts, usage


for ask in (whole, streamed):
    contents = [types.UserContent(f"<<stub {json.dumps(PLAN)}>>")]
    parts, _ = ask(contents)
    calls = [part.function_call for part in parts if part.function_call]
    assert [call.args["command"] for call in calls] == ["ls", "date"], parts
    contents.append(types.ModelContent(parts))
    try:
        ask(contents + [types.UserContent("and?")])
        raise SystemExit("a call without its response was taken")
    except errors.ClientError as error:
        assert error.code == 400 and "function response parts is equal" in str(error), error
    contents.append(types.UserContent([types.Part(function_response=types.FunctionResponse(
        id=call.id, name=call.name, response={"output": f"result {number}"}))
        for number, call in enumerate(calls)]))
    parts, usage = ask(contents)
    text = "".join(part.text for part in parts if part.text and not part.thought)
    assert text == "done: result 0\nresult 1", parts
    assert usage.total_token_count == (
        usage.prompt_token_count + usage.candidates_token_count + usage.thoughts_token_count)
    print(ask.__name__, "ok:", repr(text), usage.cached_content_token_count)
