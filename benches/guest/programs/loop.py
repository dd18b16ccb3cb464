# Integers, a dictionary, strings, method calls.
import sys

rounds = int(sys.argv[1])
total, seen = 0, {}
for i in range(rounds):
    total += i * i % 7
    seen[i & 255] = total
    if i % 3 == 0:
        total -= len(str(i))


class Adder:
    def __init__(self, by):
        self.by = by

    def add(self, to):
        return self.by + to


adder = Adder(1)
for i in range(rounds):
    total = adder.add(total) & 0xFFFFFF
print(total, len(seen))
