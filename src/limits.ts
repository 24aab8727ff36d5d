// Every limit of the engine, with its unit in the name and its reason beside it. Nothing else hard-codes one.

/** One guest page, bytes. The dirty-tracking, hashing and transfer unit. */
export const PAGE_BYTES = 4096
export const PAGE_SHIFT = 12
/** WebAssembly memories grow by this many bytes, so a guest is a multiple of it. */
export const WASM_PAGE_BYTES = 65_536
export const MIN_MEMORY_BYTES = WASM_PAGE_BYTES
/** wasm32 addresses end here; larger guests get a clear error for now. */
export const MAX_MEMORY_BYTES = 4 * 1024 ** 3
/** A vCPU is a thread; more of them than this on one host is a mistake in a request. */
export const MAX_VCPUS = 64
/** A channel is a thread and a socket on each side. */
export const MAX_CHANNELS = 16
/** The channels and the urgent lane of the pull phase. */
export const MAX_LANES = MAX_CHANNELS + 1
/** Page records in one PAGES frame: 1 MiB of raw content, the unit of pacing and of the locked mutator. */
export const BATCH_PAGES = 256
/** Largest payload of a PAGES frame: every page of a batch raw, plus a full run table of 16 bytes an entry. */
export const MAX_PAGE_FRAME_BYTES = BATCH_PAGES * (PAGE_BYTES + 16) + 16
/** Largest payload of a PULL frame: every page of a batch raw, and a page table of 16 bytes an entry. */
export const MAX_PULL_FRAME_BYTES = BATCH_PAGES * (PAGE_BYTES + 16) + 8
/** Largest payload of a GIVE frame: every page of a batch raw, an entry of 16 bytes and a generation each. */
export const MAX_GIVE_FRAME_BYTES = BATCH_PAGES * (PAGE_BYTES + 20) + 8
/** Runs in one RUNS frame: 256 KiB of table; a crossing takes as many frames as it needs. */
export const MAX_RUNS = 16_384
export const MAX_RUNS_FRAME_BYTES = 16 + 16 * MAX_RUNS
/** Asks of the peer that wait: every vCPU has one fault open at most, so more of them is a peer that floods. */
export const MAX_OWED = 1024
/** One GIVE, one generation, and what comes first is the second: a peer that jumps further wants to use up the numbers. */
export const MAX_GENERATIONS_AHEAD = 2
/** The exchange's place among the lanes: the last, which soft, without an urgent lane, leaves free. */
export const EXCHANGE_CHANNEL = MAX_LANES - 1
/** Pages answered with one handshake: a later ask must not wait for many earlier ones. */
export const ANSWER_PAGES = 64
/** Pages pushed without data with one handshake: a table of 256 KiB at worst. */
export const PUSH_RUN_PAGES = MAX_RUNS
/** Pages looked at for a push in one go, so that an ask waits no longer for it than for a page's copy. */
export const PUSH_LOOK_PAGES = 16_384
/** R28: a page that came is not pushed back within this time; ping-pong would cost more than it brings. */
export const PUSH_REST_MS = 20
/** The exchange gives nothing more while so much of it waits in the socket: a peer that reads slowly costs no more memory. */
export const EXCHANGE_BACKLOG_BYTES = 16 * 1024 * 1024
/** Crossings that an exchange thread tries out on small guests of its own before it begins: some ten ms, in which nobody stands still. */
export const REHEARSAL_CROSSINGS = 200
/** Between two of them, for whoever else wants the processor. */
export const REHEARSAL_REST_MS = 5
/** The exchange looks again this often for pages that may be given by now, or pushed. */
export const EXCHANGE_TICK_MS = 1
/** Pages in one NEED frame; every vCPU waits for one page at most, and notes come in portions. */
export const MAX_NEEDS = 256
/** Push window of a lane: what may be under way unacknowledged, bytes. CRIU's window goes from 64 KiB to 4 MiB, too. */
export const PUSH_WINDOW_MIN_BYTES = 64 * 1024
export const PUSH_WINDOW_MAX_BYTES = 8 * 1024 * 1024
/** A page that comes with a wrong hash is asked for again so many times, then the pull is paused (R10). */
export const MAX_PAGE_RETRIES = 3
/** The puller turns pages that have arrived into present ones this often. */
export const PUBLISH_INTERVAL_MS = 5
/**
 * Soft: how long a vCPU that is to cross waits for the pages of the one before it. Pages that vCPUs on both sides use never
 * settle.
 */
