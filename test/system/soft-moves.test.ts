// What a soft migration sends with data behind its switch: the pages that were stale at the switch, each once, and beside them
// only what was written since, which is counted apart.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { onMigrationEvent } from '../../src/events.ts'
import { countBits } from '../../src/guest/page-set.ts'
import { loadWord } from '../../src/guest/safepoint.ts'
import { tableOf } from '../../src/guest/safepoint-machine.ts'
import { staleAtSwitch } from '../../src/guest/sharing.ts'
import type { MigrationReport } from '../../src/migration/report.ts'
import { SEED } from '../programs/guest-fixture.ts'
import { Random } from '../simulation/random.ts'
import { Journey } from '../support/journey.ts'
import type { Relay } from '../support/relay.ts'

/** Reads everywhere, and writes nothing but its registers; with `apart` each vCPU reads a part of its own. */
const READER = `
export function create({ vcpu, vcpus, memoryBytes, options, registers }) {
  const pages = memoryBytes / 4096 / (options.apart ? vcpus : 1)
  const first = options.apart ? vcpu * pages : 0
  return {
    step(accessors) {
      registers[0] = (Math.imul(registers[0], 1664525) + 1013904223 + vcpu) >>> 0
      const page = first + Math.floor((registers[0] / 2 ** 32) * pages)
      registers[1] = registers[1] + accessors.loadU32(4096 * page)
    },
  }
}
export function fill({ bytes, firstPage, pageCount }) {
  for (let page = firstPage; page < firstPage + pageCount; page++) bytes.fill(1 + (page % 255), 4096 * page, 4096 * page + 64)
}
`
const PAGES = 1024
const MARKED = 300

let programs: string
let journey: Journey
let unwatch: () => void = () => {}
beforeAll(() => {
  programs = mkdtempSync(join(tmpdir(), 'godwit-test-'))
  writeFileSync(join(programs, 'reader.mjs'), READER)
})
afterEach(async () => {
  unwatch()
  await journey?.close()
})
afterAll(() => rmSync(programs, { recursive: true, force: true }))

/** When the rounds are over and the switch begins, as if the guest had just written so many pages. */
function markAtSwitch(count: number): void {
  console.log(`GODWIT_SEED=${SEED}`)
  const random = new Random(SEED)
  const pages = new Set<number>()
  while (pages.size < count) pages.add(random.below(PAGES))
  unwatch = onMigrationEvent(Journey.nextId, (event) => {
    if (event.type !== 'stage' || event.stage !== 'stop') return
    const { memory } = journey.source
    for (const page of pages) memory.controlBytes[memory.layout.cards[tableOf(loadWord(memory))] + page] = 1
  })
}

const begin = (options: Record<string, string | boolean | number>, perSecond = 20_000): Promise<Journey> => {
  const program = 'workload' in options ? 'mutator' : 'reader.mjs'
  const pace = { kind: 'free', perSecond } as const
  return Journey.begin({ vcpus: 4, memoryBytes: PAGES * 4096, program, options, pace }, programs)
}

/** Of a migration that completed: sent with data = stale at the switch + counted apart. */
function expectExact({ soft }: MigrationReport): NonNullable<MigrationReport['soft']> {
  if (soft === undefined) throw new Error('not a soft migration')
  const { push, pull, ahead, again } = soft.moves
  expect(push + pull + ahead).toBe(soft.staleAtSwitch + again)
  // Each of them was sent.
  const { memory } = journey.source
  expect(countBits(memory, staleAtSwitch(memory.layout))).toBe(0)
  return soft
}

describe('a guest that writes nothing behind the switch sends what was stale, each page once', () => {
  test('paused', async () => {
    journey = await begin({})
    await journey.source.pause()
    markAtSwitch(MARKED)
    const report = await journey.move({ movement: 'soft' })
    expect(report).toMatchObject({ outcome: 'completed', consistent: true })
    const { staleAtSwitch, moves } = expectExact(report)
    expect({ staleAtSwitch, again: moves.again, returned: moves.returned }).toEqual({
      ...{ staleAtSwitch: MARKED, again: 0, returned: 0 },
    })
    expect(moves.push + moves.pull + moves.ahead + moves.withoutData).toBe(PAGES + moves.ahead)
  })

  test.each([
    { apart: true, bandwidth: null },
    { apart: false, bandwidth: 2_000_000 },
    { apart: true, bandwidth: 2_000_000 },
  ])('reading, each vCPU its own part: $apart, at $bandwidth bytes per second', async ({ apart, bandwidth }) => {
    journey = await begin({ apart })
    markAtSwitch(MARKED)
    const report = await journey.move({ movement: 'soft', bandwidth })
    await journey.expectArrived(report)
    const { staleAtSwitch, moves } = expectExact(report)
    expect({ staleAtSwitch, again: moves.again }).toEqual({ staleAtSwitch: MARKED, again: 0 })
    if (apart) expect(moves.ahead).toBeGreaterThan(0)
    else expect(moves.returned).toBeGreaterThan(0)
  })

  test('without a round before: everything is stale, and goes once', async () => {
    journey = await begin({ apart: true })
    const report = await journey.move({ movement: 'soft', maxRounds: 0 })
    await journey.expectArrived(report)
    const { staleAtSwitch, moves } = expectExact(report)
    expect({ staleAtSwitch, again: moves.again }).toEqual({ staleAtSwitch: PAGES, again: 0 })
  })
})

describe('a guest that writes', () => {
  test.each(['hot', 'local', 'web', 'free'])(
    '%s: what it wrote since the switch is counted apart',
    async (workload) => {
      journey = await begin({ workload, content: 'random' }, 50_000)
      const report = await journey.move({ movement: 'soft', bandwidth: 6_000_000, maxRounds: 1 })
      await journey.expectArrived(report)
      const { staleAtSwitch, moves } = expectExact(report)
      expect(staleAtSwitch).toBeGreaterThan(0)
      expect(moves.again).toBeGreaterThan(0)
      // Rounds behind the switch are told as such.
      const narrow = report.rounds.filter(({ decision }) => decision === 'narrow')
      expect(narrow.reduce((sum, { sent }) => sum + sent, 0)).toBe(moves.ahead)
      expect(report.pages.sent).toBe(report.rounds.reduce((sum, { sent }) => sum + sent, 0) + moves.push + moves.pull)
    },
  )

  test.each(['activate', 'pull'] as const)('cut off at %s: what goes once more is counted apart', async (stage) => {
    journey = await begin({ workload: 'local', content: 'random' }, 50_000)
    let relay: Relay
    journey.agent.relayed = (opened) => {
      relay = opened
    }
    unwatch = onMigrationEvent(Journey.nextId, (event) => {
      if (event.type === 'stage' && event.stage === stage) setTimeout(() => relay.cut(false), 20)
    })
    const report = await journey.move({ movement: 'soft', bandwidth: 6_000_000, maxRounds: 1 })
    await journey.expectArrived(report)
    expectExact(report)
  })
})
