// The clients of the MCP SDK for TypeScript: `@modelcontextprotocol/client` (2.x, all revisions), or
// with the argument `before` `@modelcontextprotocol/sdk` (1.x). Input and output are mcp_now.py's.

import { argv, stdin, stdout } from 'node:process'

const isBefore = argv[2] === 'before'
const { Client, Transport, sampling } = await (isBefore ? before() : now())

async function before() {
  const { Client } = await import('@modelcontextprotocol/sdk/client/index.js')
  const http = await import('@modelcontextprotocol/sdk/client/streamableHttp.js')
  const { CreateMessageRequestSchema } = await import('@modelcontextprotocol/sdk/types.js')
  return { Client, Transport: http.StreamableHTTPClientTransport, sampling: CreateMessageRequestSchema }
}

async function now() {
  const { Client, StreamableHTTPClientTransport } = await import('@modelcontextprotocol/client')
  return { Client, Transport: StreamableHTTPClientTransport, sampling: 'sampling/createMessage' }
}

let text = ''
for await (const chunk of stdin) text += chunk
const asked = JSON.parse(text)

const shown = (error) => ({
  type: error.constructor.name,
  message: error.message,
  code: error.code ?? null,
  data: error.data ?? null,
})

async function step(client, what) {
  switch (what.do) {
    case 'tools':
      return { tools: (await client.listTools()).tools.map((tool) => tool.name) }
    case 'resources':
      return { resources: (await client.listResources()).resources.map((one) => one.uri) }
    case 'prompts':
      return { prompts: (await client.listPrompts()).prompts.map((one) => one.name) }
    case 'read':
      return { text: (await client.readResource({ uri: what.uri })).contents[0].text }
    case 'prompt': {
      const answer = await client.getPrompt({ name: what.name, arguments: what.arguments })
      return { text: answer.messages[0].content.text }
    }
    case 'call': {
      const progress = []
      const onprogress = (at) => progress.push([at.progress, at.total ?? null, at.message ?? null])
      const call = { name: what.name, arguments: what.arguments }
      const options = { onprogress }
      const answer = await (isBefore ? client.callTool(call, undefined, options) : client.callTool(call, options))
      return { text: answer.content[0].text, failed: answer.isError ?? false, progress }
    }
  }
}

const said = { did: [] }
try {
  const headers = asked.token ? { authorization: `Bearer ${asked.token}` } : {}
  const transport = new Transport(new URL(asked.url), { requestInit: { headers } })
  const options = { capabilities: { sampling: {} }, versionNegotiation: { mode: asked.mode } }
  const client = new Client({ name: 'peer', version: '1' }, options)
  client.setRequestHandler(sampling, (request) => ({
    role: 'assistant',
    content: { type: 'text', text: `model heard ${request.params.messages[0].content.text}` },
    model: 'none',
  }))
  await client.connect(transport)
  said.version = transport.protocolVersion ?? client.getNegotiatedProtocolVersion()
  for (const what of asked.do) {
    try {
      said.did.push(await step(client, what))
    } catch (error) {
      said.did.push({ refused: shown(error) })
    }
  }
  await client.close()
} catch (error) {
  said.refused = shown(error)
}
stdout.write(JSON.stringify(said), () => process.exit())
