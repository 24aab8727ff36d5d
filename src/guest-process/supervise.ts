// How an agent holds on to a guest process: spawns it detached, finds it again after a restart of the agent, asks it,
// notices its death and says why. Called by src/agent; the process side is main.ts.

import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, fstatSync, mkdirSync, openSync, readFileSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { compileCache } from '../compile-cache.ts'
import { GodwitError } from '../errors.ts'
import { GUEST_START_TIMEOUT_MS, GUEST_STOP_TIMEOUT_MS } from '../limits.ts'
import { workerUrl } from '../worker-url.ts'
import { type GuestFile, readGuestFile, writeGuestFile } from './guest-file.ts'
import type { GuestStatus } from './host-port.ts'
import { RpcClient } from './rpc.ts'

const LOG_FILE = 'guest.log'
const CONNECT_RETRY_MS = 10
/** A guest process that is being looked for after a restart of the agent answers well within this. */
const ADOPT_TIMEOUT_MS = 5000

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Waits for `done`, but not longer than `ms`; leaves no timer behind that would keep the agent from ending. */
async function waitAtMost(done: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms)
  })
  await Promise.race([done, late])
  clearTimeout(timer)
}

/** True while a process of that id runs. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return !isZombie(pid)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Ended, but never collected by its parent: usual in containers that run without an init process. */
function isZombie(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z')
  } catch {
    return false
  }
}

/** The last `maxBytes` of a text file, whole lines; empty when there is none. */
export function tailOf(path: string, maxBytes: number): string {
  let file: number
  try {
    file = openSync(path, 'r')
  } catch {
    return ''
  }
  try {
    const { size } = fstatSync(file)
    const buffer = Buffer.alloc(Math.min(size, maxBytes))
    const length = readSync(file, buffer, 0, buffer.length, size - buffer.length)
    const text = buffer.toString('utf8', 0, length)
    return size > maxBytes ? text.slice(text.indexOf('\n') + 1) : text
  } finally {
    closeSync(file)
  }
}

/** The log of the guest in `directory`. */
export const logPathOf = (directory: string): string => join(directory, LOG_FILE)

/** What a guest process is told of a guest that comes in. */
export type Offer = Pick<GuestFile, 'reservation' | 'sourceAddress' | 'pageSocketPath' | 'neighbours'>

export type GuestEventListener = (event: unknown) => void

export class GuestProcess {
  readonly directory: string
  #file: GuestFile
  pid: number
  /** Why the process is gone, one sentence; null while it lives. */
  cause: string | null = null
  /** Resolves when the process is gone. */
  readonly exited: Promise<void>
  #markExited!: () => void
  #client: RpcClient | null = null
  #child: ChildProcess | null = null
  /** The agent is ending and the guest runs on without it. */
  #released = false

  private constructor(directory: string, file: GuestFile, pid: number) {
    this.directory = directory
    this.#file = file
    this.pid = pid
    this.exited = new Promise((resolve) => {
      this.#markExited = resolve
    })
  }

