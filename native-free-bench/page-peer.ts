// A bare request and response of one page beside a bulk stream at full speed, two connections between two processes, a
// thread each at both ends. No Godwit code: the yardstick of fault latency. bare-exchange.ts starts both ends
// (`node page-peer.ts serve|ask BYTES`) and talks to them over IPC.

import { connect, createServer, type Socket } from 'node:net'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'

const WRITE_BYTES = 256 * 1024
const PAGE_BYTES = 4096
const REQUEST_BYTES = 20
/** Between two requests. */
const PAUSE_MS = 1

/** Where one end finds the other. */
interface Place {
  readonly host: string
  readonly port: number
}

const tell = (message: unknown): void => void process.send?.(message)

function listen(onConnection: (socket: Socket) => void): Promise<number> {
  const server = createServer((socket) => {
    server.close()
    socket.setNoDelay(true)
    socket.on('error', () => {})
    onConnection(socket)
  })
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port))
  })
}

/** Thread: sends as much as it is told, straight from a shared memory. */
async function sendBulk(bytes: number): Promise<void> {
  const memory = new Uint8Array(new SharedArrayBuffer(64 * 1024 * 1024)).fill(7)
  const port = await listen((socket) => {
    let sent = 0
    const pump = (): void => {
      while (sent < bytes) {
        const from = sent % memory.length
        const room = socket.write(memory.subarray(from, from + WRITE_BYTES))
        sent += WRITE_BYTES
        if (!room) return void socket.once('drain', pump)
      }
      socket.end()
    }
    pump()
  })
  parentPort?.postMessage(port)
}

/** Thread: takes it all into a shared memory. */
function receiveBulk({ host, port }: Place): void {
  const memory = new Uint8Array(new SharedArrayBuffer(64 * 1024 * 1024)).fill(1)
  let received = 0
  const buffer = (): Uint8Array => memory.subarray(received % memory.length, (received % memory.length) + WRITE_BYTES)
  const callback = (count: number): boolean => {
    received += count
    return true
  }
  const socket = connect({ port, host, onread: { buffer, callback } })
  socket.on('close', () => parentPort?.postMessage(received))
}

async function serve(bytes: number): Promise<void> {
  const worker = new Worker(new URL(import.meta.url), { workerData: { role: 'send', bytes } })
  const bulk = await new Promise<number>((resolve) => worker.once('message', resolve))
  const page = new Uint8Array(PAGE_BYTES).fill(9)
  const pages = await listen((socket) => {
    socket.on('data', () => socket.write(page))
  })
  tell({ bulk, pages })
}

/** Asks for one page after the other until the bulk stream ends; the latencies in µs. */
function ask(host: string, bulk: number, pages: number): void {
  const latencies: number[] = []
  const request = new Uint8Array(REQUEST_BYTES)
  const worker = new Worker(new URL(import.meta.url), { workerData: { role: 'receive', host, port: bulk } })
  let over = false
  worker.once('message', () => {
    over = true
  })
  let askedAt = 0
  let missing = 0
  const socket = connect({ port: pages, host, noDelay: true })
  const next = (): void => {
    if (over) {
      tell({ latencies })
      return
    }
    missing = PAGE_BYTES
    askedAt = performance.now()
    socket.write(request)
  }
  socket.on('data', (piece: Buffer) => {
    missing -= piece.length
    if (missing > 0) return
    latencies.push((performance.now() - askedAt) * 1000)
    setTimeout(next, PAUSE_MS)
  })
  socket.on('connect', next)
}

if (!isMainThread) {
  const work = workerData as { role: 'send'; bytes: number } | ({ role: 'receive' } & Place)
  if (work.role === 'send') await sendBulk(work.bytes)
  else receiveBulk(work)
} else if (process.argv[2] === 'serve') {
  await serve(Number(process.argv[3]))
} else {
  process.once('message', (message) => {
    const { host, bulk, pages } = message as { host: string; bulk: number; pages: number }
    ask(host, bulk, pages)
  })
  tell({ ready: true })
}
