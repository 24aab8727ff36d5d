;; Pages that need few bytes: one repeated word (fill), few bytes that are not zero (sparse), few that differ from the last
;; version sent (delta). delta.ts is the typed binding; module.ts and kernels.wat state the conventions.
;;
;; Sparse and delta share one record a page: u16 length of what follows, little-endian, then pairs of runs
;;   (bytes to leave, uleb128) (new bytes, uleb128, at least 1) (the new bytes)
;; as in QEMU's XBZRLE. Only the first run of bytes to leave may be 0; what follows the last pair is left. A uleb128 has
;; one byte, or two of which the second is not 0. Sparse leaves zeros, delta what the page holds.
;;
;; Encoding takes two passes: the first makes a map of the bytes that count, one bit a byte in 64 words; the second walks
;; its edges and writes the runs. Offsets are into the control memory, $stored into the store of the versions sent.
(module
  (import "env" "pages" (memory $pages 1 65536 shared))
  (import "env" "control" (memory $control 1 65536 shared))
  (import "env" "store" (memory $store 0 65536 shared))

  ;; ---- fill ----

  ;; 4,096 bytes at $from -> their word at $to: 8, or -1 if they are not one word repeated or $limit is below 8.
  (func (export "encodeFill") (param $from i32) (param $to i32) (param $limit i32) (result i32)
    (local $left i32) (local $word v128)
    (if (i32.lt_s (local.get $limit) (i32.const 8)) (then (return (i32.const -1))))
    (local.set $word (v128.load64_splat $control (local.get $from)))
    (local.set $left (i32.const 4096))
    (loop $next
      (if (v128.any_true
            (v128.or
              (v128.or
                (v128.xor (v128.load $control (local.get $from)) (local.get $word))
                (v128.xor (v128.load $control offset=16 (local.get $from)) (local.get $word)))
              (v128.or
                (v128.xor (v128.load $control offset=32 (local.get $from)) (local.get $word))
                (v128.xor (v128.load $control offset=48 (local.get $from)) (local.get $word)))))
        (then (return (i32.const -1))))
      (local.set $from (i32.add (local.get $from) (i32.const 64)))
      (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 64)))))
    (i64.store $control (local.get $to) (i64x2.extract_lane 0 (local.get $word)))
    (i32.const 8))

  ;; One word a page at $from -> a run of pages.
  (func (export "placeFill") (param $page i32) (param $count i32) (param $from i32)
    (local $at i32) (local $word v128)
    (local.set $at (i32.shl (local.get $page) (i32.const 12)))
    (block $done
      (loop $nextPage
        (br_if $done (i32.eqz (local.get $count)))
        (local.set $word (v128.load64_splat $control (local.get $from)))
        (loop $next
          (v128.store $pages (local.get $at) (local.get $word))
          (v128.store $pages offset=16 (local.get $at) (local.get $word))
          (v128.store $pages offset=32 (local.get $at) (local.get $word))
          (v128.store $pages offset=48 (local.get $at) (local.get $word))
          (local.set $at (i32.add (local.get $at) (i32.const 64)))
          (br_if $next (i32.and (local.get $at) (i32.const 4095))))
        (local.set $from (i32.add (local.get $from) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $nextPage))))

  ;; ---- first pass: which bytes count ----

  ;; The four masks of 64 bytes, 0 or -1 a byte, as bits.
  (func $bits (param $a v128) (param $b v128) (param $c v128) (param $d v128) (result i64)
    (i64.or
      (i64.extend_i32_u
        (i32.or (i8x16.bitmask (local.get $a)) (i32.shl (i8x16.bitmask (local.get $b)) (i32.const 16))))
      (i64.shl
        (i64.extend_i32_u
          (i32.or (i8x16.bitmask (local.get $c)) (i32.shl (i8x16.bitmask (local.get $d)) (i32.const 16))))
        (i64.const 32))))

  ;; Map of the bytes at $from that are not zero -> 64 words at $map. Returns how many; -1 as soon as they exceed $limit.
  (func $mapNonZero (param $from i32) (param $map i32) (param $limit i32) (result i32)
    (local $left i32) (local $found i32) (local $word i64)
    (local $a v128) (local $b v128) (local $c v128) (local $d v128)
    (local.set $left (i32.const 64))
    (loop $next
      (local.set $a (v128.load $control (local.get $from)))
      (local.set $b (v128.load $control offset=16 (local.get $from)))
      (local.set $c (v128.load $control offset=32 (local.get $from)))
      (local.set $d (v128.load $control offset=48 (local.get $from)))
      (local.set $word (i64.const 0))
      (if (v128.any_true
            (v128.or (v128.or (local.get $a) (local.get $b)) (v128.or (local.get $c) (local.get $d))))
        (then
          (local.set $word (call $bits
            (i8x16.ne (local.get $a) (v128.const i64x2 0 0)) (i8x16.ne (local.get $b) (v128.const i64x2 0 0))
            (i8x16.ne (local.get $c) (v128.const i64x2 0 0)) (i8x16.ne (local.get $d) (v128.const i64x2 0 0))))
          (local.set $found (i32.add (local.get $found) (i32.wrap_i64 (i64.popcnt (local.get $word)))))
          (if (i32.gt_s (local.get $found) (local.get $limit)) (then (return (i32.const -1))))))
      (i64.store $control (local.get $map) (local.get $word))
      (local.set $from (i32.add (local.get $from) (i32.const 64)))
      (local.set $map (i32.add (local.get $map) (i32.const 8)))
      (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (local.get $found))

  ;; The same for the bytes that differ from the 4,096 at $stored.
  (func $mapDifferent (param $from i32) (param $stored i32) (param $map i32) (param $limit i32) (result i32)
    (local $left i32) (local $found i32) (local $word i64)
    (local $a v128) (local $b v128) (local $c v128) (local $d v128)
    (local.set $left (i32.const 64))
    (loop $next
      (local.set $a (i8x16.ne
        (v128.load $control (local.get $from)) (v128.load $store (local.get $stored))))
      (local.set $b (i8x16.ne
        (v128.load $control offset=16 (local.get $from)) (v128.load $store offset=16 (local.get $stored))))
      (local.set $c (i8x16.ne
        (v128.load $control offset=32 (local.get $from)) (v128.load $store offset=32 (local.get $stored))))
      (local.set $d (i8x16.ne
        (v128.load $control offset=48 (local.get $from)) (v128.load $store offset=48 (local.get $stored))))
      (local.set $word (i64.const 0))
      (if (v128.any_true
            (v128.or (v128.or (local.get $a) (local.get $b)) (v128.or (local.get $c) (local.get $d))))
        (then
          (local.set $word
            (call $bits (local.get $a) (local.get $b) (local.get $c) (local.get $d)))
          (local.set $found (i32.add (local.get $found) (i32.wrap_i64 (i64.popcnt (local.get $word)))))
          (if (i32.gt_s (local.get $found) (local.get $limit)) (then (return (i32.const -1))))))
      (i64.store $control (local.get $map) (local.get $word))
      (local.set $from (i32.add (local.get $from) (i32.const 64)))
      (local.set $stored (i32.add (local.get $stored) (i32.const 64)))
      (local.set $map (i32.add (local.get $map) (i32.const 8)))
      (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (local.get $found))

  ;; ---- second pass: the runs ----

  ;; Bits of $word, and those of gaps of one or two between set bits: they cost no more than a new pair would. $before and
  ;; $after are the neighbours of $word in the map.
  (func $close (param $word i64) (param $before i64) (param $after i64) (result i64)
    (local $left i64) (local $right i64)
    (local.set $left (i64.or
      (i64.shl (local.get $word) (i64.const 1)) (i64.shr_u (local.get $before) (i64.const 63))))
    (local.set $right (i64.or
      (i64.shr_u (local.get $word) (i64.const 1)) (i64.shl (local.get $after) (i64.const 63))))
    (i64.or
      (local.get $word)
      (i64.or
        (i64.and (local.get $left) (local.get $right))
        (i64.or
          (i64.and (local.get $left) (i64.or
            (i64.shr_u (local.get $word) (i64.const 2)) (i64.shl (local.get $after) (i64.const 62))))
          (i64.and (local.get $right) (i64.or
            (i64.shl (local.get $word) (i64.const 2)) (i64.shr_u (local.get $before) (i64.const 62))))))))

  ;; Writes a length below 16,384 and returns where it ends.
  (func $putLength (param $to i32) (param $length i32) (result i32)
    (if (i32.lt_u (local.get $length) (i32.const 128))
      (then
        (i32.store8 $control (local.get $to) (local.get $length))
        (return (i32.add (local.get $to) (i32.const 1)))))
    (i32.store8 $control (local.get $to) (i32.or (local.get $length) (i32.const 128)))
    (i32.store8 $control offset=1 (local.get $to) (i32.shr_u (local.get $length) (i32.const 7)))
    (i32.add (local.get $to) (i32.const 2)))

  ;; Writes one pair: the bytes [$start, $stop) of the page at $from, after those from $last on that are left. Returns where
  ;; it ends, or -1 if that is after $end.
  (func $putPair (param $to i32) (param $end i32) (param $from i32) (param $last i32) (param $start i32) (param $stop i32)
    (result i32)
    (local $leave i32) (local $length i32) (local $room i32)
    (local.set $leave (i32.sub (local.get $start) (local.get $last)))
    (local.set $length (i32.sub (local.get $stop) (local.get $start)))
    (local.set $room (i32.sub (local.get $end) (local.get $to)))
    (local.set $from (i32.add (local.get $from) (local.get $start)))
    ;; Most pairs are short. Where 16 bytes may be read and written, the next pair overwrites what is too much.
    (if (i32.and
          (i32.and (i32.le_u (local.get $length) (i32.const 16)) (i32.le_u (local.get $leave) (i32.const 127)))
          (i32.and (i32.le_u (local.get $start) (i32.const 4080)) (i32.ge_s (local.get $room) (i32.const 18))))
      (then
        (i32.store16 $control (local.get $to)
          (i32.or (local.get $leave) (i32.shl (local.get $length) (i32.const 8))))
        (v128.store $control offset=2 (local.get $to) (v128.load $control (local.get $from)))
        (return (i32.add (i32.add (local.get $to) (local.get $length)) (i32.const 2)))))
    (if (i32.gt_s
          (i32.add
            (i32.add (local.get $length) (i32.const 2))
            (i32.add
              (i32.gt_u (local.get $leave) (i32.const 127))
              (i32.gt_u (local.get $length) (i32.const 127))))
          (local.get $room))
      (then (return (i32.const -1))))
    (local.set $to (call $putLength (call $putLength (local.get $to) (local.get $leave)) (local.get $length)))
    (memory.copy $control $control (local.get $to) (local.get $from) (local.get $length))
    (i32.add (local.get $to) (local.get $length)))

  ;; 1 if the record of $map takes more than $limit bytes even with all lengths in one byte. It saves the writing of many
  ;; runs in vain.
  (func $exceeds (param $map i32) (param $limit i32) (result i32)
    (local $left i32) (local $bytes i64)
    (local $before i64) (local $word i64) (local $after i64) (local $closed i64) (local $carry i64)
    (local.set $bytes (i64.const 2))
    (local.set $left (i32.const 64))
    (local.set $after (i64.load $control (local.get $map)))
    (loop $next
      (local.set $before (local.get $word))
      (local.set $word (local.get $after))
      (local.set $map (i32.add (local.get $map) (i32.const 8)))
      (local.set $after (i64.load $control (local.get $map)))
      (local.set $closed (call $close (local.get $word) (local.get $before) (local.get $after)))
      ;; Each byte, and two for each start of a run.
      (local.set $bytes (i64.add (local.get $bytes) (i64.add
        (i64.popcnt (local.get $closed))
        (i64.shl
          (i64.popcnt (i64.and (local.get $closed) (i64.xor (i64.const -1)
            (i64.or (i64.shl (local.get $closed) (i64.const 1)) (local.get $carry)))))
          (i64.const 1)))))
      (local.set $carry (i64.shr_u (local.get $closed) (i64.const 63)))
      (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (i64.gt_u (local.get $bytes) (i64.extend_i32_u (local.get $limit))))

  ;; The record of the $found bytes of $map -> $to. Returns its length, or -1 above $limit.
  (func $putRecord (param $from i32) (param $map i32) (param $found i32) (param $to i32) (param $limit i32) (result i32)
    (local $cursor i32) (local $position i32) (local $edge i32) (local $start i32) (local $stop i32) (local $inside i32)
    (local $before i64) (local $word i64) (local $closed i64) (local $edges i64) (local $carry i64)
    (if (i32.or (i32.lt_s (local.get $found) (i32.const 0)) (i32.lt_s (local.get $limit) (i32.const 2)))
      (then (return (i32.const -1))))
    (i64.store $control offset=512 (local.get $map) (i64.const 0))
    (if (i32.gt_s (i32.add (i32.mul (local.get $found) (i32.const 3)) (i32.const 2)) (local.get $limit))
      (then
        (if (call $exceeds (local.get $map) (local.get $limit)) (then (return (i32.const -1))))))
    (local.set $cursor (i32.add (local.get $to) (i32.const 2)))
    (local.set $limit (i32.add (local.get $to) (local.get $limit)))
    (loop $next
      (local.set $word (i64.load $control (local.get $map)))
      (block $nothing
        (br_if $nothing (i64.eqz (i64.or (local.get $word) (local.get $carry))))
        (local.set $closed
          (call $close (local.get $word) (local.get $before) (i64.load $control offset=8 (local.get $map))))
        ;; An edge is a bit unlike the one before it.
        (local.set $edges (i64.xor (local.get $closed)
          (i64.or (i64.shl (local.get $closed) (i64.const 1)) (local.get $carry))))
        (local.set $carry (i64.shr_u (local.get $closed) (i64.const 63)))
        (loop $nextEdge
          (br_if $nothing (i64.eqz (local.get $edges)))
          (local.set $edge (i32.add (local.get $position) (i32.wrap_i64 (i64.ctz (local.get $edges)))))
          (local.set $edges (i64.and (local.get $edges) (i64.sub (local.get $edges) (i64.const 1))))
          (if (local.get $inside)
            (then
              (local.set $cursor (call $putPair (local.get $cursor) (local.get $limit)
                (local.get $from) (local.get $stop) (local.get $start) (local.get $edge)))
              (if (i32.eq (local.get $cursor) (i32.const -1)) (then (return (i32.const -1))))
              (local.set $stop (local.get $edge)))
            (else (local.set $start (local.get $edge))))
          (local.set $inside (i32.eqz (local.get $inside)))
          (br $nextEdge)))
      (local.set $before (local.get $word))
      (local.set $map (i32.add (local.get $map) (i32.const 8)))
      (br_if $next (i32.lt_u
        (local.tee $position (i32.add (local.get $position) (i32.const 64))) (i32.const 4096))))
    (if (local.get $inside)
      (then
        (local.set $cursor (call $putPair (local.get $cursor) (local.get $limit)
          (local.get $from) (local.get $stop) (local.get $start) (i32.const 4096)))
        (if (i32.eq (local.get $cursor) (i32.const -1)) (then (return (i32.const -1))))))
    (i32.store16 $control (local.get $to)
      (i32.sub (i32.sub (local.get $cursor) (local.get $to)) (i32.const 2)))
    (i32.sub (local.get $cursor) (local.get $to)))

  ;; 4,096 bytes at $from -> a record against zeros. Returns its length, or -1 above $limit. $map: 65 words of scratch.
  (func (export "encodeSparse") (param $from i32) (param $to i32) (param $limit i32) (param $map i32) (result i32)
    (call $putRecord (local.get $from) (local.get $map)
      (call $mapNonZero (local.get $from) (local.get $map) (local.get $limit))
      (local.get $to) (local.get $limit)))

  ;; The same against the 4,096 bytes at $stored.
  (func (export "encodeDelta") (param $from i32) (param $stored i32) (param $to i32) (param $limit i32) (param $map i32)
    (result i32)
    (call $putRecord (local.get $from) (local.get $map)
      (call $mapDifferent (local.get $from) (local.get $stored) (local.get $map) (local.get $limit))
      (local.get $to) (local.get $limit)))

  ;; ---- the store ----

  ;; 4,096 bytes at $from -> $stored.
  (func (export "storePage") (param $from i32) (param $stored i32)
    (memory.copy $store $control (local.get $stored) (local.get $from) (i32.const 4096)))

  ;; A guest page -> the store.
  (func (export "keepPage") (param $page i32) (param $stored i32)
    (memory.copy $store $pages (local.get $stored) (i32.shl (local.get $page) (i32.const 12)) (i32.const 4096)))

  ;; 1 if the store has the same 4,096 bytes.
  (func (export "matches") (param $from i32) (param $stored i32) (result i32)
    (local $left i32)
    (local.set $left (i32.const 4096))
    (loop $next
      (if (v128.any_true
            (v128.or
              (v128.xor (v128.load $control (local.get $from)) (v128.load $store (local.get $stored)))
              (v128.xor
                (v128.load $control offset=16 (local.get $from)) (v128.load $store offset=16 (local.get $stored)))))
        (then (return (i32.const 0))))
      (local.set $from (i32.add (local.get $from) (i32.const 32)))
      (local.set $stored (i32.add (local.get $stored) (i32.const 32)))
      (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 32)))))
    (i32.const 1))

  ;; ---- decoding ----

  ;; Copies $length bytes, 1 or more, from control into a page. Short runs are most runs: two pieces that overlap are exact
  ;; and need no call.
  (func $copyIn (param $at i32) (param $from i32) (param $length i32)
    (local $last i32)
    (if (i32.gt_u (local.get $length) (i32.const 32))
      (then (memory.copy $pages $control (local.get $at) (local.get $from) (local.get $length)) (return)))
    (if (i32.ge_u (local.get $length) (i32.const 16))
      (then
        (local.set $last (i32.sub (local.get $length) (i32.const 16)))
        (v128.store $pages (local.get $at) (v128.load $control (local.get $from)))
        (v128.store $pages (i32.add (local.get $at) (local.get $last))
          (v128.load $control (i32.add (local.get $from) (local.get $last))))
        (return)))
    (if (i32.ge_u (local.get $length) (i32.const 8))
      (then
        (local.set $last (i32.sub (local.get $length) (i32.const 8)))
        (i64.store $pages (local.get $at) (i64.load $control (local.get $from)))
        (i64.store $pages (i32.add (local.get $at) (local.get $last))
          (i64.load $control (i32.add (local.get $from) (local.get $last))))
        (return)))
    (if (i32.ge_u (local.get $length) (i32.const 4))
      (then
        (local.set $last (i32.sub (local.get $length) (i32.const 4)))
        (i32.store $pages (local.get $at) (i32.load $control (local.get $from)))
        (i32.store $pages (i32.add (local.get $at) (local.get $last))
          (i32.load $control (i32.add (local.get $from) (local.get $last))))
        (return)))
    ;; 1 to 3 bytes: the first, the middle one, the last.
    (local.set $last (i32.sub (local.get $length) (i32.const 1)))
    (i32.store8 $pages (local.get $at) (i32.load8_u $control (local.get $from)))
    (i32.store8 $pages (i32.add (local.get $at) (i32.shr_u (local.get $length) (i32.const 1)))
      (i32.load8_u $control (i32.add (local.get $from) (i32.shr_u (local.get $length) (i32.const 1)))))
    (i32.store8 $pages (i32.add (local.get $at) (local.get $last))
      (i32.load8_u $control (i32.add (local.get $from) (local.get $last)))))

  ;; The second byte of a uleb128 whose first is $low (128 or above) -> the number; -1 if it is none.
  (func $longLength (param $low i32) (param $from i32) (param $end i32) (result i32)
    (local $high i32)
    (if (i32.ge_u (local.get $from) (local.get $end)) (then (return (i32.const -1))))
    (local.set $high (i32.load8_u $control (local.get $from)))
    ;; 0 could have been left out, 128 and above would go on.
    (if (i32.gt_u (i32.sub (local.get $high) (i32.const 1)) (i32.const 126)) (then (return (i32.const -1))))
    (i32.or (i32.and (local.get $low) (i32.const 127)) (i32.shl (local.get $high) (i32.const 7))))

  ;; The pairs in [$from, $end) -> the page at $at. Returns 0 at the first that breaks a rule.
  (func $placeRecord (param $at i32) (param $from i32) (param $end i32) (result i32)
    (local $position i32) (local $leave i32) (local $length i32)
    (block $done
      (loop $next
        (br_if $done (i32.eq (local.get $from) (local.get $end)))
        (local.set $leave (i32.load8_u $control (local.get $from)))
        (local.set $from (i32.add (local.get $from) (i32.const 1)))
        (if (i32.ge_u (local.get $leave) (i32.const 128))
          (then
            (local.set $leave (call $longLength (local.get $leave) (local.get $from) (local.get $end)))
            (if (i32.lt_s (local.get $leave) (i32.const 0)) (then (return (i32.const 0))))
            (local.set $from (i32.add (local.get $from) (i32.const 1)))))
        (if (i32.and (i32.eqz (local.get $leave)) (i32.ne (local.get $position) (i32.const 0)))
          (then (return (i32.const 0))))
        (if (i32.ge_u (local.get $from) (local.get $end)) (then (return (i32.const 0))))
        (local.set $length (i32.load8_u $control (local.get $from)))
        (local.set $from (i32.add (local.get $from) (i32.const 1)))
        (if (i32.ge_u (local.get $length) (i32.const 128))
          (then
            (local.set $length (call $longLength (local.get $length) (local.get $from) (local.get $end)))
            (local.set $from (i32.add (local.get $from) (i32.const 1)))))
        (if (i32.le_s (local.get $length) (i32.const 0)) (then (return (i32.const 0))))
        (local.set $position (i32.add (local.get $position) (local.get $leave)))
        (if (i32.gt_s (local.get $length) (i32.sub (i32.const 4096) (local.get $position)))
          (then (return (i32.const 0))))
        (if (i32.gt_s (local.get $length) (i32.sub (local.get $end) (local.get $from)))
          (then (return (i32.const 0))))
        (call $copyIn
          (i32.add (local.get $at) (local.get $position)) (local.get $from) (local.get $length))
        (local.set $position (i32.add (local.get $position) (local.get $length)))
        (local.set $from (i32.add (local.get $from) (local.get $length)))
        (br $next)))
    (i32.const 1))

  ;; Records in [$from, $from + $available) -> a run of pages, onto zeros with $clear, else onto what they hold. Returns the
  ;; length of the records, or -1 at the first that breaks a rule; pages before it are placed then.
  (func (export "placeRecords") (param $page i32) (param $count i32) (param $from i32) (param $available i32)
    (param $clear i32) (result i32)
    (local $cursor i32) (local $left i32) (local $length i32) (local $at i32)
    (local.set $cursor (local.get $from))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (local.set $left (i32.sub (local.get $available) (i32.sub (local.get $cursor) (local.get $from))))
        (if (i32.lt_s (local.get $left) (i32.const 2)) (then (return (i32.const -1))))
        (local.set $length (i32.load16_u $control (local.get $cursor)))
        (local.set $cursor (i32.add (local.get $cursor) (i32.const 2)))
        (if (i32.gt_s (local.get $length) (i32.sub (local.get $left) (i32.const 2)))
          (then (return (i32.const -1))))
        (local.set $at (i32.shl (local.get $page) (i32.const 12)))
        (if (local.get $clear) (then (memory.fill $pages (local.get $at) (i32.const 0) (i32.const 4096))))
        (if (i32.eqz (call $placeRecord
              (local.get $at) (local.get $cursor) (i32.add (local.get $cursor) (local.get $length))))
          (then (return (i32.const -1))))
        (local.set $cursor (i32.add (local.get $cursor) (local.get $length)))
        (local.set $page (i32.add (local.get $page) (i32.const 1)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (i32.sub (local.get $cursor) (local.get $from)))
)
