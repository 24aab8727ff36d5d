// A guest of one vCPU that runs the real key-value program over real pages, on one of two played hosts or on its way from one to the
// other. Steps when the test says so. Used by test/gateway/exactly-once.test.ts.

import { Accessors } from '../../src/guest/accessors.ts'
import type { Program, RequestPort, ServiceAnswer, ServiceRequest } from '../../src/guest/program.ts'
import { registersOf } from '../../src/guest/safepoint.ts'
import { create } from '../../src/programs/kv/program.ts'
import { requestOf } from '../../src/programs/kv/request.ts'
import { encodeRequest } from '../../src/programs/kv/request-codec.ts'
import { newStore, openStore } from '../programs/kv/store.ts'
import type { PlayedHost } from './played-host.ts'

const PAGES = 64

export class PlayedGuest implements RequestPort {
  /** Where the vCPU runs; null: nowhere. */
  host: PlayedHost | null = null
  /** How often the vCPU answered what. */
  readonly answered = new Map<string, number>()
  readonly #memory = newStore(PAGES).memory
  readonly #hosts: readonly [PlayedHost, PlayedHost]
  /** The one it was at last. */
  #last: PlayedHost
  #accessors!: Accessors
  #program!: Program

  constructor(hosts: readonly PlayedHost[]) {
    this.#hosts = hosts as [PlayedHost, PlayedHost]
    this.#last = this.#hosts[0]
    this.arrive(this.#last)
  }

  /** The one that it is at, or was at last, and the other. */
  get near(): PlayedHost {
    return this.#last
  }

  get far(): PlayedHost {
    return this.#last === this.#hosts[0] ? this.#hosts[1] : this.#hosts[0]
  }

  /** Takes so many requests from the ring of its host. */
  step(most: number): void {
    for (let count = 0; count < most && this.peek() !== null; count++) this.#program.step(this.#accessors)
  }

  /** A gateway that is not played further sends its first command. */
  ask(gateway: number, nowMs: number, ...parts: readonly string[]): void {
    const bytes = encodeRequest(requestOf(...parts))
    this.host?.ring.push({ gateway, sequence: 1, acknowledged: 0, nowMs, bytes })
  }

  /** Its crossing begins: requests that come now go back. */
  leave(): void {
    this.host?.leave()
  }

  /** The crossing is given up before the vCPU stood. */
  stay(): void {
    if (this.host?.state === 'leaving') this.host.arrive()
  }

  /** It stands, and is nowhere until it arrives: at `far`, or at `near` when the crossing is given up. */
  left(): void {
    if (this.host?.state !== 'leaving') return
    this.host.left()
    this.host = null
  }

  arrive(host: PlayedHost): void {
    if (this.host !== null) return
    this.host = host
    this.#last = host
    const registers = registersOf(this.#memory, 0)
    const { memoryBytes } = this.#memory.layout
    this.#accessors = new Accessors(this.#memory, registers)
    this.#program = create({ vcpu: 0, vcpus: 1, memoryBytes, options: {}, seed: 1, registers, requests: this })
    host.arrive()
  }

  /** A string of the store, read past the program; empty: there is none. */
  read(key: string): string {
    const reply = openStore(this.#memory).run(['GET', key])
    return reply.startsWith('$-1') ? '' : reply.slice(reply.indexOf('\n') + 1, -2)
  }

  peek(): ServiceRequest | null {
    return this.host?.ring[0] ?? null
  }

  done(): void {
    this.host?.ring.shift()
  }

  fits(): boolean {
    return true
  }

  awaitRoom(): void {}

  /** Its bytes are the program's, which uses them again. */
  answer({ what, gateway, sequence, bytes, from = 0, length = bytes.length }: ServiceAnswer): void {
    this.answered.set(what, (this.answered.get(what) ?? 0) + 1)
    this.host?.answers.push({ what, gateway, sequence, bytes: bytes.slice(from, from + length) })
  }
}
