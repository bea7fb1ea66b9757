"""The client of the A2A SDK for Python.

{"url", "token", "streaming": bool, "do": [{"say"} | {"task"}]} on standard input; on standard output
{"did": [{"text"} | {"task"} | {"refused"}]}. The agent's card is fetched first, as the SDK does it.
"""

import asyncio
import json
import sys

import httpx
from a2a.client import ClientConfig, create_client
from a2a.helpers import get_message_text, new_text_message
from a2a.types import GetTaskRequest, Role, SendMessageRequest


def shown(error):
    return {"type": type(error).__name__, "message": str(error), "data": getattr(error, "data", None)}


async def step(client, what):
    if what.get("task"):
        return {"task": (await client.get_task(GetTaskRequest(id=what["task"]))).id}
    message = new_text_message(what["say"], role=Role.ROLE_USER)
    heard = [one async for one in client.send_message(SendMessageRequest(message=message))]
    return {"text": get_message_text(heard[-1].message)}


async def run(asked):
    said = {"did": []}
    bearer = {"authorization": f"Bearer {asked['token']}"} if asked["token"] else {}
    async with httpx.AsyncClient(headers=bearer, timeout=30) as http:
        try:
            options = ClientConfig(httpx_client=http, streaming=asked["streaming"])
            client = await create_client(asked["url"], options)
            for what in asked["do"]:
                try:
                    said["did"].append(await step(client, what))
                except Exception as error:
                    said["did"].append({"refused": shown(error)})
        except Exception as error:
            said["refused"] = shown(error)
    return said


print(json.dumps(asyncio.run(run(json.load(sys.stdin)))))
