  (func (;0;) (type 1) (param i32 i32 i64 i32 i64 i64) (result i64)
    (local i32 i32 i32 i32 i32 i32 i64 i64 i64 i64 i64 f64 f64 f64 f64 f64 f64 f64 f64 i64 i64 i64 i32 i32)
    block (result i32) ;; label = @1
      block (result i32) ;; label = @2
        block (result i32) ;; label = @3
          block (result i32) ;; label = @4
            block ;; label = @5
              block ;; label = @6
                block ;; label = @7
                  block ;; label = @8
                    block ;; label = @9
                      local.get 3
                      br_table 2 (;@7;) 1 (;@8;) 0 (;@9;)
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
                    i32.const 3
                    local.set 10
                    br 2 (;@6;)
                  end
                  local.get 0
                  i64.load offset=8
                  local.set 25
                  local.get 0
                  i64.load offset=80
                  local.set 26
                  i32.const 4
                  local.set 10
                  br 1 (;@6;)
                end
                local.get 0
                i64.load offset=8
                local.set 25
                i32.const 10
                local.set 28
                local.get 4
                i64.const 1
                i64.sub
                local.set 4
                local.get 0
                local.get 28
                i64.extend_i32_s
                i64.store offset=80
                local.get 28
                i64.extend_i32_s
                local.set 26
                i32.const 4
                local.set 10
                br 0 (;@6;)
              end
              loop ;; label = @6
                block ;; label = @7
                  block ;; label = @8
                    local.get 10
                    i32.const 3
                    i32.eq
                    br_if 1 (;@7;)
                    br 0 (;@8;)
                  end
                  i32.const 10
                  local.set 29
                  local.get 4
                  i64.const 1
                  i64.sub
                  local.set 4
                  local.get 29
                  i64.extend_i32_s
                  local.set 27
                  br 0 (;@7;)
                end
                loop ;; label = @7
                  local.get 27
                  i64.const -1
                  i64.add
                  local.set 27
                  local.get 4
                  i64.const 2
                  i64.sub
                  local.set 4
                  local.get 27
                  i64.eqz
                  i32.eqz
                  if ;; label = @8
                    local.get 4
                    i64.const 8
                    i64.ge_s
                    br_if 1 (;@7;)
                    i32.const 16384
                    br 5 (;@3;)
                  else
                    local.get 26
                    i64.const -1
                    i64.add
                    local.set 26
                    local.get 4
                    i64.const 2
                    i64.sub
                    local.set 4
                    local.get 26
                    i64.eqz
                    i32.eqz
                    if ;; label = @9
                      i32.const 4
                      local.set 10
                      local.get 4
                      i64.const 8
                      i64.ge_s
                      br_if 3 (;@6;)
                      i32.const 8192
                      br 5 (;@4;)
                    else
                      local.get 0
                      local.get 26
                      i64.store offset=80
                      local.get 0
                      local.get 27
                      i64.store offset=88
                      local.get 25
                      i64.const -2
                      i64.and
                      local.set 12
                      local.get 4
                      i64.const 1
                      i64.sub
                      local.set 4
                      br 4 (;@5;)
                    end
                  end
                end
              end
              unreachable
            end
            local.get 0
            local.get 12
            i64.store offset=512
            local.get 4
            return
          end
          local.set 9
          local.get 0
          local.get 26
          i64.store offset=80
          local.get 9
          br 1 (;@2;)
        end
        local.set 9
        local.get 0
        local.get 26
        i64.store offset=80
        local.get 0
        local.get 27
        i64.store offset=88
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
