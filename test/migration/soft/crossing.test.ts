// How a side gives its vCPUs away, one by one, whatever the exchange answers.

import { expect, test } from 'vitest'
import { GodwitError } from '../../../src/errors.ts'
import type { PageExchange } from '../../../src/migration/ports.ts'
import { giveAll } from '../../../src/migration/soft/crossing.ts'

/** vCPUs 0 and 1 are here; `cross` answers each attempt. */
function begin(cross: (vcpu: number, attempt: number) => Promise<void>) {
  const log: string[] = []
  const here = new Set([0, 1])
  const linked = { up: Promise.resolve() }
  const going = { on: true }
  let attempts = 0
  /** Whether everything that is left has gone. */
  const last = { gone: Promise.resolve() }
  let drained = Promise.resolve()
  const options = {
    here,
    vcpus: {
      hold: async (vcpu: number) => void log.push(`hold ${vcpu}`),
      release: (vcpu: number) => void log.push(`release ${vcpu}`),
      saveOne: () => ({ steps: 0, registers: new Uint8Array(0) }),
    },
    exchange: {
      cross(vcpu: number) {
        if (++attempts > 10) going.on = false
        return cross(vcpu, attempts)
      },
      push(what: Parameters<PageExchange['push']>[0]) {
        log.push(what === null || what === 'everything' ? `push ${what}` : `push of ${what.homes.join(' and ')}`)
        if (what === 'everything') drained = last.gone
      },
      drained: () => drained,
    } as unknown as PageExchange,
    clock: { now: () => 0, nowNs: () => 0n, sleep: () => new Promise<void>(() => {}).catch(() => {}) },
    linked: () => linked.up,
    onCrossed: (vcpu: number) => void log.push(`crossed ${vcpu}`),
    goOn: () => going.on,
  }
  // Of vCPUs and clock no more is used.
  const giving = (): Promise<boolean> => giveAll(options as unknown as Parameters<typeof giveAll>[0])
  return { giving, log, here, linked, going, last }
}

test('one after the other, then everything', async () => {
  const { giving, log, here } = begin(async () => {})
  expect(await giving()).toBe(true)
  // What a vCPU left behind follows it at once: it does not have to ask for it.
  const first = ['hold 0', 'push of 0', 'crossed 0']
  const second = ['hold 1', 'push of 0 and 1', 'crossed 1']
  expect(log).toEqual([...first, ...second, 'push everything'])
  expect(here.size).toBe(0)
})

test('who stays because of a cut runs on, and tries again', async () => {
  const { giving, log } = begin(async (_, attempt) => {
    if (attempt % 2 === 1) throw new GodwitError('cancelled', 'cut')
  })
  expect(await giving()).toBe(true)
  // Its pages stay with it until it goes.
  const first = ['hold 0', 'push of 0', 'push null', 'release 0', 'hold 0', 'push of 0', 'crossed 0']
  const second = ['hold 1', 'push of 0 and 1', 'push of 0', 'release 1', 'hold 1', 'push of 0 and 1', 'crossed 1']
  expect(log.slice(0, -1)).toEqual([...first, ...second])
})

test('who may be at either side runs nowhere, and nobody tries again', async () => {
  const { giving, log, here } = begin(async () => {
    throw new GodwitError('guest-not-running', 'the exchange was closed')
  })
  await expect(giving()).rejects.toMatchObject({ code: 'guest-not-running' })
  expect(log).toEqual(['hold 0', 'push of 0'])
  expect(here.has(0)).toBe(false)
})

test('nobody stands still for a link that is down', async () => {
  const { giving, log, linked, going } = begin(async () => {})
  const up = Promise.withResolvers<void>()
  linked.up = up.promise
  const gave = giving()
  await new Promise((resolve) => setImmediate(resolve))
  expect(log).toEqual([])
  going.on = false
  up.resolve()
  expect(await gave).toBe(false)
  expect(log).toEqual([])
})

test('a side that is told to stop has not given everything, though nothing is left', async () => {
  const { giving, log, going, last } = begin(async () => {})
  const empty = Promise.withResolvers<void>()
  last.gone = empty.promise
  const gave = giving()
  await expect.poll(() => log.at(-1)).toBe('push everything')
  going.on = false
  empty.resolve()
  expect(await gave).toBe(false)
})
