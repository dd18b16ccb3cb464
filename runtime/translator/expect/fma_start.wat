  (func (;1;) (type 2)
    f64.const 0x1.00000004p+0 (;=1.0000000009313226;)
    f64x2.splat
    f64.const 0x1.fffffff8p-1 (;=0.9999999990686774;)
    f64x2.splat
    f64.const -0x1p+0 (;=-1;)
    f64x2.splat
    f64x2.relaxed_madd
    f64x2.extract_lane 0
    f64.const -0x1p-60 (;=-0.0000000000000000008673617379884035;)
    f64.eq
    f64.const 0x1.00000004p+0 (;=1.0000000009313226;)
    f64x2.splat
    f64.const 0x1.fffffff8p-1 (;=0.9999999990686774;)
    f64x2.splat
    f64.const 0x1p+0 (;=1;)
    f64x2.splat
    f64x2.relaxed_nmadd
    f64x2.extract_lane 0
    f64.const 0x1p-60 (;=0.0000000000000000008673617379884035;)
    f64.eq
    i32.and
    if ;; label = @1
      i32.const 100
      i32.const 0
      i32.const 1
      table.init 0
      elem.drop 0
    end
