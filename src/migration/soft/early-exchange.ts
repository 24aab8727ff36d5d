// The exchange of a soft destination: its thread starts while the rounds come, so that nobody waits for it behind the last.
// Used by destination-session.ts.

import { GodwitError } from '../../errors.ts'
import type { DestinationWorld } from '../destination-context.ts'
import type { PageExchange } from '../ports.ts'

export class EarlyExchange {
  readonly #made: Promise<PageExchange> | null

  constructor({ exchange, vcpus }: DestinationWorld) {
    this.#made =
      exchange?.(async () => {
        await vcpus.handshake()
      }) ?? null
    this.#made?.catch(() => {})
  }

  /** Throws `unexpected-message` where the guest is not to be shared. */
  async taken(pull: boolean): Promise<PageExchange> {
    if (this.#made !== null && !pull) return await this.#made
    throw new GodwitError('unexpected-message', 'a guest that is to be shared, in another movement', { side: 'source' })
  }

  /** Also when it was never taken. */
  async close(): Promise<void> {
    await this.#made?.then(
      (exchange) => exchange.close(),
      () => {},
    )
  }
}