export const CROSSING_PATIENCE_MS = 500
/** Largest control message, bytes, checked before it is unpacked: registers of 64 vCPUs fit with room to spare. */
export const MAX_CONTROL_FRAME_BYTES = 512 * 1024
/** Page hashes of a stale copy in one control message: 256 KiB, half of what one may have, for 128 MiB of the guest. */
export const COPY_HASHES = 32_768
/** Guests of the destination's agent whose pages may be referred to: every one is asked, by every lane. */
export const MAX_NEIGHBOURS = 16
/** Their pages all together: 16 GiB of guests, whose hashes and index take 64 MiB at the source. */
export const MAX_FOREIGN_PAGES = 2 ** 22
/** Of these at most so many for each page of the guest that comes in: their hashes are 3 % of it, whatever else is here. */
export const FOREIGN_PAGES_PER_PAGE = 16
/** A guest process hashes so many pages, 8 MiB, between two turns of its event loop: it may be inside its own pause. */
export const TOLD_PAGES = 2048
/** A neighbour that does not answer for its hashes within this is not referred to. */
export const NEIGHBOUR_HASHES_MS = 2000
/** One that does not send the pages of a frame within this is asked no more, and they are missing. */
export const NEIGHBOUR_PAGES_MS = 5000
/** Connections to a guest's page service: the main thread and every lane of seven guests that come at once. */
export const MAX_PAGE_CLIENTS = 128
/** Raw runs of at least this many pages on average go straight from and into guest memory; shorter ones are staged. */
export const DIRECT_RUN_PAGES = 16
/** One read into guest memory or staging; 64–256 KiB measured best. */
export const READ_BYTES = 256 * 1024
/** Staging of one transfer thread: two batches, so that one is filled while the other is in the socket. */
export const STAGING_BYTES = 2 * (1024 * 1024 + 64 * 1024)
/** Pages that one compressed block may span, with lz4's window of 64 KiB. */
export const GROUP_PAGES = 16
/** A peer that sent nothing for this long is dead. */
export const PEER_SILENT_MS = 5000
/**
 * Soft: a round that has left the source is placed by then, or its link is given up. A dead link shows twice in this time; on one
 * that lives, a destination that has not placed the round waits for bytes that never come.
 */
export const ROUND_PLACED_MS = 2 * PEER_SILENT_MS
/**
 * vCPU threads of a destination that starts gently start one after the other for so long, then all at once: a host that has much to do
 * takes half a second for each, and whoever reserves waits for 15 s.
 */
