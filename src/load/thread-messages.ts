// What a load's thread and whoever started it say to each other.

import type { LoadSettings } from './options.ts'
import type { LoadProgress, LoadResult } from './result.ts'

export interface LoadThreadData {
  readonly settings: LoadSettings
  readonly window: string
}

export type ToThread = { readonly type: 'mark'; readonly name: string } | { readonly type: 'stop' }

export type FromThread =
  | { readonly type: 'ready' }
  | { readonly type: 'progress'; readonly progress: LoadProgress }
  | { readonly type: 'result'; readonly result: LoadResult }
  /** A GodwitError in its plain form. */
  | { readonly type: 'failed'; readonly error: object }
