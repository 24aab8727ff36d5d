// A TCP relay between destination and source that tests can cut, stall, slow down and corrupt. One relay per
// migration: it stands in for every port of the reservation.

import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** Which connections: the control connection alone, the data connections alone. */
export type Lines = 'all' | 'control' | 'data'

interface Line {
  readonly control: boolean
  readonly toDestination: Socket
  readonly toSource: Socket
}

export class Relay {
  /** Ports to dial instead of the source's, in the order they were given. */
  readonly ports: number[] = []
  readonly #servers: Server[] = []
  readonly #lines = new Set<Line>()
  readonly #delayMs: number
  #stalled = false
  #refusing = false
  #corruptAfterBytes = Number.POSITIVE_INFINITY
  #smallestToDestination = 0
  #forwarded = 0
  #waiting: { readonly until: number; readonly resolve: () => void }[] = []
  /** Loses what the destination says on its control connection. */
  deaf = false
  /** Control connections so far that were not refused. */
  controls = 0
  /** Called with every piece that passes. */
  onForwarded: (towardsDestination: boolean, control: boolean, bytes: number) => void = () => {}

  private constructor(delayMs: number) {
    this.#delayMs = delayMs
  }

  /** Stands in for `targets` (ports on 127.0.0.1); every byte takes `delayMs` each way. */
  static async open(targets: readonly number[], delayMs = 0): Promise<Relay> {
    const relay = new Relay(delayMs)
    for (const target of targets) {
      const server = createServer((socket) => relay.#join(socket, target, target === targets[0]))
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      relay.#servers.push(server)
      relay.ports.push((server.address() as AddressInfo).port)
    }
    return relay
  }

  /** Breaks connections and, unless `andRefuse` is false, refuses new ones of any kind. */
  cut(andRefuse = true, lines: Lines = 'all'): void {
    this.#refusing = andRefuse
    for (const line of [...this.#lines]) {
      if (lines !== 'all' && line.control !== (lines === 'control')) continue
      line.toDestination.resetAndDestroy()
      line.toSource.resetAndDestroy()
      this.#lines.delete(line)
    }
  }

  /** Nothing passes any more, but nothing breaks either. */
  stall(): void {
    this.#stalled = true
  }

  /** Lets bytes pass again (new ones; a stall loses nothing that TCP still holds). */
  heal(): void {
    this.#stalled = false
    this.#refusing = false
    for (const { toDestination, toSource } of this.#lines) {
      toDestination.resume()
      toSource.resume()
    }
  }

  /**
   * Loses what is smaller than `bytes` on its way to the destination by the control connection. The state of a vCPU is
   * above 1 KiB and still arrives, the word to commit does not. Pieces of pages may have any size, so none of them is lost.
   */
  loseSmall(bytes: number): void {
    this.#smallestToDestination = bytes
  }

  /** Flips one bit of the byte that passes towards the destination after `bytes` more. */
  corruptAfter(bytes: number): void {
    this.#corruptAfterBytes = this.#forwarded + bytes
  }

  /** Resolves when so many bytes more have passed towards the destination: then a pull, say, is that far and no further. */
  passed(bytes: number): Promise<void> {
    const until = this.#forwarded + bytes
    return new Promise((resolve) => this.#waiting.push({ until, resolve }))
  }

  async close(): Promise<void> {
    this.cut()
    await Promise.all(this.#servers.map((server) => new Promise((resolve) => server.close(resolve))))
  }

  #join(toDestination: Socket, target: number, control: boolean): void {
    if (this.#refusing) {
      toDestination.resetAndDestroy()
      return
    }
    if (control) this.controls++
    const toSource = connect(target, '127.0.0.1')
    const line = { control, toDestination, toSource }
    this.#lines.add(line)
    const end = (): void => {
      this.#lines.delete(line)
      toDestination.destroy()
      toSource.destroy()
    }
    for (const socket of [toDestination, toSource]) {
      socket.setNoDelay(true)
      socket.on('error', end)
      socket.on('close', end)
    }
    this.#forward(toDestination, toSource, false, control)
    this.#forward(toSource, toDestination, true, control)
  }

  #forward(from: Socket, to: Socket, towardsDestination: boolean, control: boolean): void {
    from.on('data', (piece: Buffer) => {
      if (towardsDestination && control && piece.length < this.#smallestToDestination) return
      if (!towardsDestination && control && this.deaf) return
      if (towardsDestination) this.#count(piece)
      const write = (): void => {
        if (to.destroyed) return
        if (!to.write(piece)) {
          from.pause()
          to.once('drain', () => {
            if (!this.#stalled) from.resume()
          })
        }
      }
      if (this.#stalled) {
        from.pause()
        from.unshift(piece)
      } else if (this.#delayMs > 0) setTimeout(write, this.#delayMs)
      else write()
      if (!this.#stalled) this.onForwarded(towardsDestination, control, piece.length)
    })
    from.on('end', () => setTimeout(() => to.end(), this.#delayMs + 1))
  }

  /** Counts what passes towards the destination, and spoils it where it is to be. */
  #count(piece: Buffer): void {
    const at = this.#corruptAfterBytes - this.#forwarded
    this.#forwarded += piece.length
    this.#waiting = this.#waiting.filter(({ until, resolve }) => {
      if (this.#forwarded >= until) resolve()
      return this.#forwarded < until
    })
    if (at >= piece.length) return
    piece[Math.max(0, at)] = (piece[Math.max(0, at)] as number) ^ 0x10
    this.#corruptAfterBytes = Number.POSITIVE_INFINITY
  }
}
