// The agent's HTTP API: validates what comes in by src/agent/schemas.ts, calls the Agent, and turns its errors into
// statuses. GET /v1/openapi.json is generated from the same routes.

import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer, type HttpBindings } from '@hono/node-server'
import { createRoute, OpenAPIHono, z } from '@hono/zod-openapi'
import { bodyLimit } from 'hono/body-limit'
import { type ErrorCode, GodwitError } from '../errors.ts'
import { MAX_BODY_BYTES } from '../limits.ts'
import type { Agent } from './agent.ts'
import type { AgentAddress } from './client.ts'
import { eventStream } from './event-stream.ts'
import {
  agentSchema,
  checkSchema,
  copySchema,
  errorSchema,
  guestSchema,
  logsSchema,
  migrateSchema,
  migrationSchema,
  oracleSchema,
  recoverSchema,
  reservationSchema,
  reservedSchema,
  resolveSchema,
  startSchema,
  verdictSchema,
} from './schemas.ts'
import { pagesSchema, serviceSchema } from './service-view.ts'

const STATUS: Partial<Record<ErrorCode, number>> = {
  usage: 400,
  'bad-size': 400,
  'no-such-guest': 404,
  'no-such-migration': 404,
  'guest-exists': 409,
  'guest-busy': 409,
  'guest-not-running': 409,
  'guest-crashed': 409,
  'program-missing': 422,
  'program-differs': 422,
  'program-invalid': 422,
  'too-late': 409,
  'owner-elsewhere': 409,
  lost: 409,
  unreconciled: 409,
  'memory-limit': 507,
  'too-many-migrations': 429,
  'wrong-version': 426,
  'missing-capability': 422,
  unreachable: 502,
}

/** The HTTP status an error code is answered with. */
export const statusOf = (code: ErrorCode): number => STATUS[code] ?? 500

type Environment = { Bindings: HttpBindings }

const nameParameter = z.object({ name: z.string().min(1).max(63) })
const idParameter = z.object({ id: z.string().regex(/^[0-9a-f]{32}$/, 'is not 32 hex digits') })
const flag = z
  .enum(['true', 'false'])
  .default('false')
  .transform((text) => text === 'true')

const json = <S extends z.ZodType>(schema: S, description: string) => ({
  content: { 'application/json': { schema } },
  description,
})
const failure = { default: json(errorSchema, 'what went wrong: a stable code, a message and a hint') }

function failed(error: unknown, status?: number): Response {
  const coded = GodwitError.from(error)
  return Response.json({ error: coded.toJSON() }, { status: status ?? statusOf(coded.code) })
}

/** The first thing a schema objects to, in one line. */
export function usageError(error: z.ZodError): GodwitError {
  const issue = error.issues[0]
  const where = issue?.path.join('.') ?? ''
  return new GodwitError('usage', `${where === '' ? 'the request' : where}: ${issue?.message ?? 'is not valid'}`, {
    hint: 'the API is described at /v1/openapi.json',
  })
}

/** Builds the application; `serveAgent` puts it on a port. */
export function agentApplication(agent: Agent): OpenAPIHono<Environment> {
  const app = new OpenAPIHono<Environment>({
    defaultHook: (result) => (result.success ? undefined : failed(usageError(result.error))),
  })
  app.onError((error) => {
    if (error instanceof SyntaxError || error.message.startsWith('Malformed JSON')) {
      return failed(new GodwitError('usage', 'the body is not JSON'))
    }
    if (error.message === 'Unsupported Media Type') {
      const hint = "send the header 'content-type: application/json'"
      return failed(new GodwitError('usage', 'the body is not said to be JSON', { hint }), 415)
    }
    return failed(error)
  })
  app.notFound((context) => {
    const message = `there is no ${context.req.method} ${context.req.path}`
    return failed(new GodwitError('usage', message, { hint: 'see /v1/openapi.json' }), 404)
  })
  const tooLong = (): Response =>
    Response.json({ error: { code: 'usage', message: `the body is over ${MAX_BODY_BYTES} bytes` } }, { status: 413 })
  app.use('*', bodyLimit({ maxSize: MAX_BODY_BYTES, onError: tooLong }))
  // A page in a browser must not be able to drive an agent on the same machine: its requests name their origin.
  app.use('*', async (context, next) => {
    if (context.req.header('origin') !== undefined && context.req.method !== 'GET') {
      return failed(new GodwitError('usage', 'requests from web pages are not taken'))
    }
    return await next()
  })
  guestRoutes(app, agent)
  migrationRoutes(app, agent)
  eventRoutes(app, agent)
  const version = agent.info().version
  app.doc31('/v1/openapi.json', { openapi: '3.1.0', info: { title: 'Godwit agent', version } })
  return app
}

