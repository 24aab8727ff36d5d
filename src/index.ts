// The library's public face: the only module that users import from. Everything exported here keeps its name and
// meaning within a major version.

export { ERROR_CODES, type ErrorCode, type ErrorDetails, GodwitError } from './errors.ts'
export type { MigrationEvent, Progress } from './events.ts'
export type { GuestConfig, Pace } from './guest/config.ts'
export { Guest, type GuestMigrationOptions, type GuestOptions, type Move } from './guest-process/guest.ts'
export type { GuestState, GuestStatus } from './guest-process/host-port.ts'
export {
  type MigrationReport,
  type RoundReport,
  reportSchema,
  type Stage,
  type StopReason,
} from './migration/report.ts'
export { type MigrationOptions, type MigrationSettings, settingsSchema } from './migration/settings.ts'
export type { Accessors, FillContext, Program, ProgramContext, ProgramModule } from './programs/program.ts'
