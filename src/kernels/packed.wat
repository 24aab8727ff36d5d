;; The encoding `packed`, one page at a time between the control memory and a guest page: arrays of records, counters
;; and pointers shrink to the bits that differ. Conventions as in kernels.wat; packed.ts is the typed binding.
;;
;; A page is 256 records of 16 bytes, four columns of 32-bit words. The words of a column are base + (value << shift), with
;; as few bits a value as the column's range needs (frame of reference).
;;
;;   0   bases     four u32, little-endian like all that follows
;;   16  shifts    four u8: low bits in which all words of the column agree with the base
;;   20  widths    four u8: bits a value, 0 where all words are equal
;;   24  columns   256 values of `width` bits each: 32 * width bytes
;;
;; A column is four streams of 64 values, side by side: value i is in lane i % 4 of the 128-bit steps, so one instruction
;; works on four, and 64 values fill whole words whatever the width; nothing is left over.
;; Work tables of the encoder: 0 what is known of the columns, 64 the columns. Of the decoder: the columns.
(module
  ;; The memory that is used most comes first: V8 keeps the base of the first in a register and loads the others'.
  (import "env" "control" (memory $control 1 65536 shared))
  (import "env" "pages" (memory $pages 1 65536 shared))

  ;; Bases, ranges and differing bits of the columns -> tables at 0, 16 and 32. A column around zero has a smaller range
  ;; when its words are read as signed; base and values add up modulo 2^32, so a decoder need not know.
  (func $measure (param $from i32) (param $tables i32)
    (local $end i32) (local $words v128) (local $first v128) (local $differ v128)
    (local $least v128) (local $most v128) (local $leastSigned v128) (local $mostSigned v128)
    (local.set $end (i32.add (local.get $from) (i32.const 4096)))
    (local.set $first (v128.load $control (local.get $from)))
    (local.set $least (local.get $first))
    (local.set $most (local.get $first))
    (local.set $leastSigned (local.get $first))
    (local.set $mostSigned (local.get $first))
    (loop $next
      (local.set $words (v128.load $control (local.get $from)))
      (local.set $differ (v128.or (local.get $differ) (v128.xor (local.get $words) (local.get $first))))
      (local.set $least (i32x4.min_u (local.get $least) (local.get $words)))
      (local.set $most (i32x4.max_u (local.get $most) (local.get $words)))
      (local.set $leastSigned (i32x4.min_s (local.get $leastSigned) (local.get $words)))
      (local.set $mostSigned (i32x4.max_s (local.get $mostSigned) (local.get $words)))
      (local.set $from (i32.add (local.get $from) (i32.const 16)))
      (br_if $next (i32.ne (local.get $from) (local.get $end))))
    (local.set $most (i32x4.sub (local.get $most) (local.get $least)))
    (local.set $mostSigned (i32x4.sub (local.get $mostSigned) (local.get $leastSigned)))
    (v128.store $control (local.get $tables)
      (v128.bitselect
        (local.get $leastSigned)
        (local.get $least)
        (i32x4.lt_u (local.get $mostSigned) (local.get $most))))
    (v128.store $control offset=16 (local.get $tables) (i32x4.min_u (local.get $most) (local.get $mostSigned)))
    (v128.store $control offset=32 (local.get $tables) (local.get $differ)))

  ;; Shifts and widths of the columns -> tables at 48 and 52, as they travel. Returns the sum of the widths.
  (func $widths (param $tables i32) (result i32)
    (local $column i32) (local $at i32) (local $shift i32) (local $width i32) (local $sum i32)
    (loop $next
      (local.set $at (i32.add (local.get $tables) (i32.shl (local.get $column) (i32.const 2))))
      ;; All words equal: 32 bits agree, and the shift is 0 by convention.
      (local.set $shift (i32.and (i32.ctz (i32.load $control offset=32 (local.get $at))) (i32.const 31)))
      (local.set $width
        (i32.sub
          (i32.const 32)
          (i32.clz (i32.shr_u (i32.load $control offset=16 (local.get $at)) (local.get $shift)))))
      (local.set $sum (i32.add (local.get $sum) (local.get $width)))
      (local.set $at (i32.add (local.get $tables) (local.get $column)))
      (i32.store8 $control offset=48 (local.get $at) (local.get $shift))
      (i32.store8 $control offset=52 (local.get $at) (local.get $width))
      (local.set $column (i32.add (local.get $column) (i32.const 1)))
      (br_if $next (i32.ne (local.get $column) (i32.const 4))))
    (local.get $sum))

  ;; The copy at $from, four records at a time -> columns at $to.
  (func $columns (param $from i32) (param $to i32)
    (local $end i32)
    (local $a v128) (local $b v128) (local $c v128) (local $d v128)
    (local $e v128) (local $f v128) (local $g v128) (local $h v128)
    (local.set $end (i32.add (local.get $from) (i32.const 4096)))
    (loop $next
      (local.set $a (v128.load $control (local.get $from)))
      (local.set $b (v128.load $control offset=16 (local.get $from)))
      (local.set $c (v128.load $control offset=32 (local.get $from)))
      (local.set $d (v128.load $control offset=48 (local.get $from)))
      (local.set $e (i8x16.shuffle 0 1 2 3 16 17 18 19 4 5 6 7 20 21 22 23
          (local.get $a) (local.get $b)))
      (local.set $f (i8x16.shuffle 8 9 10 11 24 25 26 27 12 13 14 15 28 29 30 31
          (local.get $a) (local.get $b)))
      (local.set $g (i8x16.shuffle 0 1 2 3 16 17 18 19 4 5 6 7 20 21 22 23
          (local.get $c) (local.get $d)))
      (local.set $h (i8x16.shuffle 8 9 10 11 24 25 26 27 12 13 14 15 28 29 30 31
          (local.get $c) (local.get $d)))
      (v128.store $control (local.get $to)
        (i8x16.shuffle 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23
          (local.get $e) (local.get $g)))
      (v128.store $control offset=1024 (local.get $to)
        (i8x16.shuffle 8 9 10 11 12 13 14 15 24 25 26 27 28 29 30 31
          (local.get $e) (local.get $g)))
      (v128.store $control offset=2048 (local.get $to)
        (i8x16.shuffle 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23
          (local.get $f) (local.get $h)))
      (v128.store $control offset=3072 (local.get $to)
        (i8x16.shuffle 8 9 10 11 12 13 14 15 24 25 26 27 28 29 30 31
          (local.get $f) (local.get $h)))
      (local.set $from (i32.add (local.get $from) (i32.const 64)))
      (local.set $to (i32.add (local.get $to) (i32.const 16)))
      (br_if $next (i32.ne (local.get $from) (local.get $end)))))

  ;; Columns at $from -> the page at $to.
  (func $records (param $from i32) (param $to i32)
    (local $end i32)
    (local $a v128) (local $b v128) (local $c v128) (local $d v128)
    (local $e v128) (local $f v128) (local $g v128) (local $h v128)
    (local.set $end (i32.add (local.get $from) (i32.const 1024)))
    (loop $next
      (local.set $a (v128.load $control (local.get $from)))
      (local.set $b (v128.load $control offset=1024 (local.get $from)))
      (local.set $c (v128.load $control offset=2048 (local.get $from)))
      (local.set $d (v128.load $control offset=3072 (local.get $from)))
      (local.set $e (i8x16.shuffle 0 1 2 3 16 17 18 19 4 5 6 7 20 21 22 23
          (local.get $a) (local.get $b)))
      (local.set $f (i8x16.shuffle 8 9 10 11 24 25 26 27 12 13 14 15 28 29 30 31
          (local.get $a) (local.get $b)))
      (local.set $g (i8x16.shuffle 0 1 2 3 16 17 18 19 4 5 6 7 20 21 22 23
          (local.get $c) (local.get $d)))
      (local.set $h (i8x16.shuffle 8 9 10 11 24 25 26 27 12 13 14 15 28 29 30 31
          (local.get $c) (local.get $d)))
      (v128.store $pages (local.get $to)
        (i8x16.shuffle 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23
          (local.get $e) (local.get $g)))
      (v128.store $pages offset=16 (local.get $to)
        (i8x16.shuffle 8 9 10 11 12 13 14 15 24 25 26 27 28 29 30 31
          (local.get $e) (local.get $g)))
      (v128.store $pages offset=32 (local.get $to)
        (i8x16.shuffle 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23
          (local.get $f) (local.get $h)))
      (v128.store $pages offset=48 (local.get $to)
        (i8x16.shuffle 8 9 10 11 12 13 14 15 24 25 26 27 28 29 30 31
          (local.get $f) (local.get $h)))
      (local.set $from (i32.add (local.get $from) (i32.const 16)))
      (local.set $to (i32.add (local.get $to) (i32.const 64)))
      (br_if $next (i32.ne (local.get $from) (local.get $end)))))

  ;; One column at $from -> $to. $width is not 0. Returns the end of what was written.
  (func $pack (param $from i32) (param $to i32) (param $base i32) (param $shift i32) (param $width i32) (result i32)
    (local $end i32) (local $filled i32) (local $frame v128) (local $values v128) (local $bits v128)
    (local.set $end (i32.add (local.get $from) (i32.const 1024)))
    (local.set $frame (i32x4.splat (local.get $base)))
    (loop $next
      (local.set $values
        (i32x4.shr_u (i32x4.sub (v128.load $control (local.get $from)) (local.get $frame)) (local.get $shift)))
      (local.set $bits (v128.or (local.get $bits) (i32x4.shl (local.get $values) (local.get $filled))))
      (local.set $filled (i32.add (local.get $filled) (local.get $width)))
      (if (i32.ge_u (local.get $filled) (i32.const 32))
        (then
          (v128.store $control (local.get $to) (local.get $bits))
          (local.set $to (i32.add (local.get $to) (i32.const 16)))
          (local.set $filled (i32.sub (local.get $filled) (i32.const 32)))
          ;; What did not fit. Shift counts are taken modulo 32, so "nothing" is a case of its own.
          (local.set $bits
            (if (result v128) (local.get $filled)
              (then (i32x4.shr_u (local.get $values) (i32.sub (local.get $width) (local.get $filled))))
              (else (v128.const i64x2 0 0))))))
      (local.set $from (i32.add (local.get $from) (i32.const 16)))
      (br_if $next (i32.ne (local.get $from) (local.get $end))))
    (local.get $to))

  ;; One column's bits at $from -> the column at $to. $width is not 0. Returns the end of what was read.
  (func $unpack (param $from i32) (param $to i32) (param $base i32) (param $shift i32) (param $width i32) (result i32)
    (local $end i32) (local $used i32) (local $frame v128) (local $values v128) (local $bits v128) (local $mask v128)
    (local.set $end (i32.add (local.get $to) (i32.const 1024)))
    (local.set $frame (i32x4.splat (local.get $base)))
    (local.set $mask (i32x4.splat (i32.shr_u (i32.const -1) (i32.sub (i32.const 32) (local.get $width)))))
    (local.set $used (i32.const 32))
    (loop $next
      ;; A step is loaded when its first bit is needed, so nothing behind the column is read.
      (if (i32.eq (local.get $used) (i32.const 32))
        (then
          (local.set $bits (v128.load $control (local.get $from)))
          (local.set $from (i32.add (local.get $from) (i32.const 16)))
          (local.set $used (i32.const 0))))
      (local.set $values (i32x4.shr_u (local.get $bits) (local.get $used)))
      (local.set $used (i32.add (local.get $used) (local.get $width)))
      (if (i32.gt_u (local.get $used) (i32.const 32))
        (then
          (local.set $bits (v128.load $control (local.get $from)))
          (local.set $from (i32.add (local.get $from) (i32.const 16)))
          (local.set $used (i32.sub (local.get $used) (i32.const 32)))
          (local.set $values
            (v128.or
              (local.get $values)
              (i32x4.shl (local.get $bits) (i32.sub (local.get $width) (local.get $used)))))))
      (v128.store $control (local.get $to)
        (i32x4.add
          (i32x4.shl (v128.and (local.get $values) (local.get $mask)) (local.get $shift))
          (local.get $frame)))
      (local.set $to (i32.add (local.get $to) (i32.const 16)))
      (br_if $next (i32.ne (local.get $to) (local.get $end))))
    (local.get $from))

  ;; The copy at $from -> $to, at most $limit bytes. Returns the length, or -1; the length is known before a bit is packed.
  (func (export "encode") (param $from i32) (param $to i32) (param $limit i32) (param $tables i32) (result i32)
    (local $total i32) (local $column i32) (local $width i32) (local $at i32)
    (call $measure (local.get $from) (local.get $tables))
    (local.set $total (i32.add (i32.const 24) (i32.shl (call $widths (local.get $tables)) (i32.const 5))))
    (if (i32.gt_s (local.get $total) (local.get $limit)) (then (return (i32.const -1))))
    (v128.store $control (local.get $to) (v128.load $control (local.get $tables)))
    (i64.store $control offset=16 (local.get $to) (i64.load $control offset=48 (local.get $tables)))
    (call $columns (local.get $from) (i32.add (local.get $tables) (i32.const 64)))
    (local.set $at (i32.add (local.get $to) (i32.const 24)))
    (loop $next
      (local.set $width (i32.load8_u $control offset=20 (i32.add (local.get $to) (local.get $column))))
      (if (local.get $width)
        (then
          (local.set $at
            (call $pack
              (i32.add (i32.add (local.get $tables) (i32.const 64)) (i32.shl (local.get $column) (i32.const 10)))
              (local.get $at)
              (i32.load $control (i32.add (local.get $to) (i32.shl (local.get $column) (i32.const 2))))
              (i32.load8_u $control offset=16 (i32.add (local.get $to) (local.get $column)))
              (local.get $width)))))
      (local.set $column (i32.add (local.get $column) (i32.const 1)))
      (br_if $next (i32.ne (local.get $column) (i32.const 4))))
    (local.get $total))

  ;; Length of the page whose 24 bytes of header are at $from, or -1 when no page has such a header.
  (func $lengthOf (param $from i32) (result i32)
    (local $end i32) (local $shift i32) (local $width i32) (local $sum i32)
    (local.set $end (i32.add (local.get $from) (i32.const 4)))
    (loop $next
      (local.set $shift (i32.load8_u $control offset=16 (local.get $from)))
      (local.set $width (i32.load8_u $control offset=20 (local.get $from)))
      (if (i32.gt_u (i32.add (local.get $shift) (local.get $width)) (i32.const 32)) (then (return (i32.const -1))))
      (if (i32.and (i32.eqz (local.get $width)) (i32.ne (local.get $shift) (i32.const 0)))
        (then (return (i32.const -1))))
      (local.set $sum (i32.add (local.get $sum) (local.get $width)))
      (local.set $from (i32.add (local.get $from) (i32.const 1)))
      (br_if $next (i32.ne (local.get $from) (local.get $end))))
    (i32.add (i32.const 24) (i32.shl (local.get $sum) (i32.const 5))))

  ;; One page from $from, where $available bytes may be read. Returns the bytes read, or -1 when they are not a page's; the
  ;; page is not touched then.
  (func (export "decode") (param $from i32) (param $available i32) (param $page i32) (param $tables i32) (result i32)
    (local $total i32) (local $column i32) (local $width i32) (local $at i32) (local $to i32)
    (if (i32.lt_s (local.get $available) (i32.const 24)) (then (return (i32.const -1))))
    (local.set $total (call $lengthOf (local.get $from)))
    (if (i32.gt_s (local.get $total) (local.get $available)) (then (return (i32.const -1))))
    (if (i32.lt_s (local.get $total) (i32.const 0)) (then (return (i32.const -1))))
    (local.set $at (i32.add (local.get $from) (i32.const 24)))
    (local.set $to (local.get $tables))
    (loop $next
      (local.set $width (i32.load8_u $control offset=20 (i32.add (local.get $from) (local.get $column))))
      (if (local.get $width)
        (then
          (local.set $at
            (call $unpack
              (local.get $at)
              (local.get $to)
              (i32.load $control (i32.add (local.get $from) (i32.shl (local.get $column) (i32.const 2))))
              (i32.load8_u $control offset=16 (i32.add (local.get $from) (local.get $column)))
              (local.get $width))))
        (else
          (call $repeat
            (i32.load $control (i32.add (local.get $from) (i32.shl (local.get $column) (i32.const 2))))
            (local.get $to))))
      (local.set $to (i32.add (local.get $to) (i32.const 1024)))
      (local.set $column (i32.add (local.get $column) (i32.const 1)))
      (br_if $next (i32.ne (local.get $column) (i32.const 4))))
    (call $records (local.get $tables) (i32.shl (local.get $page) (i32.const 12)))
    (local.get $total))

  ;; A column of one word -> $to.
  (func $repeat (param $word i32) (param $to i32)
    (local $end i32) (local $words v128)
    (local.set $end (i32.add (local.get $to) (i32.const 1024)))
    (local.set $words (i32x4.splat (local.get $word)))
    (loop $next
      (v128.store $control (local.get $to) (local.get $words))
      (v128.store $control offset=16 (local.get $to) (local.get $words))
      (local.set $to (i32.add (local.get $to) (i32.const 32)))
      (br_if $next (i32.ne (local.get $to) (local.get $end))))))