/** Event streams have no JSON answer for a validator to check: they are described by hand. */
function eventRoutes(app: OpenAPIHono<Environment>, agent: Agent): void {
  const stream = (description: string) => ({
    200: { content: { 'text/event-stream': { schema: z.string() } }, description },
    ...failure,
  })
  const all = stream('server-sent events of everything that happens here: stage, round, progress, report, guest')
  app.openAPIRegistry.registerPath({ method: 'get', path: '/v1/events', responses: all })
  app.openAPIRegistry.registerPath({
    method: 'get',
    path: '/v1/migrations/{id}/events',
    request: { params: idParameter },
    responses: stream('server-sent events of one migration, the report last'),
  })
  app.get('/v1/events', (context) => eventStream(context.req.raw.signal, agent, null))
  app.get('/v1/migrations/:id/events', async (context) => {
    const id = context.req.param('id')
    if (!/^[0-9a-f]{32}$/.test(id))
      throw new GodwitError('no-such-migration', `'${id.slice(0, 64)}' is no migration's id`)
    const subscription = agent.events.subscribe(id)
    try {
      const view = await agent.migration(id)
      return eventStream(context.req.raw.signal, agent, { subscription, view })
    } catch (error) {
      subscription.close()
      throw error
    }
  })
}

function guestRoutes(app: OpenAPIHono<Environment>, agent: Agent): void {
  const params = nameParameter
  app.openapi(
    createRoute({ method: 'get', path: '/v1/agent', responses: { 200: json(agentSchema, 'this agent'), ...failure } }),
    (context) => context.json(agent.info(), 200),
  )
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/guests',
      responses: { 200: json(z.array(guestSchema), 'all guests of this agent'), ...failure },
    }),
    async (context) => context.json(await agent.listGuests(), 200),
  )
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/copies',
      responses: { 200: json(z.array(copySchema), 'copies that guests left behind, the oldest first'), ...failure },
    }),
    (context) => context.json(agent.listCopies(), 200),
  )
  app.openapi(
    createRoute({
      method: 'post',
      path: '/v1/guests',
      request: { body: { ...json(startSchema, 'the guest to start'), required: true } },
      responses: { 201: json(guestSchema, 'the guest runs'), ...failure },
    }),
    async (context) => context.json(await agent.start(context.req.valid('json')), 201),
  )
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/guests/{name}',
      request: { params },
      responses: { 200: json(guestSchema, 'one guest'), ...failure },
    }),
    async (context) => context.json(await agent.guest(context.req.valid('param').name), 200),
  )
  app.openapi(
    createRoute({
      method: 'delete',
      path: '/v1/guests/{name}',
      request: { params, query: z.object({ force: flag }) },
      responses: { 200: json(z.object({ stopped: z.string() }), 'the guest has ended'), ...failure },
    }),
    async (context) => {
      const { name } = context.req.valid('param')
      await agent.stop(name, context.req.valid('query').force)
      return context.json({ stopped: name }, 200)
    },
  )
  for (const verb of ['pause', 'resume', 'cancel'] as const) {
    app.openapi(
      createRoute({
        method: 'post',
        path: `/v1/guests/{name}/${verb}`,
        request: { params },
        responses: { 200: json(guestSchema, `the guest after ${verb}`), ...failure },
      }),
      async (context) => context.json(await agent[verb](context.req.valid('param').name), 200),
    )
  }
  app.openapi(
    createRoute({
      method: 'post',
      path: '/v1/guests/{name}/resolve',
      request: { params, body: { ...json(resolveSchema, 'who shall own it'), required: true } },
      responses: { 200: json(guestSchema, 'the guest'), ...failure },
    }),
    async (context) =>
      context.json(await agent.resolve(context.req.valid('param').name, context.req.valid('json')), 200),
  )
  app.openapi(
    createRoute({
      method: 'post',
      path: '/v1/guests/{name}/oracle',
      request: { params },
      responses: { 200: json(oracleSchema, 'whether a replayed guest is equal'), ...failure },
    }),
    async (context) => context.json(await agent.oracle(context.req.valid('param').name), 200),
  )
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/guests/{name}/service',
      request: { params },
      responses: { 200: json(serviceSchema, 'where it is served, also when it has left'), ...failure },
    }),
    (context) => context.json(agent.service(context.req.valid('param').name), 200),
  )
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/guests/{name}/pages',
      request: { params },
      responses: { 200: json(pagesSchema, 'which pages are here, as runs'), ...failure },
    }),
    async (context) => context.json(await agent.pages(context.req.valid('param').name), 200),
  )
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/guests/{name}/logs',
      request: { params },
      responses: { 200: json(logsSchema, 'the end of its log'), ...failure },
    }),
    (context) => context.json({ text: agent.logs(context.req.valid('param').name) }, 200),
  )
}

