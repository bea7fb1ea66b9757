// The client of the A2A SDK for JavaScript. Input and output are a2a_client.py's.

import { stdin, stdout } from 'node:process'
import * as a2a from '@a2a-js/sdk/client'

let text = ''
for await (const chunk of stdin) text += chunk
const asked = JSON.parse(text)

const fetchImpl = (url, init = {}) => {
  const headers = new Headers(init.headers)
  if (asked.token) headers.set('authorization', `Bearer ${asked.token}`)
  return fetch(url, { ...init, headers })
}
const shown = (error) => ({ type: error.constructor.name, message: error.message, data: error.data ?? null })
const message = (said) => ({
  tenant: '',
  message: {
    messageId: crypto.randomUUID(),
    role: 1,
    parts: [{ content: { $case: 'text', value: said }, mediaType: 'text/plain', filename: '' }],
    contextId: '',
    taskId: '',
    extensions: [],
    referenceTaskIds: [],
  },
})

async function step(client, what) {
  if (what.task) return { task: (await client.getTask({ tenant: '', id: what.task })).id }
  if (!asked.streaming) return { text: (await client.sendMessage(message(what.say))).parts[0].content.value }
  let last
  for await (const one of client.sendMessageStream(message(what.say))) last = one.payload.value
  return { text: last.parts[0].content.value }
}

const said = { did: [] }
try {
  const options = a2a.ClientFactoryOptions.createFrom(a2a.ClientFactoryOptions.default, {
    transports: [new a2a.JsonRpcTransportFactory({ fetchImpl })],
    cardResolver: new a2a.DefaultAgentCardResolver({ fetchImpl }),
  })
  const client = await new a2a.ClientFactory(options).createFromUrl(asked.url)
  for (const what of asked.do) {
    try {
      said.did.push(await step(client, what))
    } catch (error) {
      said.did.push({ refused: shown(error) })
    }
  }
} catch (error) {
  said.refused = shown(error)
}
stdout.write(JSON.stringify(said), () => process.exit())
