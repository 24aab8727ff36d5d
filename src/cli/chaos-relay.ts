// A TCP relay that stands between two hosts on this machine, can cut every connection at once and can make the way between
// them longer, for demos, for the bench and for the curious. It listens at one loopback address on the very port numbers that the hosts use at another: nobody needs to
// know beforehand which of them a migration will take.
//
//   destination ──▶ 127.0.0.2:PORT (relay) ──▶ 127.0.0.1:PORT (source)

import { connect, createServer, type Server, type Socket } from 'node:net'
import { GodwitError } from '../errors.ts'
import { DelayLine } from './delay-line.ts'

/** Where the relay listens; whoever dials here goes through it. */
export const RELAY_HOST = '127.0.0.2'
const TARGET_HOST = '127.0.0.1'
/** Below the ports that systems give to outgoing connections, above those with a name. */
const FIRST_PORT = 20_000
const LAST_PORT = 32_000
const TRIES = 50

interface Line {
  readonly client: Socket
  readonly target: Socket
}

export class ChaosRelay {
  /** First and last of the ports it stands for. */
  readonly range: [number, number]
  /** Called with the bytes that have just passed from the target to whoever dialled. */
  onForwarded: (bytes: number) => void = () => {}
  readonly #servers: Server[]
  readonly #delayMs: number
  readonly #lines = new Set<Line>()
  #refusing = false

  private constructor(range: [number, number], servers: Server[], delayMs: number) {
    this.range = range
    this.#delayMs = delayMs
    this.#servers = servers
    for (const server of servers) this.#serve(server)
  }

  /**
   * Finds `count` consecutive ports that are free at both addresses, and listens on all of them; 0: on none yet. Every byte
   * takes `delayMs` each way. Throws `no-port`.
   */
  static async open(count: number, delayMs = 0): Promise<ChaosRelay> {
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const first = FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT - count))
      const servers = await listenOnAll(first, count)
      if (servers !== null) return new ChaosRelay([first, first + count - 1], servers, delayMs)
    }
    throw new GodwitError('no-port', `no ${count} consecutive ports are free at ${RELAY_HOST} and ${TARGET_HOST}`)
  }

  /** Stands for one more port, which a host has taken already. Throws `no-port`. */
  async add(port: number): Promise<void> {
    const server = await listen(RELAY_HOST, port)
    if (server === null) throw new GodwitError('no-port', `port ${port} is taken at ${RELAY_HOST}`)
    this.#servers.push(server)
    this.#serve(server)
  }

  /** Resets every connection; new ones pass at once, or with `refuse` are reset, too, until `heal`. */
  cut(refuse = false): void {
    this.#refusing = refuse
    for (const { client, target } of [...this.#lines]) {
      client.resetAndDestroy()
      target.resetAndDestroy()
    }
    this.#lines.clear()
  }

  heal(): void {
    this.#refusing = false
  }

  async close(): Promise<void> {
    this.cut(true)
    await Promise.all(this.#servers.map((server) => new Promise((resolve) => server.close(resolve))))
  }

  #serve(server: Server): void {
    server.on('connection', (client) => {
      const { port } = server.address() as { port: number }
      this.#join(client, port)
    })
  }

  #join(client: Socket, port: number): void {
    if (this.#refusing) {
      client.on('error', () => {})
      client.resetAndDestroy()
      return
    }
    const target = connect({ port, host: TARGET_HOST, allowHalfOpen: true })
    const line = { client, target }
    this.#lines.add(line)
    for (const socket of [client, target]) socket.setNoDelay(true)
    const back = this.#forward(target, client, line)
    const forth = this.#forward(client, target, line)
    target.on('data', (piece: Buffer) => {
      back.take(piece)
      this.onForwarded(piece.length)
    })
    client.on('data', (piece: Buffer) => forth.take(piece))
  }

  /** What ends at one side ends at the other in the same way: in order, or by a reset. */
  #forward(from: Socket, to: Socket, line: Line): DelayLine {
    const way = new DelayLine(from, to, this.#delayMs)
    from.on('end', () => way.after(() => to.end()))
    from.on('error', () => {
      if (!to.destroyed) to.resetAndDestroy()
    })
    from.on('close', () => {
      this.#lines.delete(line)
      way.after(() => to.destroySoon())
    })
    return way
  }
}

/** Servers for all ports, or null when one of them is taken at either address. */
async function listenOnAll(first: number, count: number): Promise<Server[] | null> {
  const servers: Server[] = []
  for (let port = first; port < first + count; port++) {
    const server = await listen(RELAY_HOST, port)
    const probe = server === null ? null : await listen(TARGET_HOST, port)
    if (server !== null) servers.push(server)
    if (probe !== null) await new Promise((resolve) => probe.close(resolve))
    if (probe !== null) continue
    await Promise.all(servers.map((each) => new Promise((resolve) => each.close(resolve))))
    return null
  }
  return servers
}

/** A listening server; null when the port is taken. Throws `no-port` where there is no such address. */
function listen(host: string, port: number): Promise<Server | null> {
  // A side that has sent all it has may still be sent to.
  const server = createServer({ allowHalfOpen: true })
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      if (cause.code === 'EADDRINUSE' || cause.code === 'EACCES') return resolve(null)
      reject(
        new GodwitError('no-port', `the relay cannot listen at ${host}: ${cause.message}`, {
          hint: `--chaos needs a second loopback address; Linux has all of 127.0.0.0/8, elsewhere add ${host} first`,
          cause,
        }),
      )
    })
    server.listen(port, host, () => resolve(server))
  })
}
