package dev.edgefm.bundle;

import java.nio.ByteBuffer;

/**
 * One end of a model; real = scale * (level - zero point).
 *
 * @param name of the tensor
 * @param dtype "float32", "uint8" or "int8"; "int32" or "int64" of whole numbers that go in as they are
 * @param shape with the batch of 1 in a contract, without it in golden vectors
 * @param quantised whether it has a scale and a zero point
 * @param scale of a quantised tensor, else 1
 * @param zeroPoint of a quantised tensor, else 0
 */
public record Tensor(String name, String dtype, int[] shape, boolean quantised, float scale, int zeroPoint) {
    static Tensor read(JsonObject value) {
        String name = value.text("name");
        String dtype = value.text("dtype");
        boolean quantised = value.has("scale");
        if (value.has("parts")) {
            throw new BundleException("this adapter takes models of one input; '" + name + "' stands for several");
        }
        boolean bytes = dtype.equals("uint8") || dtype.equals("int8");
        boolean others = dtype.equals("float32") || dtype.equals("int32") || dtype.equals("int64");
        if (quantised ? !bytes : !others) {
            String scaled = quantised ? " with a scale" : " without a scale";
            throw new BundleException("this adapter takes no tensor of " + dtype + scaled);
        }
        Tensor tensor = new Tensor(name, dtype, value.sizes("shape"), quantised,
                quantised ? (float) value.number("scale") : 1, quantised ? (int) value.number("zero_point") : 0);
        if (!(tensor.scale > 0) || Float.isInfinite(tensor.scale)) {
            throw new BundleException("the scale of '" + name + "' is " + tensor.scale);
        }
        return tensor;
    }

    /** Returns the number of values of one sample. */
    public int size() {
        long size = 1;
        for (int length : shape) {
            size *= length;
            if (size > Integer.MAX_VALUE / 8) {
                throw new BundleException("'" + name + "' is too large");
            }
        }
        return (int) size;
    }

    /** Returns the bytes of one sample. */
    public int byteSize() {
        return size() * valueBytes();
    }

    /** Returns the bytes of one value. */
    public int valueBytes() {
        return switch (dtype) {
            case "uint8", "int8" -> 1;
            case "int64" -> 8;
            default -> 4;
        };
    }

    /** Returns a value of a buffer as it stands there: a level, or a float. */
    double value(ByteBuffer buffer, int place) {
        return switch (dtype) {
            case "uint8" -> buffer.get(place) & 0xFF;
            case "int8" -> buffer.get(place);
            case "int32" -> buffer.getInt(4 * place);
            case "int64" -> buffer.getLong(8 * place);
            default -> buffer.getFloat(4 * place);
        };
    }

    /** Returns a value of a buffer as a real number, in float32 throughout. */
    float real(ByteBuffer buffer, int place) {
        double value = value(buffer, place);
        return quantised ? ((float) value - zeroPoint) * scale : (float) value;
    }

    /**
     * Returns the level of a real number: clamp(round(real / scale) + zero point), halves to even, in float32.
     *
     * <p>Source: Jacob et al. 2018, arXiv:1712.05877.
     */
    byte level(float real) {
        if (Float.isNaN(real)) {
            throw new BundleException("the input '" + name + "' holds a NaN");
        }
        double level = Math.rint(real / scale) + zeroPoint;
        boolean signed = dtype.equals("int8");
        return (byte) (int) Math.max(signed ? -128 : 0, Math.min(signed ? 127 : 255, level));
    }
}
