// `godwit start`: starts a guest at an agent.

import { randomBytes } from 'node:crypto'
import { formatBytes } from '../../quantities.ts'
import type { Arguments } from '../arguments.ts'
import { agentOf, guestOf } from '../moving.ts'
import type { Terminal } from '../terminal.ts'

export async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const client = agentOf(args)
  const name = args.text('name') ?? `guest-${randomBytes(3).toString('hex')}`
  const guest = await client.startGuest(guestOf(args, name))
  const { memoryBytes, vcpus, program, options } = guest.config
  const { hostname } = new URL(client.url)
  const how = options.cluster === true ? '-c ' : ''
  const port = guest.servicePort ?? null
  const served = port === null ? '' : `\n  clients: redis-cli ${how}-h ${hostname} -p ${port}`
  terminal.out(
    args.flag('json')
      ? JSON.stringify(guest)
      : `guest ${name} runs at ${client.url}: ${formatBytes(memoryBytes)}, ${vcpus} vCPU${vcpus === 1 ? '' : 's'}, ${program}${served}`,
  )
  return 0
}
