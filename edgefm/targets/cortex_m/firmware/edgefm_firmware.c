/* Feeds a model from a file of the host, counts each inference and writes its outputs: see edgefm_firmware.h.
 *
 * The files are 'edgefm.in' and 'edgefm.out' in the emulator's working directory; each may be a pipe, and then the
 * operators are not counted, since the first input cannot be read twice. The words to the host are lines on the
 * semihosting console:
 *
 *   edgefm:model INPUT_BYTES OUTPUT_BYTES...
 *   edgefm:operator INDEX TICKS
 *   edgefm:sample INDEX TICKS
 *   edgefm:done SAMPLES
 *   edgefm:error REASON
 *
 * A tick is one of the processor clock's, read from SysTick. Under `qemu -icount shift=0` an instruction takes one
 * nanosecond of the emulated time, so that a tick stands for as many instructions as the clock's period has ns.
 */
#include "edgefm_firmware.h"

#include <stddef.h>

enum { OPEN = 0x01, CLOSE = 0x02, WRITE0 = 0x04, WRITE = 0x05, READ = 0x06, SEEK = 0x0A, EXIT = 0x18 };
enum { READ_BINARY = 1, WRITE_BINARY = 5 };
#define APPLICATION_EXIT 0x20026u
#define RUN_TIME_ERROR 0x20023u

#define SYST_CSR (*(volatile uint32_t *)0xE000E010u)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014u)
#define SYST_CVR (*(volatile uint32_t *)0xE000E018u)
#define SYST_TOP 0xFFFFFFu

static volatile uint32_t wraps;

void SysTick_Handler(void) { wraps++; }

static uintptr_t host(uint32_t operation, const void *argument) {
  register uintptr_t r0 __asm("r0") = operation;
  register const void *r1 __asm("r1") = argument;
  __asm volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

static void say(const char *text) { host(WRITE0, text); }

static void say_number(uint32_t number) {
  char digits[12];
  char *place = digits + sizeof digits - 1;
  *place = 0;
  do {
    *--place = (char)('0' + number % 10u);
    number /= 10u;
  } while (number != 0u);
  *--place = ' ';
  say(place);
}

static void end(uint32_t code) {
  host(EXIT, (const void *)(uintptr_t)code);
  for (;;) {
  }
}

void edgefm_stop(const char *reason) {
  say("edgefm:error ");
  say(reason);
  say("\n");
  end(RUN_TIME_ERROR);
}

static void start_clock(void) {
  SYST_RVR = SYST_TOP;
  SYST_CVR = 0;
  SYST_CSR = 7; /* processor clock, interrupt at a wrap, on */
  while (SYST_CVR == 0u) {
  }
}

/* Ticks modulo 2^32; a wrap between the two readings is seen and read again. */
static uint32_t ticks(void) {
  uint32_t before, low;
  do {
    before = wraps;
    low = SYST_CVR;
  } while (before != wraps);
  return before * (SYST_TOP + 1u) + (SYST_TOP - low);
}

static int32_t open_file(const char *name, uint32_t length, uint32_t mode) {
  const uintptr_t argument[3] = {(uintptr_t)name, mode, length};
  return (int32_t)host(OPEN, argument);
}

/* Return the bytes that could not be read. A pipe may give a part at a time. */
static uint32_t read_file(int32_t file, void *to, uint32_t bytes) {
  uint32_t missing = bytes;
  while (missing != 0u) {
    const uintptr_t place = (uintptr_t)to + (bytes - missing);
    const uintptr_t argument[3] = {(uintptr_t)file, place, missing};
    const uint32_t left = (uint32_t)host(READ, argument);
    if (left >= missing) {
      break;
    }
    missing = left;
  }
  return missing;
}

/* Go back to the start of a file; 0 where that cannot be done. */
static int rewind_file(int32_t file) {
  const uintptr_t argument[2] = {(uintptr_t)file, 0};
  return host(SEEK, argument) == 0u;
}

static void write_file(int32_t file, const void *from, uint32_t bytes) {
  const uintptr_t argument[3] = {(uintptr_t)file, (uintptr_t)from, bytes};
  if (host(WRITE, argument) != 0u) {
    edgefm_stop("its outputs could not be written");
  }
}

/* Read the next input; 0 at the end of the file. */
static int next_input(int32_t file) {
  uint32_t bytes;
  void *to = edgefm_input(&bytes);
  const uint32_t missing = read_file(file, to, bytes);
  if (missing == 0u) {
    return 1;
  }
  if (missing != bytes) {
    edgefm_stop("the last input is cut off");
  }
  return 0;
}

__attribute__((weak)) uint32_t edgefm_operators(void) { return 0; }

__attribute__((weak)) int edgefm_operator(uint32_t index) {
  (void)index;
  return 1;
}

static void count_operators(int32_t file) {
  const uint32_t operators = edgefm_operators();
  if (operators == 0u || !next_input(file)) {
    return;
  }
  for (uint32_t index = 0; index < operators; index++) {
    const uint32_t from = ticks();
    const int failed = edgefm_operator(index);
    const uint32_t to = ticks();
    if (failed) {
      edgefm_stop("an operator failed");
    }
    say("edgefm:operator");
    say_number(index);
    say_number(to - from);
    say("\n");
  }
}

static uint32_t count_samples(int32_t in, int32_t out) {
  uint32_t samples = 0;
  while (next_input(in)) {
    const uint32_t from = ticks();
    const int failed = edgefm_invoke();
    const uint32_t to = ticks();
    if (failed) {
      edgefm_stop("an inference failed");
    }
    for (uint32_t index = 0; index < edgefm_outputs(); index++) {
      uint32_t bytes;
      const void *output = edgefm_output(index, &bytes);
      write_file(out, output, bytes);
    }
    say("edgefm:sample");
    say_number(samples);
    say_number(to - from);
    say("\n");
    samples++;
  }
  return samples;
}

void edgefm_main(void) {
  if (edgefm_setup() != 0) {
    edgefm_stop("the model could not be set up");
  }
  uint32_t bytes;
  edgefm_input(&bytes);
  say("edgefm:model");
  say_number(bytes);
  for (uint32_t index = 0; index < edgefm_outputs(); index++) {
    edgefm_output(index, &bytes);
    say_number(bytes);
  }
  say("\n");
  const int32_t in = open_file("edgefm.in", 9, READ_BINARY);
  const int32_t out = open_file("edgefm.out", 10, WRITE_BINARY);
  if (in < 0 || out < 0) {
    edgefm_stop("the host's files could not be opened");
  }
  start_clock();
  if (rewind_file(in)) {
    count_operators(in);
    rewind_file(in);
  }
  const uint32_t samples = count_samples(in, out);
  const uintptr_t written[1] = {(uintptr_t)out};
  host(CLOSE, written);
  say("edgefm:done");
  say_number(samples);
  say("\n");
  end(APPLICATION_EXIT);
}
