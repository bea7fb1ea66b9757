"""An agent on the official A2A SDK (1.0, and 0.3 on the same address), at `/a2a`.

Its card names the host that it was asked at, as it must behind a gate. Its port is the first line of
standard output; each message that reached it is a line on standard error.
"""

import sys

from a2a.helpers import new_text_message
from a2a.server.agent_execution import AgentExecutor
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill
from google.protobuf.json_format import MessageToDict
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from serving import serve


def card(host):
    return AgentCard(
        name="clerk",
        description="Answers questions",
        version="1",
        capabilities=AgentCapabilities(streaming=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        supported_interfaces=[
            AgentInterface(url=f"http://{host}/a2a", protocol_binding="JSONRPC", protocol_version="1.0")
        ],
        skills=[AgentSkill(id="answer", name="answer", description="Answers", tags=["text"])],
    )


class Clerk(AgentExecutor):
    async def execute(self, context, queue):
        asked = context.get_user_input()
        print(f"message {asked}", file=sys.stderr, flush=True)
        await queue.enqueue_event(new_text_message(f"answer to {asked}"))

    async def cancel(self, context, queue):
        raise NotImplementedError


async def tell(request):
    return JSONResponse(MessageToDict(card(request.headers["host"])))


handler = DefaultRequestHandler(
    agent_executor=Clerk(), task_store=InMemoryTaskStore(), agent_card=card("localhost")
)
routes = create_jsonrpc_routes(handler, "/a2a", enable_v0_3_compat=True)
serve(Starlette(routes=[Route("/.well-known/agent-card.json", tell), *routes]))