export const GENTLE_START_MS = 5000
/** Message and hint of an error that is sent to the peer, characters each. */
export const ERROR_TEXT_LENGTH = 1000
/** An idle control channel sends a ping this often. */
export const PING_INTERVAL_MS = 1000
/** A vCPU that is not at a safepoint after this long, while somebody looks, fails the migration (R7). */
export const HANDSHAKE_TIMEOUT_MS = 1000
/** A vCPU polls the safepoint word at least this often, in steps (R3). */
export const POLL_STEPS = 64
/** Connections that have not shown their token after this long are closed (R14). */
export const HELLO_TIMEOUT_MS = 3000
/** A destination that has accepted a guest dials every channel well within this; one that died never does. */
export const DIAL_IN_TIMEOUT_MS = 10_000
/** Largest first frame of a connection: a hello, before its token is known (R14). */
export const HELLO_FRAME_BYTES = 8192
/** Control messages received and not yet taken; a healthy peer never has more than a few under way. */
export const MAX_QUEUED_MESSAGES = 1024
/** A bandwidth limit lets through a page a second at least: nobody can end a pull that would take for ever. */
export const MIN_BANDWIDTH_BYTES_PER_SECOND = PAGE_BYTES
/** What a limited link may send at once after a pause, nanoseconds worth of its rate: timers are a millisecond late. */
export const BURST_NS = 5_000_000n
/** A limited link is paid in pieces of about this much time, within the two sizes below. */
export const PACING_PIECE_MS = 4
export const PACING_PIECE_MIN_BYTES = 16 * 1024
export const PACING_PIECE_MAX_BYTES = 256 * 1024
/** Batches of one channel between selection and the kernel's acceptance. */
export const BATCHES_IN_FLIGHT = 2
/** A thread that waits for a lock, a grant or its turn on the link looks for a cancel this often. */
export const ABORT_POLL_MS = 20
/** Connections that may wait at a channel's port without having shown a token. */
export const MAX_STRANGERS = 8
/** Longest time limit that can be set, ms: 24 days; a timer of Node.js above 2^31 ms fires at once. */
export const MAX_TIME_LIMIT_MS = 24 * 24 * 3600 * 1000
export const DEFAULT_DOWNTIME_TARGET_MS = 50
/** QEMU's default for its cache of last versions, xbzrle-cache-size. */
export const DEFAULT_DELTA_CACHE_BYTES = 64 * 1024 ** 2
/** Xen's pass limit: 29 iterations and the last round. */
export const DEFAULT_MAX_ROUNDS = 29
/** Xen's max_factor: stop once this many times the memory was sent. */
export const MAX_FACTOR = 3
/** Xen's "small enough" remainder, pages. */
export const SMALL_REMAINDER_PAGES = 50
/** Link rate of virtual time when a locked guest has no bandwidth limit, bytes per second. */
export const VIRTUAL_LINK_BYTES_PER_SECOND = 40_000_000
/** When the exchange of pages ends, the other side may have said why on the control link: it is heard out for so long. */
export const LAST_WORD_MS = 50
/** Redialling after the commit is in doubt: first wait and the longest one. */
export const REDIAL_FIRST_MS = 50
export const REDIAL_MAX_MS = 2000
/** After a cut behind the commit point the source waits so long for a redial before it asks the destination's agent (again). */
export const REDIAL_WAIT_MS = 1000
/**
 * After a cut in the pull phase both sides have so long to bring all lanes up again, ms; longer after each failure, for a
 * host that is too busy for the first limit would otherwise miss it for ever.
 */
