// Which implementation compresses for the lz4 encoding: our kernel or the native library lz4-napi. Both write plain LZ4
// blocks that either can read; decoding is always the kernel's. The thread that prepares a migration chooses.

/** `auto` is the kernel: never slower than lz4-napi on the contents of src/programs, up to 11 % fewer bytes, no allocation. */
export const LZ4_CHOICES = ['auto', 'kernel', 'lz4-napi'] as const
export type Lz4Choice = (typeof LZ4_CHOICES)[number]

/** The part of lz4-napi that is used: u32 size of the content, then the block, in a buffer of its own. */
export interface Lz4Library {
  compressSync(data: Buffer): Buffer
}

/** What compresses; `library` is null for the kernel. */
export interface Lz4Backend {
  readonly name: 'kernel' | 'lz4-napi'
  readonly library: Lz4Library | null
}

export const LZ4_KERNEL: Lz4Backend = { name: 'kernel', library: null }

export interface Lz4Chosen {
  readonly backend: Lz4Backend
  /** One line for the log when the choice could not be met; null otherwise, and after the first time. */
  readonly notice: string | null
}

/** Loads the native library; throws whatever a missing or broken binary throws. */
async function importLibrary(): Promise<Lz4Library> {
  const module = (await import('lz4-napi')) as Partial<Lz4Library> & { default?: Partial<Lz4Library> }
  const compressSync = module.compressSync ?? module.default?.compressSync
  if (compressSync === undefined) throw new Error('lz4-napi has no compressSync')
  return { compressSync: (data) => compressSync(data) }
}

/** A library that loads may still be broken; four bytes of size and a block come out of one that works. */
function tryOut(library: Lz4Library): void {
  const zeros = Buffer.alloc(4096)
  const made = library.compressSync(zeros)
  if (made.length <= 4 || made.length > 64 || made.readUInt32LE(0) !== zeros.length) {
    throw new Error('lz4-napi compresses into a form that is not known here')
  }
}

let noticed = false

/**
 * The backend of a choice. Never fails: when the prebuilt binary of lz4-napi is missing or broken, the kernel takes over and
 * the notice says so, once a thread. `load` stands in for the import in tests.
 */
export async function chooseLz4Backend(
  choice: Lz4Choice = 'auto',
  load: () => Promise<Lz4Library> = importLibrary,
): Promise<Lz4Chosen> {
  if (choice !== 'lz4-napi') return { backend: LZ4_KERNEL, notice: null }
  try {
    const library = await load()
    tryOut(library)
    return { backend: { name: 'lz4-napi', library }, notice: null }
  } catch (thrown) {
    const [reason] = String((thrown as Error)?.message ?? thrown).split('\n')
    const notice = noticed
      ? null
      : `lz4: lz4-napi does not load here (${reason}); Godwit's own kernel compresses instead`
    noticed = true
    return { backend: LZ4_KERNEL, notice }
  }
}
