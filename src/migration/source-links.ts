// The connections of a source session: the page channels, the control link in force, and the bytes of all that there
// were, for a control link that is lost behind the commit point is replaced by a redial.

import { assert } from '../errors.ts'
import { Inbox } from './inbox.ts'
import type { ControlLink, PageSource } from './ports.ts'

export class SourceLinks {
  /** Control links taken into use so far. */
  controls = 0
  #pages: PageSource | null = null
  #control: ControlLink | null = null
  #inbox: Inbox | null = null
  /** Bytes of the control links that were replaced. */
  readonly #before = { sent: 0, received: 0 }
  /** Bytes of the page channels that were replaced (R23). */
  readonly #pagesBefore = { sent: 0, received: 0, control: 0 }

  get pages(): PageSource | null {
    return this.#pages
  }

  get control(): ControlLink | null {
    return this.#control
  }

  /** Messages of the control link in force. */
  get inbox(): Inbox {
    assert(this.#inbox !== null, 'a message awaited before there is a link')
    return this.#inbox
  }

  /** Takes a control link into use; the one before it is closed. */
  use(control: ControlLink): Inbox {
    const { sent, received } = this.#control?.bytes ?? { sent: 0, received: 0 }
    this.#before.sent += sent
    this.#before.received += received
    this.#control?.close()
    this.#control = control
    this.controls++
    this.#inbox = new Inbox(control, 'destination')
    return this.#inbox
  }

  usePages(pages: PageSource): void {
    this.#pages = pages
  }

  /** Ends the page channels of a link that is lost; resolves when every one is closed. */
  async dropPages(): Promise<void> {
    const pages = this.#pages
    if (pages === null) return
    await pages.close()
    const before = this.#pagesBefore
    const { sent, received, control } = pages.bytes
    before.sent += sent
    before.received += received
    before.control += control
    this.#pages = null
  }

  /** At the sockets so far; `control` is part of `sent`. */
  bytes(): { sent: number; received: number; control: number } {
    const pages = this.#pages?.bytes ?? { sent: 0, received: 0, control: 0 }
    const now = this.#control?.bytes ?? { sent: 0, received: 0 }
    const sent = this.#before.sent + now.sent
    const received = this.#before.received + now.received
    const before = this.#pagesBefore
    return {
      sent: before.sent + pages.sent + sent,
      received: before.received + pages.received + received,
      control: before.control + pages.control + sent,
    }
  }

  /** Ends the threads and sends what is queued; idempotent. */
  async close(): Promise<void> {
    await this.#pages?.close()
    this.#control?.close()
  }
}
