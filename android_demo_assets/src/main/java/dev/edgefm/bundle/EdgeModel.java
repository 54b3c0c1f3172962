package dev.edgefm.bundle;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * The model of a bundle: feeds it, runs it, says what its outputs mean, and holds it against its golden vectors.
 *
 * <p>All that depends on the model is read from contract.json. Make one and keep it. It holds buffers: call it from one
 * thread at a time.
 */
public final class EdgeModel {
    private static final String LINE_BREAK = "\r\n|[\n\r\\x0b\f\\x1c-\\x1e\\x85\\u2028\\u2029]";
    private final BundleFiles files;
    private final ModelRunner runner;
    private final Contract contract;
    private final Preprocessing preprocessing;
    private final ByteBuffer pixelValues;
    private final ByteBuffer input;
    private final ByteBuffer[] outputs;

    /** Reads the contract and the labels; a BundleException says where they are damaged, newer, or do not fit. */
    public EdgeModel(BundleFiles files, ModelRunner runner) {
        this.files = files;
        this.runner = runner;
        contract = contract(files);
        checkLabels();
        preprocessing = contract.takesPictures() ? new Preprocessing(contract) : null;
        pixelValues = pixelValues();
        input = buffer(contract.input());
        outputs = new ByteBuffer[contract.outputs().size()];
        for (int place = 0; place < outputs.length; place++) {
            outputs[place] = buffer(contract.outputs().get(place));
        }
    }

    /** Returns the contract of a bundle. */
    public static Contract contract(BundleFiles files) {
        return Contract.parse(text(files, "contract.json"));
    }

    public Contract contract() {
        return contract;
    }

    /**
     * Returns a decoded picture as the pixels that the model takes.
     *
     * @param argb colours of each pixel, row by row from the top left, not premultiplied: what Bitmap.getPixels gives
     * @param width of the picture as it is stored
     * @param height of the picture as it is stored
     * @param orientation of EXIF, 1 to 8; 1 where there is none
     * @param invert AUTO unless it is known
     * @return [height, width, channels] of the input, 0 to 255, the last index runs fastest
     */
    public byte[] pixels(int[] argb, int width, int height, int orientation, Invert invert) {
        Preprocessing how = preprocessing == null ? new Preprocessing(contract) : preprocessing;
        return how.pixels(argb, width, height, orientation, invert);
    }

    /** Answers a decoded picture; see pixels. */
    public Answer runPicture(int[] argb, int width, int height, int orientation) {
        return run(pixels(argb, width, height, orientation, Invert.AUTO));
    }

    /** Answers pixels or other levels, 0 to 255, of the input's shape. */
    public Answer run(byte[] pixels) {
        if (pixelValues == null) {
            throw new BundleException("this model takes no pixels: " + contract.noPixels());
        }
        checkSize(pixels.length);
        input.clear();
        boolean bytes = contract.input().valueBytes() == 1;
        for (byte pixel : pixels) {
            int level = pixel & 0xFF;
            if (bytes) {
                input.put(pixelValues.get(level));
            } else {
                input.putFloat(pixelValues.getFloat(4 * level));
            }
        }
        return answer();
    }

    /** Answers real inputs of the input's shape, which need no mean and std any more. */
    public Answer run(float[] real) {
        Tensor tensor = contract.input();
        if (!tensor.quantised() && !tensor.dtype().equals("float32")) {
            throw new BundleException("this model takes whole numbers, " + tensor.dtype());
        }
        checkSize(real.length);
        input.clear();
        for (float value : real) {
            if (tensor.quantised()) {
                input.put(tensor.level(value));
            } else {
                input.putFloat(value);
            }
        }
        return answer();
    }

    /** Answers whole numbers, such as tokens, of the input's shape, which go in as they are. */
    public Answer run(long[] tokens) {
        Tensor tensor = contract.input();
        if (!tensor.dtype().startsWith("int") || tensor.quantised()) {
            throw new BundleException("this model takes no whole numbers: its input is " + tensor.dtype());
        }
        checkSize(tokens.length);
        input.clear();
        for (long token : tokens) {
            if (tensor.dtype().equals("int64")) {
                input.putLong(token);
            } else {
                if (token != (int) token) {
                    throw new BundleException(token + " is no " + tensor.dtype());
                }
                input.putInt((int) token);
            }
        }
        return answer();
    }