  /** Spawns a guest process and waits until its guest is ready. Throws what the guest process could not do. */
  static async start(
    directory: string,
    file: GuestFile,
    onEvent: GuestEventListener,
  ): Promise<{ process: GuestProcess; status: GuestStatus }> {
    mkdirSync(directory, { recursive: true })
    writeGuestFile(directory, file)
    const log = openSync(logPathOf(directory), 'a')
    const script = fileURLToPath(workerUrl(import.meta.url, './main'))
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script, directory], {
      detached: true,
      stdio: ['ignore', log, log],
      env: childEnvironment(),
    })
    closeSync(log)
    const started = new GuestProcess(directory, file, child.pid ?? 0)
    started.#watchChild(child)
    try {
      await started.#connect(onEvent, GUEST_START_TIMEOUT_MS)
      const status = await started.call<GuestStatus>('ready', null, GUEST_START_TIMEOUT_MS)
      return { process: started, status }
    } catch (error) {
      await started.stop()
      throw error
    }
  }

  /** Finds the guest process of a directory again; one that is gone comes back with its `cause`. */
  static async adopt(directory: string, onEvent: GuestEventListener): Promise<GuestProcess | null> {
    const file = readGuestFile(directory)
    if (file === null) return null
    const adopted = new GuestProcess(directory, file, file.pid ?? 0)
    try {
      if (file.pid === null || !isAlive(file.pid)) throw new GodwitError('unreachable', 'no such process')
      await adopted.#connect(onEvent, ADOPT_TIMEOUT_MS)
    } catch {
      adopted.#die('it ended while no agent was watching')
    }
    return adopted
  }

  /** How its guest came to be here. */
  get file(): GuestFile {
    return this.#file
  }

  get alive(): boolean {
    return this.cause === null
  }

  /** Asks the guest process; throws its coded error, or `guest-crashed` when it is gone. */
  async call<T>(method: string, params: unknown = null, timeoutMs: number | null = 10_000): Promise<T> {
    if (this.#client === null || this.cause !== null) throw this.#gone()
    try {
      return await this.#client.call<T>(method, params, timeoutMs)
    } catch (error) {
      const coded = GodwitError.from(error)
      if (coded.code !== 'link-lost') throw coded
      await waitAtMost(this.exited, 500)
      throw this.cause === null ? coded : this.#gone()
    }
  }

  /** The kept copy of this process receives its guest again. Throws what the guest process could not do. */
  async takeBack(offer: Offer): Promise<GuestStatus> {
    const status = await this.call<GuestStatus>('takeBack', offer, GUEST_START_TIMEOUT_MS)
    this.#file = { ...this.#file, role: 'incoming', ...offer }
    return status
  }

  /** Asks the process to end, kills it when it does not, and waits until it is gone. */
  async stop(): Promise<void> {
    if (!this.alive) return
    await this.call('stop', null, 1000).catch(() => this.#signal('SIGTERM'))
    await waitAtMost(this.exited, GUEST_STOP_TIMEOUT_MS)
    if (this.alive) this.#signal('SIGKILL')
    await waitAtMost(this.exited, GUEST_STOP_TIMEOUT_MS)
    this.#client?.close()
  }

  /** Lets go of the process without touching it. */
  release(): void {
    this.#released = true
    this.#client?.close()
    this.#child?.removeAllListeners()
    this.#child?.unref()
  }

  #signal(signal: NodeJS.Signals): void {
    try {
      if (this.pid > 0) process.kill(this.pid, signal)
    } catch {
      // It is gone already.
    }
  }

  #watchChild(child: ChildProcess): void {
    this.#child = child
    child.unref()
    child.once('error', (error) => this.#die(`it could not be started: ${error.message}`))
    child.once('exit', (code, signal) =>
      this.#die(signal === null ? `it exited with status ${code}` : `killed by ${signal}`),
    )
  }

  async #connect(onEvent: GuestEventListener, timeoutMs: number): Promise<void> {
    const until = performance.now() + timeoutMs
    while (this.alive) {
      try {
        this.#client = await RpcClient.connect(this.file.socketPath, onEvent)
        break
      } catch (error) {
        if (performance.now() > until) throw error
        await wait(CONNECT_RETRY_MS)
      }
    }
    if (this.#client === null) throw this.#gone()
    void this.#client.closed.then(() => this.#onSocketClosed(onEvent))
  }

  /**
   * A process adopted from an earlier agent is no child: its socket is what tells of its death. One that lives and cut us
   * off (we read too slowly) is called again.
   */
  async #onSocketClosed(onEvent: GuestEventListener): Promise<void> {
    for (let waited = 0; this.alive && !this.#released && waited < GUEST_STOP_TIMEOUT_MS; waited += 50) {
      if (this.#child === null && !isAlive(this.pid)) return this.#die('its process ended')
      await wait(50)
      if (!this.alive || this.#released) return
      const again = await RpcClient.connect(this.file.socketPath, onEvent).catch(() => null)
      if (again === null) continue
      this.#client = again
      void again.closed.then(() => this.#onSocketClosed(onEvent))
      return
    }
    if (this.#released) return
    if (this.alive) {
      this.#signal('SIGKILL')
      this.#die('it closed its socket and had to be killed')
    }
  }

  #die(cause: string): void {
    if (this.cause !== null) return
    const lastLine = tailOf(logPathOf(this.directory), 4096).trimEnd().split('\n').at(-1) ?? ''
    this.cause = lastLine === '' ? cause : `${cause}; last line of its log: ${lastLine.slice(0, 300)}`
    this.#markExited()
  }

  #gone(): GodwitError {
    return new GodwitError('guest-crashed', `the process of guest ${this.file.config.name} is gone: ${this.cause}`, {
      hint: `see: godwit logs ${this.file.config.name}`,
    })
  }
}

/** The agent's environment without what a test runner or a parent put there for itself. */
function childEnvironment(): NodeJS.ProcessEnv {
  const environment = { ...process.env }
  delete environment.NODE_OPTIONS
  delete environment.NODE_CHANNEL_FD
  delete environment.NODE_V8_COVERAGE
  environment.NODE_COMPILE_CACHE = compileCache()
  return environment
}
