// Where gateways reach a guest: a TCP port of its process, with a line for each gateway. Knows which line is which gateway's,
// so that an answer goes to whoever asked, and tells all of them where the vCPUs are. Opened by guest-process/host-lines.ts,
// it stays when the guest leaves, and serves it again if it comes back into the same process.

import { createServer, type Server } from 'node:net'
import { GodwitError } from '../errors.ts'
import type { ServiceAnswer } from '../guest/program.ts'
import { ELSEWHERE_KEPT, LINE_ALIVE_MS, MAX_SERVICE_LINES } from '../limits.ts'
import type { GuestFacts, LineMessage, LineMessageOf } from '../wire/line-messages.ts'
import { listenInRange } from '../wire/listen.ts'
import { admitStranger } from '../wire/strangers.ts'
import type { GuestService, ServiceListener } from './guest-service.ts'
import { type LineHost, ServiceLine } from './service-line.ts'

export interface LinesOptions {
  readonly host: string
  /** First and last port to try; [0, 0]: the system chooses. */
  readonly portRange: readonly [number, number]
  readonly guest: GuestFacts
}

export interface LineAddress {
  readonly host: string
  readonly port: number
}

export class ServiceLines implements LineHost, ServiceListener {
  readonly port: number
  readonly vcpus: number
  service: GuestService
  readonly #guest: GuestFacts
  readonly #server: Server
  readonly #strangers = new Set<ServiceLine>()
  readonly #lines = new Set<ServiceLine>()
  readonly #byGateway = new Map<number, ServiceLine>()
  /** The gateway of the answer before and its line; 0: to be looked up, as gateways have changed. */
  #latest = 0
  #latestLine: ServiceLine | undefined
  readonly #dirty: ServiceLine[] = []
  #flushing = false
  #elsewhere: LineAddress[] = []
  #unlisten: () => void
  readonly #alive: NodeJS.Timeout

  private constructor(server: Server, port: number, guest: GuestFacts, service: GuestService) {
    this.#server = server
    this.port = port
    this.#guest = guest
    this.vcpus = guest.vcpus
    this.service = service
    this.#unlisten = service.listen(this)
    server.on('connection', (socket) => {
      admitStranger(this.#strangers, new ServiceLine(socket, this))
    })
    this.#alive = setInterval(() => this.#sayAlive(), LINE_ALIVE_MS)
    this.#alive.unref()
  }

  /** Throws `no-port` when the range is exhausted. */
  static async listen({ host, portRange, guest }: LinesOptions, service: GuestService): Promise<ServiceLines> {
    const server = createServer()
    const port = await listenInRange(server, host, portRange)
    return new ServiceLines(server, port, guest, service)
  }

  /** The guest has come back into this process: its lines lead to it. */
  serve(service: GuestService): void {
    this.#unlisten()
    this.service = service
    this.#unlisten = service.listen(this)
    for (let vcpu = 0; vcpu < this.vcpus; vcpu++) if (service.isHere(vcpu)) this.onHere(vcpu)
  }

  /** The guest also runs, or may soon run, behind this address: gateways dial it at once. */
  elsewhere({ host, port }: LineAddress): void {
    const others = this.#elsewhere.filter((known) => known.host !== host || known.port !== port)
    this.#elsewhere = [...others, { host, port }].slice(-ELSEWHERE_KEPT)
    this.#tell({ type: 'elsewhere', host, port })
  }

  async close(): Promise<void> {
    this.#unlisten()
    clearInterval(this.#alive)
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const line of [...this.#lines, ...this.#strangers]) line.destroy()
    await closed
  }

  onAnswer(vcpu: number, answer: ServiceAnswer): void {
    if (answer.gateway !== this.#latest) {
      this.#latest = answer.gateway
      this.#latestLine = this.#byGateway.get(answer.gateway)
    }
    this.#latestLine?.answer(vcpu, answer)
  }

  onHere(vcpu: number): void {
    this.#tell({ type: 'here', vcpu })
  }

  onGone(vcpu: number): void {
    this.#tell({ type: 'gone', vcpu })
  }

  greet(line: ServiceLine, { gateway, guest }: LineMessageOf<'hello'>): LineMessage[] {
    if (guest !== this.#guest.id && guest !== this.#guest.name) {
      throw new GodwitError('no-such-guest', `this line leads to guest ${this.#guest.name}`)
    }
    this.number(line, gateway)
    if (this.#lines.size >= MAX_SERVICE_LINES) {
      throw new GodwitError('too-many-lines', `${MAX_SERVICE_LINES} gateways have lines to guest ${this.#guest.name}`)
    }
    this.#strangers.delete(line)
    this.#lines.add(line)
    const here = Array.from({ length: this.vcpus }, (_, vcpu) => vcpu).filter((vcpu) => this.service.isHere(vcpu))
    const elsewhere = this.#elsewhere.map((address) => ({ type: 'elsewhere', ...address }) as const)
    return [{ type: 'welcome', guest: this.#guest, here }, ...elsewhere]
  }

  number(line: ServiceLine, gateway: number): void {
    const older = this.#byGateway.get(gateway)
    if (older !== undefined && older !== line) {
      older.end(new GodwitError('line-replaced', 'the same gateway has connected again'))
    }
    // Whoever it was before for one of its vCPUs, nobody waits for.
    for (const [number, owner] of this.#byGateway) {
      if (owner === line && !line.numbers.includes(number)) this.#byGateway.delete(number)
    }
    this.#byGateway.set(gateway, line)
    this.#latest = 0
    this.#latestLine = undefined
  }

  dirty(line: ServiceLine): void {
    this.#dirty.push(line)
    if (this.#flushing) return
    this.#flushing = true
    setImmediate(() => {
      this.#flushing = false
      for (const each of this.#dirty.splice(0)) each.flush()
    })
  }

  closed(line: ServiceLine): void {
    this.#strangers.delete(line)
    this.#lines.delete(line)
    for (const [number, owner] of this.#byGateway) if (owner === line) this.#byGateway.delete(number)
    this.#latest = 0
    this.#latestLine = undefined
  }

  #tell(message: LineMessage): void {
    for (const line of this.#lines) line.say(message)
  }

  #sayAlive(): void {
    const late = performance.now() - LINE_ALIVE_MS
    for (const line of this.#lines) if (line.saidAt <= late) line.say({ type: 'alive' })
  }
}
