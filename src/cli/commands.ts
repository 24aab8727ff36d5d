// The one table of the command line: every command, its arguments and its options. Parsing, help and the errors for
// unknown options are drawn from it; command-line.ts loads the module of the command that was asked for.

import { LZ4_CHOICES } from '../encoding/lz4-backend.ts'
import { ENCODE_MODES } from '../encoding/modes.ts'
import {
  API_PORT,
  DATA_PORT_FIRST,
  DATA_PORT_LAST,
  DEFAULT_CONCURRENT_MIGRATIONS,
  DEFAULT_DOWNTIME_TARGET_MS,
  DEFAULT_MAX_ROUNDS,
  GATEWAY_PORT,
  LINE_PORT_FIRST,
  LINE_PORT_LAST,
  MAX_CHANNELS,
  MAX_VCPUS,
  SERVICE_PORT_FIRST,
  SERVICE_PORT_LAST,
} from '../limits.ts'
import { MOVEMENTS, PUSH_ORDERS, SELECTIONS, STOP_RULES } from '../migration/settings.ts'
import type { Arguments, OptionTable } from './arguments.ts'
import { DEMO_LOAD, LOAD } from './load-options.ts'
import type { Terminal } from './terminal.ts'

/** Runs a command; resolves with the exit status. */
export type Run = (args: Arguments, terminal: Terminal) => Promise<number>

export interface Command {
  readonly summary: string
  /** Names of the words it needs, such as GUEST. */
  readonly operands: readonly string[]
  readonly options: OptionTable
  /** More for `--help`, whole lines. */
  readonly notes?: string
  readonly load: () => Promise<{ run: Run }>
}

const JSON_OPTION: OptionTable = {
  json: { type: 'flag', help: 'print one JSON document and nothing else on standard output' },
}
const AGENT_OPTION: OptionTable = {
  agent: {
    type: 'text',
    placeholder: 'URL',
    help: `the agent to talk to; default: $GODWIT_AGENT or http://127.0.0.1:${API_PORT}`,
  },
}
const COMMON = { ...AGENT_OPTION, ...JSON_OPTION }

const MOVING: OptionTable = {
  movement: { type: 'choice', choices: MOVEMENTS, default: 'pre-copy', help: 'when the guest switches' },
  channels: { type: 'integer', least: 1, most: MAX_CHANNELS, default: '1', help: 'data connections, a thread each' },
  bandwidth: { type: 'rate', default: 'none', help: 'limit of all channels together, such as 250MB/s; none: no limit' },
  'downtime-target': {
    type: 'duration',
    default: `${DEFAULT_DOWNTIME_TARGET_MS}ms`,
    help: 'stop the guest once the rest fits into this',
  },
  'max-rounds': {
    type: 'integer',
    most: 10_000,
    default: String(DEFAULT_MAX_ROUNDS),
    help: 'stop the guest after so many rounds at the latest',
  },
  encode: {
    type: 'choice',
    choices: ENCODE_MODES,
    default: 'adaptive',
    help: 'how pages travel; adaptive takes what is fastest on this link, the others force one way',
  },
  lz4: {
    type: 'choice',
    choices: LZ4_CHOICES,
    default: 'auto',
    help: "what compresses where lz4 is chosen: Godwit's kernel (auto) or the native library",
  },
  'delta-cache': {
    type: 'bytes',
    default: '64MiB',
    help: 'last versions sent that the source keeps to send only what changed; 0: none',
  },
  selection: {
    type: 'choice',
    choices: SELECTIONS,
    default: 'skip',
    help: 'skip leaves out pages that are already dirty again',
  },
  stop: {
    type: 'choice',
    choices: STOP_RULES,
    default: 'target',
    help: 'stop by the downtime target, or by the rules of Xen',
  },
  'push-order': {
    type: 'choice',
    choices: PUSH_ORDERS,
    default: 'around-the-fault',
    help: 'post-copy and hybrid: which page is pushed next; several-pivots is for benchmarks',
  },
  verify: {
    type: 'choice',
    choices: ['digest', 'full'],
    default: 'digest',
    help: 'digest and audit; full hashes all memory during the pause',
  },
  'no-verify': { type: 'flag', help: 'neither digest nor audit' },
  'keep-copy': { type: 'flag', help: 'the source keeps the memory, so that migrating back sends only what changed' },
}

