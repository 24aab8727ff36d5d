// `godwit ps`: the guests of an agent, a line each, and the copies that guests left behind there.

import type { GuestView } from '../../agent/schemas.ts'
import { formatBytes, formatCount, formatMs } from '../../quantities.ts'
import type { Arguments } from '../arguments.ts'
import { agentOf } from '../moving.ts'
import { lostHint, missingPagesOf, pausedHint } from '../pull-view.ts'
import type { Terminal } from '../terminal.ts'

export async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const client = agentOf(args)
  const [guests, copies] = await Promise.all([client.guests(), client.copies()])
  if (args.flag('json')) {
    terminal.out(JSON.stringify({ guests, copies }))
    return 0
  }
  if (guests.length === 0) terminal.out(`no guests at ${client.url}; start one with: godwit start --name NAME`)
  else listGuests(guests, terminal)
  for (const { name, memoryBytes, keptSince } of copies) {
    const [size, age] = [formatBytes(memoryBytes), formatMs(Math.max(0, Date.now() - keptSince))]
    terminal.out(`copy of ${name}: ${size}, left behind ${age} ago for its return; to end it: godwit stop ${name}`)
  }
  return 0
}

function listGuests(guests: readonly GuestView[], terminal: Terminal): void {
  const rows = guests.map((guest) => [
    guest.config.name,
    guest.state,
    formatBytes(guest.config.memoryBytes),
    String(guest.config.vcpus),
    guest.config.program,
    `${formatCount(guest.stepsPerSecond)}/s`,
    formatBytes(guest.residentBytes),
    String(guest.servicePort ?? ''),
    migrationText(guest),
  ])
  const table = [['GUEST', 'STATE', 'MEMORY', 'VCPUS', 'PROGRAM', 'STEPS', 'RESIDENT', 'PORT', 'MIGRATION'], ...rows]
  const widths = table[0]?.map((_, i) => Math.max(...table.map((cells) => cells[i]?.length ?? 0))) ?? []
  for (const cells of table) {
    terminal.out(
      cells
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    )
  }
  for (const guest of guests) {
    const { name } = guest.config
    const paused = guest.migration?.paused ?? null
    if (guest.state === 'pulling' && paused !== null) {
      terminal.out(`guest ${name} is paused: ${paused}\n  hint: ${pausedHint(guest.migration?.id ?? '')}`)
    }
    if (guest.state === 'lost') terminal.out(`guest ${name} is lost\n  hint: ${lostHint(guest)}`)
  }
}

function migrationText(guest: GuestView): string {
  const { migration, state } = guest
  if (migration === null || state === 'running' || state === 'paused') return ''
  const words = [`${migration.role === 'source' ? 'to' : 'from'} ${migration.peer}`]
  const missing = missingPagesOf(guest)
  if (missing !== null) words.push(`${formatCount(missing)} pages missing`)
  if (state === 'pulling' && typeof migration.paused === 'string') words.push('paused')
  return words.join(', ')
}
