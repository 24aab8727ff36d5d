// The copies that guests left behind (`--keep-copy`): processes with the memory of a guest that runs elsewhere now and may
// come back. They hold memory only while nobody needs it: above the quota, or when a guest wants the room, the oldest ends.
// guest-table.ts is the only caller.

import { isCopyFor } from '../guest-process/copy-identity.ts'
import type { Reservation } from '../guest-process/host-port.ts'
import type { DataDirectory } from './data-directory.ts'
import type { GuestEntry } from './guest-table.ts'

export interface KeptCopiesOptions {
  readonly data: DataDirectory
  /** Most bytes of guest memory in copies; 0: none are kept. */
  readonly quota: number
  readonly onChange: (entry: GuestEntry, what: string) => void
}

export class KeptCopies {
  readonly #options: KeptCopiesOptions
  /** By guest id, the oldest first. */
  readonly #copies = new Map<string, GuestEntry>()
  /** Processes on their way out; their directories are still theirs. */
  readonly #ending = new Map<string, Promise<void>>()

  constructor(options: KeptCopiesOptions) {
    this.#options = options
  }

  /** The oldest first. */
  list(): GuestEntry[] {
    return [...this.#copies.values()]
  }

  /** Bytes of guest memory in copies. */
  get bytes(): number {
    return this.list().reduce((sum, { config }) => sum + config.memoryBytes, 0)
  }

  /** The newest copy of a guest of that name or id. */
  byName(name: string): GuestEntry | undefined {
    return this.list().findLast(({ config }) => config.name === name || config.id === name)
  }

  /** Takes over the process of a guest that has left its memory behind. The quota may end it, or older ones, at once. */
  add(entry: GuestEntry): void {
    const { id } = entry.config
    this.#copies.set(id, entry)
    this.#options.onChange(entry, 'kept')
    void entry.process.exited.then(() => {
      if (this.#copies.get(id) !== entry) return
      this.#copies.delete(id)
      this.#options.data.removeGuest(id)
      this.#options.onChange(entry, 'copy-ended')
    })
    void this.shrinkTo(this.#options.quota)
  }

  /**
   * The copy that a guest may come back into; it is no copy any more then. One that does not fit has ended when this
   * resolves with null.
   */
  async take(reservation: Reservation): Promise<GuestEntry | null> {
    const { id } = reservation.guest
    const entry = this.#copies.get(id)
    const fits = entry?.process.alive === true && isCopyFor(entry.config, entry.status?.epoch ?? Infinity, reservation)
    if (entry === undefined || !fits) {
      await this.end(id)
      return null
    }
    this.#copies.delete(id)
    return entry
  }

  /** Ends the oldest copies until the others have at most so many bytes; resolves when their memory is free. */
  async shrinkTo(bytes: number): Promise<void> {
    for (const { config } of this.list()) {
      if (this.bytes <= bytes) break
      void this.end(config.id)
    }
    await Promise.all(this.#ending.values())
  }

  /** Ends the copy of a guest, if there is one, and resolves when nothing is left of it. */
  async end(id: string): Promise<void> {
    const entry = this.#copies.get(id)
    if (entry !== undefined) void this.discard(entry)
    await this.#ending.get(id)
  }

  /** Ends a copy, one that was taken, too. */
  async discard(entry: GuestEntry): Promise<void> {
    const { id } = entry.config
    this.#copies.delete(id)
    const ending = this.#stop(entry)
    this.#ending.set(id, ending)
    await ending
  }

  /** Ends every copy, or lets go of them: an agent that starts later finds them. */
  async close(end: boolean): Promise<void> {
    if (end) return await this.shrinkTo(-1)
    for (const { process } of this.list()) process.release()
    await Promise.all(this.#ending.values())
  }

  async #stop(entry: GuestEntry): Promise<void> {
    const { id } = entry.config
    entry.stopping = true
    await entry.process.stop()
    this.#options.data.removeGuest(id)
    this.#ending.delete(id)
    this.#options.onChange(entry, 'copy-ended')
  }
}
