/* What computing costs: rounds of one kernel. Built for the guest and for this machine by bin `compute`.
 *
 *     compute KERNEL ROUNDS [CHECKSUM]
 *
 * Prints a checksum, which is the same wherever it runs; exit 1 without a word if it is not the one expected, 2 on any
 * other use.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t crc16(uint32_t sum, uint32_t value) {
  for (int bit = 0; bit < 32; bit++) {
    uint32_t carry = (sum ^ value) & 1;
    sum = sum >> 1 ^ (carry ? 0xa001 : 0);
    value >>= 1;
  }
  return sum;
}

static uint32_t noise(uint32_t *state) {
  *state = *state * 1664525 + 1013904223;
  return *state >> 16;
}

/* The mix: a linked list that is searched, reversed and sorted, products of matrices, a state machine over text, and
 * CRCs of what they give. */

struct node {
  struct node *next;
  int16_t key, value;
};

static struct node *reverse(struct node *list) {
  struct node *done = NULL;
  while (list) {
    struct node *next = list->next;
    list->next = done;
    done = list;
    list = next;
  }
  return done;
}

static struct node *find(struct node *list, int16_t key) {
  while (list && list->key != key) list = list->next;
  return list;
}

static int by_key(const struct node *a, const struct node *b) { return a->key - b->key; }
static int by_value(const struct node *a, const struct node *b) { return a->value - b->value; }

/* Merge sort from the bottom up. */
static struct node *sort(struct node *list, int (*compare)(const struct node *, const struct node *)) {
  for (int width = 1;; width *= 2) {
    struct node *rest = list, **tail = &list;
    int merges = 0;
    while (rest) {
      struct node *a = rest, *b = rest;
      int left_a = 0, left_b = width;
      merges++;
      for (; left_a < width && b; left_a++) b = b->next;
      while (left_a > 0 || (left_b > 0 && b)) {
        struct node **from = left_a == 0 ? &b : left_b == 0 || !b || compare(a, b) <= 0 ? &a : &b;
        if (from == &a) left_a--;
        else left_b--;
        *tail = *from;
        *from = (*from)->next;
        tail = &(*tail)->next;
      }
      rest = b;
    }
    *tail = NULL;
    if (merges <= 1) return list;
  }
}

enum { NODES = 120, SIDE = 12 };

static uint32_t lists(uint32_t seed) {
  static struct node nodes[NODES];
  for (int i = 0; i < NODES; i++) {
    nodes[i].next = i + 1 < NODES ? &nodes[i + 1] : NULL;
    nodes[i].key = (int16_t)(noise(&seed) & 0x7f);
    nodes[i].value = (int16_t)noise(&seed);
  }
  struct node *list = nodes;
  uint32_t found = 0;
  for (int16_t key = 0; key < 32; key++) {
    struct node *node = find(list, key);
    list = reverse(list);
    if (node) found += (uint32_t)node->value;
  }
  list = sort(list, by_key);
  found = found * 31 + (uint32_t)list->value;
  list = sort(list, by_value);
  return found * 31 + (uint32_t)list->key;
}

static uint32_t matrices(uint32_t seed) {
  static int16_t a[SIDE][SIDE], b[SIDE][SIDE];
  static int32_t product[SIDE][SIDE];
  for (int i = 0; i < SIDE; i++)
    for (int j = 0; j < SIDE; j++) {
      a[i][j] = (int16_t)noise(&seed);
      b[i][j] = (int16_t)(noise(&seed) & 0xff);
    }
  uint32_t sum = 0;
  for (int i = 0; i < SIDE; i++)
    for (int j = 0; j < SIDE; j++) {
      product[i][j] = 0;
      for (int k = 0; k < SIDE; k++) product[i][j] += (a[i][k] * b[k][j] >> 2 & 15) * (a[i][k] * b[k][j] >> 5 & 127);
      sum += (uint32_t)product[i][j] > sum ? 10 : (uint32_t)product[i][j] & 0xff;
    }
  return sum;
}

enum state { START, INTEGER, FRACTION, EXPONENT, HEXADECIMAL, OTHER, STATES };

