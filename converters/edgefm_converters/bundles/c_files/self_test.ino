// Says whether the model's data arrived whole, and how a picture's pixels become the model's input. To run the model,
// give edge_self_test a function that calls your interpreter: see tflm/main.cc of this folder.
#include <edge_model.h>
#include <model_data.h>

void setup() {
  Serial.begin(115200);
  const bool whole = edge_crc32(edge_model_data, edge_model_size) == EDGE_MODEL_CRC32;
  Serial.println(whole ? "model data: whole" : "model data: CHANGED");
  Serial.println(EDGE_ARENA_BYTES);
}

void loop() {}
