// Bytes of clients into a service port: every whole command gets one well-formed reply, in its place, until the protocol is
// broken; nothing else leaves the gateway, and nothing is left behind.

import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { Client } from '../../src/gateway/client.ts'
import { Front } from '../../src/gateway/front.ts'
import { KvBackend } from '../support/kv-backend.ts'
import { encode, repliesIn, type Value } from '../support/resp-client.ts'
import type { FuzzTarget } from './loop.ts'

/** What a client needs of a socket. */
class FakeSocket extends EventEmitter {
  readonly written: Buffer[] = []
  readonly writableLength = 0
  readonly remoteAddress = '192.0.2.1'
  readonly remotePort = 1
  ended = false
  write(bytes: Buffer): boolean {
    this.written.push(Buffer.from(bytes))
    return true
  }
  pause(): void {}
  resume(): void {}
  destroySoon(): void {
    this.ended = true
  }
  destroy(): void {
    this.ended = true
  }
}

const SEEDS: readonly (readonly string[])[] = [
  ['SET', 'a', '1', 'EX', '10'],
  ['MGET', 'a', 'b', 'foo', 'hello'],
  ['MSET', 'a', '1', 'foo', '2'],
  ['HELLO', '2', 'SETNAME', 'me'],
  ['CLIENT', 'KILL', 'ID', '1'],
  ['CLUSTER', 'KEYSLOT', 'foo'],
  ['INFO', 'keyspace'],
  ['QUIT'],
]

/** A reply by its kind, or an error's first words. */
const kindOf = (value: Value): string =>
  value === null ? 'null' : Array.isArray(value) ? 'array' : /^[-+:]/.test(value) ? value.slice(0, 12) : 'bulk'

export function respTarget(): FuzzTarget {
  const backend = new KvBackend(2)
  backend.held = true
  const front = new Front({ backend })
  let id = 1
  return {
    seeds: [
      ...SEEDS.map((parts) => encode(...parts)),
      Buffer.concat(SEEDS.slice(0, 6).map((parts) => encode(...parts))),
      Buffer.from('SET "a b" c\r\nGET a\r\n\r\n*0\r\n*-1\r\nPING\r\n'),
    ],
    most: 2048,
    run(input) {
      const socket = new FakeSocket()
      const client = new Client(front, socket as unknown as Socket, id++)
      front.clients.set(client.id, client)
      const commands = front.commands
      // Cut where the input itself says.
      const at = (input[0] ?? 0) % (input.length + 1)
      for (const piece of [input.subarray(0, at), input.subarray(at)]) {
        socket.emit('data', Buffer.from(piece))
        // The last vCPU answers first.
        for (const vcpu of [1, 0]) while (backend.lengthOf(vcpu) > 0) backend.answer(vcpu)
        client.flush()
      }
      const bytes = Buffer.concat(socket.written)
      const { replies, end } = repliesIn(bytes)
      if (end !== bytes.length) throw new Error('bytes behind the last reply')
      const broken = String(replies.at(-1)).startsWith('-ERR Protocol error') ? 1 : 0
      if (replies.length !== front.commands - commands + broken) throw new Error('not one reply a command')
      if (broken === 1 && !socket.ended) throw new Error('the protocol is broken, and the connection is not')
      socket.emit('close')
      if (front.clients.size > 0 || backend.waiting > 0) throw new Error('something is left')
      return `${replies.length} ${kindOf(replies.at(-1) ?? '')}`
    },
  }
}
