// Every interleaving of the time in which both hosts run parts of a guest, from the switch to the end: messages and the token
// in flight, cuts and redials, a crash of either process, of the guest, a host or an exchange, a cancel, an operator (R18–R21, R24–R29).

import { describe, expect, test } from 'vitest'
import { explore } from './explorer.ts'
import { softModel } from './soft-model.ts'
import type { SoftVariant, SoftWorld } from './soft-world.ts'

const TIMEOUT_MS = 120_000
const one: SoftVariant = { faults: 1, decisions: 0 }

function exploreTo(variant: SoftVariant, mayEnd: (world: SoftWorld) => boolean) {
  const model = softModel(variant)
  return explore({ ...model, mayEnd: (world) => model.mayEnd(world) && mayEnd(world) })
}

describe('both hosts run parts of the guest', { timeout: TIMEOUT_MS }, () => {
  test('without a fault it ends whole at one side, and both know', () => {
    const result = explore(softModel({ ...one, faults: 0 }))
    expect(result.violation).toBeNull()
    expect(result.ends).toBeGreaterThan(1)
  })

  test.each([
    { faults: 1, decisions: 0, least: 300 },
    { faults: 1, decisions: 1, least: 300 },
    { faults: 2, decisions: 0, least: 1000 },
    { faults: 2, decisions: 2, least: 1000 },
  ])('$faults fault(s) and $decisions decision(s) anywhere', ({ least, ...variant }) => {
    const result = explore(softModel(variant))
    expect(result.violation).toBeNull()
    expect(result.states).toBeGreaterThan(least)
  })

  test('three cuts lose nothing, and it ends whole at one side', () => {
    const model = softModel({ faults: 3, decisions: 0 })
    const cutsAlone = (label: string): boolean => !/dies|crashes|fails/.test(label)
    const successors = (world: SoftWorld) => model.successors(world).filter(({ label }) => cutsAlone(label))
    expect(explore({ ...model, successors }).violation).toBeNull()
  })

  test('who has everything does not depend on whether the other host comes back', () => {
    const result = exploreTo(one, ({ token, source, cancelled, destination, homeHeard }) => {
      if (token === 'source') return !cancelled || source !== 'shared'
      return token !== 'destination' || homeHeard || destination !== 'shared'
    })
    expect(result.violation).toBeNull()
  })

  test('who died with a part takes the guest along: it runs nowhere any more', () => {
    const result = exploreTo(one, ({ token, source, destination }) => {
      if (token !== 'gone') return true
      return !['running', 'aborted', 'offered'].includes(source) && !['owner', 'settled'].includes(destination)
    })
    expect(result.violation).toBeNull()
  })
})

describe('what the rules forbid is found', { timeout: TIMEOUT_MS }, () => {
  const ruleOf = (variant: Partial<SoftVariant>): string | undefined =>
    explore(softModel({ ...one, ...variant })).violation?.rule

  test('R20: a prepared destination that runs because its source died', () => {
    expect(ruleOf({ recordsForgetSharing: true, runsOnReleased: true })).toBe('the destination runs as if whole')
  })

  test('R25: a source that takes what is under way for given', () => {
    expect(ruleOf({ faults: 0, goneUnconfirmed: true })).toBe('retired with the token')
  })

  test('R25: a destination that goes on with what it has when it is cut off', () => {
    expect(ruleOf({ takesOverUnwhole: true })).toBe('the guest runs on two hosts')
  })

  test('R25: a destination that is lost with everything, for its source says nothing', () => {
    expect(ruleOf({ asksBlindly: true })).toBe('lost with everything')
  })

  test.each(['source', 'destination'] as const)('R25: a %s that says once that its exchange has failed', (saysOnce) => {
    expect(ruleOf({ faults: 2, saysOnce })).toBe('deadlock')
  })

  test('R25: a source that goes on with what it has when it is called off and cut off', () => {
    expect(ruleOf({ goesOnUnwhole: true })).toBe('the source runs as if whole')
  })

  test('R29: a source that goes on with what it has when its peer is dead', () => {
    expect(ruleOf({ keepsWhatItHas: true })).toBe('the source runs as if whole')
  })
})