    /** Runs the golden vectors and says whether this device answers them as the place where the bundle was written. */
    public Verdict selfTest() {
        return new SelfTest(files, contract).run(this::invoke);
    }

    /** Returns whether pixels go in, so that run(byte[]) answers. */
    public boolean takesPixels() {
        return pixelValues != null;
    }

    /** Returns the first golden vector's input: the bytes of the input tensor. */
    public byte[] goldenInput() {
        return SelfTest.firstInput(files);
    }

    /** Puts the bytes of the input tensor where invoke takes them. */
    public void feed(byte[] tensor) {
        if (tensor.length != contract.input().byteSize()) {
            throw new BundleException(
                    "the input has " + contract.input().byteSize() + " bytes, given were " + tensor.length);
        }
        input.clear();
        input.put(tensor);
    }

    /** Runs the model on what was fed last. */
    public void invoke() {
        run();
    }

    /** Returns the bytes of the outputs for the bytes of the input tensor. */
    byte[][] invoke(byte[] tensor) {
        feed(tensor);
        run();
        byte[][] answers = new byte[outputs.length][];
        for (int place = 0; place < outputs.length; place++) {
            answers[place] = new byte[outputs[place].capacity()];
            outputs[place].get(answers[place]);
        }
        return answers;
    }

    private Answer answer() {
        run();
        float[][] values = new float[outputs.length][];
        for (int place = 0; place < outputs.length; place++) {
            Tensor tensor = contract.outputs().get(place);
            values[place] = new float[tensor.size()];
            for (int each = 0; each < values[place].length; each++) {
                values[place][each] = tensor.real(outputs[place], each);
            }
        }
        return new Answer(contract, values);
    }

    private void run() {
        input.clear();
        for (ByteBuffer output : outputs) {
            output.clear();
        }
        runner.run(input, outputs);
        for (ByteBuffer output : outputs) {
            output.clear();
        }
    }

    private void checkSize(int size) {
        if (size != contract.input().size()) {
            throw new BundleException("the input holds " + contract.input().size() + " values "
                    + Arrays.toString(contract.input().shape()) + ", given were " + size);
        }
    }

    /** Returns the input value of each level 0 to 255, computed once; null where no pixels go in. */
    private ByteBuffer pixelValues() {
        Tensor tensor = contract.input();
        if (contract.noPixels() != null || (!tensor.quantised() && !tensor.dtype().equals("float32"))) {
            return null;
        }
        ByteBuffer table = ByteBuffer.allocate(256 * tensor.valueBytes());
        for (int level = 0; level < 256; level++) {
            float real = (level - contract.mean()) / contract.std();
            if (tensor.quantised()) {
                table.put(tensor.level(real));
            } else {
                table.putFloat(real);
            }
        }
        return table;
    }

    private void checkLabels() {
        if (contract.labels().isEmpty()) {
            return;
        }
        StringBuilder wanted = new StringBuilder();
        for (String label : contract.labels()) {
            // Of a label of several lines, labels.txt holds one; a line break at the end is none there.
            wanted.append(label.replaceFirst("(?:" + LINE_BREAK + ")\\z", "").replaceAll(LINE_BREAK, " ")).append('\n');
        }
        if (!text(files, "labels.txt").contentEquals(wanted)) {
            throw new BundleException(
                    "labels.txt holds other labels than the contract, which has " + contract.labels().size());
        }
    }

    static String text(BundleFiles files, String name) {
        return new String(content(files, name), StandardCharsets.UTF_8);
    }

    static byte[] content(BundleFiles files, String name) {
        try {
            return files.read(name);
        } catch (IOException error) {
            throw new BundleException("the bundle's file " + name + " cannot be read: " + error.getMessage(), error);
        }
    }

    private static ByteBuffer buffer(Tensor tensor) {
        return ByteBuffer.allocateDirect(tensor.byteSize()).order(ByteOrder.nativeOrder());
    }
}
