// The reply parser: any chunking gives the same replies, what is no reply is named, and nothing is kept that need not be.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { LOAD_MAX_LINE_BYTES, LOAD_MAX_REPLY_BYTES } from '../../src/limits.ts'
import { ReplyParser, textOfReply } from '../../src/load/reply-parser.ts'
import { seeded } from '../kernels/memory-fixture.ts'

const latin = (text: string): Buffer => Buffer.from(text, 'latin1')

/** All replies of the chunks, and the error they end with. Each chunk is overwritten once the parser wants more. */
function parse(chunks: readonly Uint8Array[], parser = new ReplyParser()): { replies: unknown[]; error: string } {
  const replies: unknown[] = []
  for (const chunk of chunks) {
    const bytes = Uint8Array.from(chunk)
    parser.push(bytes)
    let parsed = parser.next()
    for (; parsed === 'reply'; parsed = parser.next()) {
      const { kind, integer } = parser.reply
      const text = ['simple', 'error', 'bulk'].includes(kind) ? textOfReply(parser.reply, 1e9) : ''
      replies.push([kind, text, integer])
    }
    bytes.fill(0x21)
    if (parsed === 'broken') break
  }
  return { replies, error: parser.error }
}

function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const at = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b)
  return [...at, bytes.length].map((end, index) => bytes.subarray(index === 0 ? 0 : at[index - 1], end))
}
const places = fc.array(fc.nat(100_000), { maxLength: 60 })

type Pair = readonly [bytes: string, reply: readonly unknown[]]
const line = fc.string({ maxLength: 40 }).map((text) => text.replace(/[\r\n]/g, '').replace(/[^\x20-\x7e]/g, '?'))
const scalar: fc.Arbitrary<Pair> = fc.oneof(
  line.map((text): Pair => [`+${text}\r\n`, ['simple', text, 0]]),
  line.map((text): Pair => [`-ERR ${text}\r\n`, ['error', `ERR ${text}`, 0]]),
  fc.integer().map((value): Pair => [`:${value}\r\n`, ['integer', '', value]]),
  fc
    .uint8Array({ maxLength: 3000, size: 'max' })
    .map((bytes) => Buffer.from(bytes).toString('latin1'))
    .map((text): Pair => [`$${text.length}\r\n${text}\r\n`, ['bulk', text, 0]]),
  fc.constant<Pair>(['$-1\r\n', ['null', '', 0]]),
  fc.constant<Pair>(['*-1\r\n', ['null', '', 0]]),
)
const arrayOf = (element: fc.Arbitrary<Pair>): fc.Arbitrary<Pair> =>
  fc
    .array(element, { maxLength: 6 })
    .map((all): Pair => [`*${all.length}\r\n${all.map(([bytes]) => bytes).join('')}`, ['array', '', all.length]])
const reply = fc.oneof(scalar, arrayOf(scalar), arrayOf(fc.oneof(scalar, arrayOf(scalar))))

test('replies in any chunks, and byte by byte', () => {
  fc.assert(
    fc.property(fc.array(reply, { maxLength: 12 }), places, (all, cuts) => {
      const bytes = latin(all.map(([text]) => text).join(''))
      const expected = { replies: all.map(([, each]) => each), error: '' }
      expect(parse(cut(bytes, cuts))).toEqual(expected)
      expect(parse(cut(bytes, [...bytes.keys()]))).toEqual(expected)
    }),
    seeded(100),
  )
})

const piece = fc.oneof(
  fc.constantFrom('*', '$', ':', '+', '-', '\r\n', '\r', '\n', '0', '1', '2', '3', 'a', '_', '#', '%'),
  fc.constantFrom('$3\r\nabc\r\n', '*2\r\n:1\r\n', '*0\r\n', '+OK\r\n', ':7\r\n', '$-1\r\n', '-ERR no\r\n'),
)

test('any bytes: the same replies and the same error in any chunks', () => {
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), places, (pieces, cuts) => {
      const bytes = latin(pieces.join(''))
      const whole = parse([bytes])
      expect(parse(cut(bytes, cuts))).toEqual(whole)
      expect(parse(cut(bytes, [...bytes.keys()]))).toEqual(whole)
    }),
    seeded(2000),
  )
})

describe('what is no reply', () => {
  test.each([
    ['HTTP/1.1 400 Bad Request\r\n', 'a reply begins with the byte 0x48'],
    ['_\r\n', 'a reply begins with the byte 0x5f'],
    [':x\r\n', 'a number of a reply is none'],
    [':\r\n', 'a number of a reply is none'],
    ['$x\r\n', 'a number of a reply is none'],
    ['$-2\r\n', 'a length of a reply is none'],
    ['*-2\r\n', 'a length of a reply is none'],
    ['$9223372036854775807\r\n', 'a length of a reply is none'],
    [`$${LOAD_MAX_REPLY_BYTES + 1}\r\n`, 'a bulk string of a reply is too long'],
    ['$3\r\nabcd\r\n', 'a bulk string has no line end'],
    ['*1048577\r\n', 'an array of a reply is too long'],
    [`${'*1048\r\n'.repeat(1001)}`, 'an array of a reply is too long'],
    [`+${'x'.repeat(LOAD_MAX_LINE_BYTES)}`, 'a line of a reply is too long'],
  ])('%j', (text, reason) => {
    const parser = new ReplyParser()
    expect(parse([latin(`+OK\r\n${text}`)], parser)).toEqual({ replies: [['simple', 'OK', 0]], error: reason })
    parser.push(latin('+OK\r\n'))
    expect(parser.next()).toBe('broken')
  })
})

test('an integer above 2^53 is a reply without a value', () => {
  expect(parse([latin(':9223372036854775807\r\n')]).replies).toEqual([['integer', '', Number.NaN]])
})
