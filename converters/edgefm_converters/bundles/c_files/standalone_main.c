/* The network without an interpreter: runs the self-test and says its verdict. On a board, put its words where yours
 * go. */
#include <stdio.h>
#include <string.h>

#include "contract.h"
#include "edgefm_firmware.h"
#include "self_test.h"

static uint8_t outputs[EDGE_OUTPUTS_BYTES];

static int invoke(const uint8_t *input, uint8_t *answers) {
  uint32_t bytes;
  void *source = edgefm_input(&bytes);
  if (bytes != EDGE_INPUT_BYTES) {
    return 1;
  }
  memcpy(source, input, bytes);
  if (edgefm_invoke() != 0) {
    return 1;
  }
  for (uint32_t place = 0; place < edgefm_outputs(); place++) {
    const void *sink = edgefm_output(place, &bytes);
    memcpy(answers, sink, bytes);
    answers += bytes;
  }
  return 0;
}

int main(void) {
  if (edgefm_setup() != 0) {
    return 1;
  }
  const edge_verdict_t verdict = edge_self_test(invoke, outputs);
  printf("%s: %d golden vectors ran, %d bit for bit, at most %u levels apart\n", verdict.held ? "held" : "FAILED",
         verdict.ran, verdict.equal, (unsigned)verdict.largest);
  return verdict.held ? 0 : 1;
}
