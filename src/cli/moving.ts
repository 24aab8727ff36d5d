// Options that several commands share, turned into what the agent's API takes: migration settings, guests, addresses.

import type { StartRequest } from '../agent/schemas.ts'
import { GodwitError } from '../errors.ts'
import type { Pace } from '../guest/config.ts'
import { API_PORT } from '../limits.ts'
import type { MigrationOptions } from '../migration/settings.ts'
import { AgentClient } from './agent-client.ts'
import type { Arguments } from './arguments.ts'

/** The agent that --agent or GODWIT_AGENT names. */
export function agentOf(args: Arguments): AgentClient {
  return new AgentClient(args.text('agent') ?? (process.env.GODWIT_AGENT || `http://127.0.0.1:${API_PORT}`))
}

/** The GUEST operand. */
export function guestNameOf(args: Arguments): string {
  return args.positionals[0] ?? ''
}

/** Guests by name or id, before the first has moved. Throws what is wrong with a name, and `usage` for one guest by both. */
export async function requireGuests(client: AgentClient, names: readonly string[]): Promise<void> {
  const found = new Map<string, string>()
  for (const name of names) {
    const { id } = await client.guest(name)
    const other = found.get(id)
    if (other !== undefined) {
      throw new GodwitError('usage', `${other} and ${name} are the same guest`, { hint: 'name each guest once' })
    }
    found.set(id, name)
  }
}

/** The GUEST... operands. Throws `usage` when one is there twice. */
export function guestNamesOf(args: Arguments): readonly string[] {
  const names = args.positionals
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice === undefined) return names
  throw new GodwitError('usage', `guest ${twice} is named twice`, { hint: 'name each guest once' })
}

/** Migration settings from --movement, --channels and the others. Throws `usage`. */
export function settingsOf(args: Arguments): MigrationOptions {
  if (args.flag('no-verify') && args.text('verify') === 'full') {
    throw new GodwitError('usage', '--no-verify and --verify full exclude each other', { hint: 'give one of them' })
  }
  return {
    movement: args.text('movement') as MigrationOptions['movement'],
    channels: args.number('channels'),
    bandwidth: args.number('bandwidth') ?? null,
    adaptiveBandwidth: args.flag('adaptive-bandwidth'),
    downtimeTarget: args.number('downtime-target'),
    maxRounds: args.number('max-rounds'),
    encode: args.text('encode') as MigrationOptions['encode'],
    lz4: args.text('lz4') as MigrationOptions['lz4'],
    deltaCache: args.number('delta-cache'),
    selection: args.text('selection') as MigrationOptions['selection'],
    stop: args.text('stop') as MigrationOptions['stop'],
    pushOrder: args.text('push-order') as MigrationOptions['pushOrder'],
    verify: args.flag('no-verify') ? 'none' : (args.text('verify') as MigrationOptions['verify']),
    keepCopy: args.flag('keep-copy'),
    timeout: args.number('timeout') ?? null,
    switchoverTimeout: args.number('switchover-timeout') ?? null,
    advertise: args.text('advertise') ?? null,
  }
}

/** What to ask the agent for, from --memory, --vcpus, --workload and the others. Throws `usage`. */
export function guestOf(args: Arguments, name: string): StartRequest {
  const options: Record<string, string | number | boolean> = {}
  for (const [key, value] of Object.entries(args.pairs('option'))) {
    options[key] = /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : value
  }
  for (const key of ['workload', 'content']) {
    const value = args.text(key)
    if (value !== undefined) options[key] = value
  }
  if (args.flag('cluster')) options.cluster = true
  const pace = args.text('pace')
  return {
    name,
    memoryBytes: args.number('memory'),
    vcpus: args.number('vcpus'),
    program: args.text('program') ?? 'mutator',
    options,
    seed: args.number('seed'),
    pace: pace === undefined ? undefined : parsePace(pace),
  }
}

/** 'free:20000/s', 'free:max', 'locked' or 'locked:0.5'. Throws `usage`. */
export function parsePace(text: string): Pace {
  const match = /^(free|locked)(?::(max|\d+(?:\.\d+)?)(\/s)?)?$/.exec(text)
  const [, kind, amount, perSecond] = match ?? []
  const number = amount === undefined || amount === 'max' ? null : Number(amount)
  if (kind === 'locked' && amount !== 'max' && perSecond === undefined) return { kind, lambda: number }
  if (kind === 'free' && amount !== undefined && number !== 0) return { kind, perSecond: number }
  throw new GodwitError('usage', `'${text}' is no pace`, {
    hint: 'write free:20000/s, free:max, locked or locked:STEPS (per page record sent)',
  })
}
