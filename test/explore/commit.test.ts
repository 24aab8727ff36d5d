// Every interleaving of the two-phase commit and of the pull phase behind it: messages and pages in flight, cuts and
// redials, a crash of either process or loss of its host, a cancel, an operator, agents that answer for the dead
// (R18–R22, R24).

import { describe, expect, test } from 'vitest'
import { commitModel, runsSomewhere, type Variant, type World } from './commit-model.ts'
import { type Exploration, explore } from './explorer.ts'

const TIMEOUT_MS = 120_000
const plain: Variant = { pull: false, faults: 1, decisions: 0 }
const pulling: Variant = { pull: true, faults: 1, decisions: 0 }

/** Explores with one more thing that must be true wherever nothing can happen any more. */
function exploreTo(variant: Variant, mayEnd: (world: World) => boolean): Exploration {
  const model = commitModel(variant)
  return explore({ ...model, mayEnd: (world) => model.mayEnd(world) && mayEnd(world) })
}

describe('everything is there before the guest runs', () => {
  test('one fault anywhere: one owner, never two, never none while a process with the guest lives', () => {
    const result = explore(commitModel(plain))
    expect(result.violation).toBeNull()
    expect(result.states).toBeGreaterThan(60)
  })

  test('two faults anywhere keep the same rules', { timeout: TIMEOUT_MS }, () => {
    expect(explore(commitModel({ ...plain, faults: 2 })).violation).toBeNull()
  })

  test('no operator may abandon it or take it as it was', () => {
    const without = explore(commitModel(plain))
    expect(explore(commitModel({ ...plain, decisions: 1 }))).toEqual(without)
  })

  test('a source that dies alone leaves the guest to a prepared destination', () => {
    const result = exploreTo(plain, ({ source, destination, hostGone }) => {
      if (source !== 'dead') return true
      return ['dropped', 'owner', 'settled'].includes(destination) || hostGone === 'source'
    })
    expect(result.violation).toBeNull()
  })
})

describe('the guest runs before its memory is there', { timeout: TIMEOUT_MS }, () => {
  test('without a fault it ends whole at the destination, or was cancelled in time', () => {
    const result = exploreTo(
      { ...pulling, faults: 0 },
      ({ source, destination }) => (source === 'done' && destination === 'settled') || source === 'aborted',
    )
    expect(result.violation).toBeNull()
    expect(result.ends).toBeGreaterThan(1)
  })

  test('one fault and one decision of an operator anywhere', () => {
    const result = explore(commitModel({ ...pulling, decisions: 1 }))
    expect(result.violation).toBeNull()
    expect(result.states).toBeGreaterThan(500)
  })

  test('two faults and two decisions', () => {
    const result = explore(commitModel({ ...pulling, faults: 2, decisions: 2 }))
    expect(result.violation).toBeNull()
    expect(result.states).toBeGreaterThan(2500)
  })

  test('cuts alone lose nothing: it runs in one place in the end', () => {
    const model = commitModel({ ...pulling, faults: 2 })
    const result = explore({
      ...model,
      successors: (world) => model.successors(world).filter(({ label }) => !label.endsWith('dies')),
      mayEnd: runsSomewhere,
    })
    expect(result.violation).toBeNull()
  })

  test('a crash while pages are missing ends in lost, and nothing runs unless an operator says so', () => {
    for (const decisions of [0, 1]) {
      const result = exploreTo({ ...pulling, decisions }, (world) => {
        const { source, destination, tookStale, missing } = world
        if (!world.diedWhilePulling) return true
        if (source === 'dead') return missing === 0 || destination !== 'owner'
        return source === 'lost' || source === 'abandoned' || tookStale || world.hostGone === 'destination'
      })
      expect(result.violation).toBeNull()
    }
  })

  test('a lost guest may be taken as it was at the switch: only then does the source run it', () => {
    const found = exploreTo({ ...pulling, decisions: 1 }, ({ tookStale }) => !tookStale)
    expect(found.violation?.trace).toContain('operator: take-stale at the source')
    const result = exploreTo(
      { ...pulling, decisions: 1 },
      ({ tookStale, source }) => !tookStale || source === 'reclaimed',
    )
    expect(result.violation).toBeNull()
  })

  test('R21: when the operator was wrong about a host, one of the two stops as soon as they meet', () => {
    const result = explore(commitModel({ ...pulling, decisions: 1, operatorErrs: true }))
    expect(result.violation).toBeNull()
  })
})

describe('what the rules forbid is found', { timeout: TIMEOUT_MS }, () => {
  const ruleOf = (variant: Partial<Variant>): string | undefined =>
    explore(commitModel({ ...pulling, ...variant })).violation?.rule

  test('a source that resumes on a cut although it has released the guest', () => {
    const base = commitModel(plain)
    const result = explore({
      ...base,
      successors: (world) =>
        base
          .successors(world)
          .map((step) =>
            step.label === 'source sees the cut' && world.source === 'released'
              ? { ...step, state: { ...step.state, source: 'aborted' as const } }
              : step,
          ),
    })
    expect(result.violation?.rule).toBe('the guest runs on two hosts')
  })

  test('R22: a source that takes "it runs here" for "it is whole here"', () => {
    expect(ruleOf({ faults: 0, activeIsComplete: true })).toBe('discarded before it was whole elsewhere')
  })

  test('R22: a record that does not say that pages are elsewhere', () => {
    expect(ruleOf({ recordsForgetPull: true })).toBe('deadlock')
  })

  test('R21: a destination that runs before that is on record', () => {
    expect(ruleOf({ runsUnrecorded: true })).toBe('resumed as it was, though it had run on')
  })

  test('R21: an operator who takes a living host for dead', () => {
    const model = commitModel({ ...pulling, decisions: 1, operatorErrs: true })
    const strict = commitModel({ ...pulling, decisions: 1 })
    expect(explore({ ...model, violation: strict.violation }).violation?.rule).toBe('the guest runs on two hosts')
  })
})
