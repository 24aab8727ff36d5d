// Every interleaving of two vCPUs with weak plain loads, two pages that are placed, published and taken back, and a
// pause: nobody sees old bytes or touches a page that was given away, and a pause holds only at step boundaries (R4, R8).

import { describe, expect, test } from 'vitest'
import { explore } from './explorer.ts'
import { publishModel, type Variant } from './publish-model.ts'

const TIMEOUT_MS = 120_000
const sound: Variant = { stepsPerVcpu: 1, revokes: false, pauses: false, oneBuffer: false, broken: null }

describe('nobody sees old bytes and nobody waits for ever', { timeout: TIMEOUT_MS }, () => {
  test.each<[string, Partial<Variant>, number]>([
    ['pages are placed and published', { stepsPerVcpu: 2 }, 10_000],
    ['a page is taken back and comes again', { revokes: true }, 10_000],
    ['a pause at any time, while a vCPU waits for a page', { pauses: true }, 1000],
    ['R4: a page comes only when the one before it is published', { oneBuffer: true, stepsPerVcpu: 2 }, 1000],
  ])('%s', (_, variant, states) => {
    const result = explore(publishModel({ ...sound, ...variant }))
    expect(result.violation).toBeNull()
    expect(result.states).toBeGreaterThan(states)
    expect(result.ends).toBeGreaterThan(0)
  })
})

describe('what the rules forbid is found', { timeout: TIMEOUT_MS }, () => {
  test.each<[string, Variant['broken'], Partial<Variant>, string]>([
    ['R8', 'publish without a handshake', {}, 'a vCPU may see old bytes'],
    ['R8', 'publish what came during the handshake', {}, 'a vCPU may see old bytes'],
    ['R5', 'leave a fault without the word', {}, 'a vCPU may see old bytes'],
    ['R11', 'copy without a handshake', { revokes: true }, 'a vCPU touches a page that was given away'],
    ['R4', 'a fault counts as paused', { pauses: true }, 'paused inside a step'],
    ['R4', 'a fault holds up every handshake', { oneBuffer: true }, 'deadlock'],
  ])('%s: %s', (_, broken, variant, rule) => {
    expect(explore(publishModel({ ...sound, ...variant, broken })).violation?.rule).toBe(rule)
  })
})
