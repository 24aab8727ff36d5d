// A service port over real sockets, with the store's shards in this process behind it, and clients at it: all of it is gone
// after each test.

import { afterEach } from 'vitest'
import { Front, type FrontOptions } from '../../src/gateway/front.ts'
import { KvBackend } from './kv-backend.ts'
import { RespClient } from './resp-client.ts'

export class TestFront {
  backend = new KvBackend()
  front = new Front({ backend: this.backend })
  readonly #clients: RespClient[] = []

  /** One that is opened and closed with every test of the file. */
  static forEach(): TestFront {
    const served = new TestFront()
    afterEach(() => served.#close())
    return served
  }

  /** Listens, and gives the first client. */
  async begin(vcpus = 2, options: Partial<FrontOptions> = {}): Promise<RespClient> {
    this.backend = new KvBackend(vcpus)
    this.front = new Front({ backend: this.backend, ...options })
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
