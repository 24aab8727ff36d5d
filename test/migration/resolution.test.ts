// What an operator may decide, as a table: who asks, in which state, what, and what the peer answers (R21, R22).

import { describe, expect, test } from 'vitest'
import type { DestinationState, SourceState } from '../../src/migration/commit-machine.ts'
import { VERDICTS } from '../../src/migration/ownership-record.ts'
import { mayResolve, type Resolution } from '../../src/migration/resolution.ts'

type Answer = Parameters<typeof mayResolve>[3]
const ANSWERS: readonly Answer[] = [...VERDICTS, 'unreachable']
const SOURCE: readonly SourceState[] = [
  'running',
  'paused',
  'released',
  'serving',
  'done',
  'aborted',
  'reclaimed',
  'lost',
  'abandoned',
]
const DESTINATION: readonly DestinationState[] = [
  'receiving',
  'incoming',
  'pulling',
  'owner',
  'settled',
  'dropped',
  'lost',
  'abandoned',
]

/** Every answer that lets it through, as `answer` or, with the operator's word that the peer is dead, `answer!`. */
function allowed(
  role: 'source' | 'destination',
  state: SourceState | DestinationState,
  what: Resolution,
  pull: boolean,
): string {
  const may = (answer: Answer, dead: boolean): boolean => mayResolve(role, state, what, answer, dead, pull) === null
  const words = ANSWERS.flatMap((answer) => {
    const [plain, dead] = [may(answer, false), may(answer, true)]
    expect(plain && !dead, 'the word that the peer is dead never forbids').toBe(false)
    return plain ? [answer] : dead ? [`${answer}!`] : []
  })
  return words.length === ANSWERS.length && !words.includes('unreachable!') ? 'anything' : words.join(' ')
}

describe.each<['source' | 'destination', SourceState | DestinationState, boolean, string, string, string]>([
  // role, state, pull, answers that allow: take, abandon, take-stale
  ['source', 'released', false, 'dropped unreachable!', '', ''],
  ['source', 'released', true, 'dropped', 'lost unreachable!', 'lost unreachable!'],
  ['source', 'serving', true, '', 'lost unreachable!', 'lost unreachable!'],
  ['source', 'lost', true, '', 'anything', 'lost unreachable!'],
  ['destination', 'incoming', false, 'released unreachable!', '', ''],
  ['destination', 'incoming', true, '', '', ''],
  ['destination', 'pulling', true, '', 'lost unreachable!', ''],
  ['destination', 'lost', true, '', 'anything', ''],
])('%s, %s, pull %s', (role, state, pull, take, abandon, takeStale) => {
  test(`take: ${take || 'never'}`, () => expect(allowed(role, state, 'take', pull)).toBe(take))
  test(`abandon: ${abandon || 'never'}`, () => expect(allowed(role, state, 'abandon', pull)).toBe(abandon))
  test(`take-stale: ${takeStale || 'never'}`, () => expect(allowed(role, state, 'take-stale', pull)).toBe(takeStale))
})

const resolutions = ['take', 'abandon', 'take-stale'] as const

test('there is nothing to decide in any other state, and asking is always allowed', () => {
  const inDoubt = ['released', 'serving', 'lost', 'incoming', 'pulling']
  for (const [role, states] of [['source', SOURCE] as const, ['destination', DESTINATION] as const]) {
    for (const state of states) {
      expect(allowed(role, state, 'status', true)).toBe('anything')
      if (inDoubt.includes(state)) continue
      for (const what of resolutions) expect(allowed(role, state, what, true)).toBe('')
    }
  }
})

type Refused = [Parameters<typeof mayResolve>, string, RegExp]

test.each<Refused>([
  [['source', 'released', 'take', 'unreachable', false], 'unreachable', /--take --peer-is-dead/],
  [['source', 'released', 'take', 'unknown', true], 'owner-elsewhere', /godwit resolve GUEST/],
  [['source', 'released', 'take', 'unreachable', true, true], 'lost', /--take-stale --peer-is-dead/],
  [['source', 'released', 'take-stale', 'dropped', false], 'guest-not-running', /--take,/],
  [['source', 'serving', 'take', 'lost', false, true], 'lost', /--take-stale/],
  [['source', 'serving', 'take-stale', 'unreachable', false, true], 'unreachable', /--take-stale --peer-is-dead/],
  [['source', 'serving', 'take-stale', 'unknown', true, true], 'owner-elsewhere', /godwit resolve GUEST/],
  [['source', 'serving', 'abandon', 'owner', true, true], 'owner-elsewhere', /godwit resolve GUEST/],
  [['destination', 'incoming', 'take', 'released', false, true], 'lost', /godwit stop GUEST --force/],
  [['destination', 'pulling', 'take', 'unreachable', true, true], 'lost', /--abandon/],
  [['destination', 'pulling', 'abandon', 'unreachable', false, true], 'unreachable', /--abandon --peer-is-dead/],
  [['destination', 'pulling', 'abandon', 'released', true, true], 'owner-elsewhere', /godwit resolve GUEST/],
  [['destination', 'lost', 'take-stale', 'lost', false, true], 'lost', /agent of the source.*--take-stale/],
  [['source', 'done', 'take', 'owner', false], 'guest-not-running', /godwit show GUEST/],
  // Soft: before anything has left, while both serve, and when one of the two is gone.
  ...(['take', 'abandon', 'take-stale'] as const).map(
    (what): Refused => [
      ['source', 'offered', what, 'unreachable', true, false, true],
      'guest-not-running',
      /godwit cancel/,
    ],
  ),
  ...(['shared', 'retired', 'lost'] as const).flatMap((state): Refused[] => [
    [['source', state, 'take', 'unreachable', true, false, true], 'lost', /--abandon/],
    [['source', state, 'take-stale', 'unreachable', true, false, true], 'lost', /--abandon/],
  ]),
  // It may have all of it: what is given up is not tried first.
  [['source', 'shared', 'take', 'unreachable', true, false, true], 'lost', /cancel.*--abandon/],
  // It has given all of it, and it is too late to call that off.
  [['source', 'retired', 'take', 'unreachable', true, false, true], 'lost', /^to give up.*--abandon/],
  [['destination', 'shared', 'take', 'lost', true, false, true], 'lost', /^to give up.*--abandon/],
  [['destination', 'lost', 'take', 'lost', true, false, true], 'lost', /--abandon/],
  [['destination', 'incoming', 'take', 'released', true, false, true], 'lost', /godwit stop GUEST --force/],
  [['destination', 'shared', 'abandon', 'unreachable', false, false, true], 'unreachable', /--abandon --peer-is-dead/],
])('%j is refused with %s', (question, code, hint) => {
  expect(mayResolve(...question)).toMatchObject({ code, hint: expect.stringMatching(hint) })
})

test('a refusal is one line, and its hint says what to type', () => {
  for (const [role, states] of [['source', SOURCE] as const, ['destination', DESTINATION] as const]) {
    for (const state of states) {
      for (const what of resolutions) {
        for (const answer of ANSWERS) {
          for (const pull of [false, true]) {
            const refusal = mayResolve(role, state, what, answer, false, pull)
            if (refusal === null) continue
            expect(refusal.message).not.toContain('\n')
            expect(refusal.hint).toMatch(/^[^\n]*godwit (resolve|stop|show) GUEST/)
          }
        }
      }
    }
  }
})
