  (func (;0;) (type 1) (param i32 i32 i64 i32 i64 i64) (result i64)
    (local i32 i32 i32 i32 i32 i32 i64 i64 i64 i64 i64 f64 f64 f64 f64 f64 f64 f64 f64 i64 i64 i64 i64 i32)
    block (result i32) ;; label = @1
      block (result i32) ;; label = @2
        block (result i32) ;; label = @3
          local.get 1
          i32.load
          local.set 6
          local.get 1
          i32.load offset=4
          local.set 7
          block ;; label = @4
            br 0 (;@4;)
          end
          local.get 0
          i64.load offset=8
          local.set 25
          local.get 0
          i64.load offset=16
          local.set 26
          local.get 0
          i64.load offset=64
          local.set 27
          local.get 0
          i64.load offset=72
          local.set 28
          local.get 26
          i64.const -32
          i64.add
          local.set 26
          local.get 26
          i64.const 8
          i64.add
          local.tee 13
          local.get 13
          i32.wrap_i64
          local.tee 29
          i32.const 12
          i32.shr_u
          local.get 7
          i32.add
          i64.load8_u
          local.get 29
          i32.const 23
          i32.add
          i32.const 12
          i32.shr_u
          local.get 7
          i32.add
          i64.load8_u
          i64.and
          i64.const 2
          i64.and
          i64.const 31
          i64.shl
          i64.ge_u
          if ;; label = @4
            i32.const 8195
            br 1 (;@3;)
          end
          local.get 29
          local.get 6
          i32.add
          local.set 29
          local.get 29
          local.get 25
          i64.store offset=16 align=1
          local.get 29
          local.get 27
          i64.store offset=8 align=1
          local.get 29
          local.get 28
          i64.store align=1
          i32.const 32777
          br 0 (;@3;)
          unreachable
        end
        local.set 9
        local.get 0
        local.get 26
        i64.store offset=16
        local.get 9
        br 0 (;@2;)
      end
      local.tee 9
      i32.const 11
      i32.shr_s
      i64.extend_i32_s
      local.get 2
      i64.add
      local.set 12
      local.get 9
    end
    local.set 9
    local.get 0
    local.get 12
    i64.store offset=512
    local.get 4
    local.get 9
    i32.const 1
    i32.shr_u
    i32.const 1023
    i32.and
    i64.extend_i32_u
    i64.sub
    i64.const 0
    local.get 9
    i32.const 1
    i32.and
    i64.extend_i32_u
    i64.sub
    i64.xor
