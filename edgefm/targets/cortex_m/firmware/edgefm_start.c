/* Start-up code for QEMU's boards mps2-an386 (Cortex-M4), mps2-an500 (M7) and mps3-an547 (M55); no C library. */
#include "edgefm_firmware.h"

#include <stddef.h>

extern uint32_t stack_top[];
extern unsigned char data_start[], data_end[], data_load[], bss_start[], bss_end[];

void Reset_Handler(void);
void SysTick_Handler(void);

static void fault(void) { edgefm_stop("the processor met a fault"); }

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    (void *)stack_top, (void *)Reset_Handler, (void *)fault, (void *)fault, (void *)fault, (void *)fault,
    (void *)fault,     (void *)fault,         NULL,          NULL,          NULL,          (void *)fault,
    (void *)fault,     NULL,                  (void *)fault, (void *)SysTick_Handler};

/* The compiler may call these, with or without a C library; it must not make the loops into calls of themselves. */
#define PLAIN_LOOP __attribute__((optimize("no-tree-loop-distribute-patterns")))

PLAIN_LOOP void *memcpy(void *to, const void *from, size_t bytes) {
  unsigned char *out = to;
  const unsigned char *in = from;
  while (bytes-- != 0u) {
    *out++ = *in++;
  }
  return to;
}

PLAIN_LOOP void *memset(void *to, int value, size_t bytes) {
  unsigned char *out = to;
  while (bytes-- != 0u) {
    *out++ = (unsigned char)value;
  }
  return to;
}

void Reset_Handler(void) {
  /* CPACR: floating point, and on the M55 the vector instructions (MVE), may be used from here on. */
  *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20;
  __asm volatile("dsb\n isb" ::: "memory");
  memcpy(data_start, data_load, (size_t)(data_end - data_start));
  memset(bss_start, 0, (size_t)(bss_end - bss_start));
  edgefm_main();
}
