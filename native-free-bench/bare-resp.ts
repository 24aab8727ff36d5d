// What the gateway is measured against: a bare Node server that parses the same RESP and answers from a Map. It is alone in
// its process, has one thread, and does SET, GET and what redis-benchmark asks first. Prints its port.

import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { lengthOf, type Request, startOf, textOf } from '../src/programs/kv/request.ts'
import { RequestParser } from '../src/programs/kv/request-parser.ts'

const values = new Map<string, Buffer>()
const [OK, NULL, EMPTY] = ['+OK\r\n', '$-1\r\n', '*0\r\n'].map((text) => Buffer.from(text)) as [Buffer, Buffer, Buffer]

const keyOf = ({ bytes, starts, lengths }: Request): string => {
  const start = starts[1] as number
  return (bytes as Buffer).toString('latin1', start, start + (lengths[1] as number))
}

function answer(request: Request): Buffer {
  const { bytes } = request
  // The second letters of GET and SET are the same, the first ones are not.
  const first = (bytes[startOf(request, 0)] as number) | 0x20
  if (request.count === 3 && first === 0x73) {
    const start = startOf(request, 2)
    const value = bytes.subarray(start, start + lengthOf(request, 2))
    values.set(keyOf(request), Buffer.concat([Buffer.from(`$${value.length}\r\n`), value, Buffer.from('\r\n')]))
    return OK
  }
  if (request.count === 2 && first === 0x67) return values.get(keyOf(request)) ?? NULL
  return textOf(request, 0).toUpperCase() === 'CONFIG' ? EMPTY : OK
}

const server = createServer({ noDelay: true }, (socket) => {
  const parser = new RequestParser()
  socket.on('error', () => {})
  socket.on('data', (data) => {
    parser.push(data)
    const replies: Buffer[] = []
    while (parser.next() === 'request') replies.push(answer(parser.request))
    socket.write(replies.length === 1 ? (replies[0] as Buffer) : Buffer.concat(replies))
  })
})
server.listen(0, '127.0.0.1', () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`))
