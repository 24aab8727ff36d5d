// A backend for tests of the gateway's front: the key-value store's shards in this process, with replies when the test
// says so, or in the next turn.

import type { Backend, BackendError, ReplyTaker } from '../../src/gateway/backend.ts'
import { execute } from '../../src/programs/kv/execute.ts'
import { Reply } from '../../src/programs/kv/reply.ts'
import type { Request } from '../../src/programs/kv/request.ts'
import { decodeRequest, encodeRequest } from '../../src/programs/kv/request-codec.ts'
import { newStore, openStore, type Store } from '../programs/kv/store.ts'

interface Waiting {
  readonly bytes: Uint8Array
  readonly taker: ReplyTaker
  readonly tag: number
}

export class KvBackend implements Backend {
  readonly vcpus: number
  /** Replies wait for `answer` while it is true. */
  held = false
  /** Above so many waiting commands of a vCPU it is full. */
  room = 100_000
  readonly #shards: Store[]
  readonly #lanes: Waiting[][]
  readonly #reply = new Reply(new Uint8Array(64 * 1024), 64 * 1024 * 1024)
  readonly #decoded: Request = {
    bytes: new Uint8Array(0),
    starts: new Uint32Array(16),
    lengths: new Uint32Array(16),
    count: 0,
  }
  readonly #drains: (() => void)[] = []
  #scheduled = false

  constructor(vcpus = 1, pages = 2048) {
    const first = newStore(pages, vcpus)
    this.vcpus = vcpus
    this.#shards = [first, ...Array.from({ length: vcpus - 1 }, (_, index) => openStore(first.memory, index + 1))]
    this.#lanes = this.#shards.map(() => [])
  }

  get waiting(): number {
    return this.#lanes.reduce((sum, lane) => sum + lane.length, 0)
  }

  lengthOf(vcpu: number): number {
    return this.#lane(vcpu).length
  }

  send(vcpu: number, request: Request, taker: ReplyTaker, tag: number): void {
    this.#lane(vcpu).push({ bytes: encodeRequest(request), taker, tag })
    if (this.held || this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      if (!this.held) this.answerAll()
    })
  }

  /** Executes and answers the oldest command of the vCPU; with an error it is not executed. */
  answer(vcpu: number, error?: BackendError): void {
    const waiting = this.#lane(vcpu).shift()
    if (waiting === undefined) return
    const { bytes, taker, tag } = waiting
    if (error !== undefined) taker.onFailure(tag, error)
    else {
      decodeRequest(bytes, this.#decoded)
      this.#reply.rewind(0)
      execute((this.#shards[vcpu] as Store).shard, this.#decoded, this.#reply, Date.now())
      taker.onReply(tag, this.#reply.bytes, 0, this.#reply.length)
    }
    if (this.#lane(vcpu).length === this.room - 1) for (const drain of this.#drains) drain()
  }

  answerAll(): void {
    for (let vcpu = 0; vcpu < this.vcpus; vcpu++) while (this.lengthOf(vcpu) > 0) this.answer(vcpu)
  }

  isFull(vcpu: number): boolean {
    return this.#lane(vcpu).length >= this.room
  }

  onDrain(listener: () => void): void {
    this.#drains.push(listener)
  }

  place(): { host: string; port: number } {
    return { host: '127.0.0.1', port: 1 }
  }

  onPlaces(): void {}

  async close(): Promise<void> {}

  #lane(vcpu: number): Waiting[] {
    return this.#lanes[vcpu] as Waiting[]
  }
}
