;; LZ4 blocks (github.com/lz4/lz4, doc/lz4_Block_format.md): plain blocks without size or frame, of up to 64 KiB of content.
;; `npm run kernels` turns this file into lz4.bytes.ts; lz4.ts is its typed binding, lz4-twin.ts says the same in TypeScript.
;;
;; A block is sequences: token (literals << 4 | match - 4), more literal length, literals, offset u16, more match length.
;; A nibble of 15 goes on in bytes that are added up, up to the first that is not 255. The last sequence ends after its
;; literals. Both functions see only the control memory and take byte offsets into it. No copy touches a byte outside its
;; output: where there is no room for 16 bytes at once, the slower exact copies take over.
(module
  (import "env" "control" (memory $control 1 65536 shared))

  ;; Exactly $length bytes, of places that do not overlap.
  (func $copy (param $to i32) (param $from i32) (param $length i32)
    (local $end i32)
    (if (i32.ge_u (local.get $length) (i32.const 512))
      (then (memory.copy (local.get $to) (local.get $from) (local.get $length)) (return)))
    (call $copyBehind (local.get $to) (local.get $from) (local.get $length)))

  ;; Exactly $length bytes, ascending; the output may overlap the input if it begins at least 16 bytes behind it.
  (func $copyBehind (param $to i32) (param $from i32) (param $length i32)
    (local $left i32)
    (local.set $left (local.get $length))
    (block $short
      (loop $next
        (br_if $short (i32.lt_u (local.get $left) (i32.const 16)))
        (v128.store (local.get $to) (v128.load (local.get $from)))
        (local.set $to (i32.add (local.get $to) (i32.const 16)))
        (local.set $from (i32.add (local.get $from) (i32.const 16)))
        (local.set $left (i32.sub (local.get $left) (i32.const 16)))
        (br $next)))
    (if (i32.eqz (local.get $left)) (then (return)))
    ;; The rest is the end of a block of 16 that lies partly over what is copied already.
    (if (i32.ge_u (local.get $length) (i32.const 16))
      (then
        (v128.store
          (i32.sub (i32.add (local.get $to) (local.get $left)) (i32.const 16))
          (v128.load (i32.sub (i32.add (local.get $from) (local.get $left)) (i32.const 16))))
        (return)))
    (loop $next
      (i32.store8 (local.get $to) (i32.load8_u (local.get $from)))
      (local.set $to (i32.add (local.get $to) (i32.const 1)))
      (local.set $from (i32.add (local.get $from) (i32.const 1)))
      (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))

  ;; The 16 bytes that repeat what lies $offset (1, 2, 4 or 8) bytes before $to.
  (func $pattern (param $to i32) (param $offset i32) (result v128)
    (local.set $to (i32.sub (local.get $to) (local.get $offset)))
    (if (i32.eq (local.get $offset) (i32.const 1)) (then (return (v128.load8_splat (local.get $to)))))
    (if (i32.eq (local.get $offset) (i32.const 2)) (then (return (v128.load16_splat (local.get $to)))))
    (if (i32.eq (local.get $offset) (i32.const 4)) (then (return (v128.load32_splat (local.get $to)))))
    (v128.load64_splat (local.get $to)))

  ;; Exactly $length bytes of what lies $offset (1 to 15) bytes before $to, again and again.
  (func $repeat (param $to i32) (param $offset i32) (param $length i32)
    (local $end i32) (local $far i32) (local $bytes v128)
    (local.set $end (i32.add (local.get $to) (local.get $length)))
    (if (i32.eq (i32.popcnt (local.get $offset)) (i32.const 1))
      (then
        (local.set $bytes (call $pattern (local.get $to) (local.get $offset)))
        (block $short
          (loop $next
            (br_if $short (i32.lt_u (i32.sub (local.get $end) (local.get $to)) (i32.const 16)))
            (v128.store (local.get $to) (local.get $bytes))
            (local.set $to (i32.add (local.get $to) (i32.const 16)))
            (br $next)))))
    ;; Byte by byte to where the same pattern lies at least 16 bytes back; what is left can then go in blocks.
    (local.set $far (i32.mul (local.get $offset)
      (i32.add (i32.div_u (i32.const 15) (local.get $offset)) (i32.const 1))))
    (local.set $length (i32.sub (local.get $far) (local.get $offset)))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $length)))
        (if (i32.eq (local.get $to) (local.get $end)) (then (return)))
        (i32.store8 (local.get $to) (i32.load8_u (i32.sub (local.get $to) (local.get $offset))))
        (local.set $to (i32.add (local.get $to) (i32.const 1)))
        (local.set $length (i32.sub (local.get $length) (i32.const 1)))
        (br $next)))
    (call $copyBehind (local.get $to) (i32.sub (local.get $to) (local.get $far))
      (i32.sub (local.get $end) (local.get $to))))

  ;; Block -> content. Returns the bytes of the content, or -1 when the block is malformed or does not fit $capacity.
  ;; Lengths cannot overflow: each byte of a block adds 255 at most.
  (func (export "decompress") (param $from i32) (param $length i32) (param $to i32) (param $capacity i32) (result i32)
    (local $end i32) (local $at i32) (local $atEnd i32) (local $token i32) (local $count i32) (local $byte i32)
    (local $offset i32)
    (local.set $end (i32.add (local.get $from) (local.get $length)))
    (local.set $at (local.get $to))
    (local.set $atEnd (i32.add (local.get $to) (local.get $capacity)))
    (loop $sequence
      (if (i32.ge_u (local.get $from) (local.get $end)) (then (return (i32.const -1))))
      (local.set $token (i32.load8_u (local.get $from)))
      (local.set $from (i32.add (local.get $from) (i32.const 1)))
      ;; Literals.
      (local.set $count (i32.shr_u (local.get $token) (i32.const 4)))
      (if (i32.eq (local.get $count) (i32.const 15))
        (then
          (loop $more
            (if (i32.ge_u (local.get $from) (local.get $end)) (then (return (i32.const -1))))
            (local.set $byte (i32.load8_u (local.get $from)))
            (local.set $from (i32.add (local.get $from) (i32.const 1)))
            (local.set $count (i32.add (local.get $count) (local.get $byte)))
            (br_if $more (i32.eq (local.get $byte) (i32.const 255))))))
      (if (i32.gt_u (local.get $count) (i32.sub (local.get $end) (local.get $from))) (then (return (i32.const -1))))
      (if (i32.gt_u (local.get $count) (i32.sub (local.get $atEnd) (local.get $at))) (then (return (i32.const -1))))
      (if (i32.and
            (i32.le_u (local.get $count) (i32.const 16))
            (i32.and
              (i32.ge_u (i32.sub (local.get $end) (local.get $from)) (i32.const 16))
              (i32.ge_u (i32.sub (local.get $atEnd) (local.get $at)) (i32.const 16))))
        (then (v128.store (local.get $at) (v128.load (local.get $from))))
        (else (call $copy (local.get $at) (local.get $from) (local.get $count))))
      (local.set $at (i32.add (local.get $at) (local.get $count)))
      (local.set $from (i32.add (local.get $from) (local.get $count)))
      (if (i32.eq (local.get $from) (local.get $end))
        (then (return (i32.sub (local.get $at) (local.get $to)))))
      ;; Match.
      (if (i32.lt_u (i32.sub (local.get $end) (local.get $from)) (i32.const 2)) (then (return (i32.const -1))))
      (local.set $offset (i32.load16_u (local.get $from)))
      (local.set $from (i32.add (local.get $from) (i32.const 2)))
      (if (i32.eqz (local.get $offset)) (then (return (i32.const -1))))
      (if (i32.gt_u (local.get $offset) (i32.sub (local.get $at) (local.get $to))) (then (return (i32.const -1))))
      (local.set $count (i32.and (local.get $token) (i32.const 15)))
      (if (i32.eq (local.get $count) (i32.const 15))
        (then
          (loop $more
            (if (i32.ge_u (local.get $from) (local.get $end)) (then (return (i32.const -1))))
            (local.set $byte (i32.load8_u (local.get $from)))
            (local.set $from (i32.add (local.get $from) (i32.const 1)))
            (local.set $count (i32.add (local.get $count) (local.get $byte)))
            (br_if $more (i32.eq (local.get $byte) (i32.const 255))))))
      (local.set $count (i32.add (local.get $count) (i32.const 4)))
      (if (i32.gt_u (local.get $count) (i32.sub (local.get $atEnd) (local.get $at))) (then (return (i32.const -1))))
      (if (i32.lt_u (local.get $offset) (i32.const 16))
        (then (call $repeat (local.get $at) (local.get $offset) (local.get $count)))
        (else
          (if (i32.and
                (i32.le_u (local.get $count) (i32.const 32))
                (i32.ge_u (i32.sub (local.get $atEnd) (local.get $at)) (i32.const 32)))
            (then
              (v128.store (local.get $at) (v128.load (i32.sub (local.get $at) (local.get $offset))))
              (v128.store offset=16 (local.get $at)
                (v128.load offset=16 (i32.sub (local.get $at) (local.get $offset)))))
            (else
              (call $copyBehind (local.get $at) (i32.sub (local.get $at) (local.get $offset)) (local.get $count))))))
      (local.set $at (i32.add (local.get $at) (local.get $count)))
      (br $sequence))
    (i32.const -1))

  ;; Bytes that follow a nibble for $count: none below 15.
  (func $lengthBytes (param $count i32) (result i32)
    (if (i32.lt_u (local.get $count) (i32.const 15)) (then (return (i32.const 0))))
    (i32.add (i32.div_u (i32.sub (local.get $count) (i32.const 15)) (i32.const 255)) (i32.const 1)))

  ;; Writes those bytes; returns where they end.
  (func $putLength (param $at i32) (param $count i32) (result i32)
    (if (i32.lt_u (local.get $count) (i32.const 15)) (then (return (local.get $at))))
    (local.set $count (i32.sub (local.get $count) (i32.const 15)))
    (block $done
      (loop $next
        (br_if $done (i32.lt_u (local.get $count) (i32.const 255)))
        (i32.store8 (local.get $at) (i32.const 255))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (local.set $count (i32.sub (local.get $count) (i32.const 255)))
        (br $next)))
    (i32.store8 (local.get $at) (local.get $count))
    (i32.add (local.get $at) (i32.const 1)))

  ;; min(15, $count): the nibble of a token.
  (func $nibble (param $count i32) (result i32)
    (select (local.get $count) (i32.const 15) (i32.lt_u (local.get $count) (i32.const 15))))

  ;; How far the bytes at $a and $b agree: where the first that differs lies after $a, $end at most.
  (func $agree (param $a i32) (param $b i32) (param $end i32) (result i32)
    (local $difference i64)
    (block $tail
      (loop $next
        (br_if $tail (i32.gt_u (i32.add (local.get $a) (i32.const 8)) (local.get $end)))
        (local.set $difference (i64.xor (i64.load (local.get $a)) (i64.load (local.get $b))))
        (if (i64.ne (local.get $difference) (i64.const 0))
          (then
            (return (i32.add (local.get $a)
              (i32.shr_u (i32.wrap_i64 (i64.ctz (local.get $difference))) (i32.const 3))))))
        (local.set $a (i32.add (local.get $a) (i32.const 8)))
        (local.set $b (i32.add (local.get $b) (i32.const 8)))
        (br $next)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $a) (local.get $end)))
        (br_if $done (i32.ne (i32.load8_u (local.get $a)) (i32.load8_u (local.get $b))))
        (local.set $a (i32.add (local.get $a) (i32.const 1)))
        (local.set $b (i32.add (local.get $b) (i32.const 1)))
        (br $next)))
    (local.get $a))

  ;; Where the table of 2^(32 - $shift) entries u16 keeps the last place of the four bytes at $here.
  (func $slot (param $table i32) (param $here i32) (param $shift i32) (result i32)
    (i32.add (local.get $table) (i32.shl
      (i32.shr_u (i32.mul (i32.load (local.get $here)) (i32.const 0x9E3779B1)) (local.get $shift)) (i32.const 1))))

  ;; Content of up to 64 KiB -> block. With a table of the last place of each hash of four bytes: 2^$bits entries u16 at
  ;; $table. The further it looks in vain, the wider its steps; a short match gives way to a longer one that begins a byte
  ;; later. Returns the bytes of the block, or -1 when they would be more than $limit. As the format asks, the last match
  ;; begins 12 bytes before the end at the latest and leaves 5.
  (func (export "compress") (param $from i32) (param $length i32) (param $to i32) (param $limit i32) (param $table i32)
    (param $bits i32) (result i32)
    (local $end i32) (local $at i32) (local $atEnd i32) (local $anchor i32) (local $here i32) (local $next i32)
    (local $lastStart i32) (local $tries i32) (local $word i32) (local $slot i32) (local $match i32) (local $stop i32)
    (local $literals i32) (local $count i32) (local $shift i32) (local $later i32) (local $laterStop i32)
    (local.set $end (i32.add (local.get $from) (local.get $length)))
    (local.set $at (local.get $to))
    (local.set $atEnd (i32.add (local.get $to) (local.get $limit)))
    (local.set $anchor (local.get $from))
    (block $rest
      (br_if $rest (i32.lt_u (local.get $length) (i32.const 13)))
      (local.set $shift (i32.sub (i32.const 32) (local.get $bits)))
      ;; 0 stands for the first byte, so no entry needs to say that it is empty.
      (memory.fill (local.get $table) (i32.const 0) (i32.shl (i32.const 2) (local.get $bits)))
      (local.set $lastStart (i32.sub (local.get $end) (i32.const 12)))
      (local.set $next (i32.add (local.get $from) (i32.const 1)))
      (loop $sequence
        (local.set $tries (i32.const 64))
        (loop $search
          (local.set $here (local.get $next))
          (br_if $rest (i32.gt_u (local.get $here) (local.get $lastStart)))
          (local.set $next (i32.add (local.get $here) (i32.shr_u (local.get $tries) (i32.const 6))))
          (local.set $tries (i32.add (local.get $tries) (i32.const 1)))
          (local.set $word (i32.load (local.get $here)))
          (local.set $slot (i32.add (local.get $table) (i32.shl
            (i32.shr_u (i32.mul (local.get $word) (i32.const 0x9E3779B1)) (local.get $shift)) (i32.const 1))))
          (local.set $match (i32.add (local.get $from) (i32.load16_u (local.get $slot))))
          (i32.store16 (local.get $slot) (i32.sub (local.get $here) (local.get $from)))
          (br_if $search (i32.ne (i32.load (local.get $match)) (local.get $word))))
        (local.set $stop (call $agree
          (i32.add (local.get $here) (i32.const 4))
          (i32.add (local.get $match) (i32.const 4))
          (i32.sub (local.get $end) (i32.const 5))))
        (if (i32.and
              (i32.lt_u (i32.sub (local.get $stop) (local.get $here)) (i32.const 32))
              (i32.lt_u (local.get $here) (local.get $lastStart)))
          (then
            (local.set $slot (call $slot
              (local.get $table) (i32.add (local.get $here) (i32.const 1)) (local.get $shift)))
            (local.set $later (i32.add (local.get $from) (i32.load16_u (local.get $slot))))
            (i32.store16 (local.get $slot) (i32.sub (i32.add (local.get $here) (i32.const 1)) (local.get $from)))
            (if (i32.eq (i32.load (local.get $later)) (i32.load offset=1 (local.get $here)))
              (then
                (local.set $laterStop (call $agree
                  (i32.add (local.get $here) (i32.const 5))
                  (i32.add (local.get $later) (i32.const 4))
                  (i32.sub (local.get $end) (i32.const 5))))
                (if (i32.gt_u (local.get $laterStop) (i32.add (local.get $stop) (i32.const 2)))
                  (then
                    (local.set $here (i32.add (local.get $here) (i32.const 1)))
                    (local.set $match (local.get $later))
                    (local.set $stop (local.get $laterStop))))))))
        (block $begun
          (loop $earlier
            (br_if $begun (i32.eq (local.get $here) (local.get $anchor)))
            (br_if $begun (i32.eq (local.get $match) (local.get $from)))
            (br_if $begun (i32.ne
              (i32.load8_u (i32.sub (local.get $here) (i32.const 1)))
              (i32.load8_u (i32.sub (local.get $match) (i32.const 1)))))
            (local.set $here (i32.sub (local.get $here) (i32.const 1)))
            (local.set $match (i32.sub (local.get $match) (i32.const 1)))
            (br $earlier)))
        (local.set $literals (i32.sub (local.get $here) (local.get $anchor)))
        (local.set $count (i32.sub (i32.sub (local.get $stop) (local.get $here)) (i32.const 4)))
        (if (i32.gt_u
              (i32.add
                (i32.add (local.get $literals) (i32.const 3))
                (i32.add (call $lengthBytes (local.get $literals)) (call $lengthBytes (local.get $count))))
              (i32.sub (local.get $atEnd) (local.get $at)))
          (then (return (i32.const -1))))
        (i32.store8 (local.get $at)
          (i32.or (i32.shl (call $nibble (local.get $literals)) (i32.const 4)) (call $nibble (local.get $count))))
        (local.set $at (call $putLength (i32.add (local.get $at) (i32.const 1)) (local.get $literals)))
        (if (i32.and
              (i32.le_u (local.get $literals) (i32.const 16))
              (i32.and
                (i32.ge_u (i32.sub (local.get $atEnd) (local.get $at)) (i32.const 16))
                (i32.ge_u (i32.sub (local.get $end) (local.get $anchor)) (i32.const 16))))
          (then (v128.store (local.get $at) (v128.load (local.get $anchor))))
          (else (call $copy (local.get $at) (local.get $anchor) (local.get $literals))))
        (local.set $at (i32.add (local.get $at) (local.get $literals)))
        (i32.store16 (local.get $at) (i32.sub (local.get $here) (local.get $match)))
        (local.set $at (call $putLength (i32.add (local.get $at) (i32.const 2)) (local.get $count)))
        (local.set $anchor (local.get $stop))
        (local.set $next (local.get $stop))
        (br_if $rest (i32.gt_u (local.get $next) (local.get $lastStart)))
        ;; One place inside the match is remembered, too.
        (local.set $here (i32.sub (local.get $next) (i32.const 2)))
        (i32.store16
          (call $slot (local.get $table) (local.get $here) (local.get $shift))
          (i32.sub (local.get $here) (local.get $from)))
        (br $sequence)))
    (local.set $literals (i32.sub (local.get $end) (local.get $anchor)))
    (if (i32.gt_u
          (i32.add (i32.add (local.get $literals) (i32.const 1)) (call $lengthBytes (local.get $literals)))
          (i32.sub (local.get $atEnd) (local.get $at)))
      (then (return (i32.const -1))))
    (i32.store8 (local.get $at) (i32.shl (call $nibble (local.get $literals)) (i32.const 4)))
    (local.set $at (call $putLength (i32.add (local.get $at) (i32.const 1)) (local.get $literals)))
    (call $copy (local.get $at) (local.get $anchor) (local.get $literals))
    (i32.sub (i32.add (local.get $at) (local.get $literals)) (local.get $to)))
)
