-- Floats, a table, a function, strings.
local rounds = tonumber(arg[1])
local sum, list = 0, {}
local function add(to, by) return to + by end
for i = 1, rounds do
  sum = add(sum, i % 7 * 1.5)
  list[i % 100 + 1] = sum
end
local letters = 0
for word in string.rep("foo bar ", rounds // 1000):gmatch("%a+") do letters = letters + #word end
print(sum, #list, letters)
