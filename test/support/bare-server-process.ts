// The bare server as a process of its own: prints its port, and ends when its standard input does. Benchmarks start it.

import { BareServer } from './bare-server.ts'

const server = new BareServer()
await server.listen(Number(process.argv[2] ?? 0))
console.log(server.port)
process.stdin.resume().once('end', () => void server.close())
