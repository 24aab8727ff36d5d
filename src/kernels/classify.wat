;; What kind of bytes a page holds, for the adaptive choice of an encoding. Conventions as in kernels.wat; classify.ts is
;; the typed binding and explains the classes and their thresholds, which are the constants here.
(module
  (import "env" "control" (memory $control 1 65536 shared))

  ;; Bits a value of one column by frame of reference: see packed.wat. $differ has a bit set where the words differ.
  (func $width (param $range i32) (param $differ i32) (result i32)
    (i32.sub
      (i32.const 32)
      (i32.clz (i32.shr_u (local.get $range) (i32.and (i32.ctz (local.get $differ)) (i32.const 31))))))

  ;; How many of the 256 words of every fourth line of 64 bytes are similar to a word before them: equal in the high 22
  ;; bits, by the dictionary of pattern.wat, which lies at $tables.
  (func $similar (param $from i32) (param $tables i32) (result i32)
    (local $end i32) (local $word i32) (local $at i32) (local $similar i32)
    (v128.store $control (local.get $tables) (v128.const i64x2 0 0))
    (v128.store $control offset=16 (local.get $tables) (v128.const i64x2 0 0))
    (v128.store $control offset=32 (local.get $tables) (v128.const i64x2 0 0))
    (v128.store $control offset=48 (local.get $tables) (v128.const i64x2 0 0))
    (local.set $end (i32.add (local.get $from) (i32.const 4096)))
    (loop $line
      (loop $next
        (local.set $word (i32.load $control (local.get $from)))
        (local.set $at
          (i32.add
            (local.get $tables)
            (i32.and
              (i32.shr_u
                (i32.mul (i32.shr_u (local.get $word) (i32.const 10)) (i32.const 0x9E3779B1))
                (i32.const 26))
              (i32.const 60))))
        (local.set $similar
          (i32.add
            (local.get $similar)
            (i32.lt_u
              (i32.xor (local.get $word) (i32.load $control (local.get $at)))
              (i32.const 1024))))
        (i32.store $control (local.get $at) (local.get $word))
        (local.set $from (i32.add (local.get $from) (i32.const 4)))
        (br_if $next (i32.and (i32.sub (local.get $end) (local.get $from)) (i32.const 63))))
      (local.set $from (i32.add (local.get $from) (i32.const 192)))
      (br_if $line (i32.ne (local.get $from) (local.get $end))))
    (local.get $similar))

  ;; The class of the copy at $from.
  (func (export "classify") (param $from i32) (param $tables i32) (result i32)
    (local $at i32) (local $end i32) (local $zeros i32) (local $tops i32)
    (local $words v128) (local $first v128) (local $differ v128)
    (local $least v128) (local $most v128) (local $leastSigned v128) (local $mostSigned v128)
    (local.set $at (local.get $from))
    (local.set $end (i32.add (local.get $from) (i32.const 4096)))
    (local.set $first (v128.load $control (local.get $from)))
    (local.set $least (local.get $first))
    (local.set $most (local.get $first))
    (local.set $leastSigned (local.get $first))
    (local.set $mostSigned (local.get $first))
    (loop $next
      (local.set $words (v128.load $control (local.get $at)))
      (local.set $zeros
        (i32.add
          (local.get $zeros)
          (i32.popcnt (i8x16.bitmask (i8x16.eq (local.get $words) (v128.const i64x2 0 0))))))
      (local.set $tops (i32.add (local.get $tops) (i32.popcnt (i8x16.bitmask (local.get $words)))))
      (local.set $differ (v128.or (local.get $differ) (v128.xor (local.get $words) (local.get $first))))
      (local.set $least (i32x4.min_u (local.get $least) (local.get $words)))
      (local.set $most (i32x4.max_u (local.get $most) (local.get $words)))
      (local.set $leastSigned (i32x4.min_s (local.get $leastSigned) (local.get $words)))
      (local.set $mostSigned (i32x4.max_s (local.get $mostSigned) (local.get $words)))
      (local.set $at (i32.add (local.get $at) (i32.const 16)))
      (br_if $next (i32.ne (local.get $at) (local.get $end))))
    ;; UNIFORM: no 16 bytes differ from the first, whose halves are equal.
    (if (i32.and
          (i32.eqz (v128.any_true (local.get $differ)))
          (i64.eq (i64x2.extract_lane 0 (local.get $first)) (i64x2.extract_lane 1 (local.get $first))))
      (then (return (i32.const 0))))
    ;; ZERO_BYTES_LEAST
    (if (i32.ge_u (local.get $zeros) (i32.const 2048)) (then (return (i32.const 1))))
    ;; SIMILAR_LEAST
    (if (i32.ge_u (call $similar (local.get $from) (local.get $tables)) (i32.const 128))
      (then (return (i32.const 2))))
    (local.set $most
      (i32x4.min_u
        (i32x4.sub (local.get $most) (local.get $least))
        (i32x4.sub (local.get $mostSigned) (local.get $leastSigned))))
    ;; WIDTHS_MOST
    (if (i32.le_u
          (i32.add
            (i32.add
              (call $width (i32x4.extract_lane 0 (local.get $most)) (i32x4.extract_lane 0 (local.get $differ)))
              (call $width (i32x4.extract_lane 1 (local.get $most)) (i32x4.extract_lane 1 (local.get $differ))))
            (i32.add
              (call $width (i32x4.extract_lane 2 (local.get $most)) (i32x4.extract_lane 2 (local.get $differ)))
              (call $width (i32x4.extract_lane 3 (local.get $most)) (i32x4.extract_lane 3 (local.get $differ)))))
          (i32.const 95))
      (then (return (i32.const 3))))
    ;; TOP_BITS_BELOW
    (if (i32.lt_u (local.get $tops) (i32.const 205)) (then (return (i32.const 4))))
    (i32.const 5)))
