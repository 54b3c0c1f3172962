package dev.edgefm.bundle;

import java.nio.ByteBuffer;

/** What runs the model: LiteRT's CompiledModel or Interpreter on a phone, recorded answers in a test. */
public interface ModelRunner {
    /**
     * Runs the model once.
     *
     * @param input the input tensor: direct, in native byte order, its position 0 and its limit the tensor's size
     * @param outputs one buffer an output, in the contract's order, direct and in native byte order; each is filled
     *     from position 0, wherever its position is left
     */
    void run(ByteBuffer input, ByteBuffer[] outputs);
}
