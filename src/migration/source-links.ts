// The connections of a source session: the page channels, the control link in force, and the bytes of all that there
// were, for a control link that is lost behind the commit point is replaced by a redial.

import { assert } from '../errors.ts'
import { Inbox } from './inbox.ts'
import type { ControlLink, PageSource } from './ports.ts'

export class SourceLinks {
  pages: PageSource | null = null
  #control: ControlLink | null = null
  #inbox: Inbox | null = null
  /** Bytes of the control links that were replaced. */
  readonly #before = { sent: 0, received: 0 }

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
    this.#inbox = new Inbox(control, 'destination')
    return this.#inbox
  }

  /** At the sockets so far; `control` is part of `sent`. */
  bytes(): { sent: number; received: number; control: number } {
    const pages = this.pages?.bytes ?? { sent: 0, received: 0, control: 0 }
    const now = this.#control?.bytes ?? { sent: 0, received: 0 }
    const sent = this.#before.sent + now.sent
    const received = this.#before.received + now.received
    return { sent: pages.sent + sent, received: pages.received + received, control: pages.control + sent }
  }

  /** Ends the threads and sends what is queued; idempotent. */
  async close(): Promise<void> {
    await this.pages?.close()
    this.#control?.close()
  }
}
