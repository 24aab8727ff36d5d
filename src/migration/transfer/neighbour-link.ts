// The asking end of a page socket (guest-process/page-service.ts): one request at a time, its answer read straight into a
// fixed area. The first failure ends the link for good: a neighbour that is late or gone is asked no more. Used by the
// destination's transfer threads, for pages, and by its main thread, for hashes.

import { connect, type Socket } from 'node:net'
import { GodwitError } from '../../errors.ts'
import { READ_BYTES } from '../../limits.ts'
import { answerBytes, encodePageRequest, type PageRequest } from '../../wire/page-request.ts'

export class NeighbourLink {
  readonly #path: string
  /** Where every answer begins; large enough for the largest. */
  readonly #area: Uint8Array
  #socket: Socket | null = null
  #failure: GodwitError | null = null
  #wanted = 0
  #filled = 0
  #answered: PromiseWithResolvers<void> | null = null

  constructor(path: string, area: Uint8Array) {
    this.#path = path
    this.#area = area
  }

  /** Whether it may still be asked. */
  get alive(): boolean {
    return this.#failure === null
  }

  /** Resolves when the answer lies in the area. Rejects with `unreachable` or `link-lost`, and does so for ever after. */
  async ask(request: PageRequest, withinMs: number): Promise<void> {
    if (this.#failure !== null) throw this.#failure
    const answered = Promise.withResolvers<void>()
    this.#answered = answered
    this.#wanted = answerBytes(request)
    this.#filled = 0
    const late = setTimeout(() => this.#fail(`did not answer in ${withinMs} ms`), withinMs)
    try {
      this.#socket ??= this.#dial()
      this.#socket.write(encodePageRequest(request))
      await answered.promise
    } finally {
      clearTimeout(late)
      this.#answered = null
    }
  }

  close(): void {
    this.#fail('was closed')
  }

  #dial(): Socket {
    const socket = connect({
      path: this.#path,
      onread: { buffer: () => this.#next(), callback: (bytes) => this.#take(bytes) },
    })
    socket.on('error', (cause) => this.#fail(cause.message))
    socket.on('close', () => this.#fail('is gone'))
    return socket
  }

  /** Asked for ahead of each read: between two answers it is where the next one will begin. */
  #next(): Uint8Array {
    const from = this.#filled
    return this.#area.subarray(from, Math.max(from + 1, Math.min(this.#wanted, from + READ_BYTES)))
  }

  #take(bytes: number): boolean {
    this.#filled += bytes
    if (this.#answered === null || this.#filled > this.#wanted) this.#fail('sent what nobody asked for')
    else if (this.#filled === this.#wanted) {
      this.#filled = 0
      this.#answered.resolve()
    }
    return true
  }

  #fail(why: string): void {
    if (this.#failure !== null) return
    this.#failure = new GodwitError('link-lost', `the neighbour at ${this.#path} ${why}`)
    this.#answered?.reject(this.#failure)
    this.#socket?.destroy()
  }
}
