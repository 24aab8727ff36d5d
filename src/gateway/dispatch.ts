// One command of a client: to its vCPU, to several, or to what the gateway answers itself. Called by client.ts for every
// request that it has parsed.

import { SERVICE_REQUEST_BYTES } from '../limits.ts'
import { wrongArguments } from '../programs/kv/command.ts'
import { type CommandSpec, findCommand, fitsArity } from '../programs/kv/command-table.ts'
import { type Sections, sumOfSections } from '../programs/kv/info.ts'
import { type Request, requestOf, textOf } from '../programs/kv/request.ts'
import { encodedBytes } from '../programs/kv/request-codec.ts'
import type { Client } from './client.ts'
import { CROSS_SLOT, TOO_LONG } from './failures.ts'
import { type Gather, Gathering } from './gathering.ts'
import { infoReply } from './info-command.ts'
import { runLocal } from './local-commands.ts'
import { firstSlot, ROUTE, routeOf } from './routing.ts'
import { comesApart, splitRequest } from './split.ts'

/** False: the backend is full; the front calls the client's `resume` when it is not, and the request is to come again. */
export function dispatch(client: Client, request: Request): boolean {
  const { backend, cluster } = client.front
  const spec = findCommand(request)
  if (spec === null || !fitsArity(spec, request)) {
    client.asking = false
    if (spec === null) runLocal(client, request)
    else client.answerError(wrongArguments(spec.name))
    return true
  }
  const route = routeOf(spec, request, backend.vcpus, cluster !== null)
  if (route >= 0) return toOne(client, spec, request, route)
  // ASKING is for the command behind it alone, whatever that is.
  client.asking = false
  if (route === ROUTE.all) return toAll(client, spec, request)
  if (route === ROUTE.split) return toSeveral(client, spec, request)
  if (route === ROUTE.cross) client.answerError(CROSS_SLOT)
  else runLocal(client, request)
  return true
}

function toOne(client: Client, spec: CommandSpec, request: Request, vcpu: number): boolean {
  const { front } = client
  const { backend, cluster } = front
  if (cluster !== null && !client.asking) {
    const { how, node } = cluster.whereIs(vcpu)
    if (how !== 'here') {
      client.answerError(`${how.toUpperCase()} ${firstSlot(spec, request)} ${node.host}:${node.port}`)
      return true
    }
  }
  if (encodedBytes(request) > SERVICE_REQUEST_BYTES) {
    client.asking = false
    client.answerError(TOO_LONG)
    return true
  }
  if (backend.isFull(vcpu)) {
    front.noteStalled(client)
    return false
  }
  client.asking = false
  backend.send(vcpu, request, client, client.tag())
  return true
}

interface Piece {
  readonly vcpu: number
  readonly request: Request
}

/** Sends the parts, when there is room for all of them. */
function toParts(client: Client, parts: readonly Piece[], gather: Gather): boolean {
  const { front } = client
  const { backend } = front
  if (parts.some(({ request }) => encodedBytes(request) > SERVICE_REQUEST_BYTES)) {
    client.answerError(TOO_LONG)
    return true
  }
  if (parts.some(({ vcpu }) => backend.isFull(vcpu))) {
    front.noteStalled(client)
    return false
  }
  const gathering = new Gathering(parts.length, gather, client, client.tag())
  for (const [part, { vcpu, request }] of parts.entries()) backend.send(vcpu, request, gathering, part)
  return true
}

function toSeveral(client: Client, spec: CommandSpec, request: Request): boolean {
  if (!comesApart(spec, request)) {
    client.answerError(wrongArguments(spec.name))
    return true
  }
  const { vcpus } = client.front.backend
  // One of its parts is longer than a guest takes; looking at every key would take time.
  if (encodedBytes(request) > vcpus * SERVICE_REQUEST_BYTES) {
    client.answerError(TOO_LONG)
    return true
  }
  const parts = splitRequest(spec, request, vcpus)
  const keys = parts.map((part) => part.keys)
  const count = keys.reduce((sum, each) => sum + each.length, 0)
  if (spec.name === 'mget') return toParts(client, parts, { how: 'list', keys, count })
  return toParts(client, parts, { how: spec.name === 'mset' ? 'ok' : 'sum' })
}

const INFO_ALL = requestOf('INFO')

/** In cluster mode every port speaks for the vCPUs that it serves. */
function toAll(client: Client, spec: CommandSpec, request: Request): boolean {
  const { backend, cluster } = client.front
  const all = Array.from({ length: backend.vcpus }, (_, vcpu) => vcpu)
  const here = cluster === null ? all : all.filter((vcpu) => cluster.whereIs(vcpu).how === 'here')
  const isInfo = spec.name === 'info'
  // What the client asks for is chosen from the sum.
  const parts = here.map((vcpu) => ({ vcpu, request: isInfo ? INFO_ALL : request }))
  if (!isInfo) {
    if (parts.length > 0) return toParts(client, parts, { how: spec.name === 'dbsize' ? 'sum' : 'ok' })
    const { reply } = client.front
    reply.rewind(0)
    if (spec.name === 'dbsize') reply.integer(0)
    else reply.ok()
    client.answer()
    return true
  }
  const wanted = Array.from({ length: request.count - 1 }, (_, index) => textOf(request, index + 1))
  const write = (sections: readonly Sections[]): Uint8Array => infoReply(client.front, sumOfSections(sections), wanted)
  if (parts.length > 0) return toParts(client, parts, { how: 'info', write })
  const reply = write([])
  client.onReply(client.tag(), reply, 0, reply.length)
  return true
}
