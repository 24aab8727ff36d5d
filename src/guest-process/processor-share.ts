// A guest that comes in is made ready beside guests that serve: threads start, code is compiled, memory becomes resident; about a
// second of a processor's time, and nobody's pause. Where Linux shares the processors out by session (sched(7), "The autogroup
// feature"), its process, a session of its own, takes a smaller share meanwhile; elsewhere nothing changes. main.ts begins it,
// destination-world.ts ends it when the channels are there.

import { writeFileSync } from 'node:fs'
import { GIVE_WAY_MS } from '../limits.ts'

/** As of a process: at 10 its weight is about a tenth. */
const NICE = { low: '10', usual: '0' } as const
/** The kernel takes a change from whoever comes first, and for a tenth of a second no other. */
const AGAIN_MS = 50

export class ProcessorShare {
  readonly #path: string
  #low = false
  #timer: NodeJS.Timeout | undefined

  constructor(path: string) {
    this.#path = path
  }

  /** Takes less than the others, but not for longer than GIVE_WAY_MS: a host that is full must let it in, too. */
  giveWay(): void {
    if (!this.#write(NICE.low)) return
    this.#low = true
    this.#timer = setTimeout(() => this.takeUsual(), GIVE_WAY_MS).unref()
  }

  /** Takes as much as any other, as soon as the kernel lets it. */
  takeUsual(): void {
    if (!this.#low) return
    clearTimeout(this.#timer)
    if (this.#write(NICE.usual)) this.#low = false
    else this.#timer = setTimeout(() => this.takeUsual(), AGAIN_MS).unref()
  }

  #write(nice: string): boolean {
    try {
      writeFileSync(this.#path, nice)
      return true
    } catch {
      return false
    }
  }
}

/** That of this process. */
export const processorShare = new ProcessorShare('/proc/self/autogroup')
