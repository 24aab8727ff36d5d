// Clients of a key-value guest through a backend: they add to counters of their own, several commands under way, and know
// what the counters must be (R30).

import { setImmediate as breathe, setTimeout as wait } from 'node:timers/promises'
import { expect } from 'vitest'
import type { Backend, BackendError } from '../../src/gateway/backend.ts'
import { sendTo } from './ask.ts'

const KEYS = 40
const ERRORS: readonly string[] = ['unreachable', 'unknown', 'refused'] satisfies BackendError[]

/** One command; resolves with the reply, or the error's name. */
export function command(backend: Backend, vcpu: number, ...parts: string[]): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  sendTo(backend, vcpu, parts, (reply) => resolve(typeof reply === 'string' ? reply : reply.toString('latin1')))
  return promise
}

export class CountingClient {
  /** Commands given for each key, and those of them that ended in an error. */
  readonly given = new Map<string, number>()
  readonly failed = new Map<string, number>()
  done = 0
  errors: string[] = []
  /** The longest time that a command took, ms. */
  longestMs = 0
  readonly #backend: Backend
  readonly #vcpu: number
  readonly #name: string
  readonly #step: number
  #state: number
  #stopped = false

  /** `step`: what each command adds; 2 where others must find none of it. */
  constructor(backend: Backend, vcpu: number, name: string, step = 1) {
    this.#backend = backend
    this.#vcpu = vcpu
    this.#name = name
    this.#step = step
    this.#state = name.length * 7919 + vcpu
  }

  /** `pipeline` commands under way until `stop`, each given `restMs` after the reply to the one before. */
  async run(pipeline: number, restMs = 0): Promise<void> {
    await Promise.all(Array.from({ length: pipeline }, () => this.#loop(restMs)))
  }

  stop(): void {
    this.#stopped = true
  }

  /** No command was lost or counted twice; those that failed may have counted or not. */
  async check(through = this.#backend): Promise<void> {
    for (const [key, given] of this.given) {
      const reply = await command(through, this.#vcpu, 'GET', key)
      const count = Number(/^\$\d+\r\n(\d+)\r\n$/.exec(reply)?.[1] ?? Number.NaN) / this.#step
      const failed = this.failed.get(key) ?? 0
      if (failed === 0) expect([key, count]).toEqual([key, given])
      else {
        expect(count).toBeGreaterThanOrEqual(given - failed)
        expect(count).toBeLessThanOrEqual(given)
      }
    }
  }

  async #loop(restMs: number): Promise<void> {
    while (!this.#stopped) {
      if (restMs > 0) await wait(restMs)
      this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0
      const key = `${this.#name}:${this.#state % KEYS}`
      const given = (this.given.get(key) ?? 0) + 1
      this.given.set(key, given)
      const startedAt = performance.now()
      const reply = await command(this.#backend, this.#vcpu, 'INCRBY', key, `${this.#step}`)
      this.longestMs = Math.max(this.longestMs, performance.now() - startedAt)
      if (ERRORS.includes(reply)) {
        this.errors.push(reply)
        // A backend that is closed fails everything at once, for ever.
        await breathe()
        this.failed.set(key, (this.failed.get(key) ?? 0) + 1)
      } else if ((this.failed.get(key) ?? 0) === 0) {
        // Commands of one gateway to one vCPU are executed in the order in which they were given.
        expect(reply).toBe(`:${given * this.#step}\r\n`)
      }
      this.done++
    }
  }
}
