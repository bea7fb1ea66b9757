"""A server on the official MCP SDK, of all protocol revisions at once, at `/mcp`.

It has a few tools of a shop, and those that `@modelcontextprotocol/conformance` looks for. With the
argument `json` it answers without a stream wherever the protocol lets it. Its port is the first line
of standard output. What it was asked to do is a line each on standard error: a test counts them.
"""

import asyncio
import base64
import json
import sys
from typing import Annotated, Literal

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.shared.exceptions import MCPError
from mcp_types import MISSING_REQUIRED_CLIENT_CAPABILITY, AudioContent, CallToolResult, Completion
from mcp_types import EmbeddedResource, EmptyResult, ImageContent, SamplingMessage, SetLevelRequestParams
from mcp_types import SubscribeRequestParams, TextContent, TextResourceContents, UnsubscribeRequestParams
from pydantic import BaseModel, Field

import mcp_rounds
from serving import serve

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
SOUND = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="

server = MCPServer("shop", version="1", instructions="A shop and its papers.")


def note(name, **arguments):
    print(json.dumps({"tool": name, "arguments": arguments}), file=sys.stderr, flush=True)


def text(said):
    return TextContent(type="text", text=said)


def embedded(uri, kind, said):
    inner = TextResourceContents(uri=uri, mime_type=kind, text=said)
    return EmbeddedResource(type="resource", resource=inner)


# --- The shop ---


@server.tool()
def search(query: str) -> str:
    """Finds articles."""
    note("search", query=query)
    return f"found {query}"


@server.tool()
def pay(
    amount: str,
    currency: str,
    region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})] = "eu",
) -> str:
    """Pays a bill."""
    note("pay", amount=amount, currency=currency, region=region)
    return f"paid {amount} {currency}"


@server.tool()
async def count(to: int, context: Context) -> str:
    """Counts slowly, and says how far it is."""
    note("count", to=to)
    for step in range(to):
        await context.report_progress(step + 1, to, f"step {step + 1}")
        await asyncio.sleep(0.02)
    return f"counted to {to}"


@server.tool()
def wipe(confirm: bool = False) -> str:
    """Empties the shop."""
    note("wipe", confirm=confirm)
    return "empty"


@server.resource("shop://prices", name="prices", description="All prices", mime_type="text/plain")
def prices() -> str:
    note("shop://prices")
    return "pen 1.20 EUR"


@server.prompt()
def greet(name: str) -> str:
    """Greets a customer."""
    return f"Say hello to {name}."


# --- What the conformance package looks for ---


@server.tool()
def test_simple_text() -> list[TextContent]:
    """Plain text."""
    return [text("This is a simple text response for testing.")]


@server.tool()
def test_image_content() -> list[ImageContent]:
    """A picture."""
    return [ImageContent(type="image", data=PIXEL, mime_type="image/png")]


@server.tool()
def test_audio_content() -> list[AudioContent]:
    """A sound."""
    return [AudioContent(type="audio", data=SOUND, mime_type="audio/wav")]


@server.tool()
def test_embedded_resource() -> list[EmbeddedResource]:
    """A resource within the result."""
    said = "This is an embedded resource content."
    return [embedded("test://embedded-resource", "text/plain", said)]


@server.tool()
def test_multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
    """Three kinds of content."""
    data = json.dumps({"test": "data", "value": 123})
    return [
        text("Multiple content types test:"),
        ImageContent(type="image", data=PIXEL, mime_type="image/png"),
        embedded("test://mixed-content-resource", "application/json", data),
    ]


@server.tool()
def test_error_handling() -> CallToolResult:
    """Fails."""
    said = "This tool intentionally returns an error for testing"
    return CallToolResult(content=[text(said)], is_error=True)


@server.tool()
async def test_tool_with_logging(context: Context) -> str:
    """Logs while it works."""
    for said in ["Tool execution started", "Tool processing data", "Tool execution completed"]:
        await context.info(said)
        await asyncio.sleep(0.05)
    return "logged"


@server.tool()
async def test_logging_tool(context: Context) -> str:
    """Logs once."""
    await context.info("one line")
    return "logged"


@server.tool()
async def test_tool_with_progress(context: Context) -> str:
    """Says how far it is."""
    for done in [0, 50, 100]:
        await context.report_progress(done, 100)
        await asyncio.sleep(0.05)
    return "done"