function migrationRoutes(app: OpenAPIHono<Environment>, agent: Agent): void {
  app.openapi(
    createRoute({
      method: 'post',
      path: '/v1/guests/{name}/migrate',
      request: {
        params: nameParameter,
        query: z.object({ check: flag }),
        body: { ...json(migrateSchema, 'where to, and how'), required: true },
      },
      responses: {
        200: json(checkSchema, 'with check=true: it would be taken'),
        202: json(z.object({ id: z.string() }), 'the migration has begun'),
        ...failure,
      },
    }),
    async (context) => {
      const { name } = context.req.valid('param')
      const { to, settings } = context.req.valid('json')
      if (context.req.valid('query').check) return context.json(await agent.check(name, to, settings), 200)
      return context.json(await agent.migrate(name, to, settings), 202)
    },
  )
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/migrations',
      responses: { 200: json(z.array(migrationSchema), 'running ones, then the last 100'), ...failure },
    }),
    async (context) => context.json(await agent.migrations(), 200),
  )
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/migrations/{id}',
      request: { params: idParameter },
      responses: { 200: json(migrationSchema, 'progress, or the report'), ...failure },
    }),
    async (context) => context.json(await agent.migration(context.req.valid('param').id), 200),
  )
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/migrations/{id}/verdict',
      request: { params: idParameter, query: z.object({ epoch: z.coerce.number().int().min(0).default(0) }) },
      responses: { 200: json(verdictSchema, 'what this host knows of it (R20)'), ...failure },
    }),
    async (context) => {
      const { id } = context.req.valid('param')
      const verdict = await agent.verdict(id, context.req.valid('query').epoch)
      return context.json(verdictSchema.parse({ verdict }), 200)
    },
  )
  app.openapi(
    createRoute({
      method: 'post',
      path: '/v1/migrations/{id}/recover',
      request: { params: idParameter, body: { ...json(recoverSchema, 'where to dial the source'), required: true } },
      responses: { 200: json(guestSchema, 'the guest whose pull is to go on'), ...failure },
    }),
    async (context) =>
      context.json(await agent.recover(context.req.valid('param').id, context.req.valid('json').via), 200),
  )
  app.openapi(
    createRoute({
      method: 'post',
      path: '/v1/reservations',
      request: {
        query: z.object({ check: flag }),
        body: { ...json(reservationSchema, 'the guest that is offered'), required: true },
      },
      responses: {
        200: json(reservedSchema, 'with check=true: there is room'),
        201: json(reservedSchema, 'the guest process is ready'),
        ...failure,
      },
    }),
    async (context) => {
      const { check } = context.req.valid('query')
      const from = (context.env.incoming?.socket.remoteAddress ?? '127.0.0.1').replace(/^::ffff:/, '')
      return context.json(await agent.reserve(context.req.valid('json'), from, check), check ? 200 : 201)
    },
  )
}

export interface ServedAgent {
  readonly address: AgentAddress
  close(): Promise<void>
}

/** True for addresses that only this machine can reach. */
export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)

/** Listens. Throws `insecure` beyond loopback unless allowed, and `port-busy`. Port 0: the system chooses. */
export async function serveAgent(agent: Agent, listen: AgentAddress, insecure: boolean): Promise<ServedAgent> {
  if (!isLoopback(listen.host) && !insecure) {
    throw new GodwitError('insecure', `listening at ${listen.host} would let anybody there drive this agent`, {
      hint: 'add --insecure in a network you trust, or listen at 127.0.0.1',
    })
  }
  const server = createAdaptorServer({ fetch: agentApplication(agent).fetch }) as Server
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const busy = cause.code === 'EADDRINUSE'
      const message = busy ? `port ${listen.port} is taken` : `cannot listen at ${listen.host}: ${cause.message}`
      const hint = busy
        ? 'is an agent running already? choose another with --listen HOST:PORT'
        : 'give --listen HOST:PORT'
      reject(new GodwitError(busy ? 'port-busy' : 'usage', message, { hint, cause }))
    })
    server.listen(listen.port, listen.host, resolve)
  })
  const { port } = server.address() as AddressInfo
  await agent.listens({ host: listen.host, port })
  return {
    address: agent.address,
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeAllConnections()
      await closed
    },
  }
}
