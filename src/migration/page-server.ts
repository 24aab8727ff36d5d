// The source behind the switch of post-copy and hybrid: a page server (R22). Its lanes push and answer faults by
// themselves; this watches the link, and after a cut brings up a new generation of it, as often as it takes (R23). It
// ends with the word that the last page is there, or with what an operator or the destination's agent says.
//
//   serving ──link lost──► paused ──redial, lanes, missing pages──► serving          complete ──► done
//                             └──agent: lost──► lost

import { GodwitError } from '../errors.ts'
import { publish } from '../events.ts'
import { PAGE_BYTES, relinkMs } from '../limits.ts'
import type { MessageOf } from '../wire/messages.ts'
import type { Inbox } from './inbox.ts'
import type { ControlLink, PullCounts } from './ports.ts'
import { redialledInTime } from './redial.ts'
import type { SourceContext } from './source-context.ts'
import type { SourceLinks } from './source-links.ts'
import type { SourceOwnership } from './source-ownership.ts'

const PROGRESS_MS = 200

/** What the destination said at the end; null: its agent's word was all. */
export type Completion = MessageOf<'complete'> | null

export class PageServer {
  /** Why the pull is paused; null while the link is up. */
  paused: string | null = null
  recoveries = 0
  readonly #context: SourceContext
  readonly #links: SourceLinks
  readonly #ownership: SourceOwnership
  readonly #decided = new AbortController()
  /** Pages of the lanes that are gone. */
  readonly #before = { pushed: 0, asked: 0, skipped: 0, zeroPages: 0 }
  #generation = 0

  constructor(context: SourceContext, links: SourceLinks, ownership: SourceOwnership) {
    this.#context = context
    this.#links = links
    this.#ownership = ownership
  }

  /**
   * From the commit on faults are answered. Pushing begins with the word that the guest runs: before, it would only take
   * the processor from those who resume it.
   */
  begin(): void {
    this.#links.pages?.answer()
  }

