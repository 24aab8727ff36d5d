// `godwit ps`: the guests of an agent, a line each.

import { formatBytes, formatCount } from '../../quantities.ts'
import type { Arguments } from '../arguments.ts'
import { agentOf } from '../moving.ts'
import type { Terminal } from '../terminal.ts'

export async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const client = agentOf(args)
  const guests = await client.guests()
  if (args.flag('json')) {
    terminal.out(JSON.stringify({ guests }))
    return 0
  }
  if (guests.length === 0) {
    terminal.out(`no guests at ${client.url}; start one with: godwit start --name NAME`)
    return 0
  }
  const rows = guests.map((guest) => [
    guest.config.name,
    guest.state,
    formatBytes(guest.config.memoryBytes),
    String(guest.config.vcpus),
    guest.config.program,
    `${formatCount(guest.stepsPerSecond)}/s`,
    formatBytes(guest.residentBytes),
    guest.migration === null || guest.state === 'running' || guest.state === 'paused'
      ? ''
      : `${guest.migration.role === 'source' ? 'to' : 'from'} ${guest.migration.peer}`,
  ])
  const table = [['GUEST', 'STATE', 'MEMORY', 'VCPUS', 'PROGRAM', 'STEPS', 'RESIDENT', 'MIGRATION'], ...rows]
  const widths = table[0]?.map((_, i) => Math.max(...table.map((cells) => cells[i]?.length ?? 0))) ?? []
  for (const cells of table) {
    terminal.out(
      cells
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    )
  }
  return 0
}
