// A service port over real sockets, with the store's shards in this process behind it, and clients at it: all of it is gone
// when the test that began it has finished.

import { onTestFinished } from 'vitest'
import { Front, type FrontOptions } from '../../src/gateway/front.ts'
import { KvBackend } from './kv-backend.ts'
import { RespClient } from './resp-client.ts'

export class TestFront {
  backend!: KvBackend
  front!: Front
  readonly #clients: RespClient[] = []

  /** Listens, and gives the first client. */
  async begin(vcpus = 2, options: Partial<FrontOptions> = {}): Promise<RespClient> {
    this.backend = new KvBackend(vcpus)
    this.front = new Front({ backend: this.backend, ...options })
    onTestFinished(() => this.#close())
    await this.front.listen('127.0.0.1', [0, 0])
    return await this.another()
  }

  async another(): Promise<RespClient> {
    const client = await RespClient.connect(this.front.port)
    this.#clients.push(client)
    return client
  }

  async #close(): Promise<void> {
    for (const client of this.#clients.splice(0)) client.close()
    await this.front.close()
  }
}
