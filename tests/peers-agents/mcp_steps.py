"""What a client of either Python SDK is asked to do, one thing after the other."""


async def step(client, what):
    match what["do"]:
        case "tools":
            return {"tools": [tool.name for tool in (await client.list_tools()).tools]}
        case "resources":
            return {"resources": [str(one.uri) for one in (await client.list_resources()).resources]}
        case "prompts":
            return {"prompts": [one.name for one in (await client.list_prompts()).prompts]}
        case "read":
            return {"text": (await client.read_resource(what["uri"])).contents[0].text}
        case "prompt":
            answer = await client.get_prompt(what["name"], what["arguments"])
            return {"text": answer.messages[0].content.text}
        case "call":
            progress = []

            async def heard(done, total, message):
                progress.append([done, total, message])

            answer = await client.call_tool(what["name"], what["arguments"], progress_callback=heard)
            # 2.x calls it as Python does, 1.x as the protocol does.
            failed = getattr(answer, "is_error", None) or getattr(answer, "isError", False)
            return {"text": answer.content[0].text, "failed": failed, "progress": progress}
