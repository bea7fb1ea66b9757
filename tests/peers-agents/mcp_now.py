"""The client of the MCP SDK for Python, 2.x, told what to do on standard input.

{"url", "token", "mode": "auto" | "legacy", "do": [{"do": "tools" | "resources" | "prompts" | "call" |
"read" | "prompt", ..}]}. On standard output what its caller was shown: {"version", "did": [..]}, with
"refused" in place of what a step gave, and at the top where the session itself failed.
"""

import asyncio
import json
import logging
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CreateMessageResult, TextContent

from mcp_steps import step

# What it would log is in what it raises.
logging.disable(logging.CRITICAL)
SECONDS = 30


def shown(error):
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    told = getattr(error, "error", None)
    return {
        "type": type(error).__name__,
        "message": str(error),
        "code": getattr(told, "code", None),
        "data": getattr(told, "data", None),
    }


async def model(context, parameters):
    said = "model heard " + parameters.messages[0].content.text
    return CreateMessageResult(role="assistant", content=TextContent(text=said), model="none")


async def run(asked):
    said = {"did": []}
    try:
        bearer = {"authorization": f"Bearer {asked['token']}"} if asked["token"] else {}
        async with httpx2.AsyncClient(headers=bearer, timeout=SECONDS) as http:
            transport = streamable_http_client(asked["url"], http_client=http)
            options = {"mode": asked["mode"], "read_timeout_seconds": SECONDS}
            async with Client(transport, sampling_callback=model, **options) as client:
                said["version"] = client.protocol_version
                for what in asked["do"]:
                    try:
                        said["did"].append(await step(client, what))
                    except Exception as error:
                        said["did"].append({"refused": shown(error)})
    except Exception as error:
        said["refused"] = shown(error)
    return said


print(json.dumps(asyncio.run(run(json.load(sys.stdin)))))
