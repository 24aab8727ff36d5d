// The two agents of a demo: real processes with directories of their own, started, found by the address they print,
// and taken down again with everything they started. demo.ts is the only caller.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { GodwitError } from '../errors.ts'
import { GuestProcess } from '../guest-process/supervise.ts'
import { workerUrl } from '../worker-url.ts'
import { AgentClient } from './agent-client.ts'

const READY_TIMEOUT_MS = 20_000
const END_TIMEOUT_MS = 8000
const ERROR_TAIL = 400

/** One agent process of a demo. */
export class DemoAgent {
  readonly name: string
  readonly client: AgentClient
  readonly #child: ChildProcess
  readonly #directory: string

  private constructor(name: string, client: AgentClient, child: ChildProcess, directory: string) {
    this.name = name
    this.client = client
    this.#child = child
    this.#directory = directory
  }

  /** Starts an agent on loopback at a port the system chooses; resolves when it answers. [0, 0]: any data ports, too. */
  static async start(name: string, dataPorts: readonly [number, number]): Promise<DemoAgent> {
    const directory = await mkdtemp(join(tmpdir(), 'godwit-demo-'))
    const words = ['agent', '--listen', '127.0.0.1:0', '--data-dir', directory, '--name', name]
    words.push(
      '--data-ports',
      dataPorts.join('-'),
      '--line-ports',
      '0-0',
      '--service-ports',
      '0-0',
      '--stop-guests',
      '--json',
    )
    // The channel (ipc) closes when the demo dies, however it dies; the agent then ends by itself.
    const child = spawn(process.execPath, [fileURLToPath(workerUrl(import.meta.url, './main')), ...words], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      detached: true,
    })
    try {
      return new DemoAgent(name, new AgentClient(await readyUrl(name, child)), child, directory)
    } catch (error) {
      await end(child)
      await rm(directory, { recursive: true, force: true })
      throw error
    }
  }

  /** Ends the agent, the guests it still has, and removes its directory. */
  async close(): Promise<void> {
    await end(this.#child)
    await endGuests(join(this.#directory, 'guests'))
    await rm(this.#directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 })
  }
}

/** The address in the line an agent prints when it is ready. Throws `unreachable` with what the agent said instead. */
async function readyUrl(name: string, child: ChildProcess): Promise<string> {
  let said = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    said = `${said}${chunk.toString()}`.slice(-ERROR_TAIL)
  })
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
  const exited = new AbortController()
  child.once('exit', () => exited.abort())
  child.once('error', () => exited.abort())
  const timeout = setTimeout(() => exited.abort(), READY_TIMEOUT_MS)
  try {
    const [line] = (await once(lines, 'line', { signal: exited.signal })) as [string]
    return (JSON.parse(line) as { url: string }).url
  } catch (cause) {
    const reason = said.trim() || 'it said nothing'
    throw new GodwitError('unreachable', `agent ${name} of the demo did not start: ${reason}`, { cause })
  } finally {
    clearTimeout(timeout)
    lines.close()
    child.stdout?.resume()
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), END_TIMEOUT_MS)
  await gone
  clearTimeout(timer)
}

/** An agent that was killed has left its guests behind. */
async function endGuests(directory: string): Promise<void> {
  const ids = await readdir(directory).catch(() => [])
  const left = await Promise.all(ids.map((id) => GuestProcess.adopt(join(directory, id), () => {})))
  await Promise.all(left.map((guest) => guest?.stop()))
}
