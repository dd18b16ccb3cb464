  (func (;0;) (type 1) (param i32 i32 i64 i32 i64 i64) (result i64)
    (local i32 i32 i32 i32 i32 i32 i64 i64 i64 i64 i64 f64 f64 f64 f64 f64 f64 f64 f64 i64 i64 i64)
    block (result i32) ;; label = @1
      block (result i32) ;; label = @2
        block ;; label = @3
          block ;; label = @4
            br 0 (;@4;)
          end
          local.get 0
          i64.load offset=8
          local.set 25
          local.get 0
          i64.load offset=80
          local.set 26
          local.get 0
          i64.load offset=88
          local.set 27
          block ;; label = @4
            local.get 26
            i64.eqz
            if ;; label = @5
              local.get 27
              i64.const -1
              i64.add
              local.set 27
              local.get 4
              i64.const 2
              i64.sub
              local.set 4
              local.get 0
              local.get 27
              i64.store offset=88
              br 1 (;@4;)
            else
              local.get 27
              i64.const 1
              i64.add
              local.set 27
              local.get 4
              i64.const 3
              i64.sub
              local.set 4
              local.get 0
              local.get 27
              i64.store offset=88
              br 1 (;@4;)
            end
          end
          local.get 26
          local.get 27
          i64.add
          local.set 26
          local.get 25
          i64.const -2
          i64.and
          local.set 12
          local.get 4
          i64.const 2
          i64.sub
          local.set 4
          br 0 (;@3;)
          unreachable
        end
        local.get 0
        local.get 26
        i64.store offset=80
        local.get 0
        local.get 12
        i64.store offset=512
        local.get 4
        return
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
