// `godwit gateway`: one address for the clients of a guest, until it is asked to end.

import { addressText, parseAddress } from '../../agent/client.ts'
import { GatewayServer } from '../../agent/gateway-server.ts'
import { isLoopback } from '../../agent/http.ts'
import { GodwitError } from '../../errors.ts'
import { API_PORT } from '../../limits.ts'
import { formatCount } from '../../quantities.ts'
import type { Arguments } from '../arguments.ts'
import { endAsked } from '../end-asked.ts'
import type { Terminal } from '../terminal.ts'
import { parseListen } from './agent.ts'

/** How often the line that shows what goes on is drawn again, ms. */
const REDRAW_MS = 500

export async function run(args: Arguments, terminal: Terminal): Promise<number> {
  const guest = args.text('guest')
  if (!guest) throw new GodwitError('usage', 'gateway needs --guest NAME', { hint: 'see: godwit ps' })
  const listen = parseListen(args.text('listen') ?? '')
  if (!isLoopback(listen.host) && !args.flag('insecure')) {
    throw new GodwitError('insecure', `listening at ${listen.host} would serve anybody there`, {
      hint: 'add --insecure in a network you trust, or listen at 127.0.0.1',
    })
  }
  const given = args.list('agent')
  const agents = given.length > 0 ? given : [process.env.GODWIT_AGENT || `127.0.0.1:${API_PORT}`]
  const gateway = await GatewayServer.open({
    guest,
    agents: agents.map((text) => parseAddress(text)),
    listen,
    httpPort: args.number('http') ?? null,
  })
  const asked = endAsked()
  const { port } = gateway.front
  const { httpPort } = gateway
  terminal.error(`gateway to guest ${gateway.guest} is ready at ${addressText({ ...listen, port })}\n`)
  if (httpPort !== null) terminal.error(`status: http://${addressText({ ...listen, port: httpPort })}/status\n`)
  if (args.flag('json')) terminal.out(JSON.stringify({ guest: gateway.guest, host: listen.host, port, httpPort }))
  const drawing =
    terminal.interactive && !args.flag('json') ? setInterval(() => draw(gateway, terminal), REDRAW_MS) : null
  await asked
  if (drawing !== null) clearInterval(drawing)
  const { commands, connections } = gateway.status()
  await gateway.close()
  terminal.error(`\ngateway has ended: ${formatCount(commands)} commands of ${formatCount(connections)} connections\n`)
  return 0
}

function draw(gateway: GatewayServer, terminal: Terminal): void {
  const { vcpus, clients, commands, waiting } = gateway.status()
  const places = [...new Set(vcpus.map(({ at }) => at ?? 'between hosts'))].join(', ')
  const text = `${places} · ${clients} clients · ${formatCount(commands)} commands, ${waiting} waiting`
  terminal.error(`\r\x1b[2K${text.slice(0, terminal.columns - 1)}`)
}
