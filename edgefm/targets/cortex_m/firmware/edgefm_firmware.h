/* What a firmware gives edgefm, so that its inference is run and its instructions are counted in QEMU.
 *
 * Link your code (TensorFlow Lite for Microcontrollers, a vendor's library, generated C ...) with
 * edgefm_firmware.c and define the functions below. With your own start-up code, call edgefm_main() after the C
 * library is ready; without, link edgefm_start.c and one of m4.ld, m7.ld, m55.ld too.
 *
 * edgefm_firmware.c takes the SysTick timer (SysTick_Handler) and talks to the host by semihosting: keep both free.
 */
#ifndef EDGEFM_FIRMWARE_H
#define EDGEFM_FIRMWARE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Make the model ready; 0 where it is. Called once. */
int edgefm_setup(void);

/* Where one input goes, and its size. It is written before each inference. */
void *edgefm_input(uint32_t *bytes);

/* Run one inference; 0 where it went well. This is what is counted. */
int edgefm_invoke(void);

/* Number of outputs; the place and size of one. Read after each inference, in order. */
uint32_t edgefm_outputs(void);
const void *edgefm_output(uint32_t index, uint32_t *bytes);

/* Optional: the number of operators, and one of them run alone, so that each is counted. Called in order, once. */
uint32_t edgefm_operators(void);
int edgefm_operator(uint32_t index);

/* Defined in edgefm_firmware.c: feeds, runs, counts, writes, and ends the emulator. It does not return. */
void edgefm_main(void);

/* Tell the host that the firmware cannot go on, and end the emulator. */
void edgefm_stop(const char *reason);

#ifdef __cplusplus
}
#endif

#endif
