"""The client of the MCP SDK for Python, 1.x: `mcp_now.py` before 2026-07-28, with the same input and output."""

import asyncio
import json
import logging
import sys
from datetime import timedelta

import httpx
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CreateMessageResult, TextContent

from mcp_steps import step

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
    return CreateMessageResult(
        role="assistant", content=TextContent(type="text", text=said), model="none"
    )


async def run(asked):
    said = {"did": []}
    try:
        bearer = {"authorization": f"Bearer {asked['token']}"} if asked["token"] else {}
        wait = timedelta(seconds=SECONDS)
        async with httpx.AsyncClient(headers=bearer, timeout=SECONDS) as http:
            async with streamable_http_client(asked["url"], http_client=http) as (read, write, _):
                session = ClientSession(read, write, wait, sampling_callback=model)
                async with session as client:
                    said["version"] = (await client.initialize()).protocolVersion
                    for what in asked["do"]:
                        try:
                            said["did"].append(await step(client, what))
                        except Exception as error:
                            said["did"].append({"refused": shown(error)})
    # A refusal by status ends the whole session of this SDK, with a cancellation.
    except BaseException as error:
        said["refused"] = shown(error)
    return said


print(json.dumps(asyncio.run(run(json.load(sys.stdin)))))
