/* ARMv6's atomic operations, as functions: its Thumb has no instructions for them. gcc's library (__sync_…) asks the kernel,
   and these ask that library. Two kinds are missing or no good there:
   - those that keep the larger or the smaller of two numbers, which LLVM calls and gcc's library has not;
   - those of 64 bits that gcc calls for C. In gcc's libatomic they choose an implementation when a program is loaded
     (IFUNC); in a static program musl has nobody choose, and a call returns an address instead of the number. */

#define KEEP(name, type, kept)                                       \
  type __sync_fetch_and_##name(volatile type *place, type offered) { \
    type was = *place;                                               \
    for (;;) {                                                       \
      type wanted = was kept offered ? was : offered;                \
      type found = __sync_val_compare_and_swap(place, was, wanted);  \
      if (found == was) return was;                                  \
      was = found;                                                   \
    }                                                                \
  }
#define KEEP_EITHER(bytes, type)       \
  KEEP(max_##bytes, signed type, >)    \
  KEEP(min_##bytes, signed type, <)    \
  KEEP(umax_##bytes, unsigned type, >) \
  KEEP(umin_##bytes, unsigned type, <)

KEEP_EITHER(1, char)
KEEP_EITHER(2, short)
KEEP_EITHER(4, int)
KEEP_EITHER(8, long long)

typedef unsigned long long number;

/* gcc knows these names and would not have them defined: the label gives them to functions of other names. The order that a
   caller asks for is always the strictest. */
#define CALLED(name) __asm__("__atomic_" name)
number load(number *place, int order) CALLED("load_8");
void store(number *place, number value, int order) CALLED("store_8");
number exchange(number *place, number value, int order) CALLED("exchange_8");
_Bool compare_exchange(number *place, number *expected, number value, int then, int otherwise) CALLED("compare_exchange_8");
_Bool is_lock_free(unsigned bytes, const volatile void *place) CALLED("is_lock_free");

number load(number *place, int order) { return __sync_val_compare_and_swap(place, 0, 0); }

number exchange(number *place, number value, int order) {
  number was = *place, found;
  while ((found = __sync_val_compare_and_swap(place, was, value)) != was) was = found;
  return was;
}

void store(number *place, number value, int order) { exchange(place, value, order); }

_Bool compare_exchange(number *place, number *expected, number value, int then, int otherwise) {
  number found = __sync_val_compare_and_swap(place, *expected, value);
  _Bool same = found == *expected;
  *expected = found;
  return same;
}

_Bool is_lock_free(unsigned bytes, const volatile void *place) { return bytes <= 8; }

#define FETCH_AND(operation)                                                                        \
  number fetch_##operation(number *place, number value, int order) CALLED("fetch_" #operation "_8"); \
  number fetch_##operation(number *place, number value, int order) { return __sync_fetch_and_##operation(place, value); }

FETCH_AND(add)
FETCH_AND(sub)
FETCH_AND(and)
FETCH_AND(or)
FETCH_AND(xor)
