"""The tools of `mcp_server.py` that ask back before they answer (multi round-trip requests, SEP-2322)."""

from mcp.server.mcpserver import Context
from mcp_types import INVALID_PARAMS, CreateMessageRequest, CreateMessageRequestParams, ElicitRequest
from mcp_types import ElicitRequestFormParams, InputRequiredResult, ListRootsRequest, SamplingMessage
from mcp_types import TextContent
from mcp.shared.exceptions import MCPError


def form(message, field, kind="string"):
    schema = {"type": "object", "properties": {field: {"type": kind}}, "required": [field]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def sample(said, tokens=100):
    message = SamplingMessage(role="user", content=TextContent(type="text", text=said))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=tokens))


NAME = {"user_name": form("What is your name?", "name")}
CAPITAL = {"capital_question": sample("What is the capital of France?")}
ROOTS = {"client_roots": ListRootsRequest()}
CONFIRM = {"confirm": form("Please confirm", "ok", "boolean")}
ALL = NAME | {"greeting": sample("Generate a greeting", 50)} | ROOTS


def answers(context, wanted):
    """What the client said to these questions, or nothing where one is open."""
    given = context.input_responses or {}
    return given if all(key in given for key in wanted) else None


def ask(questions, state=None):
    return InputRequiredResult(input_requests=questions, request_state=state)


def expect(context, state):
    if context.request_state != state:
        raise MCPError(INVALID_PARAMS, "the state is not what was given out")


def add_to(server):
    tool = server.tool()

    @tool
    def test_input_required_result_elicitation(context: Context) -> str | InputRequiredResult:
        """Asks for a name."""
        given = answers(context, NAME)
        content = getattr(given["user_name"], "content", None) if given else None
        return f"Hello, {content['name']}!" if content else ask(NAME)

    @tool
    def test_input_required_result_sampling(context: Context) -> str | InputRequiredResult:
        """Asks the client's model."""
        given = answers(context, CAPITAL)
        return given["capital_question"].content.text if given else ask(CAPITAL)

    @tool
    def test_input_required_result_list_roots(context: Context) -> str | InputRequiredResult:
        """Asks for folders."""
        given = answers(context, ROOTS)
        if not given:
            return ask(ROOTS)
        return " ".join(str(root.uri) for root in given["client_roots"].roots)

    @tool
    def test_input_required_result_request_state(context: Context) -> str | InputRequiredResult:
        """Gives out a state, and wants it back."""
        if not answers(context, CONFIRM):
            return ask(CONFIRM, "first")
        expect(context, "first")
        return "state-ok"

    @tool
    def test_input_required_result_tampered_state(context: Context) -> str | InputRequiredResult:
        """The same; the SDK seals the state."""
        if context.request_state is None:
            return ask(CONFIRM, "sealed")
        expect(context, "sealed")
        return "state-ok"

    @tool
    def test_input_required_result_multiple_inputs(context: Context) -> str | InputRequiredResult:
        """Asks three things at once."""
        if not answers(context, ALL):
            return ask(ALL, "three")
        expect(context, "three")
        return "all three"

    @tool
    def test_input_required_result_multi_round(context: Context) -> str | InputRequiredResult:
        """Asks twice."""
        if context.request_state is None:
            return ask({"step1": form("Step 1: What is your name?", "name")}, "one")
        if context.request_state == "one":
            return ask({"step2": form("Step 2: What is your favorite color?", "color")}, "two")
        expect(context, "two")
        return "both"

    @tool
    def test_input_required_result_capabilities(context: Context) -> str | InputRequiredResult:
        """Asks only what the client can answer."""
        can = context.client_capabilities
        questions = (NAME if can and can.elicitation else {}) | (CAPITAL if can and can.sampling else {})
        return ask(questions) if questions and not context.input_responses else "nothing to ask"

    @server.prompt()
    def test_input_required_result_prompt(context: Context) -> str | InputRequiredResult:
        """A prompt that asks."""
        wanted = {"user_context": form("What context should the prompt use?", "context")}
        return "asked and told" if answers(context, wanted) else ask(wanted)
