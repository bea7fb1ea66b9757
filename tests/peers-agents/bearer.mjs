// Loaded before a program that cannot be told a credential (`node --import`): every request bears
// the one in GATEPASS. Node's own `fetch` and `undici` share the dispatcher; `node:http` has none.

import http from 'node:http'
import { syncBuiltinESMExports } from 'node:module'
import { env } from 'node:process'
import { getGlobalDispatcher, setGlobalDispatcher } from 'undici'

const bearer = ['authorization', `Bearer ${env.GATEPASS}`]

function bearing(headers) {
  if (!headers) return bearer
  if (Array.isArray(headers)) return [...headers, ...bearer]
  if (typeof headers[Symbol.iterator] === 'function') return [...headers, bearer].flat()
  return { ...headers, authorization: bearer[1] }
}

setGlobalDispatcher(
  getGlobalDispatcher().compose((dispatch) => (options, handler) =>
    dispatch({ ...options, headers: bearing(options.headers) }, handler),
  ),
)

const { request } = http
http.request = (...how) => {
  const out = request(...how)
  out.setHeader(...bearer)
  return out
}
syncBuiltinESMExports()