const GUEST: OptionTable = {
  memory: { type: 'bytes', default: '512MiB', help: 'memory of the guest, 64KiB to 4GiB' },
  vcpus: { type: 'integer', least: 1, most: MAX_VCPUS, default: '1', help: 'vCPUs, a thread each' },
  workload: {
    type: 'text',
    placeholder: 'NAME',
    help: 'which pages the mutator writes: idle, web, hot, diab, sparse, phased, local, free',
  },
  content: {
    type: 'text',
    placeholder: 'NAME',
    help: 'what it fills pages with: zero, random, text, mix, dup',
  },
  seed: { type: 'integer', most: 2 ** 32 - 1, default: '1', help: 'what the guest does follows from it' },
  pace: {
    type: 'text',
    placeholder: 'PACE',
    help: 'free:N/s, free:max, or locked[:STEPS] per page record sent; default: free:20000/s, kv: free:max',
  },
  option: { type: 'pair', placeholder: 'KEY=VALUE', help: 'an option of the program; may be repeated' },
}

export const COMMANDS: Readonly<Record<string, Command>> = {
  demo: {
    summary: 'start two agents and a guest here, and migrate it while you watch',
    operands: [],
    options: {
      ...GUEST,
      vcpus: { type: 'integer', least: 1, most: MAX_VCPUS, help: 'vCPUs, a thread each; default: 1, kv: 2' },
      program: {
        type: 'choice',
        choices: ['mutator', 'kv'],
        default: 'mutator',
        help: 'what runs in the guest; kv serves clients, and the report says what they saw',
      },
      workload: { ...GUEST.workload, default: 'web' } as OptionTable[string],
      content: { ...GUEST.content, default: 'mix' } as OptionTable[string],
      ...MOVING,
      bandwidth: { ...MOVING.bandwidth, default: '250MB/s' } as OptionTable[string],
      'downtime-target': { ...MOVING['downtime-target'], default: '20ms' } as OptionTable[string],
      ...DEMO_LOAD,
      'no-oracle': { type: 'flag', help: 'do not replay the guest in a separate process at the end' },
      chaos: {
        type: 'text',
        placeholder: 'WHAT',
        help: 'cut:N cuts the link N times during the pull of post-copy or hybrid; delay:Nms delays all bytes, each way',
      },
      hops: { type: 'integer', least: 1, most: 10_000, help: 'there and back again so many times' },
      ...JSON_OPTION,
    },
    load: () => import('./commands/demo.ts'),
  },
  agent: {
    summary: 'run the agent of this host, in the foreground',
    operands: [],
    options: {
      listen: {
        type: 'text',
        placeholder: 'HOST:PORT',
        default: `127.0.0.1:${API_PORT}`,
        help: 'address of the API; port 0: the system chooses',
      },
      'data-dir': { type: 'text', placeholder: 'DIR', help: 'where guests, reports and records are kept' },
      name: { type: 'text', placeholder: 'NAME', help: "the agent's name in reports; default: the host's name" },
      'memory-limit': { type: 'bytes', help: 'most memory all guests here may have together' },
      'copy-memory': {
        type: 'bytes',
        help: 'most memory in copies that guests leave behind (--keep-copy); default: half of the limit; 0: none',
      },
      'share-pages': {
        type: 'flag',
        help: 'guests that come in are not sent pages that any guest here has; without it only those of one gang',
      },
      programs: { type: 'text', placeholder: 'DIR', help: "directory of users' own programs" },
      insecure: { type: 'flag', help: 'allow to listen beyond loopback, without transport security' },
      bandwidth: { type: 'rate', default: 'none', help: 'budget of all outgoing migrations together' },
      migrations: {
        type: 'integer',
        least: 1,
        most: 64,
        default: String(DEFAULT_CONCURRENT_MIGRATIONS),
        help: 'most migrations at once',
      },
      'data-ports': {
        type: 'text',
        placeholder: 'FIRST-LAST',
        default: `${DATA_PORT_FIRST}-${DATA_PORT_LAST}`,
        help: 'ports for migrations; 0-0: the system chooses',
      },
      'service-ports': {
        type: 'text',
        placeholder: 'FIRST-LAST',
        default: `${SERVICE_PORT_FIRST}-${SERVICE_PORT_LAST}`,
        help: 'ports at which clients of guests that serve are taken in; 0-0: the system chooses',
      },
      'line-ports': {
        type: 'text',
        placeholder: 'FIRST-LAST',
        default: `${LINE_PORT_FIRST}-${LINE_PORT_LAST}`,
        help: 'ports at which guests that serve listen for gateways; 0-0: the system chooses',
      },
      'stop-guests': { type: 'flag', help: 'stop the guests, too, when the agent ends' },
      ...JSON_OPTION,
    },
    notes: 'Ctrl-C ends the agent and leaves its guests running; the next agent with the same --data-dir finds them.',
    load: async () => {
      await import('../agent/small-heap.ts')
      return await import('./commands/agent.ts')
    },
  },
  start: {
    summary: 'start a guest',
    operands: [],
    options: {
      name: { type: 'text', placeholder: 'NAME', help: 'default: the agent chooses one' },
      ...GUEST,
      program: {
        type: 'text',
        placeholder: 'NAME',
        default: 'mutator',
        help: "mutator, kv (a key-value store that speaks Redis's protocol), or a file in the agent's --programs directory",
      },
      cluster: {
        type: 'flag',
        help: 'kv: clients that know Redis Cluster are told where the guest is and follow it, instead of being served through the port they came to',
      },
      ...COMMON,
    },
    load: () => import('./commands/start.ts'),
  },
  gateway: {
    summary: 'one address for the clients of a guest, wherever it runs, in the foreground',
    operands: [],
    options: {
      guest: { type: 'text', placeholder: 'NAME', help: 'the guest: its name, or its id' },
      agent: {
        type: 'list',
        placeholder: 'URL',
        help: 'an agent that may know where the guest is; may be repeated, and the others are found from there',
      },
      listen: {
        type: 'text',
        placeholder: 'HOST:PORT',
        default: `127.0.0.1:${GATEWAY_PORT}`,
        help: 'address for clients; port 0: the system chooses',
      },
      http: { type: 'integer', most: 65_535, help: 'a port for GET /status and GET /pages; 0: the system chooses' },
      insecure: { type: 'flag', help: 'allow to listen beyond loopback, without transport security' },
      ...JSON_OPTION,
    },
    notes:
      'Clients speak the Redis protocol (RESP2). Commands are held while their part of the guest is between hosts, for 5 s\n' +
      'at most. Ctrl-C ends the gateway and its connections; the guest does not notice.',
    load: () => import('./commands/gateway.ts'),
  },
  migrate: {
    summary: 'move guests to another host while they run',
    operands: ['GUEST...'],
    options: {
      to: { type: 'text', placeholder: 'HOST[:PORT]', help: "the destination's agent, also as URL" },
      check: { type: 'flag', help: 'ask whether it would work; changes nothing' },
      ...MOVING,
      'adaptive-bandwidth': { type: 'flag', help: 'start slow and follow the dirty rate' },
      timeout: { type: 'duration', help: 'give up after this, if the guest has not moved' },
      'switchover-timeout': {
        type: 'duration',
        help: 'longest pause; default: 10 × target, at least 1s (stop-and-copy: none)',
      },
      advertise: { type: 'text', placeholder: 'HOST', help: 'address at which the destination dials this host' },
      ...COMMON,
    },
    notes:
      'Ctrl-C detaches: the migration goes on. Exit status: 0 completed and consistent, 1 failed or cancelled and the\n' +
      'guest still at the source, 2 usage, 3 unreconciled, 4 lost, 5 inconsistent.\n' +
      'Several guests are a gang: they move one after the other, and pages that one before has brought are not sent\n' +
      'again. If one does not get there, or on Ctrl-C, those behind it are not begun. The worst status is returned.',
    load: () => import('./commands/migrate.ts'),
  },
  load: {
    summary: 'drive a key-value service from outside, and say how long its clients waited',
    operands: ['[HOST:]PORT...'],
    options: { ...LOAD, ...JSON_OPTION },
    notes:
      'Latencies count from when an operation was due. Gap: longest time that one connection waited for any reply.\n' +
      'Silence: the same over all connections. Ctrl-C ends it early, with its summary; twice, without. Exit status:\n' +
      '0 exact and nothing failed, 1 operations failed or connections were lost, 2 usage, 5 not exact.',
    load: () => import('./commands/load.ts'),
  },
  ps: { summary: 'list guests', operands: [], options: COMMON, load: () => import('./commands/ps.ts') },
  show: {
    summary: 'show a guest and what it is doing',
    operands: ['GUEST'],
    options: COMMON,
    load: () => import('./commands/show.ts'),
  },
  logs: {
    summary: "print the end of a guest's log",
    operands: ['GUEST'],
    options: COMMON,
    load: () => import('./commands/logs.ts'),
  },
  pause: {
    summary: 'stop the vCPUs of a guest at their next step',
    operands: ['GUEST'],
    options: COMMON,
    load: () => import('./commands/pause.ts'),
  },
  resume: {
    summary: 'let a paused guest go on',
    operands: ['GUEST'],
    options: COMMON,
    load: () => import('./commands/resume.ts'),
  },
  cancel: {
    summary: 'cancel the migration of a guest; it goes on where it is',
    operands: ['GUEST'],
    options: COMMON,
    load: () => import('./commands/cancel.ts'),
  },
  recover: {
    summary: 'let a paused pull dial its source again at once',
    operands: ['MIGRATION'],
    options: {
      via: { type: 'text', placeholder: 'HOST', help: "the source's address, when the one it gave fails" },
      ...COMMON,
    },
    notes:
      'Run it at the agent of the destination, where godwit show GUEST names the migration. A pull whose link was lost\n' +
      'dials by itself, less often the longer it fails; this saves the wait, or takes another way.',
    load: () => import('./commands/recover.ts'),
  },
  resolve: {
    summary: 'decide what becomes of a guest that two hosts cannot agree on, or that is lost',
    operands: ['GUEST'],
    options: {
      take: { type: 'flag', help: 'let the guest run here, after the other host was asked' },
      abandon: { type: 'flag', help: 'end the guest here and give its memory up' },
      'take-stale': {
        type: 'flag',
        help: 'at the source: let the guest run again as it was at the switch; what it did since is lost',
      },
      'peer-is-dead': {
        type: 'flag',
        help: 'with one of these: you know that the other host will not come back with the guest',
      },
      ...COMMON,
    },
    notes:
      'Without an option it only tells how the guest stands.\n' +
      '  --take        a guest in doubt: both hosts hold it paused after a host was lost in the switchover\n' +
      '  --abandon     a guest that has lost a part of its memory, or whose source will never come back\n' +
      '  --take-stale  at its source, when the destination is lost or has given it up: the guest goes back to the\n' +
      '                moment of the switch, whatever it has done and answered since\n' +
      '--peer-is-dead is your word that the other host does not run the guest. If that is wrong, it runs twice.',
    load: () => import('./commands/resolve.ts'),
  },
  stop: {
    summary: 'end a guest, or the copy that one left behind; its memory is gone',
    operands: ['GUEST'],
    options: { force: { type: 'flag', help: 'even while the other host of a migration has a say in it' }, ...COMMON },
    load: () => import('./commands/stop.ts'),
  },
}
