// The safepoint's pure functions: the word, epochs across their wrap, and who counts as acknowledged (R4, R7).

import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  acknowledged,
  epochOf,
  isPause,
  nextWord,
  obey,
  reached,
  tableOf,
  VCPU,
  wordOf,
} from '../../src/guest/safepoint-machine.ts'

const EPOCHS = 2 ** 24
const epoch = fc.oneof(fc.nat(EPOCHS - 1), fc.constantFrom(0, 1, EPOCHS / 2, EPOCHS - 1))
const table = fc.constantFrom<0 | 1>(0, 1)

test('a word holds its parts and is an Int32', () => {
  fc.assert(
    fc.property(epoch, fc.boolean(), table, (number, pause, index) => {
      const word = wordOf(number, pause, index)
      expect([epochOf(word), isPause(word), tableOf(word)]).toEqual([number, pause, index])
      expect(word | 0).toBe(word)
    }),
  )
})

test('the next word is one epoch on and changes only what it is told', () => {
  fc.assert(
    fc.property(epoch, fc.boolean(), table, (number, pause, index) => {
      const word = wordOf(number, pause, index)
      expect(nextWord(word, {})).toBe(wordOf(number + 1, pause, index))
      expect(nextWord(word, { pause: !pause })).toBe(wordOf(number + 1, !pause, index))
      expect(reached(nextWord(word, {}), word)).toBe(true)
      expect(reached(word, nextWord(word, {}))).toBe(false)
    }),
  )
})

test('a vCPU parks for a pause at a boundary only, and for one it has seen before too', () => {
  const [old, pause] = [wordOf(1, false, 0), wordOf(2, true, 1)]
  expect(obey('boundary', old, pause)).toEqual({ acknowledge: true, table: 1, phase: VCPU.parkedBoundary })
  expect(obey('boundary', pause, pause)).toEqual({ acknowledge: false, table: 1, phase: VCPU.parkedBoundary })
  expect(obey('inside', old, pause)).toEqual({ acknowledge: true, table: 1, phase: VCPU.running })
  expect(obey('boundary', old, old)).toEqual({ acknowledge: false, table: 0, phase: VCPU.running })
})

test('who counts as acknowledged', () => {
  const [before, target, after] = [wordOf(4, false, 0), wordOf(5, false, 1), wordOf(6, false, 1)]
  const answers = (phase: number, ack: number) =>
    (['round', 'revocation', 'pause'] as const).map((kind) => acknowledged(phase, ack, target, kind))
  expect(answers(VCPU.running, before)).toEqual([false, false, false])
  expect(answers(VCPU.running, target)).toEqual([true, true, false])
  expect(answers(VCPU.running, after)).toEqual([true, true, false])
  expect(answers(VCPU.parkedBoundary, before)).toEqual([true, true, true])
  expect(answers(VCPU.parkedInside, before)).toEqual([true, true, false])
  expect(answers(VCPU.dead, before)).toEqual([true, true, true])
  expect(answers(VCPU.starting, target)).toEqual([false, false, false])
})
