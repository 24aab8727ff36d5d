// A load divided by marks into windows, such as before, during and after: what was answered, what failed, how long it took.
// An operation counts in the window in which the middle of its wait lies (gaps.ts says why).

import { GodwitError } from '../errors.ts'
import { LOAD_ERROR_TEXTS, LOAD_MAX_WINDOWS } from '../limits.ts'
import { LatencyHistogram } from './histogram.ts'

/** Counts like any window, and no time of the whole is taken from it. */
const WARM_UP = 'warm-up'

export class Window {
  readonly name: string
  readonly fromMs: number
  toMs = Number.POSITIVE_INFINITY
  /** Operations with a good reply, and without. */
  answered = 0
  failed = 0
  disconnects = 0
  longestGapMs = 0
  longestSilenceMs = 0
  readonly latency = new LatencyHistogram()

  constructor(name: string, fromMs: number) {
    this.name = name
    this.fromMs = fromMs
  }
}

export class Windows {
  readonly all: Window[]

  /** The clock is at 0 when the first window begins; a warm-up is before it. */
  constructor(first: string, warmUpMs: number) {
    this.all = [new Window(first, 0)]
    if (warmUpMs === 0) return
    const warmUp = new Window(WARM_UP, -warmUpMs)
    warmUp.toMs = 0
    this.all.unshift(warmUp)
  }

  /** Those that the times of the whole are taken from. */
  get measured(): Window[] {
    return this.all.filter(({ name }) => name !== WARM_UP)
  }

  get current(): Window {
    return this.all.at(-1) as Window
  }

  /** From now on it is another window. */
  mark(name: string, nowMs: number): void {
    if (name === WARM_UP) throw new GodwitError('usage', `a window cannot be called ${name}`)
    if (this.all.length === LOAD_MAX_WINDOWS)
      throw new GodwitError('usage', `a load has ${LOAD_MAX_WINDOWS} windows at most`)
    this.current.toMs = nowMs
    this.all.push(new Window(name, nowMs))
  }

  /** The window in which the middle of a wait lies. */
  of(beginMs: number, endMs: number): Window {
    const middle = (beginMs + endMs) / 2
    for (let index = this.all.length - 1; index > 0; index--) {
      const window = this.all[index] as Window
      if (window.fromMs <= middle) return window
    }
    return this.all[0] as Window
  }
}

/** Errors counted by their text; a server cannot make it grow without end. */
export class ErrorTexts {
  readonly #counts = new Map<string, number>()

  note(text: string, times = 1): void {
    const known = this.#counts.has(text) || this.#counts.size < LOAD_ERROR_TEXTS
    const key = known ? text : 'other errors'
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + times)
  }

  toJSON(): Record<string, number> {
    return Object.fromEntries(this.#counts)
  }
}
