// One end of the ceiling measurement: a process that sends a memory over TCP or receives into one. No Godwit code.
// techniques/ceiling.ts starts two of them (`node stream-peer.ts send|receive BYTES …`) and talks to them over IPC.

import { connect, createServer, type Socket } from 'node:net'

const WRITE_BYTES = 1024 * 1024
const PAGE_BYTES = 4096

/** What an end reports when the last byte is through. */
export interface PeerResult {
  readonly seconds: number
  readonly cpuSeconds: number
}

/** A shared memory with random content, every page touched. */
function filledMemory(bytes: number, seed: number): Uint8Array {
  const memory = new Uint8Array(new SharedArrayBuffer(bytes))
  const words = new Uint32Array(memory.buffer)
  let word = seed | 1
  for (let index = 0; index < words.length; index++) {
    word ^= word << 13
    word ^= word >>> 17
    word ^= word << 5
    words[index] = word
  }
  return memory
}

function stopwatch(): () => PeerResult {
  const started = performance.now()
  const before = process.cpuUsage()
  return () => {
    const used = process.cpuUsage(before)
    return { seconds: (performance.now() - started) / 1000, cpuSeconds: (used.user + used.system) / 1e6 }
  }
}

const tell = (message: unknown): void => void process.send?.(message)

/** Writes the whole memory, straight from the shared pages, as fast as the socket drains. */
function send(socket: Socket, memory: Uint8Array): void {
  const stop = stopwatch()
  let sent = 0
  const pump = (): void => {
    while (sent < memory.length) {
      const length = Math.min(WRITE_BYTES, memory.length - sent)
      const last = sent + length === memory.length
      const room = socket.write(memory.subarray(sent, sent + length), last ? () => tell(stop()) : undefined)
      sent += length
      if (!room && !last) return void socket.once('drain', pump)
    }
  }
  pump()
}

function receive(port: number, memory: Uint8Array, readBytes: number): void {
  let received = 0
  const stop = stopwatch()
  const socket = connect({
    port,
    host: '127.0.0.1',
    onread: {
      buffer: () => memory.subarray(received, Math.min(received + readBytes, memory.length)),
      callback: (count: number) => {
        received += count
        if (received === memory.length) {
          tell(stop())
          socket.destroy()
        }
        return true
      },
    },
  })
}

const [role, bytes, seed, readBytes] = [process.argv[2], ...process.argv.slice(3).map(Number)] as const
if (role === 'send') {
  const memory = filledMemory(bytes as number, seed as number)
  const server = createServer((socket) => {
    server.close()
    socket.on('error', () => {})
    send(socket, memory)
  })
  server.listen(0, '127.0.0.1', () => tell({ port: (server.address() as { port: number }).port }))
} else {
  const memory = new Uint8Array(new SharedArrayBuffer(bytes as number))
  for (let at = 0; at < memory.length; at += PAGE_BYTES) memory[at] = 1
  process.once('message', (message) => receive((message as { port: number }).port, memory, readBytes as number))
  tell({ ready: true })
}
