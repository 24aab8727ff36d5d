// `godwit agent`: runs the agent of this host until it is asked to end. Guests go on without it unless told otherwise.

import { homedir } from 'node:os'
import { join } from 'node:path'
import { Agent } from '../../agent/agent.ts'
import { addressText, parseAddress } from '../../agent/client.ts'
import { isLoopback, serveAgent } from '../../agent/http.ts'
import { GodwitError } from '../../errors.ts'
import type { Arguments } from '../arguments.ts'
import { endAsked } from '../end-asked.ts'
import type { Terminal } from '../terminal.ts'
import { version } from '../version.ts'

export async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const listen = parseListen(args.text('listen') ?? '')
  const insecure = args.flag('insecure')
  // Refused before the data directory is locked; serveAgent looks again.
  if (!isLoopback(listen.host) && !insecure) refuseListening(listen.host)
  const agent = await Agent.open({
    dataDirectory: args.text('data-dir') ?? defaultDataDirectory(),
    name: args.text('name'),
    memoryLimit: args.number('memory-limit'),
    copyMemory: args.number('copy-memory'),
    sharePages: args.flag('share-pages'),
    programsDirectory: args.text('programs') ?? null,
    bandwidth: args.number('bandwidth') ?? null,
    maxMigrations: args.number('migrations'),
    dataPortRange: parsePorts(args.text('data-ports') ?? '0-0', 'data-ports'),
    servicePortRange: parsePorts(args.text('service-ports') ?? '0-0', 'service-ports'),
    linePortRange: parsePorts(args.text('line-ports') ?? '0-0', 'line-ports'),
    version: version(),
  })
  let served: Awaited<ReturnType<typeof serveAgent>>
  try {
    served = await serveAgent(agent, listen, insecure)
  } catch (error) {
    await agent.close({ stopGuests: false })
    throw error
  }
  const url = `http://${addressText(served.address)}`
  const asked = endAsked()
  terminal.error(`agent ${agent.name} is ready at ${url}\n`)
  const adopted = agent.livingGuests()
  if (adopted.length > 0) terminal.error(`found again, running: ${adopted.join(', ')}\n`)
  if (args.flag('json')) terminal.out(JSON.stringify({ name: agent.name, url }))

  await asked
  const stopGuests = args.flag('stop-guests')
  const left = agent.livingGuests()
  const copies = agent.listCopies().map(({ name }) => name)
  await served.close()
  await agent.close({ stopGuests })
  terminal.error(`\nagent ${agent.name} has ended\n`)
  if (left.length > 0) terminal.error(`${farewell(left, stopGuests)}\n`)
  if (copies.length > 0 && !stopGuests) terminal.error(`copies left in memory, too: ${copies.join(', ')}\n`)
  return 0
}

/** What happened to the guests, and how to stop those that go on. */
export function farewell(names: string[], stopped: boolean): string {
  const guests = `${names.length === 1 ? 'guest' : 'guests'} ${names.join(', ')}`
  if (stopped) return `${guests} stopped`
  const how = 'start the agent again with the same --data-dir, then: godwit stop GUEST'
  return `${guests} left running\n  to stop: ${how}`
}

/** HOST:PORT or HOST; port 0 is allowed here: the system chooses. Throws `usage`. */
export function parseListen(text: string): { host: string; port: number } {
  // A port alone would pass for the name of a host.
  if (/^:?\d*$/.test(text)) {
    throw new GodwitError('usage', `'${text}' is no address to listen at`, {
      hint: 'write HOST:PORT, such as 127.0.0.1:6380',
    })
  }
  const anyPort = /^(.*):0$/.exec(text)
  return anyPort === null ? parseAddress(text) : { ...parseAddress(anyPort[1] ?? ''), port: 0 }
}

/** 'FIRST-LAST' → both; '0-0' lets the system choose each port. Throws `usage`. */
export function parsePorts(text: string, option: 'data-ports' | 'line-ports' | 'service-ports'): [number, number] {
  const match = /^(\d{1,5})-(\d{1,5})$/.exec(text)
  const [first, last] = [Number(match?.[1]), Number(match?.[2])]
  const any = first === 0 && last === 0
  if (match !== null && (any || (first > 0 && first <= last && last <= 65_535))) return [first, last]
  throw new GodwitError('usage', `--${option} '${text}' is no range of ports`, { hint: 'write FIRST-LAST, or 0-0' })
}

function refuseListening(host: string): never {
  throw new GodwitError('insecure', `listening at ${host} would let anybody there drive this agent`, {
    hint: 'add --insecure in a network you trust, or listen at 127.0.0.1',
  })
}

function defaultDataDirectory(): string {
  return join(process.env.XDG_STATE_HOME || join(homedir(), '.local', 'state'), 'godwit')
}
