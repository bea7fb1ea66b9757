// `openid-client`, as it is published, from the issuer's URL alone (RFC 8414).
//
// One JSON object on standard input: {"issuer", "client_id", "key" (private JWK, P-256), "details",
// "resource"}. On standard output: {"gatepass", "introspection"}, or {"refused": <OAuth error>}.

import { stdin, stdout } from 'node:process'
import * as client from 'openid-client'

let text = ''
for await (const chunk of stdin) text += chunk
const asked = JSON.parse(text)

const algorithm = { name: 'ECDSA', namedCurve: 'P-256' }
const key = await crypto.subtle.importKey('jwk', asked.key, algorithm, false, ['sign'])
const config = await client.discovery(
  new URL(asked.issuer),
  asked.client_id,
  undefined,
  client.PrivateKeyJwt(key),
  // The test serves on loopback without TLS.
  { algorithm: 'oauth2', execute: [client.allowInsecureRequests] },
)

let answer
try {
  const issued = await client.clientCredentialsGrant(config, {
    authorization_details: JSON.stringify(asked.details),
    resource: asked.resource,
  })
  const introspection = await client.tokenIntrospection(config, issued.access_token)
  answer = { gatepass: issued.access_token, introspection }
} catch (error) {
  if (!(error instanceof client.ResponseBodyError) && !error.cause) throw error
  const challenge = error.cause?.[0]?.parameters?.error
  answer = { refused: error.error ?? challenge ?? error.code, status: error.status }
}
stdout.write(JSON.stringify(answer))
