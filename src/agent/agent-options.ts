// What an agent is started with: from the options of `godwit agent`, or by a test.

export interface AgentOptions {
  readonly dataDirectory: string
  readonly name?: string | undefined
  /** Bytes of memory that guests may leave behind as copies; half of the memory limit when not given, 0: none. */
  readonly copyMemory?: number | undefined
  /** Guests that come in may refer to pages of any guest here, not only of their gang. */
  readonly sharePages?: boolean | undefined
  /** Bytes of guest memory; nine tenths of the host's when not given. */
  readonly memoryLimit?: number | undefined
  readonly programsDirectory?: string | null | undefined
  /** Budget of all outgoing migrations, bytes per second. */
  readonly bandwidth?: number | null | undefined
  readonly maxMigrations?: number | undefined
  /** [0, 0]: the system chooses. */
  readonly dataPortRange?: [number, number] | undefined
  /** Ports at which guests that serve listen for gateways; [0, 0]: the system chooses each. */
  readonly linePortRange?: [number, number] | undefined
  /** Ports at which clients of guests are served; [0, 0]: the system chooses each. */
  readonly servicePortRange?: [number, number] | undefined
  /** Version shown to clients. */
  readonly version?: string | undefined
  /** Module that exports GuestHost; tests give a fake one. */
  readonly hostModule?: string | undefined
}
