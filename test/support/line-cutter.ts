// A relay in the line of a gateway that cuts it somewhere, most often within a frame: after a number of bytes in either
// direction that its seed decides, again and again.

import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

export class LineCutter {
  readonly port: number
  /** Connections that were cut by number of bytes. */
  cuts = 0
  /** Cuts no more. */
  calm = false
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #state: number
  readonly #mostBytes: number

  private constructor(server: Server, target: number, seed: number, mostBytes: number) {
    this.#server = server
    this.port = (server.address() as AddressInfo).port
    this.#state = seed
    this.#mostBytes = mostBytes
    server.on('connection', (socket) => this.#join(socket, target))
  }

  /** Each connection passes up to `mostBytes`, then it is reset. */
  static async open(target: number, seed: number, mostBytes: number): Promise<LineCutter> {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new LineCutter(server, target, seed, mostBytes)
  }

  cutNow(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  async close(): Promise<void> {
    this.cutNow()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #join(near: Socket, target: number): void {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0
    let left = this.#state % this.#mostBytes
    const far = connect(target, '127.0.0.1')
    const end = (): void => {
      near.resetAndDestroy()
      far.resetAndDestroy()
    }
    const forward = (from: Socket, to: Socket): void => {
      this.#sockets.add(from)
      from.setNoDelay(true)
      from.on('error', end)
      from.on('close', () => {
        this.#sockets.delete(from)
        end()
      })
      from.on('data', (piece: Buffer) => {
        if (this.calm || piece.length <= left) {
          left -= piece.length
          to.write(piece)
          return
        }
        if (left > 0) to.write(piece.subarray(0, left))
        left = 0
        this.cuts++
        // What was passed on is to arrive.
        setTimeout(end, 2)
        from.removeAllListeners('data')
        from.on('data', () => {})
      })
    }
    forward(near, far)
    forward(far, near)
  }
}
