// The hand-made checks of a channel's messages say the same as the schemas, whatever comes.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GodwitError } from '../../src/errors.ts'
import { MAX_LANES } from '../../src/limits.ts'
import { decodeChannel } from '../../src/wire/channel-codec.ts'
import { decodeControl } from '../../src/wire/control-codec.ts'
import { FRAME_HEADER_BYTES } from '../../src/wire/frame.ts'
import { encodeControl } from '../../src/wire/message-frame.ts'
import { abortOf } from '../../src/wire/messages.ts'
import { packPlain } from '../../src/wire/plain-values.ts'
import { seeded } from '../kernels/memory-fixture.ts'

/** What comes of a payload: the message, or the code of what is thrown. */
function outcome(decode: (payload: Uint8Array) => unknown, payload: Uint8Array): unknown {
  try {
    return decode(payload)
  } catch (thrown) {
    return (thrown as GodwitError).code
  }
}

const hex = (digits: number) => fc.stringMatching(new RegExp(`^[0-9a-f]{${digits}}$`))
const text = (most: number) =>
  fc.oneof(
    fc.string({ maxLength: most }),
    // One of these is two units of a string.
    fc.constantFrom(...['x', 'é', '😀'].flatMap((one) => [one.repeat(most), one.repeat(most + 1)])),
  )
const capabilities = fc.oneof(
  { weight: 8, arbitrary: fc.array(text(64), { maxLength: 5 }) },
  fc.constant(Array(65).fill('x')),
)
const number = (most: number) => fc.oneof(fc.nat(most), fc.constantFrom(0, most, most + 1, -1, 0.5, -0, 2 ** 53))
const anything = fc.oneof(
  fc.constantFrom(null, true, '', 0, -1, 2 ** 60, [], {}),
  fc.uint8Array({ maxLength: 3 }),
  fc.bigInt({ min: 2n ** 40n, max: 2n ** 64n - 1n }),
)

const nearly = fc.oneof(
  fc.record({
    type: fc.constant('hello'),
    version: number(255),
    migration: fc.oneof({ weight: 6, arbitrary: hex(32) }, hex(31), fc.constant('G'.repeat(32))),
    token: fc.oneof({ weight: 6, arbitrary: hex(32) }, hex(33), fc.constant('A'.repeat(32))),
    generation: number(1_000_000),
    channel: fc.oneof(fc.constantFrom('control', 'Control', ''), number(MAX_LANES - 1)),
    capabilities,
  }),
  fc.record({ type: fc.constant('welcome'), capabilities }),
  fc.record({
    type: fc.constant('abort'),
    error: fc.record(
      {
        code: text(64),
        message: text(1000),
        hint: text(1000),
        side: fc.constantFrom('source', 'destination', 'third'),
      },
      { requiredKeys: ['code', 'message'] },
    ),
  }),
)

/** One field is something else, or missing, or one too many; or nothing is. */
const changed = fc
  .tuple(
    nearly,
    fc.constantFrom('none', 'none', 'replace', 'drop', 'add', 'inside'),
    fc.nat(),
    anything,
    fc.constantFrom('type', 'more', '__proto__', 'constructor', 'toString'),
  )
  .map(([message, how, at, value, name]) => {
    const entries = Object.entries(message as Record<string, unknown>)
    const index = at % entries.length
    const [key, before] = entries[index] as [string, unknown]
    if (how === 'replace') entries[index] = [key, value]
    if (how === 'drop') entries.splice(index, 1)
    if (how === 'add' && name !== 'type') entries.push([name, value])
    if (how === 'inside' && key === 'error') entries[index] = [key, { ...(before as object), [name]: value }]
    return Object.fromEntries(entries)
  })

describe('messages of a channel', () => {
  it('are taken and refused as their schemas say', () => {
    let taken = 0
    fc.assert(
      fc.property(changed, (message) => {
        const payload = packPlain(message)
        const [ours, theirs] = [outcome(decodeChannel, payload), outcome(decodeControl, payload)]
        if (typeof theirs === 'object') taken++
        // A type that is no text, or none of these, is refused by both, by another name.
        if (typeof theirs === 'string' && typeof ours === 'string') return
        expect(ours).toEqual(theirs)
      }),
      seeded(3000),
    )
    expect(taken).toBeGreaterThan(300)
  })

  it('are refused by name when they are of a control link, no message at all, or noise', () => {
    const commit = encodeControl({ type: 'commit', epoch: 1 }).subarray(FRAME_HEADER_BYTES)
    expect(outcome(decodeChannel, commit)).toBe('unexpected-message')
    for (const value of [null, 7, 'hello', [], ['hello'], {}, { type: 1 }, { type: null }]) {
      expect(outcome(decodeChannel, packPlain(value))).toBe('bad-message')
    }
    for (const type of ['constructor', '__proto__', 'toString']) {
      expect(outcome(decodeChannel, packPlain(Object.fromEntries([['type', type]])))).toBe('unexpected-message')
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
        try {
          decodeChannel(noise)
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(GodwitError)
        }
      }),
      seeded(2000),
    )
  })
})

it('an error of any length is said in as many words as the other side takes', () => {
  const long = 'x'.repeat(3000)
  const said = abortOf(new GodwitError('internal', long, { hint: long }), 'source')
  const bytes = encodeControl(said)
  for (const decode of [decodeChannel, decodeControl]) expect(decode(bytes.subarray(FRAME_HEADER_BYTES))).toEqual(said)
})