export const relinkMs = (failures: number): number => 10_000 * 2 ** Math.min(failures, 3)
/** Of a guest that has left, migrations before its last whose end an agent keeps for a peer that missed it. */
export const PAST_RECORDS_KEPT = 8
/** Reports an agent keeps. */
export const REPORTS_KEPT = 100
/** Migrations an agent runs at once unless told otherwise. */
export const DEFAULT_CONCURRENT_MIGRATIONS = 4
export const API_PORT = 7400
export const DATA_PORT_FIRST = 7410
export const DATA_PORT_LAST = 7499
/** Longest line between agent and guest process: a report of 10,000 rounds fits. */
export const RPC_LINE_BYTES = 8 * 1024 * 1024
/** Unix sockets' paths end here (sun_path is 108 bytes with its end mark). */
export const SOCKET_PATH_BYTES = 107
/** Largest body of an HTTP request: a reservation with its settings is below 8 KiB. */
export const MAX_BODY_BYTES = 64 * 1024
/** A guest process that is not ready after this long is given up: 4 GiB of memory is set up in a fraction of it. */
export const GUEST_START_TIMEOUT_MS = 30_000
/** A guest process that was asked to end is killed after this long. */
export const GUEST_STOP_TIMEOUT_MS = 5000
/** An event stream whose client is this many events behind is dropped. */
export const EVENT_QUEUE_LENGTH = 256
/** A silent event stream carries a comment this often, so that both ends notice a dead one. */
export const EVENT_HEARTBEAT_MS = 10_000
/** Clients that may listen to events of one agent at once. */
export const MAX_EVENT_CLIENTS = 64
/** Most bytes of a guest's log that one request returns. */
export const LOG_TAIL_BYTES = 64 * 1024
/** Longest key and longest field of a hash in the key-value store: what an entry holds beside it fits half a page. */
export const KV_MAX_KEY_BYTES = 2000
/** Longest value and longest argument of a request; Redis allows 512 MiB, which no ring of a guest carries. */
export const KV_MAX_VALUE_BYTES = 16 * 1024 * 1024
/** Arguments of one request, as in Redis. */
export const KV_MAX_ARGUMENTS = 1024 * 1024
/** One request with all its arguments; it is kept until its last byte is there. */
export const KV_MAX_REQUEST_BYTES = 64 * 1024 * 1024
/** A request line, and the line that says a length, as in Redis. */
export const KV_MAX_LINE_BYTES = 64 * 1024
/** Keys whose time is over that a command removes beside its own work. */
export const KV_SWEEP_KEYS = 16
/** Entries of removed hashes that a command gives back beside its own work. */
export const KV_REAP_ENTRIES = 64
/** A command that finds no memory gives back so many entries of removed hashes, at most so often, before it fails. */
export const KV_REAP_MORE_ENTRIES = 1024
export const KV_REAP_MORE_TIMES = 64
/** Smallest share of a vCPU, pages: header, page table, two for its sessions, and a page for each of the sizes that a few keys need. */
export const KV_MIN_SHARE_PAGES = 16
/** Each ring of messages between a guest process and one of its vCPUs; a power of two. Full: back-pressure. */
export const SERVICE_RING_BYTES = 1024 * 1024
/** Longest request: half a ring, so that there is always room for one behind another. */
export const SERVICE_REQUEST_BYTES = SERVICE_RING_BYTES / 2
/** Longest reply: a value that came in a request goes out with its head. */
export const SERVICE_REPLY_BYTES = SERVICE_REQUEST_BYTES + 64
/** Replies that the main thread hands on before the event loop gets a turn. */
export const SERVICE_DRAIN_MESSAGES = 1024
/** Payload of one frame of requests or answers: the longest of either with its head, and room for a good batch of small ones. */
export const MAX_SERVICE_FRAME_BYTES = 1024 * 1024
/** Lines of gateways to one guest process: as many as a vCPU keeps sessions of, and as many more that are being dialled anew. */
export const MAX_SERVICE_LINES = 32
/** Answers that a gateway does not take away; its line ends then, its sessions stay. */
export const SERVICE_LINE_QUEUE_BYTES = 64 * 1024 * 1024
/** A request that found its ring full is tried again after this long, if no answer came before. */
export const SERVICE_FULL_RETRY_MS = 1
/** Ports at which clients find the guests of an agent. */
export const SERVICE_PORT_FIRST = 7500
export const SERVICE_PORT_LAST = 7549
/** Ports at which guest processes listen for gateways. */
export const LINE_PORT_FIRST = 7550
export const LINE_PORT_LAST = 7599
export const GATEWAY_PORT = 6380
/** Guests that have left, for whose clients an agent keeps a port open; the one that left first goes first. */
export const FORWARDING_PORTS = 32
/** An agent that is asked where a guest is answers within this. */
export const WHERE_TIMEOUT_MS = 1000
/** Agents that are asked one after the other where a guest went. */
export const WHERE_HOPS = 8
/** A guest that no agent knows any more for so long is gone, and so is its port. */
export const GONE_MS = 10_000
/** A command is held for so long while its vCPU cannot be reached, then it fails (R31). */
export const HOLD_MS = 5000
/** A gateway with nothing to send says so late that it has the replies; until then the guest keeps them. */
export const ACKNOWLEDGE_MS = 50
/** A vCPU that is nowhere for so long is looked for at the agents. */
export const LOCATE_MS = 100
/** A gateway looks after its lanes this often: what is held too long, acknowledgements, whom to ask. */
export const GATEWAY_TICK_MS = 20
/** After `busy` or `out-of-order`, so long after the last of them, a lane sends again; a full round of answers is in by then. */
export const GATEWAY_REST_MS = 2
/** After `refused`: places of gateways become free after a minute, so that asking more often is of no use. */
export const GATEWAY_REFUSED_REST_MS = 250
/** A command that was refused is not sent again for the last part of `HOLD_MS`: it would be under way when its time is over. */
export const REFUSED_LAST_MS = 1000
/** Commands of one vCPU under way at most: twice what a vCPU executes in ten milliseconds. */
export const LANE_WINDOW = 4096
/** And their bytes, one at least: half of the vCPU's ring, so that those of two gateways fit. */
export const LANE_WINDOW_BYTES = SERVICE_RING_BYTES / 2
/** A window that `busy` makes smaller does not fall below this. */
export const LANE_MIN_WINDOW = 16
/** Commands of one vCPU that a gateway holds, and their bytes; at half of it clients are not read any more. */
export const LANE_COMMANDS = 64 * 1024
export const LANE_BYTES = 16 * 1024 * 1024
/** Bytes in a line's socket from which on nothing more is put there. */
export const LINE_WRITE_BYTES = 2 * 1024 * 1024
/** Hosts that a gateway keeps lines to, of one guest: source and destination of a move, and a few that it came by. */
export const MAX_PLACES = 8
/** A guest process that has nothing to say on a line says so this often. */
export const LINE_ALIVE_MS = 500
/** A line on which nothing came for so long is cut: four times the above, and time enough to try another within HOLD_MS. */
export const LINE_SILENT_MS = 2000
/** So long a name of a place that has a line by another name is not dialled: it might be another place after all. */
export const PLACE_ALIAS_MS = 10_000
/** Addresses at which a guest may be, too, that its process tells to a gateway that comes: where it came from, where it goes. */
export const ELSEWHERE_KEPT = 4
/** Room of a frame of small requests or answers: the most that a socket takes and gives at once. */
export const SERVICE_BATCH_BYTES = 64 * 1024
/** Answers of a vCPU that goes on working before the main thread is told of them: a fifth of a millisecond of work. */
export const SERVICE_UNTOLD_ANSWERS = 128
/** Requests of one frame that lie in the ring before the vCPU is told of them: it may be asleep, and waking it has its price. */
export const SERVICE_UNSAID_REQUESTS = 128
/** The main thread looks for answers this often while requests come, lest a vCPU stopped before it told of them. */
export const SERVICE_SWEEP_MS = 2
/** It goes on looking for so many turns after the last request. */
export const SERVICE_SWEEPS = 50
/** Gateways of one vCPU, whose sequences it keeps (R30). */
export const KV_MAX_GATEWAYS = 16
/** Numbers of gateways that were refused or forgotten and begin no session any more: of at least the last seconds, at four refusals a second each. */
export const KV_TURNED_AWAY = 256
/** Unacknowledged replies that a vCPU of the store keeps in guest pages, 1 MiB (R30); small shares keep fewer. */
export const KV_KEPT_REPLY_PAGES = 256
/** A gateway that sent nothing for so long may lose its place to another, ms of guest time. */
export const KV_GATEWAY_QUIET_MS = 60_000
/** Requests find no room for their replies for so long, then whoever fails to acknowledge is forgotten; as R31 holds commands. */
export const KV_ROOM_PATIENCE_MS = 5000
/** Connections of one load: a file descriptor each, and what is outstanding on it. */
export const LOAD_MAX_CONNECTIONS = 1000
/** Operations a second that a load may ask for: far more than one thread sends. */
export const LOAD_MAX_RATE = 10_000_000
/** Keys of a load; the table of their distribution takes 8 bytes each. */
export const LOAD_MAX_KEYS = 10_000_000
/** Longest value of a load: what a service's request carries beside its key. */
export const LOAD_MAX_VALUE_BYTES = SERVICE_REQUEST_BYTES - 4096
/** Counters of a load: with so many, each of 64 vCPUs has some (a vCPU without one has a chance of 10^-5). */
export const LOAD_COUNTERS = 1024
/** Operations under way on one connection; what is due behind them waits at the load, and that wait counts. */
export const LOAD_MAX_OUTSTANDING = 16_384
/** Keys under way on one connection while a load fills, reads and removes its keys. */
export const LOAD_SWEEP_OUTSTANDING = 128
/** Longest load; its timeline has a place for every slice of it. */
export const LOAD_MAX_MS = 3600_000
/** A slice of a load's timeline: fine enough that windows of a second can be compared. */
export const LOAD_SLICE_MS = 50
/** Windows of one load, a histogram each. */
export const LOAD_MAX_WINDOWS = 64
/** Texts of errors that are counted apart; the rest counts together. */
export const LOAD_ERROR_TEXTS = 32
/** A reply to a load may take so long, and the keys around it may stand still so long: twice what a command may be held (R31). */
export const LOAD_PATIENCE_MS = 10_000
/** A connection that was lost is dialled again after this, longer after each failure up to the second. */
export const LOAD_REDIAL_FIRST_MS = 10
export const LOAD_REDIAL_MAX_MS = 500
/** A connection that does not come up within this counts as refused. */
export const LOAD_DIAL_TIMEOUT_MS = 5000
/** Longest reply that a load takes in, and the longest line of one: a value it has written fits many times. */
export const LOAD_MAX_REPLY_BYTES = 16 * 1024 * 1024
export const LOAD_MAX_LINE_BYTES = 64 * 1024
/** Elements of an array in a reply, nested ones together. */
export const LOAD_MAX_ELEMENTS = 1024 * 1024
/** Clients of one service port; 10,000 idle ones must be no matter, and a process may have 20,000 files open as a rule. */
export const GATEWAY_MAX_CLIENTS = 16_384
/** Longest request that a gateway reads in: what is longer than a ring carries gets an error, and the connection goes on. */
export const GATEWAY_REQUEST_BYTES = 4 * 1024 * 1024
/** Requests of all clients of a port that have come in part: beyond it whoever brings more than a line is sent away. */
export const GATEWAY_INPUT_BYTES = 256 * 1024 * 1024
/** A client with so many bytes of replies that it has not read is not read from either. */
export const GATEWAY_PAUSE_BYTES = 1024 * 1024
/** One that still does not read when so much has come together is sent away. */
export const GATEWAY_CLOSE_BYTES = 64 * 1024 * 1024
/** Replies that all clients of a port have not read: beyond it those with over GATEWAY_PAUSE_BYTES are sent away. */
export const GATEWAY_OUTPUT_BYTES = 512 * 1024 * 1024
/** Commands of one client under way, at the most and as long as nothing is known of its replies' length. */
export const GATEWAY_WINDOW_COMMANDS = 4096
export const GATEWAY_FIRST_WINDOW_COMMANDS = 64
/** Replies under way of one client, by the length of its last ones: half of what sends it away. */
export const GATEWAY_WINDOW_BYTES = GATEWAY_CLOSE_BYTES / 2
/** Replies of one client are put together in pieces of so many bytes, one a client and turn of the event loop. */
export const GATEWAY_OUTPUT_PIECE_BYTES = 16 * 1024
/** Pieces that a port keeps for the next turn: 4 MiB. */
export const GATEWAY_OUTPUT_PIECES = 256
/** Longest name that a client gives itself, and text of its library. */
export const GATEWAY_NAME_BYTES = 256
/** Probes of a silent client begin after this, as Redis's tcp-keepalive. */
export const GATEWAY_KEEPALIVE_MS = 300_000