static uint32_t words(uint32_t seed) {
  static const char text[] = "5012,1234,-874,+122,0x7f,3.14e-2,,abc,99999999,-.5,1e+9,T0.3e-1F,-110.700,+0.64400,0xdead,8.e,";
  uint32_t counts[STATES] = {0};
  enum state state = START;
  size_t at = seed % (sizeof text - 1);
  for (size_t i = 0; i < 8 * (sizeof text - 1); i++) {
    unsigned char c = (unsigned char)text[at];
    at = at + 1 == sizeof text - 1 ? 0 : at + 1;
    if (c == ',') {
      counts[state]++;
      state = START;
      continue;
    }
    int digit = c >= '0' && c <= '9';
    switch (state) {
      case START:
        state = digit || c == '+' || c == '-' ? INTEGER : c == '.' ? FRACTION : OTHER;
        break;
      case INTEGER:
        state = digit ? INTEGER : c == '.' ? FRACTION : c == 'e' ? EXPONENT : c == 'x' ? HEXADECIMAL : OTHER;
        break;
      case FRACTION:
        state = digit ? FRACTION : c == 'e' ? EXPONENT : OTHER;
        break;
      case EXPONENT:
        state = digit || c == '+' || c == '-' ? EXPONENT : OTHER;
        break;
      case HEXADECIMAL:
        state = digit || (c >= 'a' && c <= 'f') ? HEXADECIMAL : OTHER;
        break;
      default:
        break;
    }
  }
  uint32_t sum = 0;
  for (int i = 0; i < STATES; i++) sum = sum * 257 + counts[i];
  return sum;
}

static uint32_t mix(uint32_t seed) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < 1600; i++) {
    sum = crc16(sum, lists(seed + i));
    sum = crc16(sum, matrices(seed + i));
    sum = crc16(sum, words(seed + i));
    for (uint32_t j = 0; j < 40; j++) sum = crc16(sum, seed * i + j);
  }
  return sum;
}

static uint32_t sieve(uint32_t seed) {
  enum { LIMIT = 1 << 20 };
  static uint8_t composite[LIMIT];
  uint32_t primes = seed & 1;
  for (int times = 0; times < 12; times++) {
    memset(composite, 0, sizeof composite);
    for (uint32_t i = 2; i < LIMIT; i++) {
      if (composite[i]) continue;
      primes++;
      for (uint32_t k = 2 * i; k < LIMIT; k += i) composite[k] = 1;
    }
  }
  return primes;
}

static const uint32_t sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate(uint32_t x, int by) { return x >> by | x << (32 - by); }

static void sha256_block(uint32_t state[8], const uint8_t *block) {
  uint32_t w[64];
  for (int i = 0; i < 16; i++)
    w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
           block[4 * i + 3];
  for (int i = 16; i < 64; i++) {
    uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
    uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
  uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
  for (int i = 0; i < 64; i++) {
    uint32_t s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    uint32_t t1 = h + s1 + ((e & f) ^ (~e & g)) + sha256_k[i] + w[i];
    uint32_t s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
  }
  state[0] += a, state[1] += b, state[2] += c, state[3] += d;
  state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

static uint32_t sha256(uint32_t seed) {
  static uint8_t data[1 << 16];
  uint32_t state[8] = {seed, 1, 2, 3, 4, 5, 6, 7};
  for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)noise(&seed);
  for (int times = 0; times < 200; times++)
    for (size_t at = 0; at < sizeof data; at += 64) sha256_block(state, data + at);
  return state[0] ^ state[7];
}

static uint32_t matmul(uint32_t seed) {
  enum { N = 192 };
  static double a[N][N], b[N][N], c[N][N];
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) {
      a[i][j] = (double)noise(&seed) / 3;
      b[i][j] = (double)noise(&seed) / 7;
    }
  for (int times = 0; times < 8; times++)
    for (int i = 0; i < N; i++)
      for (int j = 0; j < N; j++) {
        double sum = 0;
        for (int k = 0; k < N; k++) sum += a[i][k] * b[k][j];
        c[i][j] = sum;
      }
  double trace = 0;
  for (int i = 0; i < N; i++) trace += c[i][i];
  return (uint32_t)(uint64_t)trace;
}

