// The request parser: any chunking gives the same requests, hostile bytes give Redis's errors, and nothing is kept that
// need not be.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { KV_MAX_LINE_BYTES } from '../../../src/limits.ts'
import { lengthOf, type Request, startOf } from '../../../src/programs/kv/request.ts'
import { RequestParser } from '../../../src/programs/kv/request-parser.ts'
import { seeded } from '../../kernels/memory-fixture.ts'

const argumentsOf = (request: Request): string[] =>
  Array.from({ length: request.count }, (_, index) => {
    const start = startOf(request, index)
    return Buffer.from(request.bytes.subarray(start, start + lengthOf(request, index))).toString('latin1')
  })

/** All requests of the chunks, and the error they end with. Each chunk is overwritten once the parser wants more. */
function parse(chunks: readonly Uint8Array[], parser = new RequestParser()): { requests: string[][]; error: string } {
  const requests: string[][] = []
  for (const chunk of chunks) {
    const bytes = Uint8Array.from(chunk)
    parser.push(bytes)
    let parsed = parser.next()
    for (; parsed === 'request'; parsed = parser.next()) requests.push(argumentsOf(parser.request))
    bytes.fill(0x21)
    if (parsed === 'broken') break
  }
  return { requests, error: parser.error }
}

const latin = (text: string): Buffer => Buffer.from(text, 'latin1')
const parseText = (text: string) => parse([latin(text)])
const encode = (parts: readonly Uint8Array[]): Buffer =>
  Buffer.concat([
    latin(`*${parts.length}\r\n`),
    ...parts.flatMap((part) => [latin(`$${part.length}\r\n`), part, latin('\r\n')]),
  ])

/** Cuts bytes at any places. */
function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const at = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b)
  return [...at, bytes.length].map((end, index) => bytes.subarray(index === 0 ? 0 : at[index - 1], end))
}
const places = fc.array(fc.nat(100_000), { maxLength: 60 })
const part = fc.oneof(fc.uint8Array({ maxLength: 20 }), fc.uint8Array({ maxLength: 5000, size: 'max' }))

test('requests in any chunks', () => {
  fc.assert(
    fc.property(fc.array(fc.array(part, { minLength: 1, maxLength: 40 }), { maxLength: 20 }), places, (all, cuts) => {
      const expected = all.map((parts) => parts.map((each) => Buffer.from(each).toString('latin1')))
      expect(parse(cut(Buffer.concat(all.map(encode)), cuts))).toEqual({ requests: expected, error: '' })
    }),
    seeded(200),
  )
})

/** Pieces that together are often nearly a request. */
const piece = fc.oneof(
  fc.constantFrom('*', '$', '\r\n', '\r', '\n', '-', '0', '1', '2', '3', '9', ' ', '"', "'", '\\', '\\x41', 'GET', 'a'),
  fc.constantFrom('*1\r\n$4\r\nPING\r\n', 'PING\r\n', 'SET a "b c"\n', '*2\r\n$1\r\na\r\n', '$0\r\n\r\n', '*-1\r\n'),
  fc.string({ unit: 'binary', maxLength: 5 }),
)

test('any bytes: the same requests and the same error in any chunks, and byte by byte', () => {
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), places, (pieces, cuts) => {
      const bytes = latin(pieces.join(''))
      const whole = parse([bytes])
      expect(parse(cut(bytes, cuts))).toEqual(whole)
      expect(parse(cut(bytes, [...bytes.keys()]))).toEqual(whole)
    }),
    seeded(3000),
  )
})

describe('what breaks the protocol', () => {
  test.each([
    ['*x\r\n', 'invalid multibulk length'],
    ['*\r\n', 'invalid multibulk length'],
    ['*1048577\r\n', 'invalid multibulk length'],
    ['*99999999999999999999\r\n', 'invalid multibulk length'],
    ['*1\n\r\n', 'invalid multibulk length'],
    ['*1\r\n:4\r\n', "expected '$', got ':'"],
    ['*1\r\n\r\n', "expected '$', got '\r'"],
    ['*1\r\n$x\r\n', 'invalid bulk length'],
    ['*1\r\n$-1\r\n', 'invalid bulk length'],
    ['*1\r\n$04\r\n', 'invalid bulk length'],
    ['*1\r\n$536870912\r\n', 'invalid bulk length'],
    ['*1\r\n$9223372036854775807\r\n', 'invalid bulk length'],
    ['*1\r\n$4\r\nPINGGET\r\n', 'expected a line end after a bulk string'],
    [`*${'1'.repeat(KV_MAX_LINE_BYTES)}`, 'too big mbulk count string'],
    [`*1\r\n$${'1'.repeat(KV_MAX_LINE_BYTES)}`, 'too big bulk count string'],
    ['x'.repeat(KV_MAX_LINE_BYTES + 1), 'too big inline request'],
    ['SET a "b\r\n', 'unbalanced quotes in request'],
    ["SET a 'b'c\r\n", 'unbalanced quotes in request'],
  ])('%j', (text, reason) => {
    expect(parseText(`PING\r\n${text}`)).toEqual({ requests: [['PING']], error: `ERR Protocol error: ${reason}` })
    const parser = new RequestParser()
    expect(parse([latin(text), latin('*1\r\n$4\r\nPING\r\n')], parser).requests).toEqual([])
    parser.push(latin('PING\r\n'))
    expect(parser.next()).toBe('broken')
  })

  test('arguments that together are too long', () => {
    const parser = new RequestParser({ maxRequestBytes: 100, maxBulkBytes: 60 })
    const { error } = parse([encode([new Uint8Array(50), new Uint8Array(50)])], parser)
    expect(error).toBe('ERR Protocol error: too big request')
  })
})

test('inline commands, and arrays of nothing', () => {
  expect(
    parseText('PING\r\n\r\n  \n SET  a\t"b \\x41\\n\\"\\q" \'c\\\'\\n\'\n*0\r\n*-1\r\n""\r\n*1\r\n$1\r\nx\r\n')
      .requests,
  ).toEqual([['PING'], ['SET', 'a', 'b A\n"q', "c'\\n"], [''], ['x']])
})

test('a million arguments, and no more memory than what came needs', () => {
  const count = 1024 * 1024
  const bytes = latin(`*${count}\r\n${'$1\r\na\r\n'.repeat(count)}`)
  const parser = new RequestParser()
  const chunks = Array.from({ length: Math.ceil(bytes.length / 65_536) }, (_, index) =>
    bytes.subarray(index * 65_536, (index + 1) * 65_536),
  )
  let requests = 0
  for (const chunk of chunks) {
    parser.push(chunk)
    while (parser.next() === 'request') requests += parser.request.count
  }
  expect(requests).toBe(count)
  parser.push(latin('PING\r\n'))
  expect([parser.next(), parser.next(), parser.request.starts.length]).toEqual(['request', 'more', 16])
})
