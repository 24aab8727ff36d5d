// CLIENT: what a connection says of itself, and what a port says of its connections. local-commands.ts calls it.

import { GATEWAY_NAME_BYTES } from '../limits.ts'
import { SYNTAX, wrongArguments } from '../programs/kv/command.ts'
import type { Reply } from '../programs/kv/reply.ts'
import { isWord, type Request, textOf } from '../programs/kv/request.ts'
import { integerOf, unknownSubcommand } from '../programs/kv/server-commands.ts'
import type { Client } from './client.ts'

/** No spaces, line ends or anything else that would break a line of CLIENT LIST. */
const isPlain = (text: string): boolean => /^[!-~]*$/.test(text)

/** Takes an argument as the connection's name; false: it cannot be one, and that is said. */
export function setName(client: Client, request: Request, index: number, reply: Reply): boolean {
  const name = textOf(request, index, GATEWAY_NAME_BYTES + 1)
  if (name.length > GATEWAY_NAME_BYTES || !isPlain(name)) {
    reply.error('ERR Client names cannot contain spaces, newlines or special characters.')
    return false
  }
  client.name = name
  return true
}

function line(client: Client): string {
  const now = performance.now()
  const seconds = (since: number): number => Math.floor((now - since) / 1000)
  const { id, address, name, connectedAt, lastAt, library, libraryVersion } = client
  const times = `age=${seconds(connectedAt)} idle=${seconds(lastAt)}`
  return `id=${id} addr=${address} name=${name} ${times} flags=N db=0 resp=2 lib-name=${library} lib-ver=${libraryVersion}\n`
}

function setInfo(client: Client, request: Request, reply: Reply): void {
  const value = textOf(request, 3, GATEWAY_NAME_BYTES + 1)
  const bad = value.length > GATEWAY_NAME_BYTES || !isPlain(value)
  if (bad) return reply.error('ERR lib-name cannot contain spaces, newlines or special characters.')
  if (isWord(request, 2, 'LIB-NAME')) client.library = value
  else if (isWord(request, 2, 'LIB-VER')) client.libraryVersion = value
  else return reply.error(`ERR Unrecognized option '${textOf(request, 2)}'`)
  reply.ok()
}

/** CLIENT KILL ADDR, or ID, ADDR and SKIPME with their values; without SKIPME NO nobody ends itself this way, as in Redis. */
function kill(client: Client, request: Request, reply: Reply): void {
  const { clients } = client.front
  if (request.count === 3) {
    const found = [...clients.values()].find(({ address }) => address === textOf(request, 2))
    if (found === undefined) return reply.error('ERR No such client')
    end(found, client)
    return reply.ok()
  }
  if (request.count % 2 !== 0) return reply.error(SYNTAX)
  let chosen = [...clients.values()]
  let skipMe = true
  for (let index = 2; index < request.count; index += 2) {
    if (isWord(request, index, 'ID')) {
      const id = integerOf(request, index + 1)
      if (id === null || id < 1) return reply.error('ERR client-id should be greater than 0')
      chosen = chosen.filter((each) => each.id === id)
    } else if (isWord(request, index, 'ADDR')) {
      const address = textOf(request, index + 1)
      chosen = chosen.filter((each) => each.address === address)
    } else if (isWord(request, index, 'SKIPME') && isYesOrNo(request, index + 1)) {
      skipMe = isWord(request, index + 1, 'YES')
    } else return reply.error(SYNTAX)
  }
  if (skipMe) chosen = chosen.filter((each) => each !== client)
  for (const each of chosen) end(each, client)
  reply.integer(chosen.length)
}

const isYesOrNo = (request: Request, index: number): boolean =>
  isWord(request, index, 'YES') || isWord(request, index, 'NO')
const isOnOrOff = (request: Request, index: number): boolean =>
  isWord(request, index, 'ON') || isWord(request, index, 'OFF')

/** One that ends itself still gets its answer. */
function end(victim: Client, client: Client): void {
  if (victim === client) client.finish()
  else victim.destroy()
}

/** How many arguments each has, with CLIENT. */
const COUNTS: Readonly<Record<string, number>> = {
  ID: 2,
  GETNAME: 2,
  SETNAME: 3,
  SETINFO: 4,
  INFO: 2,
  'NO-EVICT': 3,
  'NO-TOUCH': 3,
}

export function clientCommand(client: Client, request: Request, reply: Reply): void {
  const word = textOf(request, 1).toUpperCase()
  const count = Object.hasOwn(COUNTS, word) ? COUNTS[word] : undefined
  if (count !== undefined && request.count !== count) {
    return reply.error(wrongArguments(`client|${word.toLowerCase()}`))
  }
  if (word === 'ID') reply.integer(client.id)
  else if (word === 'GETNAME') client.name === '' ? reply.null() : reply.text(client.name)
  else if (word === 'SETNAME') setName(client, request, 2, reply) && reply.ok()
  else if (word === 'SETINFO') setInfo(client, request, reply)
  else if (word === 'INFO') reply.text(line(client))
  else if (word === 'LIST') reply.text([...client.front.clients.values()].map(line).join(''))
  else if (word === 'NO-EVICT' || word === 'NO-TOUCH') isOnOrOff(request, 2) ? reply.ok() : reply.error(SYNTAX)
  else if (word === 'KILL')
    request.count < 3 ? reply.error(wrongArguments('client|kill')) : kill(client, request, reply)
  else unknownSubcommand(request, reply)
}
