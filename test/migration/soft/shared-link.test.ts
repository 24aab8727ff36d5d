// The link of a soft migration whose exchange breaks: the end while pages or vCPUs are to move, of no account afterwards.

import { expect, test } from 'vitest'
import { GodwitError } from '../../../src/errors.ts'
import { Inbox } from '../../../src/migration/inbox.ts'
import type { ControlLink } from '../../../src/migration/ports.ts'
import { SharedLink } from '../../../src/migration/soft/shared-link.ts'
import type { ControlMessage } from '../../../src/wire/messages.ts'

const broken = new GodwitError('exchange-broken', 'its thread has ended')
const never = (): Promise<never> => new Promise(() => {})

function inbox(receive: () => Promise<ControlMessage> = never): Inbox {
  return new Inbox({ receive } as unknown as ControlLink, 'destination')
}

/** A link that was up when the exchange broke. */
async function cutBy(needed: boolean, first = inbox()) {
  const seen: string[] = []
  let cut = (_: GodwitError): void => {}
  let isBroken = false
  const exchange = {
    onCut: (listener: typeof cut) => {
      cut = listener
    },
    link: async () => {
      if (isBroken) throw broken
    },
  }
  const clock = { sleep: (ms: number) => new Promise((resolve) => setTimeout(resolve, ms / 10)) }
  const options = {
    exchange,
    clock,
    host: () => null,
    drop: async () => void seen.push('drop'),
    dial: async () => ({ inbox: inbox(), generation: 2 }),
    ask: async () => void seen.push('ask'),
    needsExchange: () => needed,
    onUp: () => void seen.push('up'),
  }
  const link = new SharedLink(options as unknown as ConstructorParameters<typeof SharedLink>[0])
  link.start(first, 1)
  await link.up()
  isBroken = true
  cut(broken)
  const failed = link.failed.then(
    () => {},
    (error: GodwitError) => void seen.push(error.code),
  )
  return { link, seen, failed }
}

test('while it is needed: no link comes up any more', async () => {
  const { seen, failed } = await cutBy(true)
  await failed
  expect(seen).toEqual(['up', 'exchange-broken'])
})

test('when everything has been given: a link without it does, the one that there is or the next', async () => {
  const word = Promise.withResolvers<ControlMessage>()
  const { link, seen } = await cutBy(
    false,
    inbox(() => word.promise),
  )
  await expect.poll(() => seen).toEqual(['up', 'up'])
  word.reject(new GodwitError('link-lost', 'cut'))
  await expect.poll(() => seen).toEqual(['up', 'up', 'drop', 'ask', 'up'])
  link.close()
})

test("the other side's last word is the end in either case", async () => {
  const word = Promise.withResolvers<ControlMessage>()
  const started = cutBy(
    false,
    inbox(() => word.promise),
  )
  word.resolve({ type: 'abort', error: { code: 'exchange-broken', message: 'there, too', side: 'destination' } })
  const { seen, failed } = await started
  await failed
  expect(seen.at(-1)).toBe('exchange-broken')
})
