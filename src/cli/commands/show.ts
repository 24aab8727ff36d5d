// `godwit show`: one guest in full.

import type { GuestView } from '../../agent/schemas.ts'
import type { Progress } from '../../events.ts'
import { formatBytes, formatCount } from '../../quantities.ts'
import type { Arguments } from '../arguments.ts'
import { agentOf, guestNameOf } from '../moving.ts'
import { progressText } from '../progress-line.ts'
import { lostHint, pausedHint, stateText } from '../pull-view.ts'
import type { Terminal } from '../terminal.ts'

export async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const guest = await agentOf(args).guest(guestNameOf(args))
  if (args.flag('json')) {
    terminal.out(JSON.stringify(guest))
    return 0
  }
  const { config, migration, crash } = guest
  const options = Object.entries(config.options).map(([key, value]) => `${key}=${value}`)
  const lines: [string, string][] = [
    ['guest', `${config.name} (${config.id})`],
    ['state', `${stateText(guest)}; ${ownerText(guest)}epoch ${guest.epoch}`],
    [
      'memory',
      `${formatBytes(config.memoryBytes)}, ${formatBytes(guest.residentBytes)} resident in process ${guest.pid}`,
    ],
    ['program', [config.program, ...options, `seed=${config.seed}`].join(' ')],
    ['steps', `${guest.steps.join(' + ')} on ${config.vcpus} vCPU(s), ${formatCount(guest.stepsPerSecond)}/s`],
  ]
  const port = guest.servicePort ?? null
  if (port !== null) lines.push(['clients', `served at port ${port}`])
  if (migration !== null) {
    const when = guest.state === 'running' || guest.state === 'paused' ? 'the last one, ' : ''
    lines.push(['migration', `${when}${migration.id} ${migration.role === 'source' ? 'to' : 'from'} ${migration.peer}`])
    if (migration.progress !== null && when === '')
      lines.push(['', progressText(migration.progress as unknown as Progress, guest.owner === 'both')])
    if (guest.state === 'pulling' && typeof migration.paused === 'string') {
      lines.push(['paused', migration.paused], ['', pausedHint(migration.id)])
    }
  }
  if (guest.state === 'lost') lines.push(['resolve', lostHint(guest)])
  if (crash !== undefined) lines.push(['crash', `${crash.message} (${crash.code})`])
  if (crash?.hint !== undefined && guest.state !== 'lost') lines.push(['', crash.hint])
  terminal.out(lines.map(([name, text]) => `${name.padEnd(10)} ${text}`).join('\n'))
  return 0
}

/** Who may run it, where the state does not say so already. */
function ownerText({ state, owner }: GuestView): string {
  if (owner === 'both' || state === 'pulling' || state === 'lost' || (state === 'migrating' && owner === 'elsewhere'))
    return ''
  return `may run ${owner === 'undecided' ? 'nowhere yet' : owner}; `
}
