// What `godwit gateway` makes of what agents say, with agents that are played by the test.

import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { GatewayServer } from '../../src/agent/gateway-server.ts'
import type { ServiceView } from '../../src/agent/service-view.ts'

const [OLD, NEW] = ['a'.repeat(32), 'b'.repeat(32)]
const closing: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

const viewOf = (over: Partial<ServiceView>): ServiceView => ({
  ...{ guest: 'store', id: NEW, agent: 'left', program: 'kv', vcpus: 1, memoryBytes: 65_536, cluster: false },
  ...{ here: true, linePort: 1, servicePort: 2, agents: [], clients: 0, commands: 0, waiting: 0, ...over },
})

/** An agent that knows one guest; `asked` gets the paths. */
async function agent(view: ServiceView, asked: string[] = []) {
  const pages = { epoch: 1, revision: 1, pageCount: 16, runs: [{ first: 0, count: 16, owner: 'here' }] }
  const server: Server = createServer((request, response) => {
    const path = request.url as string
    asked.push(path)
    const answer = path.endsWith('/service') ? view : pages
    setTimeout(() => response.end(JSON.stringify(answer)), path.endsWith('/pages') ? 50 : 0)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port }
}

async function open(agents: { host: string; port: number }[]): Promise<GatewayServer> {
  const options = { guest: 'store', agents, listen: { host: '127.0.0.1', port: 0 }, httpPort: 0 }
  const gateway = await GatewayServer.open(options)
  closing.push(() => gateway.close())
  return gateway
}

test('however many ask for the page log, an agent makes one table at a time', async () => {
  const asked: string[] = []
  const gateway = await open([await agent(viewOf({}), asked)])
  const url = `http://127.0.0.1:${gateway.httpPort}/pages`
  // Those in this process ask while the first table is certainly not there; when requests come to its port nobody knows.
  const all = [...Array.from({ length: 50 }, () => gateway.pages()), fetch(url).then((answer) => answer.json())]
  for (const answer of await Promise.all(all))
    expect(answer).toMatchObject({ guest: 'store', runs: [{ count: 16, host: 'left' }] })
  expect(asked.filter((path) => path.endsWith('/pages')).length).toBeLessThanOrEqual(2)
})

test('with nobody to ask there is no page log, rather than one without pages', async () => {
  const view = viewOf({})
  const gateway = await open([await agent(view)])
  // It has gone, and its agent knows of it still.
  Object.assign(view, { here: false, linePort: null })
  const response = await fetch(`http://127.0.0.1:${gateway.httpPort}/pages`)
  expect([response.status, await response.json()]).toMatchObject([502, { error: { code: 'unreachable' } }])
})

test('a port that is taken is named, with what to do', async () => {
  const taken = await agent(viewOf({}))
  const options = { guest: 'store', agents: [taken], listen: taken, httpPort: null }
  await expect(GatewayServer.open(options)).rejects.toMatchObject({
    code: 'no-port',
    message: `port ${taken.port} at 127.0.0.1 is taken`,
    hint: expect.stringContaining('choose another'),
  })
})

test('an agent that is named twice, by its address and as localhost, is one', async () => {
  const address = await agent(viewOf({}))
  const gateway = await open([address, { ...address, host: 'localhost' }])
  expect(await gateway.pages()).toMatchObject({ runs: [{ first: 0, count: 16, host: 'left' }] })
})

test('a guest that has gone is not meant when another has its name now', async () => {
  const gone = await agent(viewOf({ id: OLD, here: false, linePort: null }))
  const gateway = await open([gone, await agent(viewOf({ agent: 'right' }))])
  expect(gateway.status()).toMatchObject({ id: NEW })
})

test('a guest that serves and has gone nobody knows where is not told to serve', async () => {
  const gone = await agent(viewOf({ here: false, linePort: null }))
  await expect(open([gone])).rejects.toMatchObject({ code: 'unreachable', message: expect.stringContaining('left') })
  const mutator = await agent(viewOf({ program: 'mutator', linePort: null }))
  await expect(open([mutator])).rejects.toMatchObject({ code: 'usage' })
})

test('of two guests of one name none is chosen', async () => {
  const agents = [await agent(viewOf({ id: OLD })), await agent(viewOf({ agent: 'right' }))]
  await expect(open(agents)).rejects.toMatchObject({ code: 'usage', hint: expect.stringContaining(OLD) })
})

test('what is no GET of a known path is 404 and costs nothing', async () => {
  const gateway = await open([await agent(viewOf({}))])
  const url = `http://127.0.0.1:${gateway.httpPort}`
  for (const path of ['/', '/pages/', '/../etc/passwd', '/status%00', `/${'x'.repeat(8000)}`]) {
    const response = await fetch(url + path)
    expect([response.status, await response.json()]).toMatchObject([404, { error: { code: 'usage' } }])
  }
  expect((await fetch(`${url}/pages`, { method: 'POST', body: 'x' })).status).toBe(404)
  expect((await fetch(`${url}/status?${'x'.repeat(40_000)}`)).status).toBe(431)
  expect((await fetch(`${url}/status?a=b`)).status).toBe(200)
})