/* A register machine's interpreter, and a program for it. */

enum { LOAD, MOVE, ADD, SUB, MUL, AND, OR, XOR, SHL, SHR, INC, DEC, GET, PUT, JUMP, JNZ, JLT, SWAP, NOT, MIN, MAX, HALT };

struct code {
  uint8_t op, a, b;
  int8_t to;
};

static uint32_t interp(uint32_t seed) {
  static uint32_t memory[256];
  static const struct code program[] = {
      {LOAD, 0, 0, 0},  {LOAD, 1, 0, 0},   {INC, 0, 0, 0},   {ADD, 1, 0, 0},   {MOVE, 2, 1, 0},  {SHL, 2, 3, 0},
      {XOR, 1, 2, 0},   {MOVE, 3, 0, 0},   {AND, 3, 7, 0},   {GET, 4, 3, 0},   {ADD, 4, 1, 0},   {PUT, 4, 3, 0},
      {MOVE, 5, 4, 0},  {SHR, 5, 5, 0},    {MUL, 5, 6, 0},   {OR, 5, 0, 0},    {SUB, 1, 5, 0},   {MIN, 5, 1, 0},
      {MAX, 4, 5, 0},   {SWAP, 4, 5, 0},   {NOT, 5, 0, 0},   {DEC, 8, 0, 0},   {JNZ, 8, 0, -20}, {HALT, 0, 0, 0}};
  uint32_t r[16] = {0, 0, 0, 0, 0, 0, seed | 1, 255, 600000};
  for (const struct code *pc = program;; pc++) {
    uint32_t *a = &r[pc->a & 15], *b = &r[pc->b & 15], old;
    switch (pc->op) {
      case LOAD: *a = pc->b; break;
      case MOVE: *a = *b; break;
      case ADD: *a += *b; break;
      case SUB: *a -= *b; break;
      case MUL: *a *= *b; break;
      case AND: *a &= *b; break;
      case OR: *a |= *b; break;
      case XOR: *a ^= *b; break;
      case SHL: *a <<= pc->b; break;
      case SHR: *a >>= pc->b; break;
      case INC: ++*a; break;
      case DEC: --*a; break;
      case GET: *a = memory[*b & 255]; break;
      case PUT: memory[*b & 255] = *a; break;
      case JUMP: pc += pc->to; break;
      case JNZ: if (*a) pc += pc->to; break;
      case JLT: if (*a < *b) pc += pc->to; break;
      case SWAP: old = *a, *a = *b, *b = old; break;
      case NOT: *a = ~*a; break;
      case MIN: if (*b < *a) *a = *b; break;
      case MAX: if (*b > *a) *a = *b; break;
      default: return r[1] ^ memory[seed & 255];
    }
  }
}

/* Not inlined into itself, so that it is about calls. */
__attribute__((noinline, optimize("no-inline", "no-optimize-sibling-calls"))) static uint32_t calls(uint32_t n) {
  return n < 2 ? n : calls(n - 1) + calls(n - 2);
}

static uint32_t fib(uint32_t seed) { return calls(35) + seed; }

static const struct {
  const char *name;
  uint32_t (*round)(uint32_t);
} kernels[] = {{"mix", mix},       {"sieve", sieve},   {"sha256", sha256},
               {"matmul", matmul}, {"interp", interp}, {"fib", fib}};

int main(int argc, char **argv) {
  if (argc != 3 && argc != 4) return 2;
  for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
    if (strcmp(kernels[i].name, argv[1]) == 0) {
      uint32_t sum = 0;
      for (uint32_t round = 0; round < (uint32_t)atol(argv[2]); round++) sum = sum * 31 + kernels[i].round(round);
      if (argc == 4 && strtoul(argv[3], NULL, 16) != sum) return 1;
      printf("%08x\n", (unsigned)sum);
      return 0;
    }
  return 2;
}
