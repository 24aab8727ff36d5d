// Hands the messages of a control link to whoever waits for their type, in order. One reader, many waiters; the first
// failure of the link fails every waiter. Used by both sessions.

import { GodwitError, type Side } from '../errors.ts'
import type { ControlMessage, MessageOf } from '../wire/messages.ts'
import type { ControlLink } from './ports.ts'

/** Messages nobody has asked for yet; more of them than this is a peer that does not follow the protocol. */
const MAX_UNREAD = 64

interface Waiter {
  accepts(message: ControlMessage): boolean
  resolve(message: ControlMessage): void
  reject(error: GodwitError): void
}

export class Inbox {
  /** Resolves, never rejects, with the reason once the link fails or the peer aborts. */
  readonly ended: Promise<GodwitError>
  readonly #waiters = new Set<Waiter>()
  readonly #unread: ControlMessage[] = []
  readonly #peer: Side
  #failure: GodwitError | null = null

  constructor(link: ControlLink, peer: Side) {
    this.#peer = peer
    this.ended = this.#read(link)
  }

  /** The next message of this type (and, if given, that `matches`). Rejects once the link has failed. */
  next<T extends ControlMessage['type']>(type: T, matches?: (message: MessageOf<T>) => boolean): Promise<MessageOf<T>> {
    const accepts = (message: ControlMessage): boolean =>
      message.type === type && (matches === undefined || matches(message as MessageOf<T>))
    return this.any(accepts) as Promise<MessageOf<T>>
  }

  /** The next message that `accepts` takes. */
  any(accepts: (message: ControlMessage) => boolean): Promise<ControlMessage> {
    const index = this.#unread.findIndex(accepts)
    if (index >= 0) return Promise.resolve(this.#unread.splice(index, 1)[0] as ControlMessage)
    const { promise, resolve, reject } = Promise.withResolvers<ControlMessage>()
    // A waiter may be held for a while before it is awaited.
    promise.catch(() => {})
    if (this.#failure !== null) {
      reject(this.#failure)
      return promise
    }
    this.#waiters.add({ accepts, resolve, reject })
    return promise
  }

  async #read(link: ControlLink): Promise<GodwitError> {
    try {
      for (;;) this.#deliver(await link.receive())
    } catch (thrown) {
      this.#failure = GodwitError.from(thrown, 'link-lost')
      for (const waiter of this.#waiters) waiter.reject(this.#failure)
      this.#waiters.clear()
      return this.#failure
    }
  }

  #deliver(message: ControlMessage): void {
    if (message.type === 'abort') {
      const { code, message: text, hint } = message.error
      throw GodwitError.from({ code, message: text, hint, side: message.error.side ?? this.#peer })
    }
    for (const waiter of this.#waiters) {
      if (!waiter.accepts(message)) continue
      this.#waiters.delete(waiter)
      waiter.resolve(message)
      return
    }
    this.#unread.push(message)
    if (this.#unread.length > MAX_UNREAD) {
      throw new GodwitError('unexpected-message', `${MAX_UNREAD} messages nobody asked for, last '${message.type}'`, {
        side: this.#peer,
      })
    }
  }
}
