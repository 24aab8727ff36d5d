// The replay oracle: a separate process computes what a paused guest's memory must be and compares it, page for page,
// with the bytes that are streamed to it straight from shared memory. Called by the host of a guest and by tests.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { GodwitError } from '../errors.ts'
import type { GuestConfig } from '../guest/config.ts'
import { saveFree } from '../guest/free-map.ts'
import type { GuestMemory } from '../guest/memory.ts'
import type { VcpuState } from '../guest/vcpus-port.ts'
import { workerUrl } from '../worker-url.ts'
import { programSource } from './registry.ts'

/** One write to the oracle's pipe. */
const WRITE_BYTES = 1024 * 1024
/** What is kept of the process's last words, characters. */
const STDERR_KEPT = 2000

export interface OracleRequest {
  readonly memory: GuestMemory
  readonly config: GuestConfig
  /** Steps and registers of each vCPU, read while the guest is paused; it must stay so until the answer. */
  readonly states: readonly VcpuState[]
  readonly programsDirectory: string | null
}

export interface OracleAnswer {
  readonly equal: boolean
  /** Numbers of the first pages that differ, in what they hold or in whether they are free, at most 64. */
  readonly differing: number[]
  /** vCPUs whose registers differ. */
  readonly registersDiffer: number[]
}

/** First thing on the oracle's standard input, as JSON behind its length (u32, little-endian); then the pages. */
export interface OracleHeader {
  readonly config: GuestConfig
  readonly programUrl: string
  readonly steps: number[]
  /** Base64, one a vCPU. */
  readonly registers: string[]
  /** The free map as a bitmap, base64; null: no page is free. */
  readonly free: string | null
}

/** Throws `oracle-failed` when the process itself fails; a difference is an answer. */
export async function runOracle(request: OracleRequest): Promise<OracleAnswer> {
  const { memory, config, states, programsDirectory } = request
  const free = saveFree(memory)
  const header: OracleHeader = {
    config,
    programUrl: await programSource(programsDirectory).locate(config.program, config.programHash),
    steps: states.map(({ steps }) => steps),
    registers: states.map(({ registers }) => Buffer.from(registers).toString('base64')),
    free: free === null ? null : Buffer.from(free).toString('base64'),
  }
  const file = fileURLToPath(workerUrl(import.meta.url, './oracle-process'))
  const child = spawn(process.execPath, [file], { stdio: ['pipe', 'pipe', 'pipe'] })
  let output = ''
  let lastWords = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    lastWords = (lastWords + text).slice(-STDERR_KEPT)
  })
  // A process that ends early shows in its exit code; the broken pipe adds nothing.
  child.stdin.on('error', () => {})
  const ended = once(child, 'close') as Promise<[number | null]>
  await Promise.race([feed(child.stdin, header, memory).catch(() => {}), ended])
  const [code] = await ended
  if (code !== 0) {
    throw new GodwitError('oracle-failed', `the oracle's process ended with ${code}: ${lastWords.trim()}`)
  }
  return JSON.parse(output) as OracleAnswer
}

async function feed(input: NodeJS.WritableStream, header: OracleHeader, memory: GuestMemory): Promise<void> {
  const json = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(4)
  length.writeUInt32LE(json.length)
  input.write(Buffer.concat([length, json]))
  for (let at = 0; at < memory.bytes.length; at += WRITE_BYTES) {
    const more = input.write(memory.bytes.subarray(at, at + WRITE_BYTES))
    if (!more) await once(input, 'drain')
  }
  input.end()
}