  #push(): void {
    this.#links.pages?.pull({ push: this.#context.settings.pushOrder })
  }

  get counts(): PullCounts {
    const now = this.#links.pages?.pullCounts ?? { pushed: 0, asked: 0, skipped: 0, zeroPages: 0 }
    const before = this.#before
    return {
      pushed: before.pushed + now.pushed,
      asked: before.asked + now.asked,
      skipped: before.skipped + now.skipped,
      zeroPages: before.zeroPages + now.zeroPages,
    }
  }

  /** The operator has decided (R22): the ownership says how; serving ends. */
  end(): void {
    this.#decided.abort(new GodwitError('cancelled', 'the operator has decided'))
  }

  /**
   * Serves until the ownership is no longer `serving`, or until `end`. `up`: the lanes of the first link may still be
   * there; else the destination was heard on a later one, and waits for lanes on it.
   */
  async serve(up: boolean): Promise<Completion> {
    const stopWatch = this.#watch()
    try {
      let linked = up
      if (linked) this.#push()
      let heardOn = up ? null : this.#links.control
      this.#complete = this.#links.inbox.next('complete')
      if (!up) await this.#pause(new GodwitError('link-lost', 'the link was lost at the switch'))
      while (this.#ownership.state === 'serving' && !this.#decided.signal.aborted) {
        try {
          const kept = heardOn
          heardOn = null
          const complete = linked ? null : await this.#relink(kept)
          linked = true
          this.paused = null
          const last = complete ?? (await this.#whileUp())
          this.#ownership.apply('complete')
          return last
        } catch (thrown) {
          linked = false
          await this.#pause(GodwitError.from(thrown, 'link-lost'))
        }
      }
      return null
    } finally {
      stopWatch()
      this.#waiting?.close()
      this.#waiting = null
    }
  }

  /** Resolves with the destination's last word; rejects when the link fails or a newer one arrives. */
  async #whileUp(): Promise<MessageOf<'complete'>> {
    const { pages, inbox } = this.#links
    const over = new AbortController()
    const newer = this.#dialledAgain(over.signal)
    try {
      const ended = inbox.ended.then((error) => Promise.reject(error))
      return await Promise.race([this.#complete, ended, newer, pages?.failed ?? newer])
    } finally {
      over.abort(new GodwitError('cancelled', 'over'))
    }
  }

  /** Rejects when the destination dials once more: it has given up the link that is in use. */
  #dialledAgain(over: AbortSignal): Promise<never> {
    const newer = this.#context.redialled(AbortSignal.any([over, this.#decided.signal])).then((control) => {
      this.#waiting?.close()
      this.#waiting = control
      throw new GodwitError('link-lost', 'the destination dialled again')
    })
    newer.catch(() => {})
    return newer
  }

  /** The destination's last word on the link in force: it may come at any time, also while lanes are opened. */
  #complete: Promise<MessageOf<'complete'>> = new Promise(() => {})

  /** A control link that came while the old one seemed up. */
  #waiting: ControlLink | null = null

  /** Both sides stop: R23 destroys every channel of the old generation before the new one begins. */
  async #pause(error: GodwitError): Promise<void> {
    if (this.#ownership.state !== 'serving') return
    this.#ownership.apply('cut')
    this.paused = error.message
    const { pages } = this.#links
    if (pages === null) return
    const counts = this.counts
    await this.#links.dropPages()
    Object.assign(this.#before, counts)
    this.#tell()
  }

  /**
   * A new generation of the link, however long it takes; the completion, when that was all that was missing. `heardOn`:
   * the link on which the destination has said that it runs.
   */
  async #relink(heardOn: ControlLink | null): Promise<Completion> {
    let kept = heardOn
    let failures = 0
    for (;;) {
      if (this.#decided.signal.aborted) throw this.#decided.signal.reason
      const control =
        kept ?? this.#waiting ?? (await redialledInTime(this.#context, this.#decided.signal).catch(() => null))
      if (control !== kept) this.#waiting = null
      if (control === null) {
        await this.#askAgent()
        continue
      }
      try {
        return await this.#within(relinkMs(failures), this.#bringUp(control, kept !== null))
      } catch (thrown) {
        kept = null
        failures++
        // Lanes that this attempt is still opening are not for the next one.
        this.#generation++
        control.close()
        await this.#pause(GodwitError.from(thrown, 'link-lost'))
      }
    }
  }

  async #bringUp(control: ControlLink, heard: boolean): Promise<Completion> {
    const inbox = heard ? this.#links.inbox : this.#links.use(control)
    const complete = heard ? this.#complete : inbox.next('complete')
    this.#complete = complete
    return await Promise.race([complete, this.#openLanes(inbox, control, heard)])
  }

  async #openLanes(inbox: Inbox, control: ControlLink, heard: boolean): Promise<null> {
    const { context, ownership } = { context: this.#context, ownership: this.#ownership }
    ownership.control = control
    if (!heard) {
      const first = await inbox.any(({ type }) => type === 'active' || type === 'ask')
      if (first.type === 'ask') {
        ownership.apply('ask')
        await inbox.next('active')
      }
    }
    const generation = ++this.#generation
    const { pages, connected } = await this.#lanes(generation)
    this.#links.usePages(pages)
    control.send({ type: 'lanes', generation })
    const ended = inbox.ended.then((error) => Promise.reject(error))
    await Promise.race([connected, ended, pages.failed])
    const missing = await Promise.race([inbox.next('missing', (message) => message.generation === generation), ended])
    sendAgain(context, missing.pages)
    pages.setBandwidth(context.settings.bandwidth)
    this.#push()
    this.recoveries++
    return null
  }

  /** Ends when the lanes of an earlier attempt, given up while they were opened, have left their ports. */
  #opening: Promise<unknown> = Promise.resolve()

  async #lanes(generation: number): ReturnType<SourceContext['openLanes']> {
    const givenUp = (): boolean => generation !== this.#generation || this.#ownership.state !== 'serving'
    const late = new GodwitError('link-lost', 'the link was given up')
    await this.#opening
    if (givenUp()) throw late
    const lanes = this.#context.openLanes(generation).then(async (opened) => {
      if (!givenUp()) return opened
      await opened.pages.close()
      throw late
    })
    this.#opening = lanes.catch(() => {})
    return await lanes
  }

  /** The agent's word on a destination that cannot be reached. */
  async #askAgent(): Promise<void> {
    const verdict = await this.#context.askPeerAgent()
    if (this.#ownership.state !== 'serving') throw new GodwitError('cancelled', 'decided meanwhile')
    if (verdict === 'lost' || verdict === 'dropped') {
      this.#ownership.apply('peer-lost')
      throw new GodwitError('lost', 'the destination process died while it pulled')
    }
    if (verdict === 'owner') {
      this.#ownership.apply('complete')
      throw new GodwitError('link-lost', 'the destination has every page; its last word was lost')
    }
  }

  async #within<T>(ms: number, work: Promise<T>): Promise<T> {
    const over = new AbortController()
    const late = this.#context.clock.sleep(ms, AbortSignal.any([over.signal, this.#decided.signal])).then(() => {
      throw new GodwitError('peer-silent', `no new link within ${ms} ms`)
    })
    late.catch(() => {})
    try {
      return await Promise.race([work, late, this.#dialledAgain(over.signal)])
    } finally {
      over.abort(new GodwitError('cancelled', 'over'))
    }
  }

  #watch(): () => void {
    const over = new AbortController()
    const watch = async (): Promise<never> => {
      for (;;) {
        await this.#context.clock.sleep(PROGRESS_MS, over.signal)
        this.#tell()
      }
    }
    watch().catch(() => {})
    return () => over.abort(new Error('over'))
  }

  #lastBytes = 0
  #lastAt = 0

  #tell(): void {
    const { id, memory, clock, report } = this.#context
    const { pushed, asked, skipped } = this.counts
    const { sent } = this.#links.bytes()
    const now = clock.now()
    const bytesPerSecond = ((sent - this.#lastBytes) / Math.max(now - this.#lastAt, 1)) * 1000
    this.#lastBytes = sent
    this.#lastAt = now
    const total = report.facts.pull.pages
    // Pages lost in a cut are sent twice; the work done never runs backwards and never passes the total.
    const done = Math.min(total, pushed + asked + skipped)
    const missingPages = total - done
    const rate = `${Math.round(bytesPerSecond / 1e6)} MB/s`
    publish({
      type: 'progress',
      migration: id,
      progress: {
        stage: 'pull',
        round: 0,
        workDone: report.sentPages + done,
        cleanPages: memory.layout.pageCount - missingPages,
        totalPages: memory.layout.pageCount,
        bytesSent: sent,
        bytesPerSecond,
        dirtyPagesPerSecond: 0,
        predictedDowntimeMs: null,
        trend: this.paused === null ? 'converging' : 'unknown',
        etaMs: etaOf(missingPages, bytesPerSecond),
        missingPages,
        faults: asked,
        reason: this.paused === null ? `${missingPages} pages to come, ${rate}` : `paused: ${this.paused}`,
      },
    })
  }
}

function etaOf(missingPages: number, bytesPerSecond: number): [number, number] | null {
  if (bytesPerSecond <= 0) return null
  const ms = ((missingPages * PAGE_BYTES) / bytesPerSecond) * 1000
  return [ms, ms * 1.5]
}

/** R23: the destination's presence is the truth; what was never absent is not sent, whatever it says. */
function sendAgain({ memory }: SourceContext, missing: Uint8Array): void {
  const { toSend, dirty, pageCount } = memory.layout
  if (missing.length !== pageCount / 8) {
    throw new GodwitError('bad-message', `missing pages of a guest of ${missing.length * 8} pages`, {
      side: 'destination',
    })
  }
  const { controlBytes } = memory
  for (let byte = 0; byte < missing.length; byte++) {
    controlBytes[toSend + byte] = (missing[byte] as number) & (controlBytes[dirty + byte] as number)
  }
}