@server.tool()
async def test_sampling(prompt: str, context: Context) -> str:
    """Asks the client's model."""
    asked = SamplingMessage(role="user", content=text(prompt))
    answer = await context.session.create_message(
        [asked], max_tokens=100, related_request_id=context.request_id
    )
    return f"LLM response: {answer.content.text}"


class Person(BaseModel):
    username: str = Field(description="User's response")
    email: str = Field(description="User's email address")


class Defaults(BaseModel):
    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: Literal["active", "inactive", "pending"] = "active"
    verified: bool = True


async def asked_of(context, message, schema):
    # On the stream of the call, not on one that the client may not have opened yet.
    answer = await context.session.elicit_form(message, schema, context.request_id)
    content = json.dumps(answer.content)
    return f"action={answer.action}, content={content}"


@server.tool()
async def test_elicitation(message: str, context: Context) -> str:
    """Asks the user."""
    return "User response: " + await asked_of(context, message, Person.model_json_schema())


@server.tool()
async def test_elicitation_sep1034_defaults(context: Context) -> str:
    """Asks the user, with defaults."""
    schema = Defaults.model_json_schema()
    return "Elicitation completed: " + await asked_of(context, "Your profile?", schema)


def titled(titles):
    return [{"const": f"value{n}", "title": title} for n, title in enumerate(titles, 1)]


ENUMS = {
    "type": "object",
    "properties": {
        "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
        "titledSingle": {"type": "string", "oneOf": titled(["First Option", "Second Option"])},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {
            "type": "array",
            "items": {"type": "string", "enum": ["option1", "option2", "option3"]},
        },
        "titledMulti": {
            "type": "array",
            "items": {"anyOf": titled(["First Choice", "Second Choice"])},
        },
    },
}


@server.tool()
async def test_elicitation_sep1330_enums(context: Context) -> str:
    """Asks the user to choose."""
    return "Elicitation completed: " + await asked_of(context, "Choose", ENUMS)


@server.tool()
def test_missing_capability(context: Context) -> str:
    """Only for clients that lend their model."""
    can = context.client_capabilities
    if not (can and can.sampling):
        lacking = {"requiredCapabilities": {"sampling": {}}}
        raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "no `sampling`", lacking)
    return "can sample"


@server.tool()
async def test_trigger_tool_change(context: Context) -> str:
    """Says that the tools have changed."""
    await context.notify_tools_changed()
    return "said"


@server.tool()
async def test_trigger_prompt_change(context: Context) -> str:
    """Says that the prompts have changed."""
    await context.notify_prompts_changed()
    return "said"


@server.resource("test://static-text", name="text", description="Text", mime_type="text/plain")
def static_text() -> str:
    return "This is the content of the static text resource."


@server.resource("test://static-binary", name="bytes", description="Bytes", mime_type="image/png")
def static_binary() -> bytes:
    return base64.b64decode(PIXEL)


@server.resource("test://template/{id}/data", name="template", mime_type="application/json")
def template(id: str) -> str:
    return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


@server.prompt()
def test_simple_prompt() -> str:
    """A prompt."""
    return "This is a simple prompt for testing."


@server.prompt()
def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
    """A prompt with arguments."""
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


@server.prompt()
def test_prompt_with_embedded_resource(resourceUri: str) -> list:
    """A prompt with a resource."""
    said = "Embedded resource content for testing."
    inner = embedded(resourceUri, "text/plain", said)
    return [UserMessage(inner), UserMessage("Please process the embedded resource above.")]


@server.prompt()
def test_prompt_with_image() -> list:
    """A prompt with a picture."""
    picture = ImageContent(type="image", data=PIXEL, mime_type="image/png")
    return [UserMessage(picture), UserMessage("Please analyze the image above.")]


@server.completion()
async def complete(ref, argument, context):
    return Completion(values=[argument.value + "-one"], total=1, has_more=False)


# Of the revisions before 2026-07-28; the SDK has no other way to serve them.
async def done(context, parameters):
    return EmptyResult()


for method, parameters in [
    ("resources/subscribe", SubscribeRequestParams),
    ("resources/unsubscribe", UnsubscribeRequestParams),
    ("logging/setLevel", SetLevelRequestParams),
]:
    server._lowlevel_server.add_request_handler(method, parameters, done)

mcp_rounds.add_to(server)
serve(server.streamable_http_app(json_response="json" in sys.argv[1:]))
